#include "model/kernels/blas_choice.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>

#include "base/options/names.hpp"
#include "model/kernels/gemm.hpp"

namespace ulmpi {

#if defined(__linux__) && defined(__x86_64__)

namespace {

constexpr const char* variable = "OPENBLAS_CORETYPE";

bool leaves_avx512_unused() {
    constexpr std::array<std::string_view, 15> without_avx512 = {
        "Katmai",      "Coppermine", "Northwood", "Prescott", "Core2",     "Penryn",    "Dunnington", "Nehalem",
        "Sandybridge", "Haswell",    "Athlon",    "Opteron",  "Barcelona", "Excavator", "Zen"};
    const std::string kernels = blas_kernels();
    if (std::ranges::find(without_avx512, kernels) == without_avx512.end()) return false;
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

}  // namespace

void choose_blas_kernels(char** argv) {
    if (std::getenv(variable) != nullptr || !leaves_avx512_unused()) return;
    if (setenv(variable, "SKYLAKEX", 1) != 0 || setenv(blas_chosen_variable, "1", 1) != 0) return;
    execv("/proc/self/exe", argv);
    unsetenv(variable);  // only a failed execv returns
    unsetenv(blas_chosen_variable);
}

std::string slow_blas_note() {
    if (!leaves_avx512_unused()) return "";
    const char* told = std::getenv(variable);
    return "matrix products run on " + blas_kernels() + " kernels, about half as fast as this CPU's AVX-512 allows" +
           (told != nullptr ? fmt::format(": {}={} asks for them; unset it", variable, told)
                            : fmt::format("; set {}=SKYLAKEX", variable));
}

#else

void choose_blas_kernels(char**) {}
std::string slow_blas_note() { return ""; }

#endif

}  // namespace ulmpi
