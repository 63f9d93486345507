#pragma once
// What a checkpoint file holds and under which names. docs/checkpoints.md explains the choice.

#include <bit>
#include <cstdint>
#include <exception>
#include <string>

#include "base/files/hdf5_file.hpp"
#include "model/tensor.hpp"

namespace ulmpi {

static_assert(std::endian::native == std::endian::little, "tensors are written to the file as they lie in memory");

/// Version of the layout below, attribute `format_version` of the file. A reader takes its own and all before it; a
/// file states the least that it needs: 1 if its tensors are floats, 2 if they have two bytes an element, 3 if it holds
/// a model of words, 4 if it holds an ensemble, 5 if its weights are averages, beside which those lie that training
/// goes on with, 6 if it holds what a teacher said, 7 if its model is of a family other than the decoder's.
constexpr std::uint64_t checkpoint_format = 7;
struct FormatNeeds {
    ElementType type = ElementType::f32;
    bool words = false, ensemble = false, averaged = false, taught = false, other_family = false;
};
constexpr std::uint64_t format_of(const FormatNeeds& needs) {
    if (needs.other_family) return 7;
    if (needs.taught) return 6;
    if (needs.averaged) return 5;
    if (needs.ensemble) return 4;
    if (needs.words) return 3;
    return needs.type == ElementType::f32 ? 1 : 2;
}

constexpr const char* metadata_dataset = "/metadata";      // JSON text
constexpr const char* tokenizer_dataset = "/tokenizer";    // text of tokenizer.json
constexpr const char* wide_model_dataset = "/wide/model";  // bytes, as finetune/linear_model.hpp has them
constexpr const char* said_dataset = "/wide/held_out";     // floats, (records of the training set, classes): logarithms
                                                           // of probabilities by words, probabilities by a teacher
constexpr const char* wide_group = "/wide/";
constexpr const char* optimizer_group = "/optimizer/";
constexpr const char* training_weight_group = "/optimizer/weight/";
constexpr const char* crc_attribute = "crc32";  // of a tensor's bytes, zlib's polynomial

/// The tensors kept under one name: the weight, AdamW's exponential moving averages, and, where the weight is itself a
/// moving average, that which training goes on with. A state has a name of its own: what a recurrent module carries.
enum class Part { weight, first_moment, second_moment, training_weight, state };

inline std::string dataset_name(Part part, const std::string& tensor) {
    switch (part) {
        case Part::weight:
            return "/" + tensor;
        case Part::first_moment:
            return "/optimizer/first_moment/" + tensor;
        case Part::second_moment:
            return "/optimizer/second_moment/" + tensor;
        case Part::state:
            return "/optimizer/state/" + tensor;
        case Part::training_weight:
            break;
    }
    return training_weight_group + tensor;
}

/// Extents as the file has them: those of the tensor without ones at the end.
inline Dims dims_of(const Shape& shape) {
    Dims dims(shape.extent.begin(), shape.extent.end());
    while (dims.size() > 1 && dims.back() == 1) dims.pop_back();
    return dims;
}

/// What went wrong in `body`, in words; empty if nothing did. For ranks that must agree before any of them stops.
template <class Body>
std::string problem_of(Body body) {
    try {
        body();
    } catch (const std::bad_alloc&) {
        return "out of memory";
    } catch (const std::exception& error) {
        return error.what();
    }
    return {};
}

}  // namespace ulmpi
