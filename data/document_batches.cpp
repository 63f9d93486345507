#include "data/document_batches.hpp"

#include <algorithm>

#include "data/chunks.hpp"

namespace ulmpi {
namespace {

/// Of a document with chunks in several micro-batches: so that reading it takes little memory beside shorter ones.
constexpr std::size_t chunks_at_a_time = 2;

/// One chunk of record `index` of those that were asked for.
struct Part {
    std::size_t index;
    ChunkBounds bounds;
};

/// Deals chunks to micro-batches.
class Dealer {
public:
    Dealer(const LabelledSet& set, std::span<const std::uint32_t> records, DocumentPlace first, const Reading& reading)
        : set_(set), records_(records), first_(first), reading_(reading) {}

    void deal(std::size_t index) {
        const std::vector<ChunkBounds> chunks = chunks_of(set_.tokens_of(records_[index]).size(), reading_.context);
        const bool partial = chunks.size() > reading_.micro_batch;
        if (partial != partial_ || (!partial && parts_.size() + chunks.size() > reading_.micro_batch)) finish();
        partial_ = partial;
        const std::size_t room = partial ? std::min(reading_.micro_batch, chunks_at_a_time) : reading_.micro_batch;
        for (const ChunkBounds& bounds : chunks) {
            if (parts_.size() == room) finish();
            if (parts_.empty()) first_document_ = partial_documents_;
            parts_.push_back({index, bounds});
        }
        if (partial) ++partial_documents_;
    }

    std::vector<MicroBatch> dealt() {
        finish();
        return std::move(batches_);
    }

private:
    void finish() {
        if (parts_.empty()) return;
        MicroBatch& batch = batches_.emplace_back();
        batch.sequences = parts_.size();
        for (const Part& part : parts_) batch.length = std::max(batch.length, part.bounds.length);
        batch.inputs.assign(batch.rows(), reading_.padding);
        batch.first_sequence = static_cast<std::uint32_t>(first_.chunk + dealt_);
        const std::size_t first = parts_.front().index;
        batch.first_row = static_cast<std::uint32_t>(first_.row + first + (parts_.front().bounds.first > 0 ? 1 : 0));
        batch.partial = partial_;
        if (partial_) batch.first_document = first_document_;
        for (std::size_t s = 0; s < parts_.size(); ++s) add(batch, s);
        // Where each sequence is a document, nothing more need be said.
        if (!partial_ && batch.chunks.back().document + 1 == batch.sequences) batch.chunks.clear();
        dealt_ += parts_.size();
        parts_.clear();
    }

    void add(MicroBatch& batch, std::size_t s) {
        const auto& [index, bounds] = parts_[s];
        const std::uint32_t record = records_[index];
        const std::span<const Token> tokens = set_.tokens_of(record);
        std::ranges::copy(tokens.subspan(bounds.first, bounds.length),
                          batch.inputs.begin() + static_cast<std::ptrdiff_t>(s * batch.length));
        batch.lengths.push_back(static_cast<std::int32_t>(bounds.length));
        const auto narrow = [](std::size_t n) { return static_cast<std::uint32_t>(n); };
        batch.chunks.push_back({narrow(index - parts_.front().index), narrow(bounds.first), narrow(bounds.first_pooled),
                                narrow(tokens.size())});
        if (s == 0 || parts_[s - 1].index != index) {
            batch.labels.push_back(set_.labels[record]);
            append_row(batch.offsets, reading_.offsets, record);
            append_row(batch.soft_labels, reading_.soft_labels, record);
        }
        if (bounds.first == 0) batch.samples.push_back(record);
    }

    // Of a matrix with a row for each record, or of none.
    void append_row(std::vector<float>& to, std::span<const float> rows, std::uint32_t record) const {
        const std::size_t columns = rows.size() / set_.size();
        const auto row = rows.subspan(record * columns, columns);
        to.insert(to.end(), row.begin(), row.end());
    }

    const LabelledSet& set_;
    std::span<const std::uint32_t> records_;
    DocumentPlace first_;
    Reading reading_;
    std::vector<Part> parts_;  ///< of the micro-batch that is being filled
    bool partial_ = false;
    std::size_t dealt_ = 0;                ///< chunks in micro-batches
    std::uint32_t partial_documents_ = 0;  ///< dealt, or begun to be
    std::uint32_t first_document_ = 0;     ///< of those before, how many come before the micro-batch's first
    std::vector<MicroBatch> batches_;
};

}  // namespace

std::size_t count_chunks(const LabelledSet& set, std::span<const std::uint32_t> records, std::size_t context) {
    std::size_t chunks = 0;
    for (std::uint32_t record : records) chunks += chunk_count(set.tokens_of(record).size(), context);
    return chunks;
}

std::vector<MicroBatch> document_batches(const LabelledSet& set, std::span<const std::uint32_t> records,
                                         DocumentPlace first, const Reading& reading) {
    Dealer dealer(set, records, first, reading);
    for (std::size_t index = 0; index < records.size(); ++index) dealer.deal(index);
    return dealer.dealt();
}

}  // namespace ulmpi
