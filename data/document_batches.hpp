#pragma once
// Documents of any length as micro-batches: those longer than the model's context in overlapping chunks.

#include <span>
#include <vector>

#include "base/micro_batch.hpp"
#include "data/labelled_set.hpp"

namespace ulmpi {

/// How documents are read: at most `context` tokens a sequence, `micro_batch` sequences at a time, padded at the end.
struct Reading {
    std::size_t context = 1, micro_batch = 1;
    Token padding = 0;
    /// What is added to the scores of each record of the set, (records, classes); empty: nothing.
    std::span<const float> offsets = {};
    /// The target of each record, (records, classes); empty: its label.
    std::span<const float> soft_labels = {};
};

/// Place in the global batch: of a document among the documents, of its first chunk among all chunks.
struct DocumentPlace {
    std::size_t row = 0, chunk = 0;
};

/// Chunks of all these records.
std::size_t count_chunks(const LabelledSet& set, std::span<const std::uint32_t> records, std::size_t context);

/// The records in order, the first of them at `first`. A micro-batch holds whole documents, as many as it has room for;
/// documents with more chunks than that follow one another in micro-batches of their own, which are partial and hold
/// two chunks. Where no document is longer than the context, each is one sequence.
std::vector<MicroBatch> document_batches(const LabelledSet& set, std::span<const std::uint32_t> records,
                                         DocumentPlace first, const Reading& reading);

}  // namespace ulmpi
