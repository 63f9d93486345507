#pragma once
// Labelled texts in memory: from a TSV file (plain or packed) or a sealed HDF5 file made of one (data/FORMAT.md).
//
// The TSV has a header "label<TAB>text", then one record a line; no quoting: a further tab belongs to the text.
// If the header ends in "\r\n", the '\r' of every line is dropped; otherwise each is text.

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "data/tokenizer/tokenizer.hpp"
#include "parallel/communicator.hpp"

namespace ulmpi {

struct LabelledSet {
    std::vector<std::string> classes;   // names, by label
    std::vector<std::int32_t> labels;   // of each record
    std::vector<Token> tokens;          // of all records, one after the other; no end-of-text between them
    std::vector<std::uint64_t> starts;  // of each record in `tokens`, and the end: size() + 1 entries
    std::vector<std::string> texts;     // if they were asked for
    std::uint64_t cut = 0;              // records that were longer than max_length

    std::size_t size() const { return labels.size(); }
    std::span<const Token> tokens_of(std::size_t i) const {
        return std::span(tokens).subspan(starts[i], starts[i + 1] - starts[i]);
    }
    std::vector<std::uint32_t> lengths() const;
};

struct LabelledOptions {
    std::uint64_t max_length = 0;  ///< tokens of a record beyond these are dropped; 0: none
    /// The classes that labels must be of, in the order of their ids: those of the training set. Empty: those that are
    /// found, in byte-wise order, so that ids do not depend on the order of records.
    std::vector<std::string> classes = {};
    bool keep_texts = false;
    int threads = 0;  // 0: all
};

/// Each record has at least one token: an empty text is one end-of-text token. Throws UsageError naming file and line:
/// no header, a line without a tab or label, a label that is not among the given classes; and for a set without
/// records, a damaged file, or one that was made with another tokenizer.
LabelledSet load_labelled_set(const std::filesystem::path& path, const Tokenizer& tokenizer,
                              const LabelledOptions& options = {});

/// Texts as records of class 0, read as those of a file are; of the options, the classes are not looked at.
LabelledSet unlabelled_set(std::vector<std::string> texts, const Tokenizer& tokenizer,
                           const LabelledOptions& options = {});
/// The records of another set of the same classes, after those of this one.
void append(LabelledSet& set, const LabelledSet& more);

/// That of rank 0 on every rank. Collective.
void broadcast(LabelledSet& set, const Communicator& ranks);

/// Writes a sealed HDF5 file under its final name when it is complete, replacing what is there.
void save_labelled_set(const std::filesystem::path& path, const LabelledSet& set, const Tokenizer& tokenizer);

}  // namespace ulmpi
