#include "base/subprocess.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string_view>
#include <utility>

#include "base/error.hpp"
#include "base/options/names.hpp"

namespace ulmpi {
namespace {

// The kernel keeps the environment that a process began with; what the process sets later is elsewhere.
std::vector<std::string> environment_at_start() {
    std::ifstream file("/proc/self/environ", std::ios::binary);
    const std::string all{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    const bool chosen = all.find(std::string(blas_chosen_variable) + "=") != std::string::npos;
    std::vector<std::string> variables;
    for (std::size_t begin = 0; begin < all.size();) {
        const std::size_t end = std::min(all.find('\0', begin), all.size());
        const std::string variable = all.substr(begin, end - begin);
        begin = end + 1;
        if (chosen && (variable.starts_with(blas_chosen_variable) || variable.starts_with("OPENBLAS_CORETYPE=")))
            continue;
        variables.push_back(variable);
    }
    return variables;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
    std::vector<char*> all;
    for (std::string& string : strings) all.push_back(string.data());
    all.push_back(nullptr);
    return all;
}

struct Pipe {
    std::array<int, 2> ends{-1, -1};
    Pipe() { check(::pipe2(ends.data(), O_CLOEXEC) == 0, "cannot make a pipe: {}", std::string(std::strerror(errno))); }
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;
    ~Pipe() {
        ::close(ends[0]);
        close_writing();
    }
    void close_writing() {
        if (const int end = std::exchange(ends[1], -1); end >= 0) ::close(end);
    }
};

}  // namespace

Finished run_program(const std::vector<std::string>& words,
                     const std::function<bool(const std::string& variable)>& left_out) {
    std::vector<std::string> arguments = words, environment = environment_at_start();
    if (left_out) std::erase_if(environment, left_out);
    Pipe output, errors;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output.ends[1], 1);
    posix_spawn_file_actions_adddup2(&actions, errors.ends[1], 2);
    posix_spawnattr_t attributes;  // what run_main ignores is ours alone
    posix_spawnattr_init(&attributes);
    sigset_t ignored;
    sigemptyset(&ignored);
    sigaddset(&ignored, SIGPIPE);
    sigaddset(&ignored, SIGXFSZ);
    posix_spawnattr_setsigdefault(&attributes, &ignored);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    pid_t process = 0;
    const int failure = ::posix_spawnp(&process, words.at(0).c_str(), &actions, &attributes, pointers(arguments).data(),
                                       pointers(environment).data());
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    Finished finished;
    if (failure != 0) return {127, "", words[0] + ": " + std::strerror(failure)};
    output.close_writing();
    errors.close_writing();

    std::array<pollfd, 2> open{pollfd{output.ends[0], POLLIN, 0}, pollfd{errors.ends[0], POLLIN, 0}};
    std::array<std::string*, 2> texts{&finished.output, &finished.errors};
    std::array<char, 4096> piece{};
    while (open[0].fd >= 0 || open[1].fd >= 0) {
        if (::poll(open.data(), open.size(), -1) < 0 && errno != EINTR) break;
        for (std::size_t i = 0; i < open.size(); ++i) {
            if (open[i].fd < 0 || open[i].revents == 0) continue;
            const ssize_t n = ::read(open[i].fd, piece.data(), piece.size());
            if (n > 0) texts[i]->append(piece.data(), static_cast<std::size_t>(n));
            if (n == 0 || (n < 0 && errno != EINTR)) open[i].fd = -1;  // poll passes it over
        }
    }
    int status = 0;
    while (::waitpid(process, &status, 0) < 0 && errno == EINTR) {
    }
    finished.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return finished;
}

}  // namespace ulmpi
