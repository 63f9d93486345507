#pragma once
// A strided window on a matrix that somebody else owns: what the matrix products work on.

#include <cassert>
#include <concepts>
#include <cstddef>

#include "model/tensor.hpp"

namespace ulmpi {

/// Row-major, element (i, j) at data[i * stride + j], stride >= columns. Copy it freely; a View is one whose stride is
/// its width.
template <typename T>
struct Matrix {
    T* data = nullptr;
    std::size_t rows = 0, columns = 0, stride = 0;

    Matrix() = default;
    Matrix(T* first, std::size_t row_count, std::size_t column_count, std::size_t row_stride)
        : data(first), rows(row_count), columns(column_count), stride(row_stride) {
        assert(stride >= columns);
    }
    Matrix(T* first, std::size_t row_count, std::size_t column_count)
        : Matrix(first, row_count, column_count, column_count) {}
    template <typename U>
    requires std::convertible_to<U (*)[], T (*)[]> Matrix(const View<U>& view)
        : Matrix(view.data, view.rows(), view.columns()) {}
    template <typename U>
    requires(!std::same_as<U, T> && std::convertible_to<U (*)[], T (*)[]>) Matrix(const Matrix<U>& other)
        : Matrix(other.data, other.rows, other.columns, other.stride) {}

    T* row(std::size_t index) const { return data + index * stride; }
    Matrix row_range(Range range) const {
        assert(range.last <= rows);
        return {data + range.first * stride, range.size(), columns, stride};
    }
    Matrix column_range(Range range) const {
        assert(range.last <= columns);
        return {data + range.first, rows, range.size(), stride};
    }
};

}  // namespace ulmpi
