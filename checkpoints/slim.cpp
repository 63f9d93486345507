#include "checkpoints/slim.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <utility>

#include "checkpoints/checkpoint.hpp"
#include "checkpoints/content.hpp"
#include "checkpoints/format.hpp"
#include "checkpoints/outline.hpp"
#include "data/direct_writer.hpp"
#include "data/file_seal.hpp"
#include "data/half_float.hpp"
#include "data/publish.hpp"
#include "data/quoted.hpp"
#include "model/kernels/bfloat16.hpp"
#include "parallel/error.hpp"

namespace ulmpi {
namespace {

constexpr std::pair<ElementType, const char*> precisions[] = {
    {ElementType::f16, "fp16"}, {ElementType::bf16, "bf16"}, {ElementType::f32, "fp32"}};

Shape shape_of(const Dims& dims) {
    Shape shape;
    std::ranges::copy(dims, shape.extent.begin());
    return shape;
}

std::vector<std::uint16_t> halves_of(std::span<const float> values, ElementType precision) {
    std::vector<std::uint16_t> halves(values.size());
    if (precision == ElementType::f16)
        std::ranges::transform(values, halves.begin(), half_from);
    else
        round_to_bfloat16(reinterpret_cast<BFloat16*>(halves.data()), values.data(), values.size());
    return halves;
}

void check_finite(const std::string& name, std::span<const float> values, ElementType precision) {
    const std::uint16_t infinity = precision == ElementType::f16 ? 0x7c00 : 0x7f80;  // all bits of the exponent
    const std::vector<std::uint16_t> halves = halves_of(values, precision);
    const auto over = std::ranges::find_if(halves, [&](std::uint16_t bits) { return (bits & infinity) == infinity; });
    if (over == halves.end()) return;
    const auto index = static_cast<std::size_t>(over - halves.begin());
    throw UsageError(fmt::format("{} holds {} (element {}), which {} cannot: give another --precision", name,
                                 values[index], index, precision_name(precision)));
}

// One checkpoint that weights are taken from.
struct OpenSource {
    explicit OpenSource(const WeightSource& source)
        : prefix(source.prefix), info(read_checkpoint_info(source.file)), content(source.file) {}
    std::string prefix;
    CheckpointInfo info;
    CheckpointContent content;
};

void write_tensors(const std::filesystem::path& file, CheckpointOutline& outline,
                   const std::vector<std::pair<const OpenSource*, std::string>>& from, ElementType precision) {
    FileDescriptor made(file, O_WRONLY | O_CREAT | O_TRUNC);
    check_usage(made.is_open(), "cannot create " + quoted(file) + ": " + system_reason());
    made.reserve(outline.end_of_tensors());
    DirectWriter writer(file);
    std::vector<std::uint32_t> crc32s;
    for (std::size_t t = 0; t < from.size(); ++t) {
        const auto& [source, name] = from[t];
        const std::vector<float> values = source->content.file().read<float>(dataset_name(Part::weight, name));
        std::vector<std::uint16_t> halves;
        if (precision != ElementType::f32) halves = halves_of(values, precision);
        crc32s.push_back(writer.write(outline.tensors()[t].offset, halves.empty() ? std::as_bytes(std::span(values))
                                                                                  : std::as_bytes(std::span(halves))));
    }
    writer.finish();
    seal_file(file, checkpoint_kind, outline.complete(file, crc32s));
}

}  // namespace

void write_weights(const std::vector<WeightSource>& sources, nlohmann::json metadata, const std::string& tokenizer_json,
                   const std::vector<std::uint8_t>& words, const std::filesystem::path& to, ElementType precision) {
    std::deque<OpenSource> open;
    std::vector<TensorPlacement> tensors;
    std::vector<WriteJob> jobs;
    std::vector<std::pair<const OpenSource*, std::string>> from;
    for (const WeightSource& one : sources) {
        const OpenSource& source = open.emplace_back(one);
        for (const TensorInfo& tensor : source.info.tensors) {
            const std::string name = dataset_name(Part::weight, tensor.name);
            if (precision != ElementType::f32)
                check_finite(tensor.name, source.content.file().read<float>(name), precision);
            jobs.push_back({tensors.size()});
            tensors.push_back({source.prefix + tensor.name, shape_of(tensor.shape), {}});
            from.emplace_back(&source, tensor.name);
        }
    }
    metadata["slim"] = true;
    remove_stale_temporaries(to);
    const std::filesystem::path temporary = temporary_name(to);
    try {
        CheckpointOutline outline(metadata, tokenizer_json, {words, {}}, tensors, jobs, precision);
        write_tensors(temporary, outline, from, precision);
        publish(temporary, to);
    } catch (...) {
        std::error_code ignored;
        std::filesystem::remove(temporary, ignored);
        throw;
    }
}

void write_slim_checkpoint(const std::filesystem::path& from, const std::filesystem::path& to, ElementType precision) {
    const CheckpointInfo info = read_checkpoint_info(from);
    write_weights({{from, ""}}, info.metadata, info.tokenizer_json, info.wide.model, to, precision);
}

ElementType best_precision(const std::vector<std::filesystem::path>& files) {
    constexpr float most = 65504;  // of a half
    for (const std::filesystem::path& file : files) {
        const OpenSource source({file, ""});
        for (const TensorInfo& tensor : source.info.tensors)
            for (const float value : source.content.file().read<float>(dataset_name(Part::weight, tensor.name)))
                if (!(std::abs(value) <= most)) return ElementType::f32;
    }
    return ElementType::f16;
}

std::string precision_name(ElementType type) {
    const auto found = std::ranges::find(precisions, type, &std::pair<ElementType, const char*>::first);
    return found == std::end(precisions) ? "" : found->second;
}

ElementType precision_from(const std::string& name) {
    for (const auto& [type, known] : precisions)
        if (name == known) return type;
    throw UsageError("there is no precision " + name);
}

std::vector<std::string> precision_names() {
    std::vector<std::string> names;
    for (const auto& [type, name] : precisions) names.emplace_back(name);
    return names;
}

}  // namespace ulmpi
