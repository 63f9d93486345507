#include "finetune/judge.hpp"

#include "finetune/classifier.hpp"
#include "parallel/run_main.hpp"

namespace ulmpi {

std::optional<Judgement> judge(const std::string& run, const LabelledSet& rows, const LayoutOptions& layout,
                               const Communicator& world, const LeaveOff& leave_off) {
    const StoredModel stored = open_model(run, world);
    const StoredClassifier classifier = together(world, [&] { return classifier_from(stored); });
    const auto model = load_for_inference(stored, classifier.head, layout_from(layout, world), layout.micro_batch,
                                          classifier.max_length, world);
    auto probabilities = classify(*model, rows, classifier.classes.size(), layout.micro_batch,
                                  stored.tokenizer.end_of_text(), leave_off);
    if (!probabilities) return std::nullopt;
    return Judgement{std::move(*probabilities), stored.info.metadata.at("progress").at("step")};
}

}  // namespace ulmpi
