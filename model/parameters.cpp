#include "model/parameters.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/random_key.hpp"
#include "model/kernels/philox.hpp"

namespace ulmpi {

ParameterId ParameterStore::declare(Parameter p) {
    check(names_.insert(p.name).second, "the parameter {} is declared twice", p.name);
    p.local = p.global;
    if (!p.slicing.whole()) {
        std::size_t& extent = p.local.extent[static_cast<std::size_t>(p.slicing.axis)];
        extent = 0;
        for (Range range : p.slicing.ranges) extent += range.size();
    }
    constexpr std::size_t step = Arena::alignment / sizeof(Real);
    p.offset = size_;
    size_ += (p.size() + step - 1) / step * step;
    parameters_.push_back(std::move(p));
    return ParameterId{parameters_.size() - 1};
}

void ParameterStore::allocate(bool with_gradients, Precision precision) {
    values_ = Buffer<Real>(size_);
    if (with_gradients) gradients_ = Buffer<Real>(size_);
    if (precision == Precision::bf16) rounded_ = Buffer<BFloat16>(size_);
}

Factor ParameterStore::factor(ParameterId id) const {
    if (rounded_.data() == nullptr) return Factor(Matrix<const Real>(value(id)));
    return Factor(Matrix<const BFloat16>(View<const BFloat16>{rounded_.data() + at(id).offset, at(id).local}));
}

void ParameterStore::round_values() {
    if (rounded_.data() != nullptr) round_to_bfloat16(rounded_.data(), values_.data(), size_);
}

std::vector<std::span<Real>> ParameterStore::gradients_of(int first, int end) {
    std::vector<std::span<Real>> spans;
    for (std::size_t i = 0, open = 0; i <= parameters_.size(); ++i) {
        if (i < parameters_.size() && parameters_[i].group >= first && parameters_[i].group < end) continue;
        // [open, i) are among them
        if (i > open) {
            const std::size_t begin = parameters_[open].offset;
            const std::size_t last = i < parameters_.size() ? parameters_[i].offset : size_;
            spans.push_back(gradients().subspan(begin, last - begin));
        }
        open = i + 1;
    }
    return spans;
}

void ParameterStore::initialize(std::uint64_t seed, const std::function<bool(const Parameter&)>& which) {
    for (const Parameter& p : parameters_) {
        if (!which(p)) continue;
        const std::span<Real> out = value_of(p);
        if (p.init.kind != Init::Kind::normal) {
            std::fill(out.begin(), out.end(), p.init.kind == Init::Kind::one ? Real(1) : Real(0));
            continue;
        }
        const std::uint64_t key = random_key(seed, p.name);
        const auto deviation = static_cast<Real>(p.init.deviation);
        const std::size_t columns = p.global.extent[1], rows = p.global.extent[0];
        Real* next = out.data();
        const auto draw = [&](std::size_t first, std::size_t count) {
            normal_fill(next, key, first, count, deviation);
            next += count;
        };
        if (p.slicing.whole()) {
            draw(0, p.size());
        } else if (p.slicing.axis == 0) {
            for (Range range : p.slicing.ranges) draw(range.first * columns, range.size() * columns);
        } else {
            for (std::size_t row = 0; row < rows; ++row)
                for (Range range : p.slicing.ranges) draw(row * columns + range.first, range.size());
        }
    }
    round_values();
}

std::size_t ParameterStore::counted_elements() const {
    std::size_t total = 0;
    for (const Parameter& p : parameters_)
        if (p.counted) total += p.size();
    return total;
}

}  // namespace ulmpi
