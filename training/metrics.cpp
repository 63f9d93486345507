#include "training/metrics.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <fstream>

#include "base/error.hpp"
#include "base/quoted.hpp"

namespace ulmpi {
namespace {

// The bytes of the leading whole lines whose step does not exceed `step`.
std::uint64_t length_to_keep(const std::filesystem::path& path, std::uint64_t step) {
    std::ifstream in(path, std::ios::binary);
    std::uint64_t keep = 0;
    for (std::string line; std::getline(in, line) && !in.eof(); keep += line.size() + 1) {
        const auto record = nlohmann::json::parse(line, nullptr, false);
        if (record.is_discarded() || record.value("step", std::uint64_t{0}) > step) break;
    }
    return keep;
}

// Every whole record of that step.
template <class Body>
void for_each_of(const std::filesystem::path& path, std::uint64_t step, Body body) {
    std::ifstream in(path, std::ios::binary);
    for (std::string line; std::getline(in, line);) {
        const auto record = nlohmann::json::parse(line, nullptr, false);
        if (!record.is_discarded() && record.value("step", std::uint64_t{0}) == step) body(record);
    }
}

}  // namespace

bool holds_evaluation(const std::filesystem::path& path, std::uint64_t step, bool of_best) {
    bool holds = false;
    for_each_of(path, step, [&](const nlohmann::json& record) {
        const std::string kind = record.value("kind", "");
        holds = holds || ((kind == "valid" || kind == "test") && (!of_best || record.contains("of_step")));
    });
    return holds;
}

std::optional<double> validation_loss(const std::filesystem::path& path, std::uint64_t step) {
    std::optional<double> loss;
    for_each_of(path, step, [&](const nlohmann::json& record) {
        if (record.value("kind", "") == "valid" && record.contains("loss") && record["loss"].is_number())
            loss = record["loss"].get<double>();
    });
    return loss;
}

Record number(double value) { return std::strtod(fmt::format("{:.9g}", value).c_str(), nullptr); }

MetricsFile::MetricsFile(const std::filesystem::path& path, std::uint64_t step) : file_(path, O_WRONLY | O_CREAT) {
    check(file_.is_open(), "cannot write {}: {}", quoted(path), system_reason());
    length_ = length_to_keep(path, step);
    file_.truncate(length_);
}

void MetricsFile::write(const Record& record) {
    const std::string line = record.dump() + "\n";
    file_.write_at(length_, line.data(), line.size());
    length_ += line.size();
}

void MetricsFile::sync() { file_.sync(); }

}  // namespace ulmpi
