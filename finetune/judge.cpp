#include "finetune/judge.hpp"

#include "finetune/wide_features.hpp"
#include "parallel/run_main.hpp"

namespace ulmpi {

std::optional<std::vector<float>> judge(const StoredModel& stored, const StoredClassifier& classifier,
                                        const LabelledSet& rows, const LayoutOptions& options,
                                        const Communicator& world, const LeaveOff& leave_off) {
    const Layout layout = layout_from(options, world);
    PassPlan plan = prediction_plan(options.micro_batch, longest_sequence(classifier.max_length, stored.config.context),
                                    layout.extents.pipeline);
    std::vector<float> offsets;
    if (classifier.head.wide) {
        const LinearModel wide =
            together(world, [&] { return linear_model_of(stored.info, classifier.classes.size()); });
        offsets = wide_scores(wide, rows.texts, layout.threads, world);
        plan.wide = wide.memory_bytes() + offsets.size() * sizeof(float);
    }
    const auto model = load_for_inference(stored, classifier.head, layout, plan, world);
    return classify(*model, rows, offsets, classifier.classes.size(), options.micro_batch,
                    stored.tokenizer.end_of_text(), leave_off);
}

}  // namespace ulmpi
