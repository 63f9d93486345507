#pragma once
// Documents -> a folder of token shards (data/FORMAT.md).

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/files/hdf5_file.hpp"
#include "data/corpus_counts.hpp"
#include "data/text_reader.hpp"
#include "data/tokenizer/tokenizer.hpp"

namespace ulmpi {

/// The smallest unsigned type that holds the ids of a vocabulary.
ElementType token_type(std::uint64_t vocabulary_size);

/// Cuts a stream of tokens into shards of exactly `shard_tokens` (the last is what is left) in a folder that exists.
/// Which bytes end up in which file depends on the documents alone, not on how they came.
class ShardWriter {
public:
    ShardWriter(const Tokenizer& tokenizer, std::filesystem::path folder, std::uint64_t shard_tokens);

    /// `tokens`: those of the document and end-of-text; they may begin in one shard and end in another.
    /// `bytes` and `words` of its text count for the shard where it begins.
    void append_document(std::span<const Token> tokens, std::uint64_t bytes, std::uint64_t words);

    /// Seals the last shard and writes tokenizer.json. Call it once, at the end; without documents it throws
    /// UsageError.
    CorpusCounts finish();

private:
    struct Shard {
        Hdf5File file;
        Hdf5Dataset tokens, documents;
        std::vector<Token> token_buffer;
        std::vector<std::uint64_t> document_buffer;
        CorpusCounts counts;
    };
    void open_shard();
    void flush();
    void close_shard(bool last);

    const Tokenizer& tokenizer_;
    std::string tokenizer_json_;
    std::filesystem::path folder_;
    std::uint64_t shard_tokens_, shards_done_ = 0;
    std::filesystem::path shard_path_;
    std::optional<Shard> shard_;
    CorpusCounts done_;  // in the shards before this one
};

struct ShardOptions {
    std::uint64_t shard_tokens = std::uint64_t{1} << 26;
    int threads = 0;         // 0: all
    bool overwrite = false;  // replace a folder of shards that is there already
    /// Which documents are taken, by their place in the text; empty: all. Several threads ask.
    std::function<bool(std::uint64_t document)> takes = {};
};

/// Called now and then: bytes of the input files taken so far, tokens written so far.
using ShardProgress = std::function<void(std::uint64_t bytes, std::uint64_t tokens)>;

/// Reads every document, encodes with all threads, and writes `folder`, which appears when it is complete: a run that
/// fails or is killed leaves nothing under that name. Throws UsageError if the folder holds anything already, unless
/// it is a folder of shards and `overwrite` is set.
CorpusCounts write_shards(const Tokenizer& tokenizer, TextReader& reader, const std::filesystem::path& folder,
                          const ShardOptions& options, const ShardProgress& progress = {});

/// Throws UsageError if `folder` may not be written (see write_shards), so that a caller finds out before long work.
void check_shard_folder(const std::filesystem::path& folder, bool overwrite);

/// "shard-00007.h5"
std::string shard_name(std::uint64_t index);

}  // namespace ulmpi
