#include "finetune/judge.hpp"

#include "checkpoints/ensemble.hpp"
#include "finetune/wide_features.hpp"
#include "parallel/run_main.hpp"

namespace ulmpi {

Judge::Judge(const StoredModel& stored, const StoredClassifier& classifier, const LayoutOptions& options,
             std::size_t rows, const Communicator& world)
    : stored_(stored), classifier_(classifier), micro_batch_(options.micro_batch), world_(world) {
    const Layout layout = layout_from(options, world);
    const std::size_t classes = classifier.classes.size();
    PassPlan plan = prediction_plan(micro_batch_, longest_sequence(classifier.max_length, stored.config.context),
                                    layout.extents.pipeline);
    if (classifier.reads_words()) {
        words_ = together(world, [&] { return linear_model_of(stored.info, classes); });
        plan.wide = words_->memory_bytes() + rows * classes * sizeof(float);
    }
    together(world, [&] { check_layout(stored.config, layout.extents.pipeline, layout.extents.tensor); });
    model_ = std::make_unique<RankModel>(world, layout, stored.config, classifier.head, plan, std::nullopt);
}

std::optional<std::vector<float>> Judge::ask_member(std::size_t member, const LabelledSet& rows,
                                                    std::span<const float> words, const LeaveOff& leave_off) {
    if (loaded_ != member) {
        LoadPolicy policy{.moments = false, .verified = true};
        if (classifier_.members) policy.prefix = member_prefix(member);
        load_checkpoint(stored_.path, model_->store, {}, model_->topology, policy);
        loaded_ = member;
    }
    const std::span<const float> offsets = classifier_.head.wide ? words : std::span<const float>();
    return classify(*model_, rows, offsets, classifier_.classes.size(), micro_batch_, stored_.tokenizer.end_of_text(),
                    leave_off);
}

std::optional<Judgement> Judge::ask(const LabelledSet& rows, const LeaveOff& leave_off) {
    Judgement said;
    if (words_) said.words = wide_scores(*words_, rows.texts, model_->layout.threads, world_);
    std::vector<std::vector<float>> all;
    for (std::size_t member = 0; member < classifier_.members.value_or(1); ++member) {
        auto one = ask_member(member, rows, said.words, leave_off);
        if (!one) return std::nullopt;
        all.push_back(*std::move(one));
    }
    said.network = classifier_.members ? mean_of(all, classifier_.classes.size()) : std::move(all.front());
    said.probabilities = classifier_.members
                             ? stacked(classifier_.stack, said.network, said.words, classifier_.classes.size())
                             : said.network;
    return said;
}

}  // namespace ulmpi
