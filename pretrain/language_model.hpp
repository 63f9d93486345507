#pragma once
// Stages 1 and 2: a language model is trained on token shards.

#include <memory>
#include <optional>

#include "data/lm_batches.hpp"
#include "data/token_dataset.hpp"
#include "pretrain/language_model_spec.hpp"
#include "training/trainer.hpp"

namespace ulmpi {

/// What scoring a set gave.
struct Score {
    double loss = 0;           ///< sum over all tokens, natural log
    std::uint64_t tokens = 0;  ///< every token of the set, the tail and the end-of-text tokens included
    std::uint64_t words = 0, bytes = 0;
};

/// Streams that a recurrent model scores side by side, whatever the layout: each begins with zeros.
constexpr std::size_t scoring_streams = 16;

/// Every token of the set is predicted once from up to `context` tokens before it, at least context - stride of them
/// (but at the set's beginning); by a recurrent model, with a stride of its context, from all tokens before it in one
/// of the few streams that the set is cut into. None if it was left off. Collective; the same on every rank.
std::optional<Score> score_dataset(RankModel& model, const TokenDataset& dataset, std::size_t stride,
                                   std::size_t micro_batch, bool show_progress, const LeaveOff& leave_off = {});

/// {"kind": kind, "loss":…, "perplexity":…, "word_perplexity":…, "bits_per_byte":…, "tokens":…, "words":…}
Record score_record(const std::string& kind, const Score& score);

/// Opens shards on every rank: rank 0 checks every byte, the others the seal. Collective; UsageError alike on all.
TokenDataset open_dataset(const std::string& path, const Communicator& world);

/// Rates of the groups of a language model: the last block learns at the full rate, each group below `factor` times
/// slower; what is above the blocks (an untied output, a bias of the output) at the full rate too.
std::vector<double> language_model_rates(double rate, std::size_t layers, double factor);

/// A recurrent model carries its states along streams of text.
ReadingOrder reading_order(const ModelConfig& model);

class LanguageModelTask : public TrainingTask {
public:
    /// The data sets must outlive this; `valid` may be null.
    LanguageModelTask(RankModel& model, const TokenDataset& train, const TokenDataset* valid,
                      const LanguageModelSpec& spec);
    std::uint64_t steps() const override { return rate_.steps; }
    StepPlan plan(std::uint64_t step) const override;
    double flops(std::uint64_t tokens) const override { return flops_per_token_ * static_cast<double>(tokens); }
    const char* loss_name() const override { return regularized_ ? "regularised loss" : "loss"; }
    bool evaluates() const override { return valid_ != nullptr; }
    std::optional<std::vector<Record>> evaluate(bool last, const LeaveOff& leave_off) override;

private:
    RankModel& model_;
    const TokenDataset* valid_;
    LmBatches batches_;
    std::size_t global_batch_, micro_batch_;
    double factor_, flops_per_token_;
    bool regularized_;
    RateConfig rate_;
};

/// `ulmpi pretrain …` and `ulmpi finetune lm …`. Returns the exit status.
int train_language_model(const LanguageModelStage& stage, std::span<const std::string> arguments,
                         const Communicator& world);
/// The same of what was asked for already.
int train_language_model(const LanguageModelRequest& asked, const StopSignals& signals, const Communicator& world);

}  // namespace ulmpi
