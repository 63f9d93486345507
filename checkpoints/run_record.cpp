#include "checkpoints/run_record.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/quoted.hpp"

namespace ulmpi {
namespace {

using nlohmann::json;

ClassifierRecord classifier_from(const json& j) {
    ClassifierRecord c;
    j.at("classes").get_to(c.classes);
    j.at("max_length").get_to(c.max_length);
    c.head = {.classes = c.classes.size(),
              .hidden = j.at("hidden"),
              .pooling = pooling_from(j.at("pooling").get<std::string>()),
              .norm = head_norm_from(j.at("norm").get<std::string>()),
              .dropout1 = j.at("dropout1"),
              .dropout2 = j.at("dropout2"),
              .wide = j.value("wide", false)};
    return c;
}

json to_json(const EnsembleRecord& e) {
    json of = json::array();
    for (const EnsembleRecord::Member& member : e.of)
        of.push_back({{"path", member.path}, {"step", member.step ? json(*member.step) : json()}});
    return {{"members", e.members}, {"network", e.network}, {"words", e.words}, {"of", of}};
}

EnsembleRecord ensemble_from(const json& j) {
    EnsembleRecord e{j.at("members"), j.at("network"), j.at("words")};
    for (const json& member : j.value("of", json::array())) {
        EnsembleRecord::Member& of = e.of.emplace_back(member.value("path", std::string()));
        if (const json step = member.value("step", json()); step.is_number()) of.step = step.get<std::uint64_t>();
    }
    return e;
}

json to_json(const SavedProgress& s) {
    json j = to_json(s.progress);
    j.update({{"seed", s.seed}, {"updates_by_group", s.updates_by_group}, {"complete", s.complete}});
    return j;
}

SavedProgress saved_from(const json& j) {
    return {progress_from(j), j.at("seed"), j.at("updates_by_group"), j.value("complete", false)};
}

}  // namespace

json to_json(const ClassifierRecord& c) {
    return {{"classes", c.classes},
            {"hidden", c.head.hidden},
            {"pooling", to_string(c.head.pooling)},
            {"norm", to_string(c.head.norm)},
            {"dropout1", c.head.dropout1},
            {"dropout2", c.head.dropout2},
            {"wide", c.head.wide},
            {"max_length", c.max_length}};
}

json to_json(const RunRecord& record) {
    json j{{"kind", record.kind}};
    if (!record.command.empty()) j["command"] = record.command;
    if (!record.lineage.empty()) j["lineage"] = record.lineage;
    if (!record.options.empty()) j["options"] = record.options;
    if (record.model) j["model"] = to_json(*record.model);
    if (record.classifier) j["classifier"] = to_json(*record.classifier);
    if (record.ensemble) j["ensemble"] = to_json(*record.ensemble);
    if (record.data)
        j["data"] = {
            {"path", record.data->path}, {"tokens", record.data->tokens}, {"fingerprint", record.data->fingerprint}};
    if (record.tokenizer_fingerprint) j["tokenizer_fingerprint"] = *record.tokenizer_fingerprint;
    if (record.saved) j["progress"] = to_json(*record.saved);
    return j;
}

RunRecord run_record_from(const json& j) {
    RunRecord record{.kind = j.value("kind", std::string()), .command = j.value("command", std::string())};
    if (j.contains("lineage")) record.lineage = j["lineage"];
    if (j.contains("options")) record.options = j["options"];
    if (j.contains("model")) record.model = model_config_from(j["model"]);
    if (j.contains("classifier")) record.classifier = classifier_from(j["classifier"]);
    if (j.contains("ensemble")) record.ensemble = ensemble_from(j["ensemble"]);
    if (j.contains("data"))
        record.data = DataRecord{j["data"].at("path"), j["data"].at("tokens"), j["data"].at("fingerprint")};
    if (j.contains("tokenizer_fingerprint")) record.tokenizer_fingerprint = j["tokenizer_fingerprint"];
    if (j.contains("progress")) record.saved = saved_from(j["progress"]);
    return record;
}

RunRecord record_of(const std::filesystem::path& file, const CheckpointInfo& info) {
    const auto refused = [&](const std::string& problem) {
        return UsageError(
            fmt::format("{} does not say of its run what it should ({}): it is damaged, or not one of "
                        "ulmpi's",
                        quoted(file), problem));
    };
    try {
        check_usage(info.metadata.is_object(), "nothing");
        return run_record_from(info.metadata);
    } catch (const json::exception& problem) {
        throw refused(json_problem(problem));
    } catch (const UsageError& problem) {
        throw refused(problem.what());
    }
}

json as_ensemble(json metadata, const EnsembleRecord& ensemble) {
    metadata.erase("progress");
    metadata["ensemble"] = to_json(ensemble);
    return metadata;
}

bool is_ensemble(const json& metadata) { return metadata.contains("ensemble"); }

bool names_family(const json& metadata) {
    const auto model = metadata.find("model");
    return model != metadata.end() && model->contains("architecture");
}

json as_slim(json metadata) {
    metadata["slim"] = true;
    return metadata;
}

json as_imported(json metadata, const std::string& from, const std::string& family) {
    metadata["imported"] = {{"from", from}, {"family", family}};
    return metadata;
}

std::optional<json> step_as_stored(const json& metadata) {
    const auto progress = metadata.find("progress");
    if (progress == metadata.end() || !progress->is_object()) return std::nullopt;
    return progress->value("step", json());
}

std::string shape_as_stored(const json& metadata) { return metadata.value("model", json()).dump(); }

}  // namespace ulmpi
