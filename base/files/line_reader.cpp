#include "base/files/line_reader.hpp"

#include <cstring>

#include "base/error.hpp"
#include "base/quoted.hpp"

namespace ulmpi {

LineReader::LineReader(const std::filesystem::path& path)
    : name_(path == "-" ? "standard input" : quoted(path)), source_(open_bytes(path)), buffer_(std::size_t{1} << 18) {}

bool LineReader::refill() {
    rest_ = std::span<const char>(buffer_).first(source_->read(buffer_));
    return !rest_.empty();
}

bool LineReader::append_line(std::string& text) {
    if (rest_.empty() && !refill()) return false;
    ++line_number_;
    do {
        const void* newline = std::memchr(rest_.data(), '\n', rest_.size());
        const std::size_t n =
            newline ? static_cast<std::size_t>(static_cast<const char*>(newline) - rest_.data()) + 1 : rest_.size();
        text.append(rest_.data(), n);
        rest_ = rest_.subspan(n);
        if (newline) return true;
    } while (refill());
    return true;
}

void LineReader::append_rest(std::string& text) {
    do {
        text.append(rest_.data(), rest_.size());
    } while (refill());
}

std::string LineReader::where() const { return fmt::format("{}, line {}", name_, line_number_); }

std::vector<std::string> lines_of(const std::filesystem::path& path) {
    LineReader reader(path);
    std::vector<std::string> lines;
    for (std::string line; reader.append_line(line); line.clear()) {
        while (line.ends_with('\n') || line.ends_with('\r')) line.pop_back();
        if (!line.empty()) lines.push_back(line);
    }
    check_usage(!lines.empty(), "{} holds no texts", quoted(path));
    return lines;
}

}  // namespace ulmpi
