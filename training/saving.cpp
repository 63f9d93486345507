#include "training/saving.hpp"

#include <fmt/format.h>

#include <system_error>

#include "base/quoted.hpp"
#include "training/resuming.hpp"

namespace ulmpi {
namespace {

std::string seconds_text(double seconds) {
    return seconds < 100 ? fmt::format("{:.3g} s", seconds) : format_duration(seconds);
}

// Removing a large file takes a good part of a second: nobody waits for it, and nothing hangs on it.
void prune_or_say(const RunFolder& folder, const Keeping& keeping, std::uint64_t step) {
    try {
        folder.prune(keeping, step);
    } catch (const Error& failure) {
        fmt::print(stderr, "note: {}\n", failure.what());
    }
}

std::string what_is_left(const RunOptions& run) try {
    const std::vector<std::filesystem::path> left = RunFolder(run.run).checkpoints();
    return left.empty()
               ? "; the run has no other"
               : fmt::format("; when that is mended, {} goes on from {}", command_to_go_on(run), quoted(left.back()));
} catch (const Error&) {  // nor can the folder be read
    return "";
}

// Adds the seconds that it lives, while the timeline is in the phase of saving.
class Waiting {
public:
    Waiting(Timeline& timeline, double& seconds) : phase_(&timeline, Phase::save), seconds_(seconds) {}
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;
    ~Waiting() { seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count(); }

private:
    During phase_;
    double& seconds_;
    std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace

std::string save_summary(const SaveTally& t, SaveMode mode, std::size_t memory) {
    if (t.saved + t.failed == 0) return "";
    std::string text = fmt::format("saved {} checkpoint{}", t.saved, t.saved == 1 ? "" : "s");
    if (t.saved > 0)
        text += fmt::format(" of {}: {}{}, {}/s", format_bytes(t.bytes / t.saved),
                            seconds_text(t.seconds / static_cast<double>(t.saved)), t.saved == 1 ? "" : " each",
                            format_bytes(static_cast<std::uint64_t>(static_cast<double>(t.bytes) / t.seconds)));
    if (t.failed > 0) text += fmt::format("; {} failed", t.failed);
    if (mode == SaveMode::sync) return text;
    if (t.between > 0)
        text += fmt::format("; in the background: steps waited {} for each",
                            seconds_text(t.waited / static_cast<double>(t.between)));
    return text + fmt::format("; their copies take {} on a rank", format_bytes(memory));
}

Saving::Saving(RankModel& model, const RunOptions& run, Surroundings surroundings, const Progress& start, Pace& pace,
               ProgressLine& bar)
    : model_(model),
      run_(run),
      surroundings_(std::move(surroundings)),
      pace_(pace),
      bar_(bar),
      folder_(run.run),
      interval_(save_interval_from(run.save_interval)),
      mode_(save_mode_from(run.save_mode)),
      leader_(model.topology.all.rank() == 0),
      writer_(model.store, model.moments(), model.topology, mode_, model.layout.threads),
      memory_(writer_.memory()),
      begun_step_(start.step) {
    // Of a run that goes on from a checkpoint elsewhere, or from one that stayed longer, they may not be here.
    const auto is_here = [&](std::uint64_t step) {
        return broadcast_value(std::filesystem::exists(folder_.checkpoint_path(step)), model.topology.all, 0);
    };
    if (start.step > 0 && !is_here(start.step)) begun_step_.reset();
    if (start.best && is_here(start.best->step)) best_ = start.best;
    model.topology.all.all_reduce_max(std::span<std::size_t>(&memory_, 1));
    pace_.save_took(
        guessed_save_seconds((model.optimizer->average().empty() ? 12 : 16) * static_cast<double>(model.parameters())));
}

void Saving::evaluated(std::uint64_t step, double loss) {
    loss = broadcast_value(loss, model_.topology.all, 0);
    if (!is_better(loss, best_)) return;
    const Waiting waiting(model_.timeline, tally_.waited);
    finish();  // what is under way may be better still
    if (is_better(loss, best_)) next_best_ = BestStep{step, loss};
}

// Rank 0's clock decides for all.
bool Saving::due(std::uint64_t step) const {
    if (next_best_) return true;
    if (!is_behind(step)) return false;
    if (interval_.steps > 0) return step % interval_.steps == 0;
    const double seconds = std::chrono::duration<double>(Clock::now() - last_save_).count();
    return interval_.seconds > 0 && broadcast_value(seconds, model_.topology.all, 0) >= interval_.seconds;
}

void Saving::save(SavedProgress now, bool last) {
    Progress& progress = now.progress;
    double seconds = 0;
    {
        const Waiting waiting(model_.timeline, seconds);
        finish();
        saving_best_ = std::exchange(next_best_, std::nullopt);
        progress.best = saving_best_ ? saving_best_ : best_;
        begun_step_ = progress.step;
        RunRecord record = surroundings_.record;
        record.saved = now;
        const Keeping keeping{run_.keep_last, run_.keep_every,
                              progress.best ? std::optional(progress.best->step) : std::nullopt};
        const auto prune = [this, keeping, step = progress.step] {
            const auto remove = [this, keeping, step] { prune_or_say(folder_, keeping, step); };
            try {
                pruning_ = std::async(std::launch::async, remove);
            } catch (const std::system_error&) {  // no more threads
                remove();
            }
        };
        if (leader_) folder_.restore_checkpoint_folder();
        model_.share_states();
        writer_.begin({folder_.checkpoint_path(progress.step), to_json(record), surroundings_.tokenizer_json,
                       surroundings_.flush, prune, surroundings_.wide});
        if (last || mode_ == SaveMode::sync) take(writer_.finish(), last);
        last_save_ = Clock::now();
    }
    if (last) return;
    ++tally_.between;
    tally_.waited += seconds;
}

void Saving::look() {
    if (!under_way()) return;
    const Waiting waiting(model_.timeline, tally_.waited);
    if (const std::optional<SaveResult> result = writer_.look()) take(*result, false);
}

std::optional<BestStep> Saving::best_known() const {
    if (next_best_) return next_best_;
    return under_way() && saving_best_ ? saving_best_ : best_;
}

void Saving::finish() {
    if (under_way()) take(writer_.finish(), false);
}

void Saving::take(const SaveResult& result, bool last) {
    if (!result.failure) {
        if (saving_best_) best_ = saving_best_;
        pace_.save_took(result.seconds);
        ++tally_.saved;
        tally_.bytes += result.bytes;
        tally_.seconds += result.seconds;
        return;
    }
    bar_.clear();
    if (last) throw AgreedError("the last checkpoint could not be saved: " + *result.failure + what_is_left(run_));
    ++tally_.failed;
    if (leader_)
        fmt::print(stderr, "note: the checkpoint of step {} could not be saved ({}); the run goes on\n", *begun_step_,
                   *result.failure);
}

}  // namespace ulmpi
