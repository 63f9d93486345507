// How fast this project's checkpoints are written and read, and how fast the disk is without them.
//   mpirun -n 2 checkpoint_format one-file|plain FOLDER

#include "tests/benchmarks/checkpoint_format.hpp"

#include <chrono>

#include "checkpoints/checkpoint.hpp"
#include "parallel/run_main.hpp"

namespace {

using namespace ulmpi;

// As `dd bs=1M conv=fdatasync` does it.
void write_plainly(const std::filesystem::path& path) {
    std::vector<float> block(1 << 18);
    for (std::size_t i = 0; i < block.size(); ++i) block[i] = benchmark::noise(i);
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
    for (std::size_t done = 0; done < benchmark::tensors * benchmark::tensor_elements * sizeof(float);
         done += block.size() * sizeof(float))
        if (::write(file, block.data(), block.size() * sizeof(float)) < 0) std::perror(path.c_str());
    if (::fdatasync(file) != 0) std::perror(path.c_str());
    ::close(file);
    std::filesystem::remove(path);
}

int run(const std::string& way, const std::filesystem::path& folder, const Communicator& world) {
    const Topology topology(world, {1, 1, world.size()});
    const auto slices = static_cast<std::size_t>(world.size()), slice = static_cast<std::size_t>(world.rank());
    ParameterStore store;
    for (int t = 0; t < benchmark::tensors; ++t) {
        Parameter p{.name = benchmark::tensor_name(t),
                    .global = {benchmark::tensor_rows, benchmark::tensor_columns},
                    .local = {},
                    .slicing = {},
                    .init = {}};
        const int axis = benchmark::sliced_axis(t);
        if (slices > 1)
            p.slicing = {axis, {even_slice(p.global.extent[static_cast<std::size_t>(axis)], slices, slice)}};
        store.declare(std::move(p));
    }
    store.allocate(false);
    for (std::size_t i = 0; i < store.size(); ++i) store.values()[i] = benchmark::noise(i);
    const auto seconds = [&](auto body) {
        world.barrier();
        const auto begin = std::chrono::steady_clock::now();
        body();
        world.barrier();
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    };
    const std::filesystem::path file = folder / "step-00000001.h5";
    if (way == "plain") {
        benchmark::report(world.rank(), "plain", "write", seconds([&] {
                              if (world.rank() == 0) write_plainly(folder / "plain");
                          }));
        return 0;
    }
    benchmark::report(world.rank(), "one file", "write", seconds([&] {
                          const auto failure = save_checkpoint(file, {}, "", store, {}, topology);
                          check(!failure, failure.value_or(""));
                      }));
    if (world.rank() == 0) benchmark::forget_pages(folder);
    benchmark::report(world.rank(), "one file", "read with verification",
                      seconds([&] { load_checkpoint(file, store, {}, topology); }));
    benchmark::report(world.rank(), "one file", "read again, from the cache",
                      seconds([&] { load_checkpoint(file, store, {}, topology); }));
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    return run_main(argc, argv, [](int count, char** words, const Communicator& world) {
        check_usage(count == 3, "usage: checkpoint_format one-file|plain FOLDER");
        return run(words[1], words[2], world);
    });
}
