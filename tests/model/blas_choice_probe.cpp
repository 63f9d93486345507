// Prints which kernels BLAS runs after the choice, and the arguments as they came through it. Fails when the CPU has
// AVX-512, nobody asked for other kernels, and the kernels do not use it.

#include <cstdio>
#include <cstdlib>
#include <string>

#include "model/kernels/blas_choice.hpp"
#include "model/kernels/gemm.hpp"

#ifdef PRETEND_OLD_LIBRARY
/// A library that takes every CPU for a Haswell unless it is told otherwise.
extern "C" char* openblas_get_corename() {
    static char haswell[] = "Haswell", skylake[] = "SkylakeX";
    const char* told = std::getenv("OPENBLAS_CORETYPE");
    return told && std::string(told) == "SKYLAKEX" ? skylake : haswell;
}
#endif

int main(int argc, char** argv) {
#ifdef __x86_64__
    const bool told = std::getenv("OPENBLAS_CORETYPE") != nullptr && argc == 1;
    const bool has_avx512 = __builtin_cpu_supports("avx512bw"), wide = !told && has_avx512;
#else
    const bool has_avx512 = false, wide = false;
#endif
    ulmpi::choose_blas_kernels(argv);
    const std::string kernels = ulmpi::blas_kernels();
    std::printf("kernels %s", kernels.c_str());
    for (int i = 1; i < argc; ++i) std::printf(" [%s]", argv[i]);
    const bool slow = (kernels == "Haswell" || kernels == "Zen") && has_avx512;
    if (slow == ulmpi::slow_blas_note().empty()) std::printf(" wrong note: '%s'", ulmpi::slow_blas_note().c_str());
    std::printf("\n");
    return wide && (kernels == "Haswell" || kernels == "Zen") ? EXIT_FAILURE : EXIT_SUCCESS;
}
