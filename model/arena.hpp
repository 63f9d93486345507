#pragma once
// Memory that is handed out by moving a cursor and taken back all at once.

#include <cstddef>
#include <new>
#include <string>

#include "base/error.hpp"
#include "model/real.hpp"
#include "model/tensor.hpp"

namespace ulmpi {

/// Owns a block of memory, aligned for any kernel. Untouched pages cost nothing.
class ArenaMemory {
public:
    explicit ArenaMemory(std::size_t bytes = 0);
    ArenaMemory(ArenaMemory&& other) noexcept : base_(other.base_), bytes_(other.bytes_) { other.base_ = nullptr; }
    ArenaMemory& operator=(ArenaMemory&& other) noexcept {
        std::swap(base_, other.base_);
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    ~ArenaMemory();
    std::byte* base() const { return base_; }
    std::size_t bytes() const { return bytes_; }

private:
    std::byte* base_ = nullptr;
    std::size_t bytes_ = 0;
};

/// A cursor over an ArenaMemory. Workers that run the same code side by side each hold a cursor of their own over one
/// memory and so agree on every address without a word. Without memory it only measures what would be used.
class Arena {
public:
    Arena() = default;
    explicit Arena(const ArenaMemory& memory) : base_(memory.base()), capacity_(memory.bytes()) {}

    /// The memory is not cleared: every kernel overwrites its output.
    template <typename T = Real>
    View<T> allocate(Shape shape) {
        const std::size_t begin = used_;
        used_ = (begin + shape.size() * sizeof(T) + alignment - 1) / alignment * alignment;
        most_ = used_ > most_ ? used_ : most_;
        if (base_ == nullptr) return {nullptr, shape};
        check(used_ <= capacity_, "an arena is smaller than the plan it was made for");
        return {reinterpret_cast<T*>(base_ + begin), shape};
    }
    std::size_t mark() const { return used_; }
    void release(std::size_t mark) { used_ = mark; }
    std::size_t most_used() const { return most_; }

    static constexpr std::size_t alignment = 64;

private:
    std::byte* base_ = nullptr;
    std::size_t capacity_ = 0, used_ = 0, most_ = 0;
};

/// Gives back at the end of a scope what was allocated in it.
class ArenaScope {
public:
    explicit ArenaScope(Arena& arena) : arena_(arena), mark_(arena.mark()) {}
    ~ArenaScope() { arena_.release(mark_); }
    ArenaScope(const ArenaScope&) = delete;
    ArenaScope& operator=(const ArenaScope&) = delete;

private:
    Arena& arena_;
    std::size_t mark_;
};

}  // namespace ulmpi
