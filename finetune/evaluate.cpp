#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "finetune/classification_report.hpp"
#include "finetune/classifier.hpp"
#include "finetune/commands.hpp"
#include "finetune/judge.hpp"
#include "parallel/run_main.hpp"
#include "pretrain/language_model.hpp"

namespace ulmpi {
namespace {

struct Options {
    std::string model, data, test;
    std::size_t stride = 0;
    LayoutOptions layout;
};

int evaluate_language_model(const StoredModel& stored, const Options& o, const Communicator& world) {
    const TokenDataset dataset = open_dataset(o.data, world);
    const std::size_t stride = o.stride == 0 ? stored.config.context : o.stride;
    together(world, [&] {
        check_usage(stored.record.kind == language_model_kind,
                    "{} holds no language model; --test FILE.tsv judges a classifier", o.model);
        check_usage(dataset.fingerprint() == stored.tokenizer.fingerprint(),
                    "{} was made with another tokenizer than the model's", o.data);
        check_usage(stride <= stored.config.context, "--stride {} is more than the model's context of {}", stride,
                    stored.config.context);
        check_usage(!stored.config.recurrent() || stride == stored.config.context,
                    "--stride: a recurrent model reads on from window to window, along up to {} streams "
                    "that the set is cut into: leave this out",
                    scoring_streams);
    });
    const auto model = load_for_inference(stored, {}, layout_from(o.layout, world),
                                          {o.layout.micro_batch, stored.config.context}, world);
    const Record record = score_record("valid", *score_dataset(*model, dataset, stride, o.layout.micro_batch, true));
    if (world.rank() == 0) print_json(record);
    return 0;
}

int evaluate_classifier(const StoredModel& stored, const Options& o, const Communicator& world) {
    const StoredClassifier classifier = together(world, [&] { return classifier_from(stored); });
    const LabelledSet set = together(world, [&] {
        return load_labelled_set(o.test, stored.tokenizer,
                                 {.max_length = classifier.max_length,
                                  .classes = classifier.classes,
                                  .keep_texts = classifier.reads_words()});
    });
    const std::vector<float> probabilities =
        Judge(stored, classifier, o.layout, set.size(), world).ask(set)->probabilities;
    if (world.rank() != 0) return 0;
    const ClassificationReport report = classification_report(classifier.classes, set.labels, probabilities);
    if (set.cut > 0)
        fmt::print(stderr, "note: {} texts of {} are longer than {} tokens and are cut\n", set.cut, o.test,
                   classifier.max_length);
    fmt::print(stderr, "{}", report.table());
    print_json(report.record("test", true));
    return 0;
}

}  // namespace

int evaluate_command(std::span<const std::string> arguments, const Communicator& world) {
    Options o;
    OptionTable table("evaluate",
                      "Judges a model: loss and perplexity of a language model on token shards, or accuracy of a "
                      "classifier on labelled texts.");
    table.example("--model runs/wiki --data shards/wiki.valid");
    table.example("--model runs/classifier --test test.tsv");
    table.group("What");
    table.add("model", o.model, "run or checkpoint", "RUN");
    table.required("model");
    table.add("data", o.data, "token shards, for a language model", "DIR");
    table.add("test", o.test, "labelled texts, for a classifier", "FILE");
    table.add("stride", o.stride,
              "tokens scored per window: a smaller stride gives each token more context and takes longer; 0: the whole "
              "context",
              "tokens");
    add_layout_options(table, o.layout);
    if (!together(world, [&] { return table.parse(arguments); })) return 0;
    together(world, [&] {
        check_usage(o.data.empty() != o.test.empty(),
                    "give --data DIR for a language model, or --test FILE.tsv for a classifier");
    });
    const StoredModel stored = open_model(o.model, world);
    return o.test.empty() ? evaluate_language_model(stored, o, world) : evaluate_classifier(stored, o, world);
}

}  // namespace ulmpi
