#pragma once
// What goes through a model at a time: data/ makes it, model/ takes it.

#include <cstdint>
#include <vector>

#include "base/token.hpp"

namespace ulmpi {

/// A sequence that is a part of a document longer than the model's context, or all of a shorter one.
struct Chunk {
    std::uint32_t document = 0;         ///< of the micro-batch's documents
    std::uint32_t first = 0;            ///< token of the document that it begins with
    std::uint32_t first_pooled = 0;     ///< position: those before have been pooled with the chunk before
    std::uint32_t document_length = 0;  ///< tokens
    bool begins() const { return first == 0; }
    bool ends(std::size_t length) const { return first + length == document_length; }
};

/// Sequences that go through the model together, padded at the end to one length. Every stage gets it whole.
struct MicroBatch {
    std::size_t sequences = 0, length = 0;
    std::vector<Token> inputs;      ///< (sequences, length)
    std::vector<Token> targets;     ///< language models: (sequences, length), negative where nothing is to be predicted
    std::size_t source_length = 0;  ///< encoder-decoders: of the sources, padded at the end to one length too
    std::vector<Token> sources;     ///< (sequences, source_length)
    std::vector<std::int32_t> source_lengths;  ///< real tokens of each source, at least 1
    std::vector<std::int32_t> lengths;  ///< classifiers and predictions: real tokens of each sequence, at least 1
    std::vector<Chunk> chunks;          ///< classifiers: which part of its document each sequence is; empty: all of it
    std::vector<std::int32_t> labels;   ///< classifiers: the class of each document
    std::vector<float> soft_labels;     ///< classifiers: each document's target, (documents, classes); empty: its label
    std::vector<float> offsets;         ///< wide classifiers: what is added to their scores, (documents, classes)
    std::vector<std::uint64_t> samples;  ///< which sample of the data each document that begins here is; may be empty
    std::uint32_t first_row = 0;         ///< of the GLOBAL batch's samples, the place of the first of these
    std::uint32_t first_sequence = 0;    ///< place of sequence 0 in the GLOBAL batch: same masks on any layout
    bool partial = false;              ///< its documents have more chunks than a micro-batch holds: some lie in others
    std::uint32_t first_document = 0;  ///< where partial: how many such documents of the pass come before its first

    std::size_t rows() const { return sequences * length; }
    std::size_t documents() const { return chunks.empty() ? sequences : chunks.back().document + std::size_t{1}; }
    /// Of those, the number that begin here.
    std::size_t documents_begun() const { return documents() - (chunks.empty() || chunks.front().begins() ? 0 : 1); }
    Chunk chunk(std::size_t sequence) const {
        if (!chunks.empty()) return chunks[sequence];
        return {static_cast<std::uint32_t>(sequence), 0, 0, static_cast<std::uint32_t>(lengths[sequence])};
    }
};

}  // namespace ulmpi
