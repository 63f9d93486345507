#pragma once
// Another program, run to its end.

#include <functional>
#include <string>
#include <vector>

namespace ulmpi {

/// What a program left behind. `status` is its exit status; 127: it could not be started.
struct Finished {
    int status = 0;
    std::string output, errors;
};

/// Runs words[0], looked for in PATH, with the words after it as they are (no shell) and nothing to read, in the
/// environment that this program was started in: without what MPI_Init and the choice of BLAS kernels added, which is
/// not meant for jobs on other machines, and without the variables ("NAME=value") that `left_out` says, if given. One
/// rank, quick programs: nobody hears of it until it has ended.
Finished run_program(const std::vector<std::string>& words,
                     const std::function<bool(const std::string& variable)>& left_out = nullptr);

}  // namespace ulmpi
