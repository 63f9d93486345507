#pragma once
// How the program says that it cannot go on.

#include <fmt/core.h>

#include <concepts>
#include <source_location>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

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

/// The text of a message, as fmt has it, with the place in the source that would say it.
template <typename... Args>
struct Message {
    template <typename Text>
    consteval Message(const Text& words, std::source_location place = std::source_location::current())
        : text(words), where(place) {}
    fmt::format_string<Args...> text;
    std::source_location where;
};

/// Throws Error when a promise made by the outside world is broken. Its arguments are there either way; the message is
/// put together when it is said.
template <typename... Args>
void check(bool kept, std::type_identity_t<Message<Args...>> message, Args&&... args) {
    if (!kept) [[unlikely]]
        throw Error(fmt::format(message.text, std::forward<Args>(args)...), message.where);
}
/// The same with a message that somebody else has put together.
template <std::same_as<std::string> Text>
void check(bool kept, const Text& message, std::source_location where = std::source_location::current()) {
    if (!kept) [[unlikely]]
        throw Error(message, where);
}

/// Throws UsageError when what the user gave cannot be used.
template <typename... Args>
void check_usage(bool kept, std::type_identity_t<Message<Args...>> message, Args&&... args) {
    if (!kept) [[unlikely]]
        throw UsageError(fmt::format(message.text, std::forward<Args>(args)...), message.where);
}
template <std::same_as<std::string> Text>
void check_usage(bool kept, const Text& message, std::source_location where = std::source_location::current()) {
    if (!kept) [[unlikely]]
        throw UsageError(message, where);
}

}  // namespace ulmpi
