#include "finetune/distillation.hpp"

#include <algorithm>

#include "base/progress.hpp"
#include "finetune/judge.hpp"
#include "parallel/run_main.hpp"

namespace ulmpi {
namespace {

constexpr std::size_t texts_at_a_time = 4096;

// Of each of our classes, the place among the teacher's.
std::vector<std::size_t> places_of(const std::vector<std::string>& classes, const std::vector<std::string>& teachers,
                                   const std::string& teacher) {
    std::vector<std::size_t> places;
    for (const std::string& name : classes) {
        const auto found = std::ranges::find(teachers, name);
        check_usage(found != teachers.end(), "--distill-from {}: the teacher does not know the class '{}'", teacher,
                    name);
        places.push_back(static_cast<std::size_t>(found - teachers.begin()));
    }
    check_usage(teachers.size() == classes.size(), "--distill-from {}: the teacher has {} classes, the training set {}",
                teacher, teachers.size(), classes.size());
    return places;
}

}  // namespace

std::optional<std::vector<float>> said_by_teacher(const std::string& teacher, std::span<const std::string> texts,
                                                  const std::vector<std::string>& classes, const LayoutOptions& layout,
                                                  const Communicator& world, const LeaveOff& leave_off) {
    const StoredModel stored = open_model(teacher, world);
    const StoredClassifier classifier = together(world, [&] { return classifier_from(stored); });
    const std::vector<std::size_t> places =
        together(world, [&] { return places_of(classes, classifier.classes, teacher); });
    Judge judge(stored, classifier, layout, std::min(texts.size(), texts_at_a_time), world);
    const LabelledOptions how{.max_length = classifier.max_length, .keep_texts = classifier.reads_words()};
    ProgressLine bar("the teacher reads", "texts", texts.size(), world.rank() == 0);
    std::vector<float> said;
    for (std::size_t first = 0; first < texts.size(); first += texts_at_a_time) {
        const auto some = texts.subspan(first, std::min(texts_at_a_time, texts.size() - first));
        LabelledSet block;
        if (world.rank() == 0) block = unlabelled_set({some.begin(), some.end()}, stored.tokenizer, how);
        broadcast(block, world);
        const std::optional<Judgement> judgement = judge.ask(block, leave_off);
        if (!judgement) return std::nullopt;
        for (std::size_t i = 0; i < block.size(); ++i)
            for (std::size_t place : places) said.push_back(judgement->probabilities[i * places.size() + place]);
        bar.update(first + some.size());
    }
    return said;
}

std::vector<float> soft_labels(std::span<const float> said, std::span<const std::int32_t> labels, std::size_t labelled,
                               std::size_t classes, double weight) {
    std::vector<float> targets(said.begin(), said.end());
    for (std::size_t i = 0; i < labelled; ++i) {
        const std::span<float> target = std::span(targets).subspan(i * classes, classes);
        for (float& share : target) share *= static_cast<float>(weight);
        target[static_cast<std::size_t>(labels[i])] += static_cast<float>(1 - weight);
    }
    return targets;
}

std::optional<std::vector<float>> taught(ClassifierSets& sets, const ClassifierSpec& spec,
                                         const std::vector<float>& stored, const StopSignals& signals,
                                         const Communicator& world) {
    const std::size_t classes = spec.classes.size();
    std::vector<float> said = stored;
    if (broadcast_value(!stored.empty(), world, 0)) {
        said.resize(broadcast_value<std::uint64_t>(said.size(), world, 0));
        world.broadcast(std::span<float>(said), 0);
        together(world, [&] {
            check_usage(said.size() == sets.train.size() * classes,
                        "what the teacher said, in {}, is not of the texts of {}", spec.source->path, spec.train);
        });
    } else {
        Interruption interruption(signals, std::nullopt, world);
        auto asked = said_by_teacher(spec.distillation.teacher, sets.train.texts, spec.classes,
                                     spec.distillation.layout, world, [&] { return interruption.agreed(0); });
        if (!asked) return std::nullopt;
        said = *std::move(asked);
    }
    std::vector<std::string>().swap(sets.train.texts);
    for (std::size_t i = sets.labelled; i < sets.train.size(); ++i)
        sets.train.labels[i] = static_cast<std::int32_t>(best_class(std::span(said).subspan(i * classes, classes)));
    return said;
}

}  // namespace ulmpi
