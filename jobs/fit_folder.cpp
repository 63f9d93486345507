#include "jobs/fit_folder.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "base/error.hpp"
#include "base/files/publish.hpp"
#include "base/quoted.hpp"

namespace ulmpi {
namespace fs = std::filesystem;
using nlohmann::json;

json to_json(const FitRecord& r) {
    json j{{"asked", r.asked},
           {"spent", r.spent},
           {"began", r.began},
           {"speed", to_json(r.speed)},
           {"plan", to_json(r.plan)},
           {"words_rows", r.words_rows},
           {"pseudo_labels", r.pseudo_labels},
           {"text_done", r.text_done},
           {"classifier_planned", r.classifier_planned},
           {"classifier_done", r.classifier_done},
           {"reported", r.reported}};
    if (r.baselines) j["baselines"] = *r.baselines;
    return j;
}

FitRecord fit_record_from(const json& j) {
    FitRecord r{j.at("asked"), j.at("spent"), j.at("began"), fit_speed_from(j.at("speed")),
                fit_plan_from(j.at("plan"))};
    if (j.contains("baselines")) r.baselines = j["baselines"];
    j.at("words_rows").get_to(r.words_rows);
    r.pseudo_labels = j.value("pseudo_labels", std::uint64_t{0});
    j.at("text_done").get_to(r.text_done);
    j.at("classifier_planned").get_to(r.classifier_planned);
    j.at("classifier_done").get_to(r.classifier_done);
    j.at("reported").get_to(r.reported);
    return r;
}

namespace {

std::optional<json> read_json(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    if (!in) return std::nullopt;
    json content = json::parse(in, nullptr, false);
    return content.is_object() ? std::optional(content) : std::nullopt;
}

// Nothing but what create() makes before the record is written.
bool is_new(const fs::path& root) {
    for (const fs::directory_entry& entry : fs::directory_iterator(root))
        if (entry.path().filename() != "text" && !entry.path().filename().string().starts_with('.')) return false;
    return true;
}

// When a file was written to last; 0 if it is not there.
double last_written(const fs::path& file) {
    std::error_code failure;
    const fs::file_time_type time = fs::last_write_time(file, failure);
    if (failure) return 0;
    return seconds_of(
        std::chrono::time_point_cast<std::chrono::system_clock::duration>(std::chrono::file_clock::to_sys(time)));
}

}  // namespace

std::string content_of(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

double seconds_of(std::chrono::system_clock::time_point time) {
    return std::chrono::duration<double>(time.time_since_epoch()).count();
}

namespace {

std::string name_of(const Network& network) {
    return network.fold > 0 ? fmt::format("fold-{}", network.fold) : fmt::format("member-{}", network.member);
}

}  // namespace

fs::path FitFolder::run(const Network& network) const { return root_ / "networks" / name_of(network); }
fs::path FitFolder::weights(const Network& network) const { return root_ / "networks" / (name_of(network) + ".h5"); }
fs::path FitFolder::held_out(const Network& network) const { return root_ / "networks" / (name_of(network) + ".json"); }
fs::path FitFolder::words_by(const Network& network) const {
    return root_ / "networks" / (name_of(network) + ".words");
}
fs::path FitFolder::words_held_out_by(const Network& network) const {
    return root_ / "networks" / (name_of(network) + ".words.json");
}

std::optional<FitRecord> FitFolder::begun(const json& asked) const {
    std::error_code failure;
    if (!fs::exists(root_, failure)) return std::nullopt;
    check_usage(fs::is_directory(root_, failure), "--run {} is not a folder", quoted(root_));
    const std::optional<json> found = read_json(record());
    check_usage(found || is_new(root_), "--run {} holds something else than a fit: name a new folder", quoted(root_));
    if (!found) return std::nullopt;
    FitRecord fit;
    try {
        fit = fit_record_from(*found);
    } catch (const json::exception&) {
        throw UsageError(fmt::format("{} is not what a fit has written: name a new folder by --run", quoted(record())));
    }
    for (const json& either : {asked, fit.asked})
        for (const auto& [name, value] : either.items())
            check_usage(fit.asked.value(name, json()) == asked.value(name, json()),
                        "{} holds a fit that began with another {}: give the same one to go on, or another "
                        "--run",
                        quoted(root_), name);
    double alive = fit.began;
    std::vector<fs::path> signs{record(), metrics(), language_model() / "metrics.jsonl"};
    for (const bool has_test : {false, true})
        for (const Network& network : networks_in_order(fit.plan.classifier.folds, has_test))
            signs.push_back(run(network) / "metrics.jsonl");
    for (const fs::path& sign : signs) alive = std::max(alive, last_written(sign));
    fit.spent += alive - fit.began;
    return fit;
}

FolderLock FitFolder::create() const {
    std::error_code failure;
    fs::create_directories(text(), failure);
    check_usage(!failure, "cannot make the folder {}: {}", quoted(text()), failure.message());
    return {text(), "wait for that fit, end it, or give another --run"};
}

void FitFolder::write(const FitRecord& fit) const { write_file(record(), to_json(fit).dump(1) + "\n"); }

}  // namespace ulmpi
