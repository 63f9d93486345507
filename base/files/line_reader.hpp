#pragma once
// Lines of a text file, which may be packed. A line is what ends in '\n', which belongs to it; the last may lack one.
// Every other byte is only text: '\r', NUL and invalid UTF-8 pass unchanged.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/files/byte_source.hpp"

namespace ulmpi {

class LineReader {
public:
    explicit LineReader(const std::filesystem::path& path);

    /// Appends the next line to `text`; false at the end. Memory is bounded by the longest line.
    bool append_line(std::string& text);
    /// Appends all that is left.
    void append_rest(std::string& text);

    std::uint64_t line_number() const { return line_number_; }  ///< of the last line, from 1
    std::uint64_t bytes_taken() const { return source_->bytes_taken(); }
    /// "'file.txt', line 3", for messages.
    std::string where() const;

private:
    bool refill();

    std::string name_;
    std::unique_ptr<ByteSource> source_;
    std::vector<char> buffer_;
    std::span<const char> rest_;
    std::uint64_t line_number_ = 0;
};

/// The lines of a file without their ends, those that are not empty. UsageError: none, not readable.
std::vector<std::string> lines_of(const std::filesystem::path& path);

}  // namespace ulmpi
