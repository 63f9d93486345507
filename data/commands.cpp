#include "data/commands.hpp"

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/files/publish.hpp"
#include "base/options/table.hpp"
#include "base/progress.hpp"
#include "base/quoted.hpp"
#include "data/document_reader.hpp"
#include "data/labelled_set.hpp"
#include "data/shard_writer.hpp"
#include "data/tokenizer/bpe_trainer.hpp"
#include "parallel/command_table.hpp"
#include "parallel/run_main.hpp"

namespace ulmpi {
namespace {

/// The options that say which text is read, and how.
struct TextInput {
    std::vector<std::string> files;
    std::string documents = "line", format = "auto", text_key = "text";
    int threads = 0;

    void add_to(OptionTable& table) {
        table.group("Text");
        table.add("input", files, "plain text or JSON lines, as they are or packed with gzip or zstd", "FILE");
        table.required("input");
        table.add("documents", documents,
                  "what a document of plain text is: a line, lines up to a blank one, or a file");
        table.choices("documents", {"line", "blank", "file"});
        table.add("text-format", format, "auto: JSON lines if named .jsonl or if the first line is a JSON object");
        table.choices("text-format", {"auto", "plain", "jsonl"});
        table.add("text-key", text_key, "the member of a JSON record that holds its text; each record is a document");
        add_threads(table, threads);
    }
    static void add_threads(OptionTable& table, int& threads) {
        table.add("threads-per-rank", threads, "0: all that this machine has for us", "threads");
        table.range("threads-per-rank", 0, 4096);
    }
    TextReader reader() const {
        return {{files.begin(), files.end()},
                {.documents = documents_named(documents), .format = text_format_named(format), .text_key = text_key}};
    }
    int thread_count() const { return threads > 0 ? threads : omp_get_max_threads(); }
};

/// For an output that is one file: it must not be there, and the folder above it must be.
void prepare_output(const std::filesystem::path& output, bool overwrite) {
    std::error_code failure;
    check_usage(!output.empty(), "--output is empty");
    check_usage(!std::filesystem::is_directory(output, failure), "{} is a folder, a file was expected", quoted(output));
    check_usage(overwrite || !std::filesystem::exists(output, failure),
                "{} exists; name another file, or say --overwrite on", quoted(output));
    const std::filesystem::path folder = output.parent_path();
    if (!folder.empty()) std::filesystem::create_directories(folder, failure);
    check_usage(!failure, "cannot make the folder {}: {}", quoted(folder), failure.message());
}

// ---------------------------------------------------------------- tokenizer

int tokenizer_command(std::span<const std::string> arguments, const Communicator& world) {
    TextInput input;
    BpeTrainingOptions options;
    std::string output;
    bool overwrite = false;
    OptionTable table("data tokenizer",
                      "Learns a byte-level BPE tokenizer and writes it as Hugging Face's tokenizer.json.");
    table.example("--input corpus.txt.gz --vocab-size 16000 --output tokenizer.json");
    input.add_to(table);
    table.group("Tokenizer");
    table.add("vocab-size", options.vocabulary_size, "everything counts: 256 bytes, merges, special tokens", "tokens");
    table.range("vocab-size", 257, 2147483647);
    table.add("min-frequency", options.min_frequency, "a pair that is rarer is never merged", "times");
    table.group("Output");
    table.add("output", output, "the file to write", "FILE");
    table.required("output");
    table.add("overwrite", overwrite, "replace the file if it exists");
    if (!table.parse(arguments)) return 0;

    together(world, [&] {
        if (world.rank() != 0) return;
        TextReader reader = input.reader();
        prepare_output(output, overwrite);
        const int threads = input.thread_count();
        std::vector<WordCounter> counters(static_cast<std::size_t>(threads));
        std::uint64_t bytes = 0;
        ProgressLine progress("counting words", "bytes", reader.bytes_total(), true);
        BatchReader batches(reader);
        for (DocumentBatch batch; batches.next(batch); progress.update(batch.bytes_taken)) {
            parallel_loop(threads, batch.size(),
                          [&](std::size_t thread, std::size_t i) { counters[thread].add(batch[i]); });
            bytes += batch.text.size();
        }
        progress.clear();
        for (std::size_t i = 1; i < counters.size(); ++i) counters[0].merge(std::move(counters[i]));
        const Tokenizer tokenizer = train_bpe(counters[0], options);
        tokenizer.save(output);
        if (tokenizer.vocabulary_size() < options.vocabulary_size)
            std::fprintf(stderr, "the text gives a vocabulary of %zu only, no other pair occurs %llu times\n",
                         tokenizer.vocabulary_size(), static_cast<unsigned long long>(options.min_frequency));
        print_json({{"kind", "tokenizer"},
                    {"output", output},
                    {"vocabulary_size", tokenizer.vocabulary_size()},
                    {"distinct_words", counters[0].distinct_words()},
                    {"bytes", bytes},
                    {"fingerprint", fmt::format("{:016x}", tokenizer.fingerprint())}});
    });
    return 0;
}

// ---------------------------------------------------------------- shards

void make_labelled_set(const TextInput& input, const Tokenizer& tokenizer, const std::string& output, bool overwrite) {
    check_usage(input.files.size() == 1, "a labelled set is made of one --input file");
    prepare_output(output, overwrite);
    const LabelledSet set = load_labelled_set(input.files[0], tokenizer, {.threads = input.threads});
    save_labelled_set(output, set, tokenizer);
    print_json({{"kind", "labelled-set"},
                {"output", output},
                {"classes", set.classes},
                {"documents", set.size()},
                {"tokens", set.tokens.size()},
                {"vocabulary_size", tokenizer.vocabulary_size()}});
}

void make_shards(const TextInput& input, const Tokenizer& tokenizer, const std::string& output,
                 const ShardOptions& options) {
    check_usage(!output.empty(), "--output is empty");
    check_shard_folder(output, options.overwrite);
    TextReader reader = input.reader();
    ProgressLine progress("writing shards", "bytes", reader.bytes_total(), true);
    const CorpusCounts counts =
        write_shards(tokenizer, reader, output, options, [&](std::uint64_t bytes, std::uint64_t tokens) {
            progress.update(bytes, format_count(static_cast<double>(tokens)) + " tokens");
        });
    progress.clear();
    print_json({{"kind", "shards"},
                {"output", output},
                {"shards", (counts.tokens + options.shard_tokens - 1) / options.shard_tokens},
                {"tokens", counts.tokens},
                {"documents", counts.documents},
                {"bytes", counts.bytes},
                {"words", counts.words},
                {"vocabulary_size", tokenizer.vocabulary_size()}});
}

int shards_command(std::span<const std::string> arguments, const Communicator& world) {
    TextInput input;
    ShardOptions options;
    std::string tokenizer_path, output;
    bool labelled = false;
    OptionTable table("data shards",
                      "Turns text into a folder of token shards (data/FORMAT.md), each document followed by "
                      "end-of-text; or a labelled TSV into a labelled set.");
    table.example("--tokenizer tokenizer.json --input train.txt.gz --output shards/train");
    input.add_to(table);
    table.add("labelled", labelled, "the input is one TSV with a header label<TAB>text, the output is one file");
    table.group("Tokens");
    table.add("tokenizer", tokenizer_path, "a tokenizer.json, or a folder with vocabulary and merges", "FILE");
    table.required("tokenizer");
    table.group("Output");
    table.add("output", output, "the folder to write; it appears when it is complete", "DIR");
    table.required("output");
    table.add("shard-tokens", options.shard_tokens, "in each shard but the last", "tokens");
    table.range("shard-tokens", 1, 1e15);
    table.add("overwrite", options.overwrite, "replace shards that are there already");
    if (!table.parse(arguments)) return 0;

    together(world, [&] {
        if (world.rank() != 0) return;
        options.threads = input.threads;
        const Tokenizer tokenizer = Tokenizer::load(tokenizer_path);
        if (labelled)
            make_labelled_set(input, tokenizer, output, options.overwrite);
        else
            make_shards(input, tokenizer, output, options);
    });
    return 0;
}

// ---------------------------------------------------------------- encode

/// "5 77 3\n"
std::string ids_of(std::string_view line, const Tokenizer& tokenizer, std::vector<Token>& scratch, BpeCache& cache) {
    if (line.ends_with('\n')) line.remove_suffix(1);
    scratch.clear();
    tokenizer.encode(line, scratch, cache);
    fmt::memory_buffer text;
    fmt::format_to(std::back_inserter(text), "{}", fmt::join(scratch, " "));
    text.push_back('\n');
    return fmt::to_string(text);
}

int encode_command(std::span<const std::string> arguments, const Communicator& world) {
    std::string tokenizer_path, input;
    int threads = 0;
    OptionTable table("data encode", "Prints a line of token ids per line of text, its newline left out.");
    table.example("--tokenizer tokenizer.json --input text.txt");
    table.add("tokenizer", tokenizer_path, "a tokenizer.json, or a folder with vocabulary and merges", "FILE");
    table.required("tokenizer");
    table.add("input", input, "plain text, as it is or packed with gzip or zstd; - is standard input", "FILE");
    table.required("input");
    TextInput::add_threads(table, threads);
    if (!table.parse(arguments)) return 0;

    together(world, [&] {
        if (world.rank() != 0) return;
        const Tokenizer tokenizer = Tokenizer::load(tokenizer_path);
        if (threads == 0) threads = omp_get_max_threads();
        std::vector<BpeCache> caches(static_cast<std::size_t>(threads));
        std::vector<std::vector<Token>> scratch(caches.size());
        std::vector<std::string> lines;
        TextReader reader({input}, {.format = TextFormat::plain});
        BatchReader batches(reader);
        for (DocumentBatch batch; batches.next(batch);) {
            lines.resize(batch.size());
            parallel_loop(threads, batch.size(), [&](std::size_t thread, std::size_t i) {
                lines[i] = ids_of(batch[i], tokenizer, scratch[thread], caches[thread]);
            });
            for (const std::string& line : lines)
                check(std::fwrite(line.data(), 1, line.size(), stdout) == line.size(),
                      "cannot write the ids to standard output: the disk is full or the reader has gone");
        }
    });
    return 0;
}

}  // namespace

const std::vector<Command>& data_commands() {
    static const std::vector<Command> table{
        {"tokenizer", "learns a byte-level BPE tokenizer from text", tokenizer_command},
        {"shards", "text to shards of tokens, or a labelled TSV to a labelled set", shards_command},
        {"encode", "prints the token ids of each line of text", encode_command},
        {"verify", "checks every checksum and every token", data_verify_command},
        {"show", "prints what shards or a labelled set hold", data_show_command},
    };
    return table;
}

int data_command(std::span<const std::string> arguments, const Communicator& world) {
    return run_command("data", data_commands(), arguments, world);
}

}  // namespace ulmpi
