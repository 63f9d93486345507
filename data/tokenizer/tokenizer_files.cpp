// The files of a tokenizer: Hugging Face's tokenizer.json, and GPT-2's vocabulary and merges.

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "base/error.hpp"
#include "base/files/publish.hpp"
#include "base/quoted.hpp"
#include "data/tokenizer/bpe_bytes.hpp"
#include "data/tokenizer/tokenizer.hpp"

namespace ulmpi {

namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr std::size_t largest_file = std::size_t{1} << 28;

constexpr const char* mend = "give a byte-level BPE tokenizer like GPT-2's, or train one with 'ulmpi data tokenizer'";

/// A name that a file gives, fit for a message: quoted, short, of one line.
std::string show(const std::string& name) {
    return Json(name.substr(0, 60)).dump(-1, ' ', false, Json::error_handler_t::replace);
}

[[noreturn]] void refuse(const std::string& origin, const std::string& what) {
    throw UsageError(origin + ": " + what + "; " + mend);
}

std::string read_file(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    check_usage(file.is_open(), "cannot open the tokenizer file {}; check the path and your rights to it",
                quoted(path));
    std::string text;
    std::string block(1 << 16, '\0');
    while (file.read(block.data(), static_cast<std::streamsize>(block.size())), file.gcount() > 0) {
        text.append(block, 0, static_cast<std::size_t>(file.gcount()));
        if (text.size() > largest_file) refuse(quoted(path), "a file of more than 256 MiB is no tokenizer");
    }
    check_usage(!file.bad(), "reading the tokenizer file {} failed; check the disk", quoted(path));
    if (text.empty()) refuse(quoted(path), "the file is empty");
    return text;
}

Json parse(std::string_view text, const std::string& origin) {
    try {
        return Json::parse(text);
    } catch (const Json::exception& error) {
        refuse(origin, "not valid JSON (" + json_problem(error) + ")");
    }
}

/// The vocabulary while its ids are read: each id of 0 .. size - 1 must come up exactly once.
class VocabularyReader {
public:
    explicit VocabularyReader(const std::string& origin) : origin_(origin) {}

    void add(const std::string& piece, const Json& id, bool special) {
        if (!id.is_number_integer()) refuse(origin_, "the id of token " + show(piece) + " is not an integer");
        const auto [known, fresh] = ids_.emplace(piece, id.get<std::int64_t>());
        if (!fresh && known->second != id.get<std::int64_t>()) refuse(origin_, "token " + show(piece) + " has two ids");
        if (special) special_.push_back(piece);
    }

    void add_all(const Json& vocabulary) {
        if (!vocabulary.is_object()) refuse(origin_, "the vocabulary is not an object of tokens and ids");
        for (const auto& [piece, id] : vocabulary.items()) add(piece, id, false);
    }

    Vocabulary dense() const {
        Vocabulary vocabulary;
        const std::size_t size = ids_.size();
        vocabulary.pieces.resize(size);
        vocabulary.special.resize(size);
        std::vector<bool> seen(size);
        for (const auto& [piece, id] : ids_) {
            if (id < 0 || id >= static_cast<std::int64_t>(size))
                refuse(origin_, "the ids are not 0 to " + std::to_string(size - 1) + " without gaps: token " +
                                    show(piece) + " has id " + std::to_string(id));
            const auto at = static_cast<std::size_t>(id);
            if (seen[at])
                refuse(origin_, "tokens " + show(piece) + " and " + show(vocabulary.pieces[at]) + " both have id " +
                                    std::to_string(id));
            seen[at] = true;
            vocabulary.pieces[at] = piece;
        }
        for (const std::string& piece : special_) vocabulary.special[static_cast<std::size_t>(ids_.at(piece))] = true;
        return vocabulary;
    }

    /// The merge of two pieces, the rank-th from 0.
    BpeMerge merge(const std::string& left, const std::string& right, std::size_t rank) const {
        const auto id = [&](const std::string& piece) {
            const auto found = ids_.find(piece);
            if (found == ids_.end() || found->second < 0 || found->second > INT32_MAX)
                refuse(origin_, "merge " + std::to_string(rank + 1) + " names " + show(piece) +
                                    ", which is not in the vocabulary");
            return static_cast<Token>(found->second);
        };
        return {id(left), id(right), id(left + right)};
    }

    /// "left right", as GPT-2's file and old tokenizer.json have it.
    BpeMerge merge(const std::string& line, std::size_t rank) const {
        const std::size_t space = line.find(' ');
        if (space == std::string::npos || line.find(' ', space + 1) != std::string::npos)
            refuse(origin_, "merge " + std::to_string(rank + 1) + " (" + show(line) +
                                ") is not two tokens with a space between");
        return merge(line.substr(0, space), line.substr(space + 1), rank);
    }

private:
    std::string origin_;
    std::unordered_map<std::string, std::int64_t> ids_;
    std::vector<std::string> special_;
};

/// Refuses the part of a tokenizer.json called `name` unless it is absent, null or ByteLevel.
void require_byte_level_part(const Json& file, const char* name, const std::string& origin) {
    const auto part = file.find(name);
    if (part == file.end() || part->is_null()) return;
    const std::string type = part->is_object() ? part->value("type", "unnamed") : "malformed";
    if (type != "ByteLevel")
        refuse(origin, std::string("its ") + name + " is " + show(type) + ", which is not implemented");
}

/// A template that puts nothing before or after a text, as transformers writes it where there was none.
bool is_text_alone(const Json& part) {
    if (!part.is_object() || part.value("type", "") != "TemplateProcessing") return false;
    const Json single = part.value("single", Json());
    return single.is_array() && single.size() == 1 && single[0].is_object() && single[0].contains("Sequence");
}

void require_byte_level_words(const Json& file, const std::string& origin) {
    const auto normalizer = file.find("normalizer");
    if (normalizer != file.end() && !normalizer->is_null())
        refuse(origin, "it has a normalizer" +
                           (normalizer->is_object() ? " (" + show(normalizer->value("type", "unnamed")) + ")" : "") +
                           ", and none is implemented");
    if (!file.contains("pre_tokenizer") || file["pre_tokenizer"].is_null())
        refuse(origin, "it has no pre_tokenizer, and only 'ByteLevel' is implemented");
    require_byte_level_part(file, "pre_tokenizer", origin);
    if (!is_text_alone(file.value("post_processor", Json()))) require_byte_level_part(file, "post_processor", origin);
    require_byte_level_part(file, "decoder", origin);
    const Json& words = file["pre_tokenizer"];
    if (words.value("add_prefix_space", true))
        refuse(origin, "its pre_tokenizer puts a space before the text (add_prefix_space), which is not implemented");
    if (!words.value("use_regex", true))
        refuse(origin, "its pre_tokenizer does not split into words (use_regex false), which is not implemented");
}

void require_bpe(const Json& model, const std::string& origin) {
    if (!model.is_object()) refuse(origin, "it has no model");
    const bool looks_like_bpe = model.contains("merges") && model.contains("vocab") && model["vocab"].is_object();
    const std::string type = model.value("type", looks_like_bpe ? "BPE" : "unknown");
    if (type != "BPE") refuse(origin, "its model is " + show(type) + ", and only \"BPE\" is implemented");
    if (!looks_like_bpe || !model["merges"].is_array()) refuse(origin, "its model lacks a 'vocab' or 'merges'");
    for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
        const auto part = model.find(name);
        if (part != model.end() && !part->is_null() && *part != "")
            refuse(origin, std::string("its model has a ") + name + ", which is not implemented");
    }
    const auto dropout = model.find("dropout");
    if (dropout != model.end() && !dropout->is_null() && *dropout != 0.0)
        refuse(origin, "its model has a dropout, which is not implemented");
    if (model.value("ignore_merges", false))
        refuse(origin, "its model takes whole words before merges (ignore_merges), which is not implemented");
}

Tokenizer read_tokenizer_json(const Json& file, const std::string& origin) {
    if (!file.is_object() || !file.contains("model")) {
        refuse(origin, file.is_object() && file.contains("!")
                           ? "this is a vocabulary alone: give the folder that holds it and its merges"
                           : "this is not a tokenizer.json: it has no model");
    }
    const Json& model = file["model"];
    require_bpe(model, origin);
    require_byte_level_words(file, origin);

    VocabularyReader reader(origin);
    reader.add_all(model["vocab"]);
    if (file.contains("added_tokens") && !file["added_tokens"].is_null()) {
        if (!file["added_tokens"].is_array()) refuse(origin, "'added_tokens' is not a list");
        for (const Json& token : file["added_tokens"]) {
            const std::string piece = token.at("content").get<std::string>();
            if (!token.value("special", false))
                refuse(origin, "its added token " + show(piece) +
                                   " is not special and would be cut out of the text, which is not implemented");
            reader.add(piece, token.at("id"), true);
        }
    }
    Vocabulary vocabulary = reader.dense();
    vocabulary.merges.reserve(model["merges"].size());
    for (const Json& merge : model["merges"]) {
        const std::size_t rank = vocabulary.merges.size();
        if (merge.is_string()) {
            vocabulary.merges.push_back(reader.merge(merge.get<std::string>(), rank));
        } else if (merge.is_array() && merge.size() == 2) {
            vocabulary.merges.push_back(reader.merge(merge[0].get<std::string>(), merge[1].get<std::string>(), rank));
        } else {
            refuse(origin, "merge " + std::to_string(rank + 1) + " is neither a string nor a pair");
        }
    }
    return Tokenizer(std::move(vocabulary), origin);
}

/// The first of `names` that the folder holds; empty if none.
fs::path find_in(const fs::path& folder, std::initializer_list<const char*> names) {
    std::error_code ignored;
    for (const char* name : names)
        if (fs::exists(folder / name, ignored)) return folder / name;
    return {};
}

// In GPT-2's files nothing says which tokens are special: they are those that are neither a byte nor come from a merge.
Tokenizer load_gpt2(const fs::path& vocabulary_path, const fs::path& merges_path) {
    const std::string origin = quoted(vocabulary_path);
    VocabularyReader reader(origin);
    reader.add_all(parse(read_file(vocabulary_path), origin));
    Vocabulary vocabulary = reader.dense();

    std::string lines = read_file(merges_path);
    for (std::size_t begin = 0; begin < lines.size();) {
        const std::size_t end = std::min(lines.find('\n', begin), lines.size());
        std::string line = lines.substr(begin, end - begin);
        if (line.ends_with('\r')) line.pop_back();
        if (!line.empty() && !(begin == 0 && line.starts_with("#version")))
            vocabulary.merges.push_back(reader.merge(line, vocabulary.merges.size()));
        begin = end + 1;
    }
    std::vector<bool> reached(vocabulary.pieces.size());
    for (const BpeMerge& merge : vocabulary.merges) reached[static_cast<std::size_t>(merge.merged)] = true;
    for (std::size_t id = 0; id < reached.size(); ++id) {
        const auto bytes = from_byte_level(vocabulary.pieces[id]);
        vocabulary.special[id] = !reached[id] && !(bytes && bytes->size() == 1);
    }
    return Tokenizer(std::move(vocabulary), origin);
}

}  // namespace

Tokenizer Tokenizer::from_json(std::string_view json, const std::string& origin) {
    const Json file = parse(json, origin);
    try {
        return read_tokenizer_json(file, origin);
    } catch (const Json::exception& error) {  // a value of an unexpected type
        refuse(origin, "the file is malformed (" + json_problem(error) + ")");
    }
}

Tokenizer Tokenizer::load(const std::filesystem::path& path) {
    std::error_code ignored;
    check_usage(fs::exists(path, ignored), "no tokenizer at {}; check the path", quoted(path));
    if (!fs::is_directory(path, ignored)) return from_json(read_file(path), quoted(path));
    if (const fs::path whole = find_in(path, {"tokenizer.json"}); !whole.empty())
        return from_json(read_file(whole), quoted(whole));
    const fs::path vocabulary = find_in(path, {"vocab.json", "encoder.json"});
    const fs::path merges = find_in(path, {"merges.txt", "vocab.bpe"});
    check_usage(!vocabulary.empty() && !merges.empty(),
                "the folder {} holds no tokenizer: neither tokenizer.json nor a vocabulary (vocab.json, encoder.json) "
                "with its merges (merges.txt, vocab.bpe); check the path",
                quoted(path));
    return load_gpt2(vocabulary, merges);
}

std::string Tokenizer::to_json() const {
    const auto json_string = [](const std::string& piece) { return Json(piece).dump(); };
    const std::string byte_level =
        R"({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true})";
    std::string json =
        "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  \"added_tokens\": [";
    const char* separator = "\n";
    for (std::size_t id = 0; id < vocabulary_size(); ++id) {
        if (!vocabulary_.special[id]) continue;
        json += separator + ("    {\"id\": " + std::to_string(id)) +
                ", \"content\": " + json_string(vocabulary_.pieces[id]) +
                R"(, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})";
        separator = ",\n";
    }
    json += "\n  ],\n  \"normalizer\": null,\n  \"pre_tokenizer\": " + byte_level +
            ",\n  \"post_processor\": null,\n  \"decoder\": " + byte_level +
            ",\n  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": null,\n"
            "    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n    \"fuse_unk\": false,\n"
            "    \"byte_fallback\": false,\n    \"ignore_merges\": false,\n    \"vocab\": {";
    separator = "\n";
    for (std::size_t id = 0; id < vocabulary_size(); ++id) {
        json += separator + ("      " + json_string(vocabulary_.pieces[id])) + ": " + std::to_string(id);
        separator = ",\n";
    }
    json += "\n    },\n    \"merges\": [";
    separator = "\n";
    for (const BpeMerge& merge : vocabulary_.merges) {
        const auto piece = [&](Token id) { return json_string(vocabulary_.pieces[static_cast<std::size_t>(id)]); };
        json += separator + ("      [" + piece(merge.left)) + ", " + piece(merge.right) + "]";
        separator = ",\n";
    }
    return json + "\n    ]\n  }\n}\n";
}

void Tokenizer::save(const std::filesystem::path& path) const { write_file(path, to_json()); }

}  // namespace ulmpi
