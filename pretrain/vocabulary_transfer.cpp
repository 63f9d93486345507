#include "pretrain/vocabulary_transfer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/slice.hpp"
#include "parallel/run_main.hpp"

namespace ulmpi {

double known_share(const VocabularyMap& map, const TokenDataset& dataset, const Communicator& world) {
    const Range mine = even_slice(dataset.token_count(), static_cast<std::size_t>(world.size()),
                                  static_cast<std::size_t>(world.rank()));
    std::vector<Token> tokens;
    std::array<std::uint64_t, 2> known_and_all{0, mine.size()};
    for (std::size_t first = mine.first; first < mine.last; first += tokens.size()) {
        tokens.resize(std::min(std::size_t{1} << 20, mine.last - first));
        dataset.read(first, tokens);
        for (Token token : tokens) known_and_all[0] += map.known(token) ? 1U : 0U;
    }
    world.all_reduce_sum(std::span<std::uint64_t>(known_and_all));
    return static_cast<double>(known_and_all[0]) / static_cast<double>(known_and_all[1]);
}

VocabularyMap transferred_vocabulary(const LanguageModelSpec& spec, const TokenDataset& shards,
                                     const Communicator& world) {
    VocabularyMap map = together(world, [&] {
        const std::string& path = spec.source->path;
        return map_vocabulary(Tokenizer::from_json(read_checkpoint_info(path, true).tokenizer_json, path),
                              Tokenizer::from_json(shards.tokenizer_json(), spec.data));
    });
    const double share = known_share(map, shards, world);
    if (world.rank() == 0)
        fmt::print(stderr,
                   "transferred vocabulary: the model knows {} of {} tokens, {:.1f} % of those of {}; each other one "
                   "begins as the mean of the tokens that spell it\n",
                   map.known_count(), map.size(), 100 * share, spec.data);
    return map;
}

}  // namespace ulmpi
