#include "finetune/judge.hpp"

namespace ulmpi {

std::optional<std::vector<float>> judge(const StoredModel& stored, const StoredClassifier& classifier,
                                        const LabelledSet& rows, const LayoutOptions& options,
                                        const Communicator& world, const LeaveOff& leave_off) {
    const Layout layout = layout_from(options, world);
    const auto model = load_for_inference(
        stored, classifier.head, layout,
        prediction_plan(options.micro_batch, longest_sequence(classifier.max_length, stored.config.context),
                        layout.extents.pipeline),
        world);
    return classify(*model, rows, classifier.classes.size(), options.micro_batch, stored.tokenizer.end_of_text(),
                    leave_off);
}

}  // namespace ulmpi
