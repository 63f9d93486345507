#include "training/profile.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/files/publish.hpp"
#include "model/kernels/gemm.hpp"
#include "model/kernels/instruction_peak.hpp"

namespace ulmpi {

void add_profile_option(OptionTable& table, std::string& file) {
    table.add("profile", file,
              "writes a trace of every phase of every rank, for ui.perfetto.dev or chrome://tracing; default: none",
              "FILE");
}

void check_profile(const std::string& file) {
    if (file.empty()) return;
    const std::filesystem::path folder = std::filesystem::absolute(file).parent_path();
    std::error_code ignored;
    check_usage(!std::filesystem::is_directory(file, ignored) && ::access(folder.c_str(), W_OK) == 0,
                "--profile {} cannot be written: it is a folder, or its folder is missing or not writable", file);
}

void begin_profile(RankModel& model, const std::string& file) {
    // Rank 0 writes what all ranks kept, about 100 bytes a phase.
    constexpr std::size_t of_a_rank = 1 << 20, of_all = 1 << 22;
    if (!file.empty())
        model.timeline.trace(std::min(of_a_rank, of_all / static_cast<std::size_t>(model.topology.all.size())));
    model.timeline.restart();
}

namespace {

template <class Measure>
double sum_of_peaks(const Communicator& all, Measure measure) {
    all.barrier();
    double peak = measure();
    all.all_reduce_sum(std::span<double>(&peak, 1));
    return peak;
}

}  // namespace

double measure_gemm_peak(const RankModel& model, double seconds) {
    return sum_of_peaks(model.topology.all, [&] { return measure_gemm_peak(model.layout.threads, seconds); });
}

double measure_instruction_peak(const RankModel& model, double seconds) {
    return sum_of_peaks(model.topology.all, [&] {
        return measure_instruction_peak(model.layout.precision, model.layout.threads, seconds);
    });
}

std::string end_profile(const RankModel& model, const std::string& file, double flops) {
    const Communicator& all = model.topology.all;
    const double seconds = broadcast_value(model.timeline.seconds(), all, 0), gflops = flops / seconds * 1e-9;
    std::string text = phase_table(summarize(model.timeline, all));
    if (const std::optional<double> early = early_share(model.timeline, all))
        text += fmt::format("  {:.0f} % of the gradients' sums were there when backward ended\n", 100 * *early);
    std::string note;
    if (flops > 0) text += fmt::format("  {:.0f} GFLOP/s", gflops);
    if (!file.empty()) {
        const std::string trace = chrome_trace(model.timeline, all);
        if (all.rank() == 0) write_file(file, trace);
        int cut = model.timeline.cut() ? 1 : 0;
        all.all_reduce_max(std::span<int>(&cut, 1));
        const double peak = flops > 0 ? measure_gemm_peak(model, 0.3) : 0;
        if (peak > 0) text += fmt::format(", {:.0f} % of the GEMM peak of {:.0f}", 100 * gflops / peak, peak);
        if (cut != 0)
            note = fmt::format("  note: {} holds the beginning of the run, its first {} phases\n", file,
                               model.timeline.entries().size());
    }
    return text + (flops > 0 ? "\n" : "") + note;
}

}  // namespace ulmpi
