// A program that ends in the way its first argument names; run_main_test.sh looks at what is left of it.

#include <cstdio>
#include <string>
#include <thread>

#include "parallel/run_main.hpp"

int main(int argc, char** argv) {
    using namespace ulmpi;
    return run_main(argc, argv, [](int, char** words, const Communicator& world) {
        const std::string way = words[1];
        const bool last = world.rank() == world.size() - 1;
        if (way == "speak") std::printf("rank %d\n", world.rank());
        if (way == "status") return 75;
        if (way == "together") {  // only one rank finds the input unusable
            const int seven = together(world, [] { return 7; });
            together(world, [&] { check_usage(!last || seven != 7, "no such file on the last rank"); });
        }
        if (way == "usage") check_usage(false, "every rank sees this");
        if (way == "agreed") throw AgreedError("every rank met this");
        if (way == "usage_alone") {
            check_usage(!last, "only the last rank sees this");
            world.barrier();
        }
        if (way == "error") {  // the others wait in a collective
            check(!last, "the last rank cannot go on");
            world.barrier();
        }
        if (way == "thread") {
            if (last) std::thread([] { throw Error("thrown in a thread"); }).join();
            world.barrier();
        }
        if (way == "lines" && world.rank() == 0)
            for (int i = 0; i < 100000; ++i) print_line("a line of results");
        return 0;
    });
}
