#pragma once
// Windows on memory that somebody else owns.

#include <array>
#include <cassert>
#include <cstddef>
#include <initializer_list>
#include <span>
#include <type_traits>

#include "base/slice.hpp"

namespace ulmpi {

/// Up to four extents, outermost first: (batch, time, heads, channels). Missing ones are 1.
struct Shape {
    std::array<std::size_t, 4> extent{1, 1, 1, 1};
    constexpr Shape() = default;
    constexpr Shape(std::initializer_list<std::size_t> extents) {
        assert(extents.size() <= 4);
        std::size_t axis = 0;
        for (std::size_t n : extents) extent[axis++] = n;
    }
    constexpr std::size_t size() const { return extent[0] * extent[1] * extent[2] * extent[3]; }
    friend constexpr bool operator==(const Shape&, const Shape&) = default;
};

/// A dense row-major window on memory that an Arena or a ParameterStore owns. Copy it freely.
/// A matrix is a View of shape {rows, columns}.
template <typename T>
struct View {
    T* data = nullptr;
    Shape shape{0};

    std::size_t size() const { return shape.size(); }
    bool empty() const { return data == nullptr; }
    std::size_t rows() const { return shape.extent[0]; }
    std::size_t columns() const { return shape.extent[1] * shape.extent[2] * shape.extent[3]; }
    std::span<T> flat() const { return {data, size()}; }
    T* row(std::size_t index) const { return data + index * columns(); }
    /// The rows of `range`, every column.
    View rows(Range range) const {
        assert(range.last <= rows());
        View part{row(range.first), shape};
        part.shape.extent[0] = range.size();
        return part;
    }
    operator View<const T>() const requires(!std::is_const_v<T>) { return {data, shape}; }
};

}  // namespace ulmpi
