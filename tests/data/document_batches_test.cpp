// Oracle: properties, for random lengths, contexts and sizes of micro-batches.

#include "data/document_batches.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "data/chunks.hpp"
#include "tests/reference/documents.hpp"

namespace ulmpi::reference {
namespace {

struct Case {
    std::vector<std::size_t> lengths;
    std::size_t context, micro_batch;
};

template <typename F>
void for_each_case(F f) {
    std::mt19937 random(3);
    for (std::size_t context : {1u, 4u, 7u})
        for (std::size_t micro_batch : {1u, 2u, 3u, 8u})
            for (std::size_t longest : {context, 3 * context, 30 * context}) {
                std::vector<std::size_t> lengths;
                for (std::size_t i = random() % 12; i < 13; ++i) lengths.push_back(1 + random() % longest);
                SCOPED_TRACE(testing::Message() << "context " << context << ", " << micro_batch << " at a time, up to "
                                                << longest << " tokens");
                f(Case{lengths, context, micro_batch});
            }
}

/// (document, its token) -> (sequence of the global batch, position), of what is pooled.
using Pooled = std::map<std::pair<std::uint64_t, std::size_t>, std::pair<std::size_t, std::size_t>>;

Pooled pooled(const std::vector<MicroBatch>& batches, const LabelledSet& set, std::size_t first_row) {
    Pooled result;
    std::uint64_t document = first_row;  // that begins next
    for (const MicroBatch& b : batches) {
        if (b.documents_begun() > 0) {
            EXPECT_EQ(b.first_row, document);
        }
        EXPECT_EQ(b.samples.size(), b.documents_begun());
        EXPECT_EQ(b.labels.size(), b.documents());
        for (std::size_t s = 0; s < b.sequences; ++s) {
            const Chunk chunk = b.chunk(s);
            if (chunk.begins()) ++document;
            const std::span<const Token> tokens = set.tokens_of(document - 1);
            EXPECT_EQ(chunk.document_length, tokens.size());
            EXPECT_EQ(b.labels[chunk.document], set.labels[document - 1]);
            for (std::size_t p = 0; p < b.length; ++p) {
                const bool real = p < static_cast<std::size_t>(b.lengths[s]);
                EXPECT_EQ(b.inputs[s * b.length + p], real ? tokens[chunk.first + p] : -7);
                if (real && p >= chunk.first_pooled) {
                    EXPECT_TRUE(result.insert({{document - 1, chunk.first + p}, {b.first_sequence + s, p}}).second);
                }
            }
        }
    }
    return result;
}

std::vector<MicroBatch> of_rows(const LabelledSet& set, Range rows, const Case& c) {
    const std::vector<std::uint32_t> records = all_records(set);
    const std::size_t before = count_chunks(set, std::span(records).first(rows.first), c.context);
    return document_batches(set, std::span(records).subspan(rows.first, rows.size()), {rows.first, before},
                            {c.context, c.micro_batch, -7});
}

TEST(DocumentBatches, EveryTokenIsPooledOnceAtThePlaceThatNoLayoutChanges) {
    for_each_case([](const Case& c) {
        const LabelledSet set = random_documents(c.lengths, 100, 4, 1);
        const Pooled whole = pooled(of_rows(set, {0, set.size()}, c), set, 0);
        EXPECT_EQ(whole.size(), set.tokens.size());
        Pooled parts;
        for (std::size_t replica = 0; replica < 3; ++replica) {
            const Range rows = even_slice(set.size(), 3, replica);
            Case other = c;
            other.micro_batch = 1 + replica;
            parts.merge(pooled(of_rows(set, rows, other), set, rows.first));
        }
        EXPECT_EQ(parts, whole);
    });
}

TEST(DocumentBatches, AreAsLargeAsTheyMayBeAndHoldDocumentsWholeWhereTheyCan) {
    for_each_case([](const Case& c) {
        const LabelledSet set = random_documents(c.lengths, 100, 4, 1);
        std::uint32_t partial_documents = 0;
        for (const MicroBatch& b : of_rows(set, {0, set.size()}, c)) {
            EXPECT_LE(b.sequences, b.partial ? std::min<std::size_t>(c.micro_batch, 2) : c.micro_batch);
            EXPECT_LE(b.length, c.context);
            for (std::size_t s = 0; s < b.sequences; ++s) {
                const Chunk chunk = b.chunk(s);
                const std::size_t all = chunk_count(chunk.document_length, c.context);
                EXPECT_EQ(all > c.micro_batch, b.partial);
                if (!b.partial && chunk.begins()) {  // so the document ends here too
                    ASSERT_LE(s + all, b.sequences);
                    const Chunk last = b.chunk(s + all - 1);
                    EXPECT_EQ(last.document, chunk.document);
                    EXPECT_TRUE(last.ends(static_cast<std::size_t>(b.lengths[s + all - 1])));
                }
            }
            if (!b.partial) continue;
            EXPECT_EQ(b.first_document + (b.chunks.front().begins() ? 0 : 1), partial_documents);
            partial_documents += static_cast<std::uint32_t>(b.documents_begun());
        }
    });
}

// As before there were chunks: one sequence a document, micro-batches full but for the last.
TEST(DocumentBatches, OfShortDocumentsAreFull) {
    const LabelledSet set = random_documents({3, 1, 4, 4, 2, 3, 4}, 100, 4, 1);
    const std::vector<MicroBatch> batches = of_rows(set, {1, 7}, {{}, 4, 4});
    ASSERT_EQ(batches.size(), 2u);
    EXPECT_EQ(batches[0].sequences, 4u);
    EXPECT_EQ(batches[1].sequences, 2u);
    EXPECT_EQ(batches[0].first_sequence, 1u);
    EXPECT_EQ(batches[1].first_sequence, 5u);
    for (const MicroBatch& b : batches) {
        EXPECT_TRUE(b.chunks.empty());
        EXPECT_FALSE(b.partial);
        EXPECT_EQ(b.first_row, b.first_sequence);
    }
    EXPECT_EQ(batches[1].lengths, (std::vector<std::int32_t>{3, 4}));
    EXPECT_EQ(batches[1].samples, (std::vector<std::uint64_t>{5, 6}));
}

}  // namespace
}  // namespace ulmpi::reference
