#include "data/token_dataset.hpp"

#include <algorithm>
#include <charconv>

#include "base/error.hpp"
#include "base/files/seal.hpp"
#include "base/quoted.hpp"
#include "data/shard_writer.hpp"

namespace ulmpi {
namespace {

std::uint64_t parse_fingerprint(const std::string& text) {
    std::uint64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value, 16);
    return value;
}

}  // namespace

TokenDataset::TokenDataset(const std::filesystem::path& path, SealCheck seal_check) {
    std::error_code failure;
    check_usage(std::filesystem::exists(path, failure), "there is no {}; make it with 'data shards'", quoted(path));
    if (!std::filesystem::is_directory(path, failure)) {
        add_shard(path, seal_check);
        return;
    }
    check_usage(std::filesystem::exists(path / shard_name(0), failure),
                "{} holds no token shards ({}); make them with 'data shards'", quoted(path), shard_name(0));
    while (!complete_) {
        const std::filesystem::path shard = path / shard_name(shards_.size());
        check_usage(std::filesystem::exists(shard, failure), "{} is missing; make the shards again", quoted(shard));
        add_shard(shard, seal_check);
    }
    check_usage(!std::filesystem::exists(path / shard_name(shards_.size()), failure),
                "{} does not belong to the {} shards before it; make them again",
                quoted(path / shard_name(shards_.size())), shards_.size());
}

void TokenDataset::add_shard(const std::filesystem::path& path, SealCheck seal_check) {
    if (seal_check == SealCheck::every_byte)
        verify_seal(path, token_shard_kind);
    else
        read_seal(path, token_shard_kind);
    Hdf5File file = Hdf5File::open(path);
    const std::uint64_t version = file.unsigned_attribute("/", "format_version");
    check_usage(version == 1, "{} has shard format {}, this program reads 1", quoted(path), version);

    const std::uint64_t vocabulary_size = file.unsigned_attribute("/", "vocabulary_size");
    const std::uint64_t fingerprint = parse_fingerprint(file.text_attribute("/", "tokenizer_fingerprint"));
    if (shards_.empty()) {
        vocabulary_size_ = vocabulary_size;
        fingerprint_ = fingerprint;
        end_of_text_ = static_cast<Token>(file.integer_attribute("/", "end_of_text"));
        tokenizer_json_ = file.read_text("/tokenizer");
    } else {
        check_usage(file.unsigned_attribute("/", "shard") == shards_.size() &&
                        file.unsigned_attribute("/", "first_token") == counts_.tokens,
                    "{} is not the continuation of the shards before it; make them again", quoted(path));
        check_usage(fingerprint == fingerprint_ && vocabulary_size == vocabulary_size_,
                    "{} was made with another tokenizer than the shards before it; make them again", quoted(path));
    }
    const CorpusCounts counts{.tokens = file.unsigned_attribute("/", "tokens"),
                              .documents = file.unsigned_attribute("/", "documents"),
                              .bytes = file.unsigned_attribute("/", "bytes"),
                              .words = file.unsigned_attribute("/", "words")};
    Hdf5Dataset tokens = file.dataset("/tokens");
    check(tokens.shape() == Dims{counts.tokens}, "{} holds another number of tokens than it says", quoted(path));
    complete_ = file.unsigned_attribute("/", "last") != 0;
    shards_.push_back({std::move(file), std::move(tokens), counts_.tokens, counts.tokens});
    counts_ += counts;
}

std::uint64_t windows_of(std::uint64_t tokens, std::uint64_t length, const std::filesystem::path& file) {
    check_usage(length > 0, "a window must hold at least one token");
    check_usage(tokens > length,
                "{} holds {} tokens, one window of {} needs {}; take more text or a shorter --seq-length", quoted(file),
                tokens, length, length + 1);
    return (tokens - 1) / length;
}

void TokenDataset::read(std::uint64_t first, std::span<Token> tokens) const {
    check(first <= token_count() && tokens.size() <= token_count() - first,
          "tokens {} to {} were asked for, there are {}", first, first + tokens.size(), token_count());
    auto shard = std::ranges::upper_bound(shards_, first, {}, &Shard::first_token);
    if (shard != shards_.begin()) --shard;
    while (!tokens.empty()) {
        const std::uint64_t within = first - shard->first_token;
        const std::size_t count = std::min<std::uint64_t>(tokens.size(), shard->token_count - within);
        const std::span<Token> part = tokens.first(count);
        shard->tokens.read({within}, {count}, part);
        // Negative ids cannot be stored; one beyond int32 comes out as its greatest value.
        const bool known = part.empty() || std::uint64_t(std::ranges::max(part)) < vocabulary_size_;
        check(known, "{} holds a token that is not in its vocabulary of {}, near token {}", quoted(shard->file.path()),
              vocabulary_size_, within);
        tokens = tokens.subspan(count);
        first += count;
        ++shard;
    }
}

std::vector<std::uint64_t> TokenDataset::document_starts(std::size_t shard) const {
    std::vector<std::uint64_t> starts = shards_.at(shard).file.read<std::uint64_t>("/documents");
    for (std::uint64_t& start : starts) start += shards_[shard].first_token;
    return starts;
}

}  // namespace ulmpi
