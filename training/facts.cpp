#include "training/facts.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <functional>

#include "base/error.hpp"
#include "base/files/seal.hpp"
#include "base/fingerprint.hpp"
#include "base/quoted.hpp"

namespace ulmpi {
namespace {

using nlohmann::json;

json to_json(const TokenizerFacts& t) {
    return {{"fingerprint", t.fingerprint}, {"vocabulary", t.vocabulary}, {"end_of_text", t.end_of_text}};
}
TokenizerFacts tokenizer_from(const json& j) { return {j.at("fingerprint"), j.at("vocabulary"), j.at("end_of_text")}; }

json to_json(const ShardFacts& s) {
    return {{"first_file", s.first_file}, {"tokens", s.tokens}, {"tokenizer", to_json(s.tokenizer)}};
}
ShardFacts shards_from(const json& j) {
    return {j.at("first_file"), j.at("tokens"), tokenizer_from(j.at("tokenizer"))};
}

json to_json(const LabelledFacts& s) {
    return {
        {"classes", s.classes}, {"records", s.records}, {"tokens", s.tokens}, {"cut", s.cut}, {"longest", s.longest}};
}
LabelledFacts set_from(const json& j) {
    return {j.at("classes"), j.at("records"), j.at("tokens"), j.at("cut"), j.at("longest")};
}

json to_json(const CheckpointFacts& c) {
    return {{"path", c.path}, {"fingerprint", c.fingerprint}, {"record", ulmpi::to_json(c.record)}};
}
CheckpointFacts checkpoint_from(const json& j) {
    return {j.at("path"), j.at("fingerprint"), run_record_from(j.at("record"))};
}

}  // namespace

json to_json(const Facts& facts) {
    json j{{"ranks", facts.ranks},   {"threads", facts.threads}, {"resumed", facts.resumed},
           {"inputs", facts.inputs}, {"shards", json::object()}, {"sets", json::object()}};
    if (facts.source) j["source"] = to_json(*facts.source);
    if (facts.tokenizer) j["tokenizer"] = to_json(*facts.tokenizer);
    for (const auto& [name, shards] : facts.shards) j["shards"][name] = to_json(shards);
    for (const auto& [name, set] : facts.sets) j["sets"][name] = to_json(set);
    return j;
}

Facts facts_from(const json& j) {
    Facts facts;
    j.at("ranks").get_to(facts.ranks);
    j.at("threads").get_to(facts.threads);
    j.at("resumed").get_to(facts.resumed);
    j.at("inputs").get_to(facts.inputs);
    if (j.contains("source")) facts.source = checkpoint_from(j["source"]);
    if (j.contains("tokenizer")) facts.tokenizer = tokenizer_from(j["tokenizer"]);
    for (const auto& [name, shards] : j.at("shards").items()) facts.shards[name] = shards_from(shards);
    for (const auto& [name, set] : j.at("sets").items()) facts.sets[name] = set_from(set);
    return facts;
}

TokenizerFacts facts_of(const Tokenizer& tokenizer) {
    return {tokenizer.fingerprint(), tokenizer.vocabulary_size(), tokenizer.end_of_text()};
}

ShardFacts facts_of(const TokenDataset& dataset) {
    return {dataset.shard_path(0).string(),
            dataset.token_count(),
            {dataset.fingerprint(), dataset.vocabulary_size(), dataset.end_of_text()}};
}

LabelledFacts facts_of(const LabelledSet& set) {
    std::vector<std::uint32_t> longest = set.lengths();
    const std::size_t listed = std::min(longest.size(), LabelledFacts::most_listed);
    std::ranges::partial_sort(longest, longest.begin() + static_cast<std::ptrdiff_t>(listed), std::greater());
    longest.resize(listed);
    return {set.classes, set.size(), set.tokens.size(), set.cut, longest};
}

CheckpointFacts facts_of(const std::string& path, const CheckpointInfo& info) {
    const RunRecord record = record_of(path, info);
    check_usage(record.model.has_value(), "{} does not say what model it holds", path);
    return {path, model_fingerprint(info), record};
}

std::uint64_t model_fingerprint(const CheckpointInfo& info) {
    Fingerprint fingerprint;
    fingerprint.add(shape_as_stored(info.metadata));
    fingerprint.add(info.tokenizer_json);
    for (const TensorInfo& tensor : info.tensors) {
        fingerprint.add(tensor.name);
        for (std::uint64_t extent : tensor.shape) fingerprint.add(extent);
        fingerprint.add(tensor.crc32);
    }
    return fingerprint.value();
}

std::uint64_t shards_fingerprint(const TokenDataset& dataset) {
    Fingerprint fingerprint;
    for (std::size_t shard = 0; shard < dataset.shard_count(); ++shard) {
        const Seal seal = read_seal(dataset.shard_path(shard), token_shard_kind);
        fingerprint.add(seal.bytes);
        fingerprint.add(seal.crc32);
    }
    return fingerprint.value();
}

std::uint64_t file_fingerprint(const std::filesystem::path& file) {
    std::error_code failure;
    check_usage(std::filesystem::is_regular_file(file, failure), "there is no file {}", quoted(file));
    const std::uint64_t bytes = std::filesystem::file_size(file);
    Fingerprint fingerprint;
    fingerprint.add(bytes);
    fingerprint.add(crc32_of_file(file, 0, bytes));
    return fingerprint.value();
}

}  // namespace ulmpi
