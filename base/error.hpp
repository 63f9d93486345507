#pragma once
// How the program says that it cannot go on.

#include <source_location>
#include <stdexcept>
#include <string>
#include <string_view>

namespace ulmpi {

/// Something the program cannot continue from: a damaged file, a failed MPI call, a full disk. Exit status 1.
/// The message names the thing and how to mend it; `where` is for the developer.
class Error : public std::runtime_error {
public:
    explicit Error(const std::string& message, std::source_location where = std::source_location::current())
        : std::runtime_error(message), where_(where) {}
    const std::source_location& where() const { return where_; }

private:
    std::source_location where_;
};

/// Bad usage or unusable input, found before work starts: a wrong option, a missing or malformed file. Exit status 2.
/// Every rank finds it alike, so rank 0 says it once and all ranks return in order.
class UsageError : public Error {
public:
    using Error::Error;
};

/// What every rank found alike in the middle of its work: rank 0 says it once and all ranks return in order. Exit
/// status 1.
class AgreedError : public Error {
public:
    using Error::Error;
};

/// Throws Error when a promise made by the outside world is broken. A message that is one text costs nothing while it
/// is kept.
inline void check(bool kept, const std::string& message, std::source_location where = std::source_location::current()) {
    if (!kept) [[unlikely]]
        throw Error(message, where);
}

inline void check(bool kept, const char* message, std::source_location where = std::source_location::current()) {
    if (!kept) [[unlikely]]
        throw Error(message, where);
}

/// Throws UsageError when what the user gave cannot be used.
inline void check_usage(bool kept, const std::string& message,
                        std::source_location where = std::source_location::current()) {
    if (!kept) [[unlikely]]
        throw UsageError(message, where);
}

}  // namespace ulmpi
