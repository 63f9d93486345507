#pragma once
// Option values as text and back, strictly: nothing is guessed, nothing after the value is ignored.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ulmpi {

/// Each reads `text` into `value` and returns "", or leaves `value` and returns what is wrong ("is not a number").
/// Booleans are on|off (also true|false|1|0); numbers are decimal, finite and within their type.
std::string read_value(std::string_view text, bool& value);
std::string read_value(std::string_view text, std::int32_t& value);
std::string read_value(std::string_view text, std::int64_t& value);
std::string read_value(std::string_view text, std::uint64_t& value);
std::string read_value(std::string_view text, double& value);
std::string read_value(std::string_view text, std::string& value);

/// The text that read_value turns back into the same value.
std::string write_value(bool value);
std::string write_value(std::int32_t value);
std::string write_value(std::int64_t value);
std::string write_value(std::uint64_t value);
std::string write_value(double value);
std::string write_value(const std::string& value);

/// What stands for a value in the help: N, X, on|off, TEXT.
inline const char* placeholder(bool) { return "on|off"; }
inline const char* placeholder(double) { return "X"; }
inline const char* placeholder(const std::string&) { return "TEXT"; }
template <class Integer>
const char* placeholder(Integer) {
    return "N";
}

/// What an option's type means to OptionTable: how many words it takes, and how they become the value and back.
template <class T>
struct OptionType {
    using Word = T;
    static constexpr bool several = false;
    static std::string read(const std::vector<std::string>& words, T& value) { return read_value(words.at(0), value); }
    static std::vector<std::string> write(const T& value) { return {write_value(value)}; }
    static nlohmann::json json(const T& value) { return value; }
};

template <>
struct OptionType<std::vector<std::string>> {
    using Word = std::string;
    static constexpr bool several = true;
    static std::string read(const std::vector<std::string>& words, std::vector<std::string>& value) {
        value = words;
        return "";
    }
    static std::vector<std::string> write(const std::vector<std::string>& value) { return value; }
    static nlohmann::json json(const std::vector<std::string>& value) { return value; }
};

/// No words mean that nothing is set.
template <class T>
struct OptionType<std::optional<T>> {
    using Word = typename OptionType<T>::Word;
    static constexpr bool several = OptionType<T>::several;
    static std::string read(const std::vector<std::string>& words, std::optional<T>& value) {
        T inner{};
        const std::string problem = OptionType<T>::read(words, inner);
        if (problem.empty()) value = std::move(inner);
        return problem;
    }
    static std::vector<std::string> write(const std::optional<T>& value) {
        return value ? OptionType<T>::write(*value) : std::vector<std::string>{};
    }
    static nlohmann::json json(const std::optional<T>& value) {
        return value ? OptionType<T>::json(*value) : nlohmann::json();
    }
};

/// The words of a stored JSON value (as OptionType::json gives it): none for null, one each for a list's elements.
std::vector<std::string> words_of(const nlohmann::json& value);

/// A value as it stands in an INI file, where '#' starts a comment, blanks at the ends are lost and a value is one
/// line: quoted like a JSON string where that would change it.
std::string quote_for_file(const std::string& value);
/// Its inverse. Throws UsageError if the quotes do not close.
std::string unquote_from_file(const std::string& text);

/// How many letters to insert, delete, replace or swap with their neighbour (optimal string alignment).
std::size_t edit_distance(std::string_view a, std::string_view b);

/// The candidate nearest to `name`, or "" if none is near enough to be meant.
std::string nearest(std::string_view name, const std::vector<std::string>& candidates);

/// "; did you mean --seed?", or "" if nothing is near: to end a message with.
std::string suggestion(std::string_view name, const std::vector<std::string>& candidates, std::string_view prefix = "");

}  // namespace ulmpi
