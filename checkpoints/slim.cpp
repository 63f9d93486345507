#include "checkpoints/slim.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "base/error.hpp"
#include "base/files/direct_writer.hpp"
#include "base/files/half_float.hpp"
#include "base/files/publish.hpp"
#include "base/files/seal.hpp"
#include "base/quoted.hpp"
#include "checkpoints/checkpoint.hpp"
#include "checkpoints/content.hpp"
#include "checkpoints/format.hpp"
#include "checkpoints/outline.hpp"
#include "checkpoints/run_record.hpp"
#include "model/kernels/bfloat16.hpp"

namespace ulmpi {
namespace {

constexpr std::pair<ElementType, const char*> precisions[] = {
    {ElementType::f16, "fp16"}, {ElementType::bf16, "bf16"}, {ElementType::f32, "fp32"}};

Shape shape_of(const Dims& dims) {
    Shape shape;
    std::ranges::copy(dims, shape.extent.begin());
    return shape;
}

void check_finite(const std::string& name, std::span<const float> values, std::span<const std::uint16_t> halves,
                  ElementType precision) {
    const std::uint16_t infinity = precision == ElementType::f16 ? 0x7c00 : 0x7f80;  // all bits of the exponent
    const auto over = std::ranges::find_if(halves, [&](std::uint16_t bits) { return (bits & infinity) == infinity; });
    if (over == halves.end()) return;
    const auto index = static_cast<std::size_t>(over - halves.begin());
    throw UsageError(fmt::format("{} holds {} (element {}), which {} cannot: give another --precision", name,
                                 values[index], index, precision_name(precision)));
}

void write_tensors(const std::filesystem::path& file, CheckpointOutline& outline,
                   const std::vector<WeightSource>& weights, ElementType precision) {
    FileDescriptor made(file, O_WRONLY | O_CREAT | O_TRUNC);
    check_usage(made.is_open(), "cannot create {}: {}", quoted(file), system_reason());
    made.reserve(outline.end_of_tensors());
    DirectWriter writer(file);
    std::vector<std::uint32_t> crc32s;
    for (std::size_t i = 0; i < weights.size(); ++i) {
        const std::vector<float> values = weights[i].read();
        std::vector<std::uint16_t> halves;
        if (precision != ElementType::f32) {
            halves = halves_of(values, precision);
            check_finite(weights[i].name, values, halves, precision);
        }
        const auto bytes = halves.empty() ? std::as_bytes(std::span(values)) : std::as_bytes(std::span(halves));
        check(bytes.size() == outline.tensors()[i].bytes, "{} is not of its shape's size", weights[i].name);
        crc32s.push_back(writer.write(outline.tensors()[i].offset, bytes));
    }
    writer.finish();
    seal_file(file, checkpoint_kind, outline.complete(file, crc32s));
}

}  // namespace

void write_weights(const std::filesystem::path& to, nlohmann::json metadata, const std::string& tokenizer_json,
                   const WideContent& wide, const std::vector<WeightSource>& weights, ElementType precision) {
    std::vector<TensorPlacement> tensors;
    std::vector<WriteJob> jobs;
    for (const WeightSource& weight : weights) {
        jobs.push_back({tensors.size()});
        tensors.push_back({weight.name, shape_of(weight.shape), {}});
    }
    metadata = as_slim(std::move(metadata));
    remove_stale_temporaries(to);
    const std::filesystem::path temporary = temporary_name(to);
    try {
        CheckpointOutline outline(metadata, tokenizer_json, wide, tensors, jobs, precision);
        write_tensors(temporary, outline, weights, precision);
        publish(temporary, to);
    } catch (...) {
        std::error_code ignored;
        std::filesystem::remove(temporary, ignored);
        throw;
    }
}

std::vector<WeightSource> weights_of(const std::filesystem::path& checkpoint, const std::string& prefix) {
    const auto content = std::make_shared<CheckpointContent>(checkpoint);
    std::vector<WeightSource> weights;
    for (const TensorInfo& tensor : read_checkpoint_info(checkpoint).tensors)
        weights.push_back(
            {prefix + tensor.name, tensor.shape,
             [content, name = dataset_name(Part::weight, tensor.name)] { return content->file().read<float>(name); }});
    return weights;
}

ElementType best_precision(const std::vector<std::filesystem::path>& checkpoints) {
    constexpr float most = 65504;  // of a half
    for (const std::filesystem::path& checkpoint : checkpoints)
        for (const WeightSource& weight : weights_of(checkpoint))
            for (const float value : weight.read())
                if (!(std::abs(value) <= most)) return ElementType::f32;
    return ElementType::f16;
}

void write_slim_checkpoint(const std::filesystem::path& from, const std::filesystem::path& to, ElementType precision) {
    const CheckpointInfo info = read_checkpoint_info(from);
    write_weights(to, info.metadata, info.tokenizer_json, {info.wide.model, {}}, weights_of(from), precision);
}

std::vector<std::uint16_t> halves_of(std::span<const float> values, ElementType precision) {
    std::vector<std::uint16_t> halves(values.size());
    if (precision == ElementType::f16)
        std::ranges::transform(values, halves.begin(), half_from);
    else
        round_to_bfloat16(reinterpret_cast<BFloat16*>(halves.data()), values.data(), values.size());
    return halves;
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
