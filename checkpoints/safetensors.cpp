#include "checkpoints/safetensors.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <utility>

#include "base/error.hpp"
#include "base/files/half_float.hpp"
#include "base/quoted.hpp"
#include "checkpoints/slim.hpp"

namespace ulmpi {
namespace {

using nlohmann::json;

constexpr std::uint64_t longest_header = 100'000'000;  // bytes, as safetensors' own reader has it
constexpr int deepest = 3;                             // {"name": {"shape": [

constexpr std::pair<ElementType, std::string_view> types[] = {
    {ElementType::f32, "F32"}, {ElementType::f16, "F16"}, {ElementType::bf16, "BF16"}};

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& what) {
    throw UsageError(fmt::format("{} is not a whole safetensors file: {}; get it again", quoted(path), what));
}

std::uint64_t length_of_header(FileDescriptor& file, const std::filesystem::path& path, std::uint64_t file_bytes) {
    unsigned char bytes[8];
    if (file.read(bytes, sizeof bytes) < sizeof bytes) refuse(path, "it is shorter than 8 bytes");
    std::uint64_t length = 0;
    for (int i = 7; i >= 0; --i) length = length << 8 | bytes[i];
    if (length > file_bytes - sizeof bytes)
        refuse(path, fmt::format("its header of {} bytes ends behind its {} bytes", length, file_bytes));
    if (length > longest_header) refuse(path, fmt::format("its header has {} bytes, more than 100 MB", length));
    return length;
}

// Deeper nesting than the format has, and names given twice, are refused while the text is read: the one costs memory,
// the other would hide a tensor.
json parse_header(const std::string& text, const std::filesystem::path& path) {
    std::vector<std::set<std::string>> names(deepest + 2);  // by depth
    const auto look = [&](int depth, json::parse_event_t event, json& parsed) {
        const auto level = static_cast<std::size_t>(depth);
        if (event == json::parse_event_t::object_start || event == json::parse_event_t::array_start) {
            if (depth >= deepest) refuse(path, "its header is nested too deeply");
            names[level + 1].clear();
        } else if (event == json::parse_event_t::key) {
            const auto& name = parsed.get_ref<const std::string&>();
            if (!names[level].insert(name).second) refuse(path, "its header has " + shown_name(name) + " twice");
        }
        return true;
    };
    try {
        return json::parse(text, look);
    } catch (const json::exception& error) {
        refuse(path, "its header is not JSON (" + json_problem(error) + ")");
    }
}

std::uint64_t unsigned_of(const json& value, const std::string& what, const std::filesystem::path& path) {
    if (!value.is_number_unsigned()) refuse(path, what + " is no whole number");
    return value.get<std::uint64_t>();
}

// `data` is where the header ends.
SafetensorsTensor tensor_of(const std::string& name, const json& entry, std::uint64_t data, std::uint64_t data_bytes,
                            const std::filesystem::path& path) {
    const std::string shown = shown_name(name);
    for (const char* field : {"dtype", "shape", "data_offsets"})
        if (!entry.is_object() || !entry.contains(field)) refuse(path, fmt::format("{} has no {}", shown, field));
    const json &dtype = entry["dtype"], &shape = entry["shape"], &offsets = entry["data_offsets"];
    const auto type = std::ranges::find_if(types, [&](const auto& known) { return dtype == known.second; });
    check_usage(type != std::end(types), "{}: {} has the type {}, and only F32, F16 and BF16 are read", quoted(path),
                shown, dtype.dump().substr(0, 60));
    SafetensorsTensor tensor{name, type->first, {}};
    if (!shape.is_array() || shape.size() > 4) refuse(path, "the shape of " + shown + " is no list of up to 4 numbers");
    std::uint64_t size = element_size(tensor.type);
    for (const json& extent : shape) {
        tensor.shape.push_back(unsigned_of(extent, "the shape of " + shown, path));
        if (__builtin_mul_overflow(size, tensor.shape.back(), &size)) refuse(path, shown + " is too large to be true");
    }
    if (!offsets.is_array() || offsets.size() != 2) refuse(path, "the offsets of " + shown + " are not two numbers");
    const std::uint64_t begin = unsigned_of(offsets[0], "an offset of " + shown, path),
                        end = unsigned_of(offsets[1], "an offset of " + shown, path);
    if (begin > end || end > data_bytes)
        refuse(path, fmt::format("{} lies at {} to {} of {} bytes", shown, begin, end, data_bytes));
    if (end - begin != size)
        refuse(path, fmt::format("{} of shape {} has {} bytes instead of {}", shown, shown_shape(tensor.shape),
                                 end - begin, size));
    tensor.begin = data + begin;
    tensor.bytes = size;
    return tensor;
}

void check_no_gaps(const std::vector<SafetensorsTensor>& tensors, std::uint64_t data, std::uint64_t file_bytes,
                   const std::filesystem::path& path) {
    std::uint64_t position = data;
    for (const SafetensorsTensor& tensor : tensors) {
        if (tensor.begin != position)
            refuse(path, fmt::format("{} {} what lies before it", shown_name(tensor.name),
                                     tensor.begin < position ? "overlaps" : "leaves a gap to"));
        position += tensor.bytes;
    }
    if (position != file_bytes)
        refuse(path, fmt::format("{} bytes behind the last tensor belong to none", file_bytes - position));
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : path_(path), file_(path, O_RDONLY) {
    check_usage(file_.is_open(), "cannot open {}: {}", quoted(path), system_reason());
    check_usage(std::filesystem::is_regular_file(path), "{} is not a file", quoted(path));
    const std::uint64_t file_bytes = std::filesystem::file_size(path);
    std::string text(length_of_header(file_, path, file_bytes), '\0');
    const std::uint64_t data = sizeof(std::uint64_t) + text.size();
    if (file_.read(text.data(), text.size()) < text.size()) refuse(path, "it became shorter");
    const json header = parse_header(text, path);
    if (!header.is_object()) refuse(path, "its header is no object");
    for (const auto& [name, entry] : header.items())
        if (name != "__metadata__") tensors_.push_back(tensor_of(name, entry, data, file_bytes - data, path));
    std::ranges::sort(tensors_, {}, [](const SafetensorsTensor& t) { return std::pair(t.begin, t.bytes); });
    check_no_gaps(tensors_, data, file_bytes, path);
}

std::vector<float> SafetensorsFile::read(const SafetensorsTensor& tensor) {
    std::vector<float> values(tensor.elements());
    file_.seek(tensor.begin);
    const auto fill = [&](void* bytes) {
        check(file_.read(bytes, tensor.bytes) == tensor.bytes, "{} became shorter while it was read", quoted(path_));
    };
    if (tensor.type == ElementType::f32) {
        fill(values.data());
        return values;
    }
    std::vector<std::uint16_t> halves(values.size());
    fill(halves.data());
    std::ranges::transform(halves, values.begin(),
                           tensor.type == ElementType::f16 ? float_from_half : float_from_bfloat16);
    return values;
}

void write_safetensors(const std::filesystem::path& path, std::vector<SafetensorsTensor> tensors,
                       const std::function<std::vector<float>(std::size_t)>& read) {
    nlohmann::ordered_json header{{"__metadata__", {{"format", "pt"}}}};  // transformers wants to know for whom
    std::uint64_t end = 0;
    for (SafetensorsTensor& tensor : tensors) {
        const auto type = std::ranges::find(types, tensor.type, &std::pair<ElementType, std::string_view>::first);
        check(type != std::end(types), "{} is of a type that safetensors are not written in", tensor.name);
        tensor.begin = end;
        tensor.bytes = element_size(tensor.type);
        for (std::uint64_t extent : tensor.shape) tensor.bytes *= extent;
        end += tensor.bytes;
        header[tensor.name] = {{"dtype", type->second}, {"shape", tensor.shape}, {"data_offsets", {tensor.begin, end}}};
    }
    std::string text = header.dump();
    text.append((8 - text.size() % 8) % 8, ' ');  // so that the data are aligned
    const std::uint64_t length = text.size(), data = sizeof length + length;

    FileDescriptor file(path, O_WRONLY | O_CREAT | O_TRUNC);
    check(file.is_open(), "cannot create {}: {}", quoted(path), system_reason());
    file.reserve(data + end);
    file.write_at(0, &length, sizeof length);
    file.write_at(sizeof length, text.data(), text.size());
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        const std::vector<float> values = read(i);
        std::vector<std::uint16_t> halves;
        if (tensors[i].type != ElementType::f32) halves = halves_of(values, tensors[i].type);
        const auto bytes = halves.empty() ? std::as_bytes(std::span(values)) : std::as_bytes(std::span(halves));
        check(bytes.size() == tensors[i].bytes, "{} is not of its shape's size", tensors[i].name);
        file.write_at(data + tensors[i].begin, bytes.data(), bytes.size());
    }
    file.sync();
}

std::string shown_name(const std::string& name) {
    return json(name.substr(0, 100)).dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string shown_shape(const Dims& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

}  // namespace ulmpi
