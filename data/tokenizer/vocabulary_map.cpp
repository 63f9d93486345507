#include "data/tokenizer/vocabulary_map.hpp"

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
    std::unordered_map<std::string_view, Token> pieces;  // the name of a special token is never a word of text
    for (std::size_t id = 0; id < theirs.pieces.size(); ++id) pieces.emplace(theirs.pieces[id], static_cast<Token>(id));

    VocabularyMap map{theirs.pieces.size(), std::vector<std::vector<Token>>(ours.pieces.size())};
    BpeCache cache;
    for (std::size_t id = 0; id < ours.pieces.size(); ++id) {
        const auto token = static_cast<Token>(id);
        if (const auto same = pieces.find(ours.pieces[id]); same != pieces.end())
            map.sources[id] = {same->second};
        else if (!ours.special[id])
            from.encode(to.decode({&token, 1}), map.sources[id], cache);
    }
    return map;
}

}  // namespace ulmpi
