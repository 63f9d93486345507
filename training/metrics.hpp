#pragma once
// RUN/metrics.jsonl: what a run tells programs, a JSON object a line, kind first.

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "base/files/descriptor.hpp"

namespace ulmpi {

/// Keys in the order in which they were put.
using Record = nlohmann::ordered_json;

/// A real number with enough digits to tell two floats apart (%.9g).
Record number(double value);

/// Whether a file of metrics holds an evaluation ("valid" or "test") of that step; `of_best`: of the best model, which
/// had become that step's (RunOptions::early_stop).
bool holds_evaluation(const std::filesystem::path& path, std::uint64_t step, bool of_best = false);

/// The validation loss that a file of metrics holds of that step; none, or one that is no number, is none.
std::optional<double> validation_loss(const std::filesystem::path& path, std::uint64_t step);

/// Appends records; one rank. Lines of steps after `step` are cut when opened: they are about to be run again.
class MetricsFile {
public:
    MetricsFile(const std::filesystem::path& path, std::uint64_t step);
    /// Throws Error when the line cannot be written.
    void write(const Record& record);
    /// Until all lines are on the disk. Another thread may write meanwhile.
    void sync();

private:
    FileDescriptor file_;
    std::uint64_t length_ = 0;
};

}  // namespace ulmpi
