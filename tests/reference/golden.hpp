#pragma once
// What tests of golden runs share: where the files are, how near they must be met, under which layouts.

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/files/hdf5_file.hpp"
#include "training/train_step.hpp"

namespace ulmpi::reference {

constexpr bool golden_in_double = std::is_same_v<Real, double>;
constexpr double loss_tolerance = golden_in_double ? 1e-12 : 2e-5;
constexpr double norm_tolerance = golden_in_double ? 1e-10 : 2e-5;
constexpr double weight_tolerance = golden_in_double ? 1e-9 : 2e-5;

/// `in_source`: the folder in the source tree.
inline std::filesystem::path golden_folder(const char* in_source) {
    const char* named = std::getenv("ULMPI_GOLDEN_DIR");
    return named ? std::filesystem::path(named) : std::filesystem::path(in_source) / "tests" / "golden";
}

inline std::vector<std::size_t> indices_of(const Parameter& p) {
    std::vector<std::size_t> indices;
    const std::size_t rows = p.global.extent[0], columns = p.global.extent[1];
    std::vector<Range> row_ranges{{0, rows}}, column_ranges{{0, columns}};
    if (!p.slicing.whole()) (p.slicing.axis == 0 ? row_ranges : column_ranges) = p.slicing.ranges;
    for (Range r : row_ranges)
        for (std::size_t row = r.first; row < r.last; ++row)
            for (Range c : column_ranges)
                for (std::size_t column = c.first; column < c.last; ++column) indices.push_back(row * columns + column);
    return indices;
}

inline void fill_from(const Hdf5File& golden, ParameterStore& store) {
    for (const Parameter& p : store.parameters()) {
        const std::vector<double> whole = golden.read<double>("initial/" + p.name);
        const std::vector<std::size_t> indices = indices_of(p);
        for (std::size_t i = 0; i < indices.size(); ++i) store.value_of(p)[i] = static_cast<Real>(whole.at(indices[i]));
    }
}

/// The weights are the golden run's last ones, but for elements whose true gradient is zero, where Adam makes steps of
/// rounding noise.
inline void expect_final(const Hdf5File& golden, ParameterStore& store, const Topology& topology,
                         const std::function<bool(const Parameter&, std::size_t)>& is_noise) {
    for (const Parameter& p : store.parameters()) {
        const std::vector<double> final = golden.read<double>("final/" + p.name);
        const std::vector<std::size_t> indices = indices_of(p);
        double difference = 0, norm = 0;
        for (std::size_t i = 0; i < indices.size(); ++i) {
            if (is_noise(p, indices[i])) continue;
            const double expected = final.at(indices[i]), d = static_cast<double>(store.value_of(p)[i]) - expected;
            difference += d * d;
            norm += expected * expected;
        }
        std::array<double, 2> sums{difference, norm};  // over the slices: the whole tensor's
        topology.tensor.all_reduce_sum(std::span<double>(sums));
        EXPECT_LE(std::sqrt(sums[0]), weight_tolerance * std::sqrt(sums[1])) << p.name;
    }
}

struct GoldenLayout {
    const char* name;
    int pipeline, tensor;
    PipelineSchedule schedule;
};

inline std::vector<GoldenLayout> golden_layouts(int ranks) {
    std::vector<GoldenLayout> layouts;
    if (ranks == 1) layouts = {{"one rank", 1, 1, PipelineSchedule::one_forward_one_backward}};
    if (ranks == 2)
        layouts = {{"dp2", 1, 1, PipelineSchedule::one_forward_one_backward},
                   {"tp2", 1, 2, PipelineSchedule::one_forward_one_backward},
                   {"pp2", 2, 1, PipelineSchedule::one_forward_one_backward},
                   {"pp2 gpipe", 2, 1, PipelineSchedule::gpipe},
                   {"pp2 zb-h1", 2, 1, PipelineSchedule::zero_bubble}};
    if (ranks == 4)
        layouts = {{"tp2 x pp2", 2, 2, PipelineSchedule::one_forward_one_backward},
                   {"tp4", 1, 4, PipelineSchedule::one_forward_one_backward},
                   {"dp2 x tp2", 1, 2, PipelineSchedule::one_forward_one_backward}};
    return layouts;
}

}  // namespace ulmpi::reference
