#include "jobs/fit_task.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <functional>

#include "data/tokenizer/bpe_cache.hpp"
#include "jobs/fit_rows.hpp"
#include "parallel/run_main.hpp"
#include "training/facts.hpp"

namespace ulmpi {
namespace {

// English has about 0.25 tokens a byte with a vocabulary of 16,000, and one of bytes alone 1.
constexpr double badly_covered = 0.45;

/// Of the first million bytes of a text.
struct TextSample {
    double documents = 0, bytes = 0, tokens = 0, seconds = 0;
};

TextSample sample_of(const std::function<bool(std::string&)>& append_document, const Tokenizer& tokenizer) {
    constexpr double enough = 1e6;
    TextSample sample;
    BpeCache cache;
    std::vector<Token> tokens;
    const auto begin = std::chrono::steady_clock::now();
    for (std::string document; sample.bytes < enough && append_document(document); document.clear()) {
        tokens.clear();
        tokenizer.encode(document, tokens, cache);
        ++sample.documents;
        sample.bytes += static_cast<double>(document.size());
        sample.tokens += static_cast<double>(tokens.size());
    }
    sample.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return sample;
}

void say_how_it_is_covered(const std::string& what, const TextSample& sample) {
    if (sample.bytes > 0 && sample.tokens / sample.bytes > badly_covered)
        fmt::print(
            stderr,
            "note: the model's tokenizer takes {:.2f} tokens for each byte of {}, English has about 0.27: it was "
            "made for another language or kind of text, and the model knows little of this one; one that was "
            "pretrained on such text (--init-from) would do better\n",
            sample.tokens / sample.bytes, what);
}

// The first of them, in quotes, and how many more there are.
std::string listed(std::vector<std::string> names) {
    constexpr std::size_t shown = 5;
    const std::size_t more = names.size() - std::min(names.size(), shown);
    names.resize(names.size() - more);
    return fmt::format("'{}'{}", fmt::join(names, "', '"), more > 0 ? fmt::format(" and {} more", more) : "");
}

void check_classes(const LabelledSet& train, const std::string& path) {
    check_usage(train.classes.size() >= 2, "--train {} has one class alone; a classifier needs two or more", path);
    std::vector<std::uint64_t> rows(train.classes.size(), 0);
    for (const std::int32_t label : train.labels) ++rows[static_cast<std::size_t>(label)];
    std::vector<std::string> alone;
    for (std::size_t c = 0; c < rows.size(); ++c)
        if (rows[c] == 1) alone.push_back(train.classes[c]);
    if (!alone.empty())
        fmt::print(stderr, "note: classes with a single row, from which little can be learnt: {}\n", listed(alone));
}

// The rows of a set that are of a class of the training set, with its ids. Whatever is said of the others is wrong;
// where they are more than half the set is another task's.
LabelledSet of_known_classes(const std::string& name, LabelledSet set, const std::vector<std::string>& classes) {
    std::vector<std::int32_t> ids;
    std::vector<std::string> strange;
    for (const std::string& own : set.classes) {
        const auto found = std::ranges::find(classes, own);
        ids.push_back(found == classes.end() ? -1 : static_cast<std::int32_t>(found - classes.begin()));
        if (found == classes.end()) strange.push_back(own);
    }
    std::vector<std::uint32_t> known;
    for (std::uint32_t row = 0; row < set.size(); ++row)
        if (ids[static_cast<std::size_t>(set.labels[row])] >= 0) known.push_back(row);
    const std::size_t left_out = set.size() - known.size();
    check_usage(2 * left_out <= set.size(),
                "{}: {} of its {} texts are of classes that are not among the {} of --train: {}", name, left_out,
                set.size(), classes.size(), listed(strange));
    if (left_out > 0) {
        fmt::print(stderr,
                   "note: {} of the {} texts of {} are of classes that --train has no text of: {}. They are left out; "
                   "whatever is said of them is wrong\n",
                   left_out, set.size(), name, listed(strange));
        set = rows_of(set, known);
    }
    for (std::int32_t& label : set.labels) label = ids[static_cast<std::size_t>(label)];
    set.classes = classes;
    return set;
}

/// What rank 0 reads, beside the sets.
struct Read {
    double text_tokens = 0, encoding = 1;
    double unlabelled = 0, unlabelled_tokens = 0;  ///< of --text
};

Read read_on_leader(const FitOptions& o, FitTask& task) {
    const Tokenizer& tokenizer = task.model.tokenizer;
    LabelledOptions how{.keep_texts = true};
    task.train = load_labelled_set(o.train, tokenizer, how);
    check_classes(task.train, o.train);
    if (!o.test.empty()) {
        LabelledSet test = load_labelled_set(o.test, tokenizer, how);
        const std::size_t all = test.size();
        task.test = of_known_classes("--test " + o.test, std::move(test), task.train.classes);
        task.test_left_out = all - task.test->size();
    }
    if (!o.valid.empty())
        task.valid =
            of_known_classes("--valid " + o.valid, load_labelled_set(o.valid, tokenizer, how), task.train.classes);

    std::size_t next = 0;
    const auto append_row = [&](std::string& text) {
        if (next == task.train.size()) return false;
        text += task.train.texts[next++];
        return true;
    };
    const TextSample rows = sample_of(append_row, tokenizer);
    say_how_it_is_covered("the texts of --train", rows);
    Read read{.encoding = rows.tokens / rows.seconds};
    if (o.text.empty()) {
        // Of each row a newline and the end of the text come with it.
        if (o.stage_2) read.text_tokens = static_cast<double>(task.train.tokens.size() + 2 * task.train.size());
        return read;
    }
    TextReader reader({o.text.begin(), o.text.end()}, o.reading());
    const TextSample text = sample_of([&](std::string& to) { return reader.append_document(to); }, tokenizer);
    say_how_it_is_covered("--text", text);
    // What lies packed is measured as it lies; the sample may have been read ahead of what it has used.
    const double whole = static_cast<double>(reader.bytes_total()), taken = static_cast<double>(reader.bytes_taken());
    const double more = std::max(1.0, whole / std::max(taken, 1.0));
    if (o.stage_2) read.text_tokens = (text.tokens + text.documents) * more;
    if (o.pseudo_labels) {
        const double share = std::min(more, FitRecipe().most_pseudo_bytes / std::max(text.bytes, 1.0));
        read.unlabelled = text.documents * share;
        read.unlabelled_tokens = text.tokens * share;
    }
    read.encoding = text.tokens / text.seconds;
    return read;
}

nlohmann::json asked_of(const FitOptions& o, const StoredModel& model) {
    nlohmann::json asked{
        {"--init-from", model_fingerprint(model.info)}, {"--seed", o.seed}, {"--text", nlohmann::json::array()}};
    for (const auto& [name, path] : {std::pair{"--train", o.train}, {"--test", o.test}, {"--valid", o.valid}})
        asked[name] = path.empty() ? 0 : file_fingerprint(path);
    for (const std::string& path : o.text) asked["--text"].push_back(file_fingerprint(path));
    if (!o.text.empty()) asked.update({{"--documents", o.documents}, {"--text-key", o.text_key}});
    if (!o.stage_2) asked["--stage-2"] = false;
    if (!o.pseudo_labels) asked["--pseudo-labels"] = false;
    if (o.networks != FitOptions().networks) asked["--networks"] = o.networks;
    if (o.epochs) asked["--epochs"] = *o.epochs;
    return asked;
}

}  // namespace

void FitOptions::declare(OptionTable& table) {
    table.example("--train train.tsv --test test.tsv --run runs/mine");
    table.example("--train train.tsv.gz --text domain.txt --minutes 60 --run runs/mine");
    table.group("Data: TSV (plain or gzip) with the header label<TAB>text");
    table.add("train", train, "labelled texts to learn from", "FILE");
    table.required("train");
    table.add("test", test, "labelled texts to be judged on; without it: cross-validation", "FILE");
    table.add("valid", valid, "labelled texts to be judged on besides", "FILE");
    table.add(
        "text", text,
        "text of the domain without labels, for stage 2 and for pseudo-labels; where it is not given stage 2 reads "
        "the training texts",
        "FILE");
    table.add("documents", documents, "what a document of --text is: a line, lines up to a blank one, or a file");
    table.choices("documents", {"line", "blank", "file"});
    table.add("text-key", text_key, "the member of a JSON record of --text that holds its text");
    table.group("Fit");
    table.add("run", run, "folder of the classifier and of all that led to it", "DIR");
    table.required("run");
    table.add("minutes", minutes, "that it may take, over all its starts", "minutes");
    table.range("minutes", 0.01, 1e6);
    table.add("init-from", init_from, "language model to start from: a name, run or checkpoint", "MODEL");
    table.add("stage-2", stage_2, "off: the language model has read the domain's text already, and goes on to stage 3");
    table.add(
        "pseudo-labels", pseudo_labels,
        "the linear model that is stacked learns from documents of --text besides, each with the class that a "
        "network gives it, where there are 200 or more, no fewer than labelled texts, and it is better for that on "
        "labelled texts that were held out");
    table.add(
        "networks", networks,
        "at most so many are trained. Of 2 one learns from all rows; the other, without a part of them, tells how "
        "much the words count. Of more, up to three are averaged, and each takes its time in predict");
    table.range("networks", 2, FitRecipe().most_networks);
    table.add("epochs", epochs,
              "passes of each network over the labelled texts, where the time allows them; not given: by their number");
    table.range("epochs", 1, 10000);
    table.add("seed", seed, "of weights, order of reading, dropout, samples and folds");
    table.add("walltime", walltime,
              "of this job: auto (Slurm's end of it, if there is one), none, or from its start 90s, 30m, 2h; the fit "
              "ends in time with status 75, to be started again");
    add_layout_options(table, layout);
    table.choices("precision", {"auto", "fp32", "bf16"});
}

FitRecipe FitOptions::recipe() const {
    FitRecipe recipe{.most_networks = networks};
    if (epochs) recipe.best.least_epochs = recipe.best.most_epochs = recipe.best.most_epochs_of_few = *epochs;
    return recipe;
}

TextOptions FitOptions::reading() const { return {.documents = documents_named(documents), .text_key = text_key}; }

FitFacts facts_with(const FitFacts& facts, const LabelledSet& train) {
    FitFacts changed = facts;
    changed.rows_of_class.assign(train.classes.size(), 0);
    for (const std::int32_t label : train.labels) ++changed.rows_of_class[static_cast<std::size_t>(label)];
    changed.tokens = train.tokens.size();
    return changed;
}

FitTask read_fit_task(const FitOptions& o, const Communicator& world) {
    FitTask task{.model = open_model(o.init_from, world)};
    const Read read = broadcast_value(together(world,
                                               [&] {
                                                   check_usage(task.model.record.kind == language_model_kind,
                                                               "--init-from {} holds no language model", o.init_from);
                                                   if (world.rank() != 0) return Read{};
                                                   task.asked = asked_of(o, task.model);
                                                   return read_on_leader(o, task);
                                               }),
                                      world, 0);
    broadcast(task.train, world);
    if (!o.test.empty()) broadcast(world.rank() == 0 ? *task.test : task.test.emplace(), world);
    if (!o.valid.empty()) broadcast(world.rank() == 0 ? *task.valid : task.valid.emplace(), world);
    task.encoding = read.encoding;
    const Layout layout = together(world, [&] { return resolve_layout(o.layout, world.size(), 1); });
    task.facts = facts_with({}, task.train);
    for (const auto* judged : {&task.test, &task.valid}) {
        if (!*judged) continue;
        task.facts.judged_rows += (*judged)->size();
        task.facts.judged_tokens += (*judged)->tokens.size();
    }
    task.facts.has_test = task.test.has_value();
    task.facts.text_tokens = static_cast<std::uint64_t>(read.text_tokens);
    task.facts.unlabelled = static_cast<std::uint64_t>(read.unlabelled);
    task.facts.unlabelled_tokens = static_cast<std::uint64_t>(read.unlabelled_tokens);
    task.facts.context = task.model.config.context;
    task.facts.replicas = static_cast<std::size_t>(layout.extents.data);
    return task;
}

}  // namespace ulmpi
