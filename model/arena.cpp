#include "model/arena.hpp"

#include <sys/mman.h>

namespace ulmpi {

ArenaMemory::ArenaMemory(std::size_t bytes) : bytes_(bytes) {
    if (bytes == 0) return;
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    check(memory != MAP_FAILED, "no memory: {:.1f} GB could not be had", static_cast<double>(bytes) / 1e9);
    base_ = static_cast<std::byte*>(memory);
}

ArenaMemory::~ArenaMemory() {
    if (base_ != nullptr) munmap(base_, bytes_);
}

}  // namespace ulmpi
