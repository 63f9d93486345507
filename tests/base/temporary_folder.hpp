#pragma once
// A folder of a test's own, removed with all that is in it; and whole files as strings.

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

namespace ulmpi {

class TemporaryFolder {
public:
    explicit TemporaryFolder(const std::filesystem::path& parent = std::filesystem::temp_directory_path()) {
        std::string name = (parent / "ulmpi-test-XXXXXX").string();
        if (!::mkdtemp(name.data())) throw std::filesystem::filesystem_error("mkdtemp", std::error_code());
        path_ = name;
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    ~TemporaryFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    const std::filesystem::path& path() const { return path_; }
    std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

private:
    std::filesystem::path path_;
};

inline std::string read_whole(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

inline void write_whole(const std::filesystem::path& path, std::string_view content) {
    std::ofstream(path, std::ios::binary).write(content.data(), static_cast<std::streamsize>(content.size()));
}

/// The message that `body` throws as a `Thrown`; empty if it throws nothing.
template <class Thrown, class Body>
std::string message_of(Body body) {
    try {
        body();
    } catch (const Thrown& error) {
        return error.what();
    }
    return {};
}

}  // namespace ulmpi
