#pragma once
// What the programs that compare formats of checkpoints have in common: 48 matrices of 10 MiB, every other one sliced
// by rows, the rest by columns, as tensor parallelism does.

#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

namespace ulmpi::benchmark {

constexpr int tensors = 48;
constexpr std::size_t tensor_rows = 2560, tensor_columns = 1024, tensor_elements = tensor_rows * tensor_columns;

inline int sliced_axis(int tensor) { return tensor % 2; }
inline std::string tensor_name(int tensor) { return "matrix." + std::to_string(tensor); }

inline void sync_file(const std::filesystem::path& path) {
    const int file = ::open(path.c_str(), O_WRONLY);
    if (::fsync(file) != 0) std::perror(path.c_str());
    ::close(file);
}

/// Noise: disks and what stands behind them may be quick with zeros.
inline float noise(std::size_t index) {
    return static_cast<float>((index * 2654435761U) % 4294967291U) / 4294967296.0F + 1.0F;
}

/// Takes the files of a folder out of the cache, so that reading reads.
inline void forget_pages(const std::filesystem::path& folder) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        const int file = ::open(entry.path().c_str(), O_RDONLY);
        ::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
        ::close(file);
    }
}

inline void report(int rank, const std::string& way, const char* what, double seconds) {
    if (rank == 0)
        std::printf("%s %s: %.0f MB/s\n", way.c_str(), what,
                    static_cast<double>(tensors * tensor_elements * sizeof(float)) / seconds / 1e6);
}

}  // namespace ulmpi::benchmark
