#include "data/vocabulary_map.hpp"

#include <algorithm>
#include <string_view>
#include <unordered_map>

namespace ulmpi {

std::size_t VocabularyMap::known_count() const {
    return static_cast<std::size_t>(
        std::ranges::count_if(sources, [](const std::vector<Token>& tokens) { return tokens.size() == 1; }));
}

VocabularyMap map_vocabulary(const Tokenizer& from, const Tokenizer& to) {
    const Vocabulary &theirs = from.vocabulary(), &ours = to.vocabulary();
    std::unordered_map<std::string_view, Token> words, specials;
    for (std::size_t id = 0; id < theirs.pieces.size(); ++id)
        (theirs.special[id] ? specials : words).emplace(theirs.pieces[id], static_cast<Token>(id));

    VocabularyMap map{theirs.pieces.size(), std::vector<std::vector<Token>>(ours.pieces.size())};
    BpeCache cache;
    for (std::size_t id = 0; id < ours.pieces.size(); ++id) {
        const auto& same_kind = ours.special[id] ? specials : words;
        const auto token = static_cast<Token>(id);
        if (const auto same = same_kind.find(ours.pieces[id]); same != same_kind.end())
            map.sources[id] = {same->second};
        else if (!ours.special[id])
            from.encode(to.decode({&token, 1}), map.sources[id], cache);
    }
    return map;
}

}  // namespace ulmpi
