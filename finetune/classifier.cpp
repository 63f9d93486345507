#include "finetune/classifier.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "finetune/classifier_spec.hpp"
#include "finetune/distillation.hpp"
#include "finetune/wide_features.hpp"
#include "parallel/run_main.hpp"
#include "training/gather.hpp"
#include "training/recipe.hpp"
#include "training/resuming.hpp"

namespace ulmpi {

ClassifierStageOptions::ClassifierStageOptions() {
    training.lr = best_recipe.rate;
    training.lr_schedule = "stlr";
    training.global_batch = best_recipe.batch;
    classifier.gradual_unfreezing = false;
    classifier.discriminative_factor = best_recipe.factor;
    training.adamw = {0.9, 0.99, 1e-8, 0.01};
    layout.micro_batch = 16;
}

void ClassifierStageOptions::declare(OptionTable& table) {
    table.example("--init-from runs/domain --train train.tsv --test test.tsv --run runs/classifier");
    table.example("--tokenizer tokenizer.json --train train.tsv --test test.tsv --run runs/scratch");
    table.group("Data: TSV (plain or gzip) with the header label<TAB>text, or labelled HDF5 sets");
    table.add("init-from", init_from, "language model to start from; without it: from scratch", "RUN");
    table.add("tokenizer", tokenizer, "from scratch: tokenizer.json", "FILE");
    table.add("train", train, "labelled texts to train on", "FILE");
    table.required("train");
    table.add("valid", valid, "labelled texts to evaluate on", "FILE");
    table.add("test", test, "labelled texts for the report at the end", "FILE");
    table.add("max-length", max_length,
              "longer texts are cut; 0: none, those longer than the model's context are read in chunks", "tokens");
    table.range("max-length", 0, 1 << 22);
    table.group("Classifier");
    add_recipe_option(
        table, recipe,
        fmt::format(
            "nothing frozen, factor {}, slanted triangular rate of {} ({} from scratch), dropout {}, {} to {} epochs, "
            "more of few texts, batches of {}, from {} texts on {}",
            best_recipe.factor, best_recipe.rate, best_recipe.scratch_rate, best_recipe.dropout,
            best_recipe.least_epochs, best_recipe.most_epochs, best_recipe.batch, best_recipe.large_set,
            best_recipe.large_batch),
        "gradual unfreezing, factor 2.6, rate 3e-3, 8 epochs, batches of 32, the model's own dropout");
    table.add("gradual-unfreezing", classifier.gradual_unfreezing, "one group an epoch from the head down, then all");
    table.add("discriminative-factor", classifier.discriminative_factor,
              "each group learns this many times slower than the one above it (from scratch: 1)");
    table.range("discriminative-factor", 0.01, 1000);
    table.add("reinit-blocks", reinit_blocks,
              "so many of the language model's last blocks, and its final norm (a decoder's), begin anew; 0: none",
              "blocks");
    table.add("epochs", epochs,
              "passes over the labelled texts, those of unfreezing included; not given: as the recipe says", "epochs");
    table.range("epochs", 1, 100000);
    table.add("wide-features", wide_features,
              "beside the network a linear model of words and word pairs: the network learns what it leaves open");
    table.add("distill-from", distill_from,
              "a classifier of the same classes, an ensemble or a larger one, whose opinion of the texts is learnt too",
              "RUN");
    table.add("distill-text", distill_text,
              "texts without labels, one a line, of which the teacher's opinion alone is learnt", "FILE");
    table.add("distill-weight", distill_weight, "share of a labelled text's target that the teacher's opinion has");
    table.range("distill-weight", 0, 1);
    table.add("pooling", pooling, "of the hidden states of a text; concat: last, maximum and mean");
    table.choices("pooling", {"concat", "last", "max", "mean", "first"});
    table.add("class-weights", class_weights, "balanced: each class weighs alike, however rare");
    table.choices("class-weights", {"none", "balanced"});
    table.add("label-smoothing", classifier.label_smoothing,
              "share of a text's target that all classes have alike, in the training loss alone; 0: none");
    table.range("label-smoothing", 0, 0.999);
    table.add("head-hidden-size", head.hidden, "width between the two linear layers of the head");
    table.range("head-hidden-size", 1, 1 << 16);
    table.add("head-normalization", head_norm, "inside the head; batchnorm: statistics of the micro-batch in training");
    table.choices("head-normalization", {"layernorm", "batchnorm"});
    table.add("head-dropout", head.dropout1, "before the head's first linear layer");
    table.range("head-dropout", 0, 0.999);
    table.add("head-dropout2", head.dropout2, "before its second");
    table.range("head-dropout2", 0, 0.999);
    add_optimizer_options(table, training);
    add_layout_options(table, layout);
    add_run_options(table, run);
    add_shape_options(table, shape);
}

StoredClassifier classifier_from(const StoredModel& stored) {
    const RunRecord& record = stored.record;
    check_usage(record.classifier.has_value(), "{} holds no classifier; ulmpi finetune classifier makes one",
                stored.path.string());
    StoredClassifier c{record.classifier->head, record.classifier->classes, record.classifier->max_length};
    if (record.ensemble) {
        c.members = record.ensemble->members;
        c.stack = {record.ensemble->network, record.ensemble->words};
    }
    return c;
}

namespace {

void say_what_is_cut(const ClassifierSpec& spec, const Facts& facts) {
    for (const auto& [name, path] : {std::pair{"train", spec.train}, {"valid", spec.valid}, {"test", spec.test}})
        if (const auto set = facts.sets.find(name); set != facts.sets.end() && set->second.cut > 0)
            fmt::print(stderr, "note: {} texts of {} are longer than {} tokens and are cut\n", set->second.cut, path,
                       spec.max_length);
}

/// What the network learns from beside its labels: a linear model of words, or a teacher.
struct LearntBeside {
    ClassifierOptions how;
    PassPlan pass;
    WideContent content;  ///< rank 0's, for its checkpoints
};

// None if a signal came while the teacher was asked.
std::optional<LearntBeside> learnt_beside(ClassifierSets& sets, const ClassifierSpec& spec, const WideContent& stored,
                                          const StopSignals& signals, const Communicator& world) {
    const bool leader = world.rank() == 0;
    LearntBeside beside{spec.classifier, spec.pass, {}};
    if (spec.head->wide) {
        WideFeatures wide = wide_features(sets, spec, stored, world);
        if (leader) fmt::print(stderr, "{}\n", wide.description());
        beside.pass.wide = wide.bytes();
        beside.how.wide = std::move(wide.scores);
        if (leader) beside.content = std::move(wide.content);
    }
    if (spec.distillation) {
        auto said = taught(sets, spec, stored.said, signals, world);
        if (!said) {
            if (leader)
                fmt::print(stderr,
                           "classifier: stopped by {} while the teacher was asked; the same command asks again\n",
                           signal_name(signals.received()));
            return std::nullopt;
        }
        beside.how.soft_labels =
            soft_labels(*said, sets.train.labels, sets.labelled, spec.classes.size(), spec.distillation.weight);
        beside.pass.wide = 2 * said->size() * sizeof(float);
        if (leader) beside.content.said = *std::move(said);
    }
    return beside;
}

}  // namespace

int train_classifier(std::span<const std::string> arguments, const Communicator& world) {
    ClassifierRequest asked;
    const StopSignals signals;
    if (!together(world, [&] { return asked.table.parse(arguments); })) return 0;
    return train_classifier(asked, signals, world);
}

int train_classifier(const ClassifierRequest& asked, const StopSignals& signals, const Communicator& world) {
    agree_on(world, "options", asked.table.ini());
    ClassifierSets sets;  // rank 0 reads and encodes them
    Gathered gathered = gather(asked.options, world,
                               [&](Gathered& so_far) { sets = read_inputs(asked, so_far.facts, so_far.tokenizer); });
    const ClassifierSpec spec = together(world, [&] {
        const ClassifierSpec resolved = resolve(asked, gathered.facts);
        check_precision(resolved.layout.precision);
        return resolved;
    });
    if (world.rank() == 0) say_what_is_cut(spec, gathered.facts);
    broadcast(sets, spec, world);
    say_how_threads_fit(gathered.cores, spec.layout.threads, world);
    auto beside = learnt_beside(sets, spec, gathered.wide, signals, world);
    if (!beside) return stopped_early;
    if (spec.balanced) beside->how.class_weights = balanced_class_weights(sets.train);
    RankModel model(world, spec.layout, spec.model, spec.head, beside->pass, spec.training.optimizer_config(),
                    save_mode_from(spec.run.save_mode));
    const Progress progress = start_from(spec, model);
    ClassifierTask task(model, sets.train, sets.valid ? &*sets.valid : nullptr, sets.test ? &*sets.test : nullptr,
                        spec.training, beside->how);
    const RunDescription description{"classifier", record_of(spec),
                                     gathered.tokenizer ? gathered.tokenizer->to_json() : "", spec.ini,
                                     std::move(beside->content)};
    const int status =
        run_training(model, task, spec.training, spec.run, description, progress, signals, gathered.lock);
    if (world.rank() == 0 && task.test_report()) fmt::print(stderr, "\n{}", task.test_report()->table());
    return status;
}

}  // namespace ulmpi
