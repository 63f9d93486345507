#include "parallel/communicator.hpp"

#include <string>

#include "base/error.hpp"
#include "parallel/timeline.hpp"

namespace ulmpi {
namespace {

// MPI counts are ints: longer spans go in pieces of this many elements or bytes.
constexpr std::size_t piece = std::size_t{1} << 28;

// A reduction needs room for its operand once more, and fresh memory costs more than the sum: in pieces that room is
// small and stays warm. Algorithms for long messages share a piece among the ranks; these bytes for each are long
// enough for a network.
constexpr std::size_t reduced_by_a_rank = std::size_t{2} << 20;

void checked(int status, const char* call) {
    if (status == MPI_SUCCESS) return;
    char text[MPI_MAX_ERROR_STRING];
    int length = 0;
    MPI_Error_string(status, text, &length);
    throw Error(std::string(call) + " failed: " + std::string(text, static_cast<std::size_t>(length)));
}

}  // namespace

void Request::wait() {
    if (requests_.empty()) return;
    checked(MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE), "MPI_Waitall");
    requests_.clear();
}

bool Request::done() {
    if (requests_.empty()) return true;
    int all = 0;
    checked(MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &all, MPI_STATUSES_IGNORE),
            "MPI_Testall");
    if (all != 0) requests_.clear();
    return all != 0;
}

Communicator::Communicator(MPI_Comm comm) : comm_(comm) {
    if (comm_ != MPI_COMM_NULL) MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
}

Communicator Communicator::world() {
    MPI_Comm copy = MPI_COMM_NULL;
    checked(MPI_Comm_dup(MPI_COMM_WORLD, &copy), "MPI_Comm_dup");
    return Communicator(copy);
}

Communicator Communicator::split(int color, int key) const {
    MPI_Comm part = MPI_COMM_NULL;
    checked(MPI_Comm_split(comm_, color, key, &part), "MPI_Comm_split");
    return Communicator(part);
}

Communicator Communicator::split_by_node() const {
    MPI_Comm part = MPI_COMM_NULL;
    checked(MPI_Comm_split_type(comm_, MPI_COMM_TYPE_SHARED, rank(), MPI_INFO_NULL, &part), "MPI_Comm_split_type");
    return Communicator(part);
}

Communicator::~Communicator() {
    if (comm_ != MPI_COMM_NULL) MPI_Comm_free(&comm_);
}

int Communicator::rank() const {
    int rank = 0;
    checked(MPI_Comm_rank(comm_, &rank), "MPI_Comm_rank");
    return rank;
}

int Communicator::size() const {
    int size = 0;
    checked(MPI_Comm_size(comm_, &size), "MPI_Comm_size");
    return size;
}

void Communicator::barrier() const { checked(MPI_Barrier(comm_), "MPI_Barrier"); }

void Communicator::all_reduce(void* data, std::size_t count, std::size_t element, MPI_Datatype type, MPI_Op op) const {
    if (size() == 1) return;
    const During phase(timeline_, Phase::all_reduce, count * element);
    auto* bytes = static_cast<std::byte*>(data);
    const std::size_t most = piece_of(element);
    for (std::size_t done = 0; done < count; done += most) {
        const int n = static_cast<int>(std::min(most, count - done));
        checked(MPI_Allreduce(MPI_IN_PLACE, bytes + done * element, n, type, op, comm_), "MPI_Allreduce");
    }
}

Request Communicator::begin_all_reduce(void* data, std::size_t count, MPI_Datatype type, MPI_Op op) const {
    MPI_Request request = MPI_REQUEST_NULL;
    checked(MPI_Iallreduce(MPI_IN_PLACE, data, static_cast<int>(count), type, op, comm_, &request), "MPI_Iallreduce");
    return Request({request});
}

std::size_t Communicator::piece_of(std::size_t element) const {
    return std::min(piece, reduced_by_a_rank * static_cast<std::size_t>(size()) / element);
}

void Communicator::broadcast_bytes(std::span<std::byte> inout, int root) const {
    const During phase(timeline_, Phase::broadcast, inout.size());
    for (std::size_t done = 0; done < inout.size(); done += piece) {
        const int n = static_cast<int>(std::min(piece, inout.size() - done));
        checked(MPI_Bcast(inout.data() + done, n, MPI_BYTE, root, comm_), "MPI_Bcast");
    }
}

std::vector<std::byte> Communicator::all_gather_bytes(std::span<const std::byte> mine) const {
    check(mine.size() < piece, "all_gather is for small values");
    const std::size_t ranks = static_cast<std::size_t>(size());
    std::vector<int> counts(ranks), begins(ranks);
    const int count = static_cast<int>(mine.size());
    checked(MPI_Allgather(&count, 1, MPI_INT, counts.data(), 1, MPI_INT, comm_), "MPI_Allgather");
    std::size_t total = 0;
    for (std::size_t r = 0; r < ranks; ++r) {
        begins[r] = static_cast<int>(total);
        total += static_cast<std::size_t>(counts[r]);
        check(total < 2 * piece, "all_gather is for small values");
    }
    std::vector<std::byte> all(total);
    checked(MPI_Allgatherv(mine.data(), count, MPI_BYTE, all.data(), counts.data(), begins.data(), MPI_BYTE, comm_),
            "MPI_Allgatherv");
    return all;
}

void Communicator::receive_bytes(std::span<std::byte> out, int peer, int tag) const {
    const During phase(timeline_, Phase::receive, out.size());
    for (std::size_t done = 0; done < out.size(); done += piece) {
        const int n = static_cast<int>(std::min(piece, out.size() - done));
        checked(MPI_Recv(out.data() + done, n, MPI_BYTE, peer, tag, comm_, MPI_STATUS_IGNORE), "MPI_Recv");
    }
}

Request Communicator::send_bytes(std::span<const std::byte> in, int peer, int tag) const {
    const During phase(timeline_, Phase::send, in.size());
    std::vector<MPI_Request> requests;
    for (std::size_t done = 0; done < in.size(); done += piece) {
        const int n = static_cast<int>(std::min(piece, in.size() - done));
        requests.push_back(MPI_REQUEST_NULL);
        checked(MPI_Isend(in.data() + done, n, MPI_BYTE, peer, tag, comm_, &requests.back()), "MPI_Isend");
    }
    return Request(std::move(requests));
}

std::string broadcast_text(std::string text, const Communicator& comm, int root) {
    text.resize(broadcast_value<std::uint64_t>(text.size(), comm, root));
    comm.broadcast(std::span<char>(text), root);
    return text;
}

}  // namespace ulmpi
