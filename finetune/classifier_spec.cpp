#include "finetune/classifier_spec.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/files/line_reader.hpp"
#include "training/lineage.hpp"
#include "training/recipe.hpp"

namespace ulmpi {
namespace {

const char* const command = "finetune classifier";

// A run goes on as it began: those of old cut at the context where none was given.
std::size_t max_length_of(const ClassifierStageOptions& o, const Facts& facts) {
    if (!facts.resumed || o.max_length > 0) return o.max_length;
    const auto& before = facts.source->record.classifier;
    return before ? before->max_length : 0;
}

// A run goes on as it began; those of old had none.
void keep_wide_features(OptionTable& table, const ClassifierStageOptions& o, const Facts& facts) {
    const bool before = facts.source->record.classifier && facts.source->record.classifier->head.wide;
    if (table.given("wide-features") && o.wide_features != before)
        table.refuse("wide-features", fmt::format("the run of {} began {} them: leave this out, or start another --run",
                                                  facts.source->path, before ? "with" : "without"));
    table.set_default("wide-features", before);
}

void check_fresh_blocks(const OptionTable& table, const ClassifierStageOptions& o, const Facts& facts) {
    if (o.reinit_blocks == 0) return;
    if (o.init_from.empty() && !facts.resumed)
        table.refuse("reinit-blocks", "from scratch all blocks begin anew: leave this out");
    if (facts.source && o.reinit_blocks > facts.source->model().layers)
        table.refuse("reinit-blocks", fmt::format("the model of {} has {} blocks, not {}", facts.source->path,
                                                  facts.source->model().layers, o.reinit_blocks));
}

void check_regularizers(const OptionTable& table) {
    for (const char* name : {"activation-reg", "temporal-reg"})
        if (table.given(name)) table.refuse(name, "is part of a language model's loss, not of a classifier's");
}

void check_distillation(const OptionTable& table, const ClassifierStageOptions& o) {
    if (o.distill_from.empty()) {
        // A run's config.ini gives every option, those that mean nothing at their defaults.
        const char* const why = "says how a teacher is used: name one by --distill-from RUN";
        if (!o.distill_text.empty()) table.refuse("distill-text", why);
        if (o.distill_weight != ClassifierStageOptions().distill_weight) table.refuse("distill-weight", why);
        return;
    }
    if (o.wide_features)
        table.refuse("wide-features", "does not go with --distill-from: what a teacher's words say is in its opinion");
    if (o.classifier.label_smoothing > 0)
        table.refuse("label-smoothing", "does not go with --distill-from, whose targets are soft already");
}

// What a run goes on with is in its checkpoint: the teacher need not be there any more.
std::uint64_t fingerprint_of_teacher(const std::string& teacher, const Facts& facts) {
    if (!facts.resumed) return file_fingerprint(resolve_checkpoint(teacher));
    return input_of(facts.source->record.lineage, "distill-from");
}

// Its statistics are those of a micro-batch, which a document in several of them has no row in.
void check_trains_on(HeadNormKind norm, const LabelledFacts& train, std::size_t context, const std::string& path) {
    check_usage(norm != HeadNormKind::batchnorm || train.longest.front() <= context,
                "--head-normalization batchnorm does not train on texts longer than the model's context of "
                "{} tokens, and {} has one of {}: use layernorm, or cut them by --max-length {}",
                context, path, train.longest.front(), context);
}

}  // namespace

ClassifierRequest::ClassifierRequest()
    : table(command,
            "Stage 3: trains a classifier of texts on top of a language model (ULMFiT: concat pooling, slanted "
            "triangular and discriminative rates), or from scratch.") {
    options.declare(table);
}

ClassifierRequest::ClassifierRequest(const ClassifierRequest& other) : ClassifierRequest() { table.take(other.table); }

ClassifierRequest settled(const ClassifierRequest& asked, const Facts& facts) {
    ClassifierRequest settled = asked;
    const ClassifierStageOptions& o = settled.options;
    if (!facts.resumed) {
        check_usage(o.init_from.empty() || o.tokenizer.empty(),
                    "--init-from brings its own tokenizer: leave --tokenizer out");
        check_usage(!o.init_from.empty() || !o.tokenizer.empty(),
                    "give --init-from RUN, or --tokenizer FILE to train from scratch");
        const auto train = facts.sets.find("train");
        take_recipe(settled.table, classifier_recipe(o.recipe, train == facts.sets.end() ? 0 : train->second.records,
                                                     o.init_from.empty()));
    }
    take_source(settled.table, command, facts);
    if (facts.resumed) {
        keep_as_begun(settled.table, "recipe", "ulmfit", facts.source->record, facts.source->path);
        keep_wide_features(settled.table, o, facts);
        for (const auto& [name, of_old] : {std::pair<const char*, nlohmann::json>{"reinit-blocks", 0},
                                           {"label-smoothing", 0.0},
                                           {"distill-from", ""},
                                           {"distill-text", ""},
                                           {"distill-weight", ClassifierStageOptions().distill_weight}})
            keep_as_begun(settled.table, name, of_old, facts.source->record, facts.source->path);
    }
    check_regularizers(settled.table);
    check_distillation(settled.table, o);
    check_early_stop(o.run, o.valid);
    check_options(settled.table, o, facts);
    check_fresh_blocks(settled.table, o, facts);
    return settled;
}

ClassifierSets read_inputs(const ClassifierRequest& asked, Facts& facts, std::optional<Tokenizer>& tokenizer) {
    const ClassifierRequest all = settled(asked, facts);
    const ClassifierStageOptions& o = all.options;
    if (!tokenizer) {
        tokenizer = Tokenizer::load(o.tokenizer);
        facts.tokenizer = facts_of(*tokenizer);
    }
    const bool asks = !o.distill_from.empty() && !facts.resumed;
    LabelledOptions how{.max_length = max_length_of(o, facts), .keep_texts = o.wide_features || asks};
    ClassifierSets sets{load_labelled_set(o.train, *tokenizer, how), std::nullopt, std::nullopt};
    if (!o.distill_text.empty()) append(sets.train, unlabelled_set(lines_of(o.distill_text), *tokenizer, how));
    how.keep_texts = o.wide_features;
    how.classes = sets.train.classes;
    if (!o.valid.empty()) sets.valid = load_labelled_set(o.valid, *tokenizer, how);
    if (!o.test.empty()) sets.test = load_labelled_set(o.test, *tokenizer, how);
    facts.sets["train"] = facts_of(sets.train);
    if (sets.valid) facts.sets["valid"] = facts_of(*sets.valid);
    if (sets.test) facts.sets["test"] = facts_of(*sets.test);
    for (const auto& [name, path] : {std::pair{"train", o.train},
                                     {"valid", o.valid},
                                     {"test", o.test},
                                     {"tokenizer", o.tokenizer},
                                     {"distill-text", o.distill_text}})
        if (!path.empty()) facts.inputs[name] = file_fingerprint(path);
    if (!o.distill_from.empty()) facts.inputs["distill-from"] = fingerprint_of_teacher(o.distill_from, facts);
    return sets;
}

ClassifierSpec resolve(const ClassifierRequest& asked, const Facts& facts) {
    const ClassifierRequest all = settled(asked, facts);
    const ClassifierStageOptions& o = all.options;
    ClassifierSpec spec{resolve_run(command, all.table, o, facts), o.train, o.valid, o.test};
    const LabelledFacts& train = facts.sets.at("train");
    check_usage(train.classes.size() >= 2, "{} has one class alone; a classifier needs two or more", o.train);
    spec.classes = train.classes;
    spec.head = o.head;
    spec.head->classes = train.classes.size();
    spec.head->pooling = pooling_from(o.pooling);
    spec.head->norm = head_norm_from(o.head_norm);
    spec.head->wide = o.wide_features;
    spec.fresh_blocks = o.reinit_blocks;
    spec.max_length = max_length_of(o, facts);
    check_trains_on(spec.head->norm, train, spec.model.context, o.train);
    spec.classifier = o.classifier;
    if (o.epochs) spec.classifier.epochs = *o.epochs;
    spec.steps =
        steps_of_epoch(train.records, o.training.global_batch) * static_cast<std::uint64_t>(spec.classifier.epochs);
    const std::size_t rows =
        even_slice(o.training.global_batch, static_cast<std::size_t>(spec.layout.extents.data), 0).size();
    const Reading reading{spec.model.context, std::min(o.layout.micro_batch, rows)};
    spec.pass = training_plan(train.longest, rows, reading, longest_sequence(spec.max_length, spec.model.context),
                              spec.layout.extents.pipeline);
    spec.classifier.micro_batch = spec.pass.sequences;
    spec.classifier.padding = spec.tokenizer.end_of_text;
    spec.distillation = {o.distill_from, o.distill_weight, o.layout};
    spec.balanced = o.class_weights == "balanced";
    return spec;
}

RunRecord record_of(const ClassifierSpec& spec) {
    RunRecord record = record_of(spec, classifier_kind);
    record.classifier = {spec.classes, *spec.head, spec.max_length};
    return record;
}

void broadcast(ClassifierSets& sets, const ClassifierSpec& spec, const Communicator& ranks) {
    broadcast(sets.train, ranks);
    sets.labelled = broadcast_value<std::uint64_t>(sets.labelled, ranks, 0);
    if (!spec.valid.empty()) broadcast(ranks.rank() == 0 ? *sets.valid : sets.valid.emplace(), ranks);
    if (!spec.test.empty()) broadcast(ranks.rank() == 0 ? *sets.test : sets.test.emplace(), ranks);
}

}  // namespace ulmpi
