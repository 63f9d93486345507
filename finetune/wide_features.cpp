#include "finetune/wide_features.hpp"

#include <fmt/format.h>

#include "base/progress.hpp"
#include "base/slice.hpp"
#include "parallel/run_main.hpp"

namespace ulmpi {
namespace {

std::string_view text_of(std::span<const std::uint8_t> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// From here on no rank needs the texts.
void drop_texts(ClassifierSets& sets) {
    const auto drop = [](LabelledSet& set) { std::vector<std::string>().swap(set.texts); };
    drop(sets.train);
    if (sets.valid) drop(*sets.valid);
    if (sets.test) drop(*sets.test);
}

/// Rank 0's on every rank.
WideFeatures restored(const WideContent& stored, const ClassifierSpec& spec, const LabelledSet& train,
                      const Communicator& world) {
    const std::string bytes = broadcast_text(std::string(text_of(stored.model)), world, 0);
    std::vector<float> held_out = stored.said;
    held_out.resize(broadcast_value<std::uint64_t>(held_out.size(), world, 0));
    world.broadcast(std::span<float>(held_out), 0);
    return together(world, [&] {
        LinearModel model = LinearModel::from_bytes(bytes);
        check_usage(model.classes() == spec.classes.size() && held_out.size() == train.size() * spec.classes.size(),
                    "the wide features of {} are not those of {}", spec.source->path, spec.train);
        return WideFeatures{std::move(model), {{bytes.begin(), bytes.end()}, held_out}, {held_out, {}, {}}};
    });
}

}  // namespace

std::size_t WideFeatures::bytes() const {
    return model.memory_bytes() + content.bytes() +
           (scores.train.size() + scores.valid.size() + scores.test.size()) * sizeof(float);
}

std::string WideFeatures::description() const {
    const LinearSummary& summary = model.summary();
    return fmt::format("wide features: {} n-grams of 1 to {} words in {} texts, {}; error {:.1f} % on held-out texts",
                       format_count(static_cast<double>(model.columns())), model.kinds().order, summary.rows,
                       format_bytes(bytes()), 100 * summary.error);
}

WideFeatures wide_features(ClassifierSets& sets, const ClassifierSpec& spec, const WideContent& stored,
                           const Communicator& world) {
    const bool fitted = broadcast_value(stored.empty(), world, 0);
    LinearOptions options{.seed = spec.training.seed, .threads = spec.layout.threads};
    if (spec.balanced) options.class_weights = balanced_class_weights(sets.train);
    const auto fit = [&] {
        LinearFit made = fit_linear(sets.train.texts, sets.train.labels, spec.classes.size(), options, world);
        const std::string bytes = made.model.bytes();
        return WideFeatures{
            std::move(made.model), {{bytes.begin(), bytes.end()}, made.held_out}, {made.held_out, {}, {}}};
    };
    WideFeatures wide = fitted ? fit() : restored(stored, spec, sets.train, world);
    const auto scores_of = [&](const std::optional<LabelledSet>& set) {
        return set ? wide_scores(wide.model, set->texts, spec.layout.threads, world) : std::vector<float>();
    };
    wide.scores.valid = scores_of(sets.valid);
    wide.scores.test = scores_of(sets.test);
    drop_texts(sets);
    return wide;
}

LinearModel linear_model_of(const CheckpointInfo& info, std::size_t classes) {
    check_usage(!info.wide.model.empty(),
                "the checkpoint's classifier has wide features, but the file does not hold them");
    LinearModel model = LinearModel::from_bytes(text_of(info.wide.model));
    check_usage(model.classes() == classes, "the checkpoint's wide features are of other classes than its classifier");
    return model;
}

std::vector<float> wide_scores(const LinearModel& model, std::span<const std::string> texts, int threads,
                               const Communicator& world) {
    const Range mine =
        even_slice(texts.size(), static_cast<std::size_t>(world.size()), static_cast<std::size_t>(world.rank()));
    const std::vector<float> scores = model.log_probabilities(texts.subspan(mine.first, mine.size()), threads);
    return world.all_gather(std::span<const float>(scores));
}

}  // namespace ulmpi
