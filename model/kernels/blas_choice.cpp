#include "model/kernels/blas_choice.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>

#include "model/kernels/gemm.hpp"

namespace ulmpi {

#if defined(__linux__) && defined(__x86_64__)

void choose_blas_kernels(char** argv) {
    constexpr const char* variable = "OPENBLAS_CORETYPE";
    constexpr std::array<std::string_view, 15> without_avx512 = {
        "Katmai",      "Coppermine", "Northwood", "Prescott", "Core2",     "Penryn",    "Dunnington", "Nehalem",
        "Sandybridge", "Haswell",    "Athlon",    "Opteron",  "Barcelona", "Excavator", "Zen"};
    if (std::getenv(variable) != nullptr) return;
    if (std::ranges::find(without_avx512, std::string_view(blas_kernels())) == without_avx512.end()) return;
    __builtin_cpu_init();
    if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")))
        return;
    if (setenv(variable, "SKYLAKEX", 1) != 0) return;
    execv("/proc/self/exe", argv);
    unsetenv(variable);  // only a failed execv returns
}

#else

void choose_blas_kernels(char**) {}

#endif

}  // namespace ulmpi
