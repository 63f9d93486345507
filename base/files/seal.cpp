#include "base/files/seal.hpp"

#include <fmt/format.h>
#include <libdeflate.h>
#include <zlib.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "base/files/descriptor.hpp"
#include "base/quoted.hpp"

namespace ulmpi {
namespace {

constexpr std::string_view magic = "ulmpi file ";
constexpr int format_version = 1;

std::string seal_text(const Seal& seal) {
    std::string text = fmt::format("{}{}\nkind {}\nbytes {}\ncrc32 {:08x}\n", magic, format_version, seal.kind,
                                   seal.bytes, seal.crc32);
    text += fmt::format("header_crc32 {:08x}\n", crc32_of(std::as_bytes(std::span(text))));
    check(text.size() <= seal_size, "the kind of a sealed file is too long: '{}'", seal.kind);
    text.resize(seal_size, '\0');
    return text;
}

// The value of a line "name value" at the front of `text`, which it removes; empty if that is not what stands there.
std::string_view take_line(std::string_view& text, std::string_view name) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos || !text.starts_with(name) || name.size() >= end || text[name.size()] != ' ')
        return {};
    const std::string_view value = text.substr(name.size() + 1, end - name.size() - 1);
    text.remove_prefix(end + 1);
    return value;
}

template <class Number>
bool parse(std::string_view text, Number& number, int base) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
    return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

std::uint32_t crc32_of(std::span<const std::byte> bytes, std::uint32_t before) {
    return ::libdeflate_crc32(before, bytes.data(), bytes.size());  // several times as fast as zlib's
}

std::uint32_t crc32_joined(std::uint32_t first, std::uint32_t second, std::uint64_t second_bytes) {
    return static_cast<std::uint32_t>(::crc32_combine(first, second, static_cast<z_off_t>(second_bytes)));
}

std::uint32_t crc32_of_file(const std::filesystem::path& path, std::uint64_t begin, std::uint64_t end) {
    FileDescriptor file(path, O_RDONLY);
    check(file.is_open(), "cannot open {}: {}", quoted(path), system_reason());
    file.seek(begin);
    std::vector<std::byte> buffer(std::size_t{1} << 20);
    std::uint32_t crc = 0;
    for (std::uint64_t left = end - begin; left > 0;) {
        const std::size_t n = file.read(buffer.data(), std::min<std::uint64_t>(left, buffer.size()));
        check(n > 0, "{} ended while it was being read", quoted(path));
        crc = crc32_of(std::span(buffer).first(n), crc);
        left -= n;
    }
    return crc;
}

void seal_file(const std::filesystem::path& path, std::string_view kind) {
    seal_file(path, kind, crc32_of_file(path, seal_size, std::filesystem::file_size(path)));
}

void seal_file(const std::filesystem::path& path, std::string_view kind, std::uint32_t crc32) {
    const std::string text = seal_text({std::string(kind), std::filesystem::file_size(path), crc32});
    FileDescriptor file(path, O_WRONLY);
    check(file.is_open(), "cannot open {}: {}", quoted(path), system_reason());
    file.write_at(0, text.data(), text.size());
    file.sync();
}

Seal read_seal(const std::filesystem::path& path, std::string_view kind) {
    const std::string name = quoted(path);
    std::error_code failure;
    check_usage(!std::filesystem::is_directory(path, failure), "{} is a folder, a file was expected", name);
    FileDescriptor file(path, O_RDONLY);
    check_usage(file.is_open(), "cannot open {}: {}", name, system_reason());

    std::string header(seal_size, '\0');
    header.resize(file.read(header.data(), header.size()));
    const std::string stranger = name + " is not a file of this program (it does not begin with '" +
                                 std::string(magic) + std::to_string(format_version) +
                                 "'), or its first bytes are damaged";
    check_usage(!header.empty(), "{} is empty", name);
    std::string_view rest = header;
    check_usage(rest.starts_with(magic), stranger);
    rest.remove_prefix(magic.size() - 1);
    int version = 0;
    check_usage(parse(take_line(rest, ""), version, 10), stranger);
    check_usage(version == format_version, "{} has format version {}, this program reads version {}", name, version,
                format_version);
    Seal seal;
    seal.kind = take_line(rest, "kind");
    const bool numbers =
        parse(take_line(rest, "bytes"), seal.bytes, 10) & parse(take_line(rest, "crc32"), seal.crc32, 16);
    check_usage(header.size() == seal_size, "{} is truncated: its seal alone has 512 bytes, found {}", name,
                header.size());
    check_usage(numbers && !seal.kind.empty() && seal.kind.size() < 64 && seal_text(seal) == header,
                "{} is damaged: its seal does not match its own checksum; make the file again or copy it again", name);
    check_usage(kind.empty() || seal.kind == kind, "{} is a file of kind '{}', '{}' was expected", name, seal.kind,
                std::string(kind));
    const std::uintmax_t bytes = std::filesystem::file_size(path);
    check_usage(bytes == seal.bytes, "{} is {}: expected {} bytes, found {}; make it again or copy it again", name,
                bytes < seal.bytes ? "truncated" : "too long", seal.bytes, bytes);
    return seal;
}

Seal verify_seal(const std::filesystem::path& path, std::string_view kind) {
    Seal seal = read_seal(path, kind);
    const std::uint32_t found = crc32_of_file(path, seal_size, seal.bytes);
    check_usage(found == seal.crc32,
                "'{}' is damaged: its checksum is {:08x}, its seal says {:08x}; make it again or copy it again",
                path.string(), found, seal.crc32);
    return seal;
}

}  // namespace ulmpi
