#pragma once
// Where a fit keeps what it makes, and what it remembers of itself when it is started again.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/files/folder_lock.hpp"
#include "checkpoints/run_folder.hpp"
#include "jobs/fit_plan.hpp"

namespace ulmpi {

/// RUN/fit.json. A stage that has begun keeps its plan.
struct FitRecord {
    nlohmann::json asked;  ///< what must be the same when it goes on: inputs' fingerprints, model, seed
    double spent = 0;      ///< seconds of the starts before this one
    double began = 0;      ///< when this start began, in seconds since 1970
    FitSpeed speed;
    FitPlan plan;
    std::optional<nlohmann::json> baselines = std::nullopt;  ///< once they are known
    std::uint64_t words_rows = 0;                            ///< that the model of words was fitted to
    std::uint64_t pseudo_labels = 0;                         ///< texts that were given one
    bool text_done = false;                                  ///< stage 2 has ended
    bool classifier_planned = false;                         ///< anew, for the time that stage 2 has left
    bool classifier_done = false;                            ///< the members are one file
    bool reported = false;
};

nlohmann::json to_json(const FitRecord& record);
FitRecord fit_record_from(const nlohmann::json& record);

/// The paths below RUN.
class FitFolder {
public:
    explicit FitFolder(std::filesystem::path root) : root_(std::move(root)) {}

    const std::filesystem::path& root() const { return root_; }
    std::filesystem::path record() const { return root_ / "fit.json"; }
    std::filesystem::path metrics() const { return root_ / "metrics.jsonl"; }
    std::filesystem::path report() const { return root_ / "report.txt"; }
    std::filesystem::path result() const { return root_ / "report.json"; }
    std::filesystem::path text() const { return root_ / "text"; }      ///< what the stages read, as files
    std::filesystem::path shards() const { return root_ / "shards"; }  ///< of stage 2's text
    std::filesystem::path language_model() const { return root_ / "language-model"; }
    std::filesystem::path rows(const std::string& name) const { return text() / (name + ".h5"); }
    std::filesystem::path words() const { return text() / "words.model"; }  ///< of the rows, as checkpoints have it
    std::filesystem::path words_held_out() const { return text() / "words.held-out"; }  ///< floats
    std::filesystem::path model() const { return root_ / whole_model; }                 ///< the classifier
    std::filesystem::path run(const Network& network) const;                            ///< of one,
    std::filesystem::path weights(const Network& network) const;   ///< its weights, when it is done,
    std::filesystem::path held_out(const Network& network) const;  ///< and what it said of its fold, if it has one;
    std::filesystem::path words_by(const Network& network) const;  ///< the linear model that it has taught,
    std::filesystem::path words_held_out_by(const Network& network) const;  ///< and what that said of its fold

    /// The record of the fit that has begun here, its seconds up to its last sign of life counted; none: nothing is
    /// here. UsageError if something else is, or a fit that was asked for something else.
    std::optional<FitRecord> begun(const nlohmann::json& asked) const;
    /// Makes the folder, and keeps other processes out of it.
    FolderLock create() const;
    void write(const FitRecord& record) const;

private:
    std::filesystem::path root_;
};

/// All bytes of a file; none of one that is not there.
std::string content_of(const std::filesystem::path& file);

/// Seconds since 1970.
double seconds_of(std::chrono::system_clock::time_point time);

}  // namespace ulmpi
