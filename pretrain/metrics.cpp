#include "pretrain/metrics.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "parallel/error.hpp"

namespace ulmpi {
namespace {

// The bytes of the leading whole lines whose step does not exceed `step`.
std::uintmax_t length_to_keep(const std::filesystem::path& path, std::uint64_t step) {
    std::ifstream in(path, std::ios::binary);
    std::uintmax_t keep = 0;
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

bool holds_evaluation(const std::filesystem::path& path, std::uint64_t step) {
    bool holds = false;
    for_each_of(path, step, [&](const nlohmann::json& record) {
        const std::string kind = record.value("kind", "");
        holds = holds || kind == "valid" || kind == "test";
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

MetricsFile::MetricsFile(const std::filesystem::path& path, std::uint64_t step) : path_(path) {
    if (std::filesystem::exists(path)) std::filesystem::resize_file(path, length_to_keep(path, step));
    file_ = std::fopen(path.c_str(), "ab");
    check(file_ != nullptr, fmt::format("{} cannot be written: {}", path.string(), std::strerror(errno)));
}

MetricsFile::~MetricsFile() {
    if (file_ != nullptr) std::fclose(file_);
}

void MetricsFile::write(const Record& record) {
    const std::string line = record.dump() + "\n";
    check(std::fwrite(line.data(), 1, line.size(), file_) == line.size() && std::fflush(file_) == 0,
          fmt::format("{} cannot be written: {}", path_.string(), std::strerror(errno)));
}

void MetricsFile::sync() {
    check(fsync(fileno(file_)) == 0, fmt::format("{} cannot be written: {}", path_.string(), std::strerror(errno)));
}

}  // namespace ulmpi
