#pragma once
// The door to MPI: one class that owns a communicator and knows spans, not tensors.

#include <mpi.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace ulmpi {

class Timeline;

/// The MPI type of an arithmetic type.
template <typename T>
MPI_Datatype mpi_type() {
    if constexpr (std::is_same_v<T, float>)
        return MPI_FLOAT;
    else if constexpr (std::is_same_v<T, double>)
        return MPI_DOUBLE;
    else if constexpr (std::is_same_v<T, std::int32_t>)
        return MPI_INT32_T;
    else if constexpr (std::is_same_v<T, std::uint32_t>)
        return MPI_UINT32_T;
    else if constexpr (std::is_same_v<T, std::int64_t>)
        return MPI_INT64_T;
    else if constexpr (std::is_same_v<T, std::uint64_t>)
        return MPI_UINT64_T;
    else {
        static_assert(sizeof(T) == 1, "no MPI type for this type");
        return MPI_BYTE;
    }
}

/// A message under way. Waits for it in its destructor; the buffer must live until then.
class Request {
public:
    Request() = default;
    explicit Request(std::vector<MPI_Request> requests) : requests_(std::move(requests)) {}
    Request(Request&& other) noexcept : requests_(std::exchange(other.requests_, {})) {}
    Request& operator=(Request&& other) noexcept {
        std::swap(requests_, other.requests_);
        return *this;
    }
    ~Request() { wait(); }
    void wait();
    /// Whether it is done; lets MPI work at it.
    bool done();

private:
    std::vector<MPI_Request> requests_;
};

/// Owns one MPI communicator. Every call throws Error if MPI fails. One thread of a rank calls it at a time.
/// Calls marked collective must be made by all its ranks in the same order.
class Communicator {
public:
    static Communicator world();                   ///< a duplicate: our traffic never meets another's. Collective.
    Communicator split(int color, int key) const;  ///< ranks of equal color, ordered by key. Collective.
    Communicator(Communicator&& other) noexcept
        : comm_(std::exchange(other.comm_, MPI_COMM_NULL)), timeline_(other.timeline_) {}
    Communicator& operator=(Communicator&& other) noexcept {
        std::swap(comm_, other.comm_);
        std::swap(timeline_, other.timeline_);
        return *this;
    }
    ~Communicator();

    int rank() const;
    int size() const;
    /// From now on, collectives count as phases of `timeline`, which must outlive this; null: no longer.
    void record_on(Timeline* timeline) { timeline_ = timeline; }
    /// Ranks that share memory with this one (those of its node). Collective.
    Communicator split_by_node() const;

    void barrier() const;  ///< collective
    template <typename T>
    void all_reduce_sum(std::span<T> inout) const {  ///< collective
        all_reduce(inout.data(), inout.size(), sizeof(T), mpi_type<T>(), MPI_SUM);
    }
    template <typename T>
    void all_reduce_max(std::span<T> inout) const {  ///< collective
        all_reduce(inout.data(), inout.size(), sizeof(T), mpi_type<T>(), MPI_MAX);
    }
    template <typename T>
    void all_reduce_min(std::span<T> inout) const {  ///< collective
        all_reduce(inout.data(), inout.size(), sizeof(T), mpi_type<T>(), MPI_MIN);
    }
    /// Begins a sum and returns at once; `inout` is left alone until the request is done. At most most_at_once
    /// elements.
    template <typename T>
    [[nodiscard]] Request begin_all_reduce_sum(std::span<T> inout) const {  ///< collective
        return begin_all_reduce(inout.data(), inout.size(), mpi_type<T>(), MPI_SUM);
    }
    /// Elements that a sum takes in one piece: its operand needs room once more.
    template <typename T>
    std::size_t most_at_once() const {
        return piece_of(sizeof(T));
    }
    template <typename T>
    void broadcast(std::span<T> inout, int root) const {  ///< collective
        broadcast_bytes(std::as_writable_bytes(inout), root);
    }
    /// Everyone's values, in the order of the ranks. Parts may differ in length. Collective.
    template <typename T>
    std::vector<T> all_gather(std::span<const T> mine) const {
        const std::vector<std::byte> bytes = all_gather_bytes(std::as_bytes(mine));
        std::vector<T> all(bytes.size() / sizeof(T));
        std::copy(bytes.begin(), bytes.end(), reinterpret_cast<std::byte*>(all.data()));
        return all;
    }

    template <typename T>
    void receive(std::span<T> out, int peer, int tag) const {
        receive_bytes(std::as_writable_bytes(out), peer, tag);
    }
    /// Returns at once; `in` must stay as it is until the request has been waited for.
    template <typename T>
    [[nodiscard]] Request send(std::span<const T> in, int peer, int tag) const {
        return send_bytes(std::as_bytes(in), peer, tag);
    }

private:
    explicit Communicator(MPI_Comm comm);
    void all_reduce(void* data, std::size_t count, std::size_t element, MPI_Datatype type, MPI_Op op) const;
    Request begin_all_reduce(void* data, std::size_t count, MPI_Datatype type, MPI_Op op) const;
    std::size_t piece_of(std::size_t element) const;
    void broadcast_bytes(std::span<std::byte> inout, int root) const;
    std::vector<std::byte> all_gather_bytes(std::span<const std::byte> mine) const;
    void receive_bytes(std::span<std::byte> out, int peer, int tag) const;
    Request send_bytes(std::span<const std::byte> in, int peer, int tag) const;

    MPI_Comm comm_ = MPI_COMM_NULL;
    Timeline* timeline_ = nullptr;
};

/// The same value from one rank for all, for anything made of plain bytes.
template <typename T>
T broadcast_value(T value, const Communicator& comm, int root) {
    static_assert(std::is_trivially_copyable_v<T>);
    comm.broadcast(std::as_writable_bytes(std::span<T>(&value, 1)), root);
    return value;
}
/// The same for a text, whose length the others need not know.
std::string broadcast_text(std::string text, const Communicator& comm, int root);

}  // namespace ulmpi
