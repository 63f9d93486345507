#pragma once
// Documents by the handful: read ahead by one thread while several others work on the handful before.

#include <omp.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <future>
#include <string>
#include <string_view>
#include <vector>

#include "data/text_reader.hpp"

namespace ulmpi {

/// Documents one behind the other in one text.
struct DocumentBatch {
    std::string text;
    std::vector<std::size_t> ends;  // of each document in `text`
    std::uint64_t bytes_taken = 0;  // of the reader, once this batch had been read

    std::size_t size() const { return ends.size(); }
    std::string_view operator[](std::size_t i) const {
        const std::size_t begin = i == 0 ? 0 : ends[i - 1];
        return std::string_view(text).substr(begin, ends[i] - begin);
    }
};

/// Batches of about four million bytes (more only if one document is longer); two are in memory at a time.
class BatchReader {
public:
    /// The reader must outlive this, and belongs to it meanwhile.
    explicit BatchReader(TextReader& reader) : reader_(reader) { read_ahead(); }

    /// False, and an empty batch, at the end. Throws what the reader throws.
    bool next(DocumentBatch& batch) {
        batch = ahead_.get();
        if (batch.size() == 0) return false;
        read_ahead();
        return true;
    }

private:
    static constexpr std::size_t batch_bytes = std::size_t{4} << 20;

    void read_ahead() {
        ahead_ = std::async(std::launch::async, [this] {
            DocumentBatch batch;
            while (batch.text.size() < batch_bytes && batch.size() < batch_bytes / 16 &&
                   reader_.append_document(batch.text))
                batch.ends.push_back(batch.text.size());
            batch.bytes_taken = reader_.bytes_taken();
            return batch;
        });
    }

    TextReader& reader_;
    std::future<DocumentBatch> ahead_;
};

/// body(thread, i) for every i in [0, count), by `threads` threads, each taking the next `grain` that are left. If one
/// throws, the rest is dropped and the first exception comes out here.
template <class Body>
void parallel_loop(int threads, std::size_t count, Body body, int grain = 8) {
    std::exception_ptr thrown;
    std::atomic<bool> stop = false;
#pragma omp parallel for num_threads(threads) schedule(dynamic, grain)
    for (std::size_t i = 0; i < count; ++i) {
        if (stop.load(std::memory_order_relaxed)) continue;
        try {
            body(static_cast<std::size_t>(omp_get_thread_num()), i);
        } catch (...) {
#pragma omp critical(ulmpi_parallel_loop)
            if (!stop.exchange(true)) thrown = std::current_exception();
        }
    }
    if (thrown) std::rethrow_exception(thrown);
}

}  // namespace ulmpi
