#pragma once
// The weights of this rank: named, sliced, in one buffer.

#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "model/arena.hpp"
#include "model/kernels/factor.hpp"
#include "model/real.hpp"
#include "model/tensor.hpp"

namespace ulmpi {

enum class ParameterId : std::size_t {};

/// Which part of a whole tensor a rank holds: the given rows (axis 0) or columns (axis 1), one range after the other.
/// No ranges: all of it.
struct Slicing {
    int axis = 0;
    std::vector<Range> ranges;
    bool whole() const { return ranges.empty(); }
};

/// How a tensor begins.
struct Init {
    enum class Kind { zero, one, normal } kind = Kind::zero;
    double deviation = 0;
    static Init normal(double deviation) { return {Kind::normal, deviation}; }
    static Init one() { return {Kind::one, 0}; }
};

/// One tensor. `name` and `global` are the same under every layout: "block.3.attention.qkv.weight", [3d, d].
struct Parameter {
    std::string name;
    Shape global, local;
    Slicing slicing;
    Init init;
    int group = 0;        ///< 0 embeddings, 1 … L blocks, L + 1 head: for freezing and discriminative rates
    bool counted = true;  ///< false on every rank but one of those that hold the same elements within a replica
    /// Of a matrix of a block: how many matrices stand in it one upon the other (queries, keys and values: 3), each a
    /// map of its own to an optimizer that asks for directions. 0: not one.
    int stacked = 0;
    /// A running statistic (of BatchNorm): nothing is derived by it. What a step collects in its gradient is the value
    /// seen in the global batch, and the optimizer moves it a tenth of the way there.
    bool statistic = false;
    std::size_t offset = 0;

    std::size_t size() const { return local.size(); }
    /// Matrices and embeddings decay; biases and norms do not.
    bool decays() const { return global.extent[1] > 1 && !statistic; }
};

/// All weights of this rank in one buffer, all gradients in a second one laid out alike, so that all-reduce, clipping,
/// the optimizer and checkpoints each see one span. Layers declare, then allocate() is called once.
class ParameterStore {
public:
    ParameterId declare(Parameter);
    /// Memory for the weights, and for gradients if there will be training. With bf16 there is a rounded copy of the
    /// weights besides, for products.
    void allocate(bool with_gradients, Precision precision = Precision::fp32);
    /// Draws every weight from (seed, name, index in the whole tensor): the same under any layout.
    void initialize(std::uint64_t seed) {
        initialize(seed, [](const Parameter&) { return true; });
    }
    /// The same of those parameters alone that `which` picks.
    void initialize(std::uint64_t seed, const std::function<bool(const Parameter&)>& which);

    View<Real> value(ParameterId id) { return {values_.data() + at(id).offset, at(id).local}; }
    View<const Real> value(ParameterId id) const { return {values_.data() + at(id).offset, at(id).local}; }
    /// A matrix as a factor of products: the rounded copy, if there is one.
    Factor factor(ParameterId id) const;
    View<Real> gradient(ParameterId id) { return {gradients_.data() + at(id).offset, at(id).local}; }
    std::span<Real> values() { return values_.flat(); }
    std::span<const Real> values() const { return values_.flat(); }
    std::span<Real> gradients() { return gradients_.flat(); }
    /// Those of the groups in [first, end), in as few spans as they lie in.
    std::vector<std::span<Real>> gradients_of(int first, int end);
    /// The rounded copies; empty with fp32. Whoever changes values writes them too.
    std::span<BFloat16> rounded() { return rounded_.flat(); }
    void round_values();
    const std::vector<Parameter>& parameters() const { return parameters_; }
    const Parameter& at(ParameterId id) const { return parameters_[static_cast<std::size_t>(id)]; }
    std::span<Real> value_of(const Parameter& p) { return values().subspan(p.offset, p.size()); }
    std::span<const Real> value_of(const Parameter& p) const { return values().subspan(p.offset, p.size()); }
    std::span<Real> gradient_of(const Parameter& p) { return gradients().subspan(p.offset, p.size()); }

    std::size_t size() const { return size_; }  ///< elements of a buffer, gaps for alignment included
    /// Elements this rank counts for the whole model: summed over one replica they are its parameters.
    std::size_t counted_elements() const;

private:
    /// A buffer of the store: zeros when made.
    template <typename T>
    class Buffer {
    public:
        explicit Buffer(std::size_t elements = 0) : memory_(elements * sizeof(T)), elements_(elements) {}
        T* data() { return reinterpret_cast<T*>(memory_.base()); }
        const T* data() const { return reinterpret_cast<const T*>(memory_.base()); }
        std::span<T> flat() { return {data(), elements_}; }
        std::span<const T> flat() const { return {data(), elements_}; }

    private:
        ArenaMemory memory_;
        std::size_t elements_;
    };

    std::vector<Parameter> parameters_;
    std::set<std::string> names_;
    std::size_t size_ = 0;
    Buffer<Real> values_, gradients_;
    Buffer<BFloat16> rounded_;
};

}  // namespace ulmpi
