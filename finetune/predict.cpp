#include <fmt/format.h>

#include <cstdio>
#include <filesystem>

#include "base/files/line_reader.hpp"
#include "base/files/publish.hpp"
#include "base/progress.hpp"
#include "finetune/classification_report.hpp"
#include "finetune/classifier.hpp"
#include "finetune/commands.hpp"
#include "finetune/judge.hpp"
#include "parallel/run_main.hpp"

namespace ulmpi {
namespace {

constexpr std::size_t lines_at_a_time = 4096, tokens_at_a_time = 1 << 22;

/// Reads lines on rank 0 and hands their tokens to all ranks, a bounded number at a time.
class LineBlocks {
public:
    /// The texts come with the tokens for a classifier that reads words.
    LineBlocks(const std::string& input, const Tokenizer& tokenizer, const StoredClassifier& classifier,
               const Communicator& world)
        : tokenizer_(tokenizer),
          max_length_(classifier.max_length),
          keeps_texts_(classifier.reads_words()),
          world_(world) {
        together(world, [&] {
            if (world.rank() == 0) reader_.emplace(input);
        });
    }
    /// The next lines as records of class 0; none at the end. Collective.
    LabelledSet next() {
        LabelledSet block;
        block.starts = {0};
        std::uint64_t lines = 0;
        std::string problem;
        if (reader_) {
            try {
                for (std::string line;
                     lines < lines_at_a_time && block.tokens.size() < tokens_at_a_time && reader_->append_line(line);
                     line.clear(), ++lines)
                    append(line, block);
            } catch (const UsageError& error) {
                problem = error.what();
            }
        }
        agree(world_, problem);
        block.labels.assign(block.starts.size() - 1, 0);
        broadcast(block, world_);
        return block;
    }
    std::uint64_t cut() const { return cut_; }

private:
    void append(const std::string& line, LabelledSet& block) {
        const bool ended = !line.empty() && line.back() == '\n';
        const std::string_view text = std::string_view(line).substr(0, line.size() - (ended ? 1 : 0));
        std::vector<Token> tokens = tokenizer_.encode(text);
        if (keeps_texts_) block.texts.emplace_back(text);
        if (tokens.empty()) tokens.push_back(tokenizer_.end_of_text());
        if (max_length_ > 0 && tokens.size() > max_length_) tokens.resize(max_length_), ++cut_;
        block.tokens.insert(block.tokens.end(), tokens.begin(), tokens.end());
        block.starts.push_back(block.tokens.size());
    }

    const Tokenizer& tokenizer_;
    std::size_t max_length_;
    bool keeps_texts_;
    const Communicator& world_;
    std::optional<LineReader> reader_;
    std::uint64_t cut_ = 0;
};

/// Standard output, or a file that appears when it is complete.
class Output {
public:
    explicit Output(const std::string& path) : path_(path), temporary_(path.empty() ? "" : temporary_name(path)) {
        if (path.empty()) return;
        remove_stale_temporaries(path);
        file_ = std::fopen(temporary_.c_str(), "wb");
        check_usage(file_ != nullptr, "--output {} cannot be written: its folder is missing or not writable", path);
    }
    ~Output() {
        if (path_.empty() || file_ == nullptr) return;
        std::fclose(file_);
        remove_temporary();
    }
    void line(const std::string& text) {
        if (path_.empty()) return print_line(text);
        check_written(std::fputs((text + "\n").c_str(), file_) >= 0);
    }
    void finish() {
        if (path_.empty()) return;
        check_written(std::fclose(std::exchange(file_, nullptr)) == 0);
        publish(temporary_, path_);
    }
    /// Before an Error, which ends the job without unwinding.
    void remove_temporary() {
        std::error_code ignored;
        if (!path_.empty()) std::filesystem::remove(temporary_, ignored);
    }

private:
    void check_written(bool done) {
        if (!done) remove_temporary();
        check(done, "{} cannot be written: is the disk full?", path_);
    }

    std::string path_;
    std::filesystem::path temporary_;
    std::FILE* file_ = nullptr;
};

/// The next block once work has begun. What cannot be read then is no longer a matter of how the command was called:
/// rank 0 ends the job, the others wait for that.
LabelledSet next_while_working(LineBlocks& blocks, Output* output, const Communicator& world) {
    try {
        return blocks.next();
    } catch (const UsageError& problem) {
        if (output != nullptr) output->remove_temporary();
        check(world.rank() != 0, std::string(problem.what()));
        world.barrier();
        throw;
    }
}

}  // namespace

int predict_command(std::span<const std::string> arguments, const Communicator& world) {
    std::string model_path, input, output_path;
    LayoutOptions layout;
    layout.micro_batch = 16;
    OptionTable table("predict",
                      "Labels lines of text with a classifier: a TSV of the likeliest label and the probability of "
                      "each class, with a header.");
    table.example("--model runs/classifier --input reviews.txt --output labels.tsv");
    table.group("What");
    table.add("model", model_path, "run or checkpoint", "RUN");
    table.required("model");
    table.add("input", input, "text, a record a line, plain, gzip or zstd; - is standard input", "FILE");
    table.required("input");
    table.add("output", output_path, "default: standard output", "FILE");
    add_layout_options(table, layout);
    if (!together(world, [&] { return table.parse(arguments); })) return 0;

    const StoredModel stored = open_model(model_path, world);
    const StoredClassifier classifier = together(world, [&] { return classifier_from(stored); });
    std::unique_ptr<Output> output;
    together(world, [&] {
        check_usage(output_path.empty() || !std::filesystem::exists(output_path),
                    "--output {} is there already; remove it or name another", output_path);
        if (world.rank() == 0) output = std::make_unique<Output>(output_path);
    });
    LineBlocks blocks(input, stored.tokenizer, classifier, world);
    LabelledSet block = blocks.next();  // an input that cannot be read is found before anything is written
    const std::size_t classes = classifier.classes.size();
    Judge judge(stored, classifier, layout, lines_at_a_time, world);
    if (output) output->line("label\t" + fmt::format("{}", fmt::join(classifier.classes, "\t")));
    ProgressLine bar("predict", "lines", 0, world.rank() == 0);
    std::uint64_t lines = 0;
    for (; block.size() > 0; block = next_while_working(blocks, output.get(), world)) {
        const std::vector<float> probabilities = judge.ask(block)->probabilities;
        for (std::size_t i = 0; output && i < block.size(); ++i) {
            const std::span<const float> row(probabilities.data() + i * classes, classes);
            output->line(fmt::format("{}\t{:.6f}", classifier.classes[best_class(row)], fmt::join(row, "\t")));
        }
        bar.update(lines += block.size());
    }
    bar.clear();
    if (output) output->finish();
    if (blocks.cut() > 0)
        fmt::print(stderr, "note: {} lines are longer than {} tokens and were cut\n", blocks.cut(),
                   classifier.max_length);
    return 0;
}

}  // namespace ulmpi
