// data verify, data show: what lies in a folder of shards, a shard or a labelled set.

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/files/seal.hpp"
#include "base/options/table.hpp"
#include "base/progress.hpp"
#include "base/quoted.hpp"
#include "data/commands.hpp"
#include "data/labelled_set.hpp"
#include "data/token_dataset.hpp"
#include "data/tokenizer/tokenizer.hpp"
#include "parallel/run_main.hpp"

namespace ulmpi {
namespace {

using Json = nlohmann::ordered_json;

/// Bytes that no terminal takes for a command: controls are escaped, the rest passes.
std::string printable(std::string_view text, std::size_t limit) {
    std::string shown;
    for (const char c : text.substr(0, limit)) {
        if (c == '\n')
            shown += "\\n";
        else if (static_cast<unsigned char>(c) < 32 || c == 127)
            shown += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
        else
            shown += c;
    }
    return text.size() > limit ? shown + " ..." : shown;
}

bool is_labelled_set(const std::filesystem::path& path) {
    std::error_code failure;
    return std::filesystem::is_regular_file(path, failure) && read_seal(path).kind == labelled_set_kind;
}

/// A labelled set brings its own tokenizer.
LabelledSet open_labelled_set(const std::filesystem::path& path, bool keep_texts) {
    verify_seal(path, labelled_set_kind);
    const std::string json = Hdf5File::open(path).read_text("/tokenizer");
    return load_labelled_set(path, Tokenizer::from_json(json, path.string()), {.keep_texts = keep_texts});
}

Json counts_of(const TokenDataset& dataset) {
    return {{"shards", dataset.shard_count()},
            {"tokens", dataset.token_count()},
            {"documents", dataset.document_count()},
            {"bytes", dataset.bytes()},
            {"words", dataset.words()},
            {"vocabulary_size", dataset.vocabulary_size()},
            {"fingerprint", fmt::format("{:016x}", dataset.fingerprint())}};
}

Json counts_of(const LabelledSet& set) {
    Json counts{{"documents", set.size()}, {"tokens", set.tokens.size()}};
    for (std::size_t label = 0; label < set.classes.size(); ++label)
        counts["classes"][set.classes[label]] = std::ranges::count(set.labels, static_cast<std::int32_t>(label));
    return counts;
}

// ---------------------------------------------------------------- verify

/// Reads every chunk against its checksum and every token against the vocabulary, and checks that /documents says where
/// documents begin: where the sequence begins, and after each end-of-text. Returns whether one begins after this shard.
bool verify_tokens(const TokenDataset& dataset, std::size_t shard, bool begins) {
    const std::vector<std::uint64_t> starts = dataset.document_starts(shard);
    const std::uint64_t end = dataset.first_token(shard + 1);
    auto start = starts.begin();
    // A shard that is looked at without the one before may begin in the middle of a document.
    if (shard == 0 && (starts.empty() || starts[0] > 0)) begins = false;
    std::vector<Token> block;
    for (std::uint64_t first = dataset.first_token(shard); first < end; first += block.size()) {
        block.resize(std::min<std::uint64_t>(end - first, std::uint64_t{1} << 20));
        dataset.read(first, block);
        for (std::size_t i = 0; i < block.size(); ++i) {
            const bool said = start != starts.end() && *start == first + i;
            check(said == begins, "{}: its documents do not begin where its tokens say, near token {}",
                  quoted(dataset.shard_path(shard)), first + i);
            start += said;
            begins = block[i] == dataset.end_of_text();
        }
    }
    check(start == starts.end(), "{} names documents beyond its end", quoted(dataset.shard_path(shard)));
    return begins;
}

/// Throws Error or UsageError at the first thing that is wrong.
Json verify_shards(const std::filesystem::path& path) {
    const TokenDataset dataset(path);  // every seal
    const Tokenizer tokenizer = Tokenizer::from_json(dataset.tokenizer_json(), dataset.shard_path(0).string());
    check(tokenizer.fingerprint() == dataset.fingerprint() && tokenizer.vocabulary_size() == dataset.vocabulary_size(),
          "{} holds another tokenizer than its fingerprint says", quoted(dataset.shard_path(0)));
    if (std::filesystem::is_directory(path))
        check(Tokenizer::load(path / "tokenizer.json").fingerprint() == dataset.fingerprint(),
              "{} is not the tokenizer of the shards beside it", quoted(path / "tokenizer.json"));

    ProgressLine progress("checking", "tokens", dataset.token_count(), true);
    bool begins = true;  // whether a document must begin here
    for (std::size_t shard = 0; shard < dataset.shard_count(); ++shard) {
        begins = verify_tokens(dataset, shard, begins);
        progress.update(dataset.first_token(shard + 1));
    }
    return counts_of(dataset);
}

}  // namespace

int data_verify_command(std::span<const std::string> arguments, const Communicator& world) {
    std::string path;
    OptionTable table("data verify",
                      "Checks every seal, every checksum and every token; exit status 1 if one is wrong.");
    table.example("shards/train");
    table.add("data", path, "a folder of shards, a shard, or a labelled set", "DIR");
    table.positional("data");
    table.required("data");
    if (!table.parse(arguments)) return 0;

    const int status = together(world, [&] {
        if (world.rank() != 0) return 0;
        std::error_code failure;
        check_usage(std::filesystem::exists(path, failure), "there is no '{}'", path);
        Json result{{"kind", "verify"}, {"path", path}};
        try {
            result["ok"] = true;
            result.update(is_labelled_set(path) ? counts_of(open_labelled_set(path, false)) : verify_shards(path));
        } catch (const Error& error) {
            result["ok"] = false;
            result["problem"] = error.what();
            std::fprintf(stderr, "ulmpi: %s\n", error.what());
        }
        print_json(result);
        return result["ok"] ? 0 : 1;
    });
    return broadcast_value(status, world, 0);
}

// ---------------------------------------------------------------- show

namespace {

void show_table(const Json& counts) {
    for (const auto& [name, value] : counts.items()) {
        if (value.is_object()) {
            for (const auto& [label, count] : value.items())
                std::fprintf(stderr, "  %-18s %12s\n", printable(label, 60).c_str(), count.dump().c_str());
        } else {
            std::fprintf(stderr, "%-20s %12s\n", name.c_str(),
                         value.is_string() ? value.get<std::string>().c_str() : value.dump().c_str());
        }
    }
}

/// The beginnings of the first few documents.
Json sample_of(const TokenDataset& dataset) {
    const Tokenizer tokenizer = Tokenizer::from_json(dataset.tokenizer_json(), dataset.shard_path(0).string());
    std::vector<Token> tokens(std::min<std::uint64_t>(dataset.token_count(), 2000));
    dataset.read(0, tokens);
    Json sample = Json::array();
    for (std::size_t begin = 0; begin < tokens.size() && sample.size() < 5;) {
        const auto rest = std::span<const Token>(tokens).subspan(begin);
        const auto end = static_cast<std::size_t>(std::ranges::find(rest, dataset.end_of_text()) - rest.begin());
        sample.push_back(printable(tokenizer.decode(rest.first(end)), 300));
        begin += end + 1;
    }
    return sample;
}

Json sample_of(const LabelledSet& set) {
    Json sample = Json::array();
    for (std::size_t i = 0; i < std::min<std::size_t>(set.size(), 5); ++i)
        sample.push_back(
            fmt::format("{}: {}", set.classes[static_cast<std::size_t>(set.labels[i])], printable(set.texts[i], 300)));
    return sample;
}

}  // namespace

int data_show_command(std::span<const std::string> arguments, const Communicator& world) {
    std::string path;
    OptionTable table("data show", "Prints what shards or a labelled set hold: figures and the first few texts.");
    table.example("shards/train");
    table.add("data", path, "a folder of shards, a shard, or a labelled set", "DIR");
    table.positional("data");
    table.required("data");
    if (!table.parse(arguments)) return 0;

    together(world, [&] {
        if (world.rank() != 0) return;
        Json result{{"kind", "show"}, {"path", path}};
        Json counts, sample;
        if (is_labelled_set(path)) {
            const LabelledSet set = open_labelled_set(path, true);
            counts = counts_of(set);
            sample = sample_of(set);
        } else {
            const TokenDataset dataset(path, SealCheck::length);
            counts = counts_of(dataset);
            sample = sample_of(dataset);
        }
        result.update(counts);
        result["sample"] = sample;
        show_table(counts);
        for (const auto& text : sample) std::fprintf(stderr, "| %s\n", text.get<std::string>().c_str());
        print_json(result);
    });
    return 0;
}

}  // namespace ulmpi
