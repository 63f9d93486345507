#pragma once
// Token shards -> tokens at any place. The shards of a folder are one long sequence, read where it is asked for;
// nothing else of it is kept in memory.

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/files/hdf5_file.hpp"
#include "base/token.hpp"
#include "data/corpus_counts.hpp"

namespace ulmpi {

/// How much of a file is checked before it is opened: every byte, or the seal and the length alone (for the other ranks
/// when one rank has checked every byte).
enum class SealCheck { every_byte, length };

/// The training windows of `length` inputs in so many tokens: window i holds tokens [i length, i length + length], the
/// last one being the target of the last input. Only whole windows count; throws UsageError, naming `file`, if there is
/// none.
std::uint64_t windows_of(std::uint64_t tokens, std::uint64_t length, const std::filesystem::path& file);

class TokenDataset {
public:
    /// A folder of shards, or one shard. Throws UsageError, naming the file, if there is none, one is missing, damaged
    /// or of another format, or two do not belong together.
    explicit TokenDataset(const std::filesystem::path& path, SealCheck seal_check = SealCheck::every_byte);

    std::uint64_t token_count() const { return counts_.tokens; }
    std::uint64_t document_count() const { return counts_.documents; }
    std::uint64_t bytes() const { return counts_.bytes; }  ///< of the text that was encoded
    std::uint64_t words() const { return counts_.words; }  ///< as CorpusCounts counts them
    const CorpusCounts& counts() const { return counts_; }

    std::uint64_t vocabulary_size() const { return vocabulary_size_; }
    std::uint64_t fingerprint() const { return fingerprint_; }
    Token end_of_text() const { return end_of_text_; }
    const std::string& tokenizer_json() const { return tokenizer_json_; }

    /// windows_of its tokens.
    std::uint64_t windows(std::uint64_t length) const { return windows_of(token_count(), length, shard_path(0)); }

    /// Reads window i: `tokens` has length + 1 places.
    void read_window(std::uint64_t i, std::span<Token> tokens) const { read(i * (tokens.size() - 1), tokens); }

    /// Reads tokens [first, first + tokens.size()), across shards. Throws Error if they are not there, the file is
    /// damaged, or an id is not in the vocabulary. Any thread may call it.
    void read(std::uint64_t first, std::span<Token> tokens) const;

    /// Where the documents begin that begin in the given shard, as places in the whole sequence.
    std::vector<std::uint64_t> document_starts(std::size_t shard) const;
    std::size_t shard_count() const { return shards_.size(); }
    /// Where a shard begins in the whole sequence; that of shard_count() is the end.
    std::uint64_t first_token(std::size_t shard) const {
        return shard == shards_.size() ? token_count() : shards_[shard].first_token;
    }
    const std::filesystem::path& shard_path(std::size_t shard) const { return shards_[shard].file.path(); }

private:
    struct Shard {
        Hdf5File file;
        Hdf5Dataset tokens;
        std::uint64_t first_token, token_count;
    };
    void add_shard(const std::filesystem::path& path, SealCheck seal_check);

    std::vector<Shard> shards_;
    CorpusCounts counts_;
    std::uint64_t vocabulary_size_ = 0, fingerprint_ = 0;
    Token end_of_text_ = 0;
    std::string tokenizer_json_;
    bool complete_ = false;  // the last shard of its folder has been seen
};

}  // namespace ulmpi
