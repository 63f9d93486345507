#pragma once
// The stages that fit runs, as the commands `finetune lm` and `finetune classifier` with their options.

#include <filesystem>
#include <string>

#include "finetune/classifier_spec.hpp"
#include "jobs/fit_plan.hpp"
#include "jobs/fit_task.hpp"
#include "pretrain/language_model_spec.hpp"

namespace ulmpi {

/// What all stages of a fit are told alike.
class FitStages {
public:
    /// `table`: bound to `options`, after parse. Collective: whether all ranks can multiply bf16 decides the precision,
    /// where none was asked for.
    FitStages(const FitOptions& options, const OptionTable& table, const Communicator& world);

    const LayoutOptions& layout() const { return layout_; }
    int threads() const { return threads_; }  ///< of a rank
    /// Stage 2 on the shards in `data`. `walltime` as the option has it.
    LanguageModelRequest language_model(const TextPlan& plan, const std::filesystem::path& data,
                                        const std::filesystem::path& run, const std::string& walltime) const;
    /// Stage 3 on the rows in `train`. Members of an ensemble differ by `more_seed`.
    ClassifierRequest classifier(const ClassifierPlan& plan, const std::string& init_from, const std::string& train,
                                 const std::filesystem::path& run, const std::string& walltime,
                                 std::uint64_t more_seed = 0) const;

private:
    const FitOptions& options_;
    const FitRecipe recipe_;
    LayoutOptions layout_;
    int threads_;
    std::vector<std::string> layout_words_;  ///< of the options of the layout that were given
};

}  // namespace ulmpi
