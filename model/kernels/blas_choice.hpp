#pragma once

#include <string>

namespace ulmpi {

/// Call at the top of main, before MPI_Init. OpenBLAS picks its kernels when it is loaded, and on a CPU younger than
/// itself it picks AVX2 ones at half the speed. When this CPU has AVX-512 and the library does not use it, sets
/// OPENBLAS_CORETYPE=SKYLAKEX and starts the program again (Linux; elsewhere, and on failure, goes on as it is).
/// A value that the user set wins, be it empty: the variable itself shows that the choice is made.
void choose_blas_kernels(char** argv);

/// A sentence for a user whose kernels use less than the CPU has, because a setting of OPENBLAS_CORETYPE says so or the
/// choice could not be made; else empty.
std::string slow_blas_note();

}  // namespace ulmpi
