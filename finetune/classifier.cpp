#include "finetune/classifier.hpp"

#include <fmt/format.h>

#include "checkpoints/run_folder.hpp"
#include "data/tokenizer.hpp"
#include "finetune/classifier_task.hpp"
#include "parallel/run_main.hpp"
#include "pretrain/inference.hpp"
#include "pretrain/lineage.hpp"
#include "pretrain/profile.hpp"
#include "pretrain/resuming.hpp"

namespace ulmpi {

ClassifierStageOptions::ClassifierStageOptions() {
    training.lr = 3e-3;
    training.lr_schedule = "stlr";
    training.global_batch = 32;
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
    table.add("max-length", max_length, "longer texts are cut; 0: the model's context", "tokens");
    table.range("max-length", 0, 1 << 22);
    table.group("Classifier");
    table.add("gradual-unfreezing", classifier.gradual_unfreezing,
              "one group an epoch from the head down, then all (from scratch: off)");
    table.add("discriminative-factor", classifier.discriminative_factor,
              "each group learns this many times slower than the one above it (from scratch: 1)");
    table.range("discriminative-factor", 0.01, 1000);
    table.add("epochs", classifier.epochs, "passes over the labelled texts, those of unfreezing included", "epochs");
    table.range("epochs", 1, 100000);
    table.add("pooling", pooling, "of the hidden states of a text; concat: last, maximum and mean");
    table.choices("pooling", {"concat", "last", "max", "mean", "first"});
    table.add("class-weights", class_weights, "balanced: each class weighs alike, however rare");
    table.choices("class-weights", {"none", "balanced"});
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

void ClassifierStageOptions::take_defaults_of_scratch(OptionTable& table) {
    table.set_default("gradual-unfreezing", false);
    table.set_default("discriminative-factor", 1.0);
    table.set_default("lr", 1e-3);
}

namespace {

LabelledSet load(const std::string& path, const Tokenizer& tokenizer, std::size_t max_length,
                 const std::vector<std::string>& classes) {
    return load_labelled_set(path, tokenizer, {.max_length = max_length, .classes = classes});
}

nlohmann::json head_json(const ClassifierConfig& head, const std::vector<std::string>& classes,
                         std::size_t max_length) {
    return {{"classes", classes},           {"hidden", head.hidden},     {"pooling", to_string(head.pooling)},
            {"norm", to_string(head.norm)}, {"dropout1", head.dropout1}, {"dropout2", head.dropout2},
            {"max_length", max_length}};
}

}  // namespace

StoredClassifier classifier_from(const StoredModel& stored) {
    try {
        const nlohmann::json& j = stored.info.metadata.at("classifier");
        StoredClassifier c;
        j.at("classes").get_to(c.classes);
        j.at("max_length").get_to(c.max_length);
        c.head.classes = c.classes.size();
        j.at("hidden").get_to(c.head.hidden);
        c.head.pooling = pooling_from(j.at("pooling").get<std::string>());
        c.head.norm = head_norm_from(j.at("norm").get<std::string>());
        j.at("dropout1").get_to(c.head.dropout1);
        j.at("dropout2").get_to(c.head.dropout2);
        return c;
    } catch (const nlohmann::json::exception&) {
        throw UsageError(
            fmt::format("{} holds no classifier; ulmpi finetune classifier makes one", stored.path.string()));
    }
}

int train_classifier(std::span<const std::string> arguments, const Communicator& world) {
    ClassifierStageOptions o;
    OptionTable table("finetune classifier",
                      "Stage 3: trains a classifier of texts on top of a language model (ULMFiT: concat pooling, "
                      "slanted triangular and "
                      "discriminative rates, gradual unfreezing), or from scratch.");
    o.declare(table);
    const StopSignals signals;
    if (!together(world, [&] { return table.parse(arguments); })) return 0;

    std::optional<FolderLock> lock = lock_run(o.run, world);
    std::optional<StoredModel> source = model_to_resume(o.run, world);
    const bool resumed = source.has_value();
    if (resumed) {
        together(world, [&] {
            take_stored_options(table, source->info.metadata, "finetune classifier", world.size());
            take_shape(table, source->config, source->path.string());
        });
    } else if (!o.init_from.empty()) {
        source.emplace(open_model(o.init_from, world));
        together(world, [&] {
            check_usage(source->kind == "language-model",
                        fmt::format("--init-from {} holds no language model", o.init_from));
            check_usage(o.tokenizer.empty(), "--init-from brings its own tokenizer: leave --tokenizer out");
            take_shape(table, source->config, source->path.string());
        });
    } else {
        together(world, [&] {
            check_usage(!o.tokenizer.empty(), "give --init-from RUN, or --tokenizer FILE to train from scratch");
            ClassifierStageOptions::take_defaults_of_scratch(table);
        });
    }
    const Tokenizer tokenizer =
        source ? source->tokenizer : together(world, [&] { return Tokenizer::load(o.tokenizer); });
    ModelConfig config = together(world, [&] { return source ? source->config : o.shape.resolved(); });
    if (source) {
        apply_dropouts(table, o.shape, config);
    } else {
        config.vocabulary = tokenizer.vocabulary_size();
        config.end_of_text = tokenizer.end_of_text();
    }
    const std::size_t max_length = o.max_length == 0 ? config.context : o.max_length;
    const LabelledSet train = together(world, [&] {
        check_model(config);
        check_usage(
            max_length <= config.context,
            fmt::format("--max-length {} is more than the model's context of {} tokens", max_length, config.context));
        check_run_options(o.run);
        if (world.rank() == 0) check_profile(o.run.profile);
        LabelledSet set = load(o.train, tokenizer, max_length, {});
        check_usage(set.classes.size() >= 2,
                    fmt::format("{} has one class alone; a classifier needs two or more", o.train));
        return set;
    });
    std::optional<LabelledSet> valid, test;
    together(world, [&] {
        if (!o.valid.empty()) valid.emplace(load(o.valid, tokenizer, max_length, train.classes));
        if (!o.test.empty()) test.emplace(load(o.test, tokenizer, max_length, train.classes));
    });
    if (world.rank() == 0)
        for (const auto& [path, cut] :
             {std::pair{o.train, train.cut}, {o.valid, valid ? valid->cut : 0}, {o.test, test ? test->cut : 0}})
            if (cut > 0)
                fmt::print(stderr, "note: {} texts of {} are longer than {} tokens and are cut\n", cut, path,
                           max_length);

    o.head.classes = train.classes.size();
    o.head.pooling = pooling_from(o.pooling);
    o.head.norm = head_norm_from(o.head_norm);
    const Layout layout = layout_from(o.layout, world);
    together(world, [&] { check_layout(config, layout.extents.pipeline, layout.extents.tensor); });
    const std::size_t replica_rows =
        even_slice(o.training.global_batch, static_cast<std::size_t>(layout.extents.data), 0).size();
    const std::size_t micro_batch = std::min(o.layout.micro_batch, replica_rows);
    const PassPlan plan{micro_batch, max_length, static_cast<int>((replica_rows + micro_batch - 1) / micro_batch)};
    agree_on(world, "options", table.ini());
    RankModel model(world, layout, config, o.head, plan, o.training.optimizer_config(), save_mode_from(o.run.save_mode));
    Progress progress;
    model.store.initialize(o.training.seed);
    if (resumed)
        progress = resume_from(*source, model);
    else if (source)
        load_checkpoint(source->path, model.store, {}, model.topology,
                        {.moments = false,
                         .may_be_new = [](const std::string& name) { return name.starts_with("classifier."); },
                         .verified = true});

    o.classifier.micro_batch = micro_batch;
    o.classifier.padding = tokenizer.end_of_text();
    if (o.class_weights == "balanced") o.classifier.class_weights = balanced_class_weights(train);
    ClassifierTask task(model, train, valid ? &*valid : nullptr, test ? &*test : nullptr, o.training, o.classifier);
    const RunDescription description{
        "classifier",
        {{"kind", "classifier"},
         {"command", "finetune classifier"},
         {"lineage", run_lineage("finetune classifier", table.json(), source ? &*source : nullptr, resumed, world)},
         {"model", to_json(config)},
         {"classifier", head_json(o.head, train.classes, max_length)},
         {"options", table.json()},
         {"tokenizer_fingerprint", tokenizer.fingerprint()}},
        tokenizer.to_json(),
        table.ini()};
    const int status = run_training(model, task, o.training, o.run, description, progress, signals, lock);
    if (world.rank() == 0 && task.test_report()) fmt::print(stderr, "\n{}", task.test_report()->table());
    return status;
}

}  // namespace ulmpi
