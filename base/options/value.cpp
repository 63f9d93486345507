#include "base/options/value.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.hpp"

namespace ulmpi {
namespace {

template <class Integer>
std::string read_integer(std::string_view text, Integer& value) {
    const char* const end = text.data() + text.size();
    Integer read = 0;
    const auto [stop, error] = std::from_chars(text.data(), end, read);
    if (error == std::errc::result_out_of_range) return "is out of range";
    if (std::is_unsigned_v<Integer> && text.starts_with('-')) {
        std::int64_t negative = 0;
        return read_integer(text, negative).empty() ? "must not be negative" : "is not a whole number";
    }
    if (error != std::errc() || stop != end) return "is not a whole number";
    value = read;
    return "";
}

}  // namespace

std::string read_value(std::string_view text, bool& value) {
    const bool on = text == "on" || text == "true" || text == "1";
    const bool off = text == "off" || text == "false" || text == "0";
    if (!on && !off) return "is neither on nor off";
    value = on;
    return "";
}

std::string read_value(std::string_view text, std::int32_t& value) { return read_integer(text, value); }
std::string read_value(std::string_view text, std::int64_t& value) { return read_integer(text, value); }
std::string read_value(std::string_view text, std::uint64_t& value) { return read_integer(text, value); }

std::string read_value(std::string_view text, double& value) {
    const char* const end = text.data() + text.size();
    double read = 0;
    const auto [stop, error] = std::from_chars(text.data(), end, read);
    if (error == std::errc::result_out_of_range) return "is out of range";
    if (error != std::errc() || stop != end) return "is not a number";
    if (!std::isfinite(read)) return "is not a finite number";
    value = read;
    return "";
}

std::string read_value(std::string_view text, std::string& value) {
    value = text;
    return "";
}

std::string write_value(bool value) { return value ? "on" : "off"; }
std::string write_value(std::int32_t value) { return std::to_string(value); }
std::string write_value(std::int64_t value) { return std::to_string(value); }
std::string write_value(std::uint64_t value) { return std::to_string(value); }
std::string write_value(double value) { return fmt::format("{}", value); }  // the shortest that reads back the same
std::string write_value(const std::string& value) { return value; }

std::vector<std::string> words_of(const nlohmann::json& value) {
    if (value.is_null()) return {};
    if (value.is_array()) {
        std::vector<std::string> words;
        for (const nlohmann::json& element : value)
            for (std::string& word : words_of(element)) words.push_back(std::move(word));
        return words;
    }
    if (value.is_string()) return {value.get<std::string>()};
    if (value.is_boolean()) return {write_value(value.get<bool>())};
    if (value.is_number_float()) return {write_value(value.get<double>())};
    return {value.dump()};
}

std::string quote_for_file(const std::string& value) {
    const auto blank = [](char c) { return c == ' ' || c == '\t'; };
    const bool plain = value.find_first_of("#\n\r\f\v") == std::string::npos &&
                       (value.empty() || (!blank(value.front()) && !blank(value.back()) && value.front() != '"'));
    if (plain) return value;
    std::string quoted = "\"";
    for (const char c : value) {
        if (c == '"' || c == '\\')
            (quoted += '\\') += c;
        else if (c == '#' || static_cast<unsigned char>(c) < 0x20)
            quoted += fmt::format("\\u{:04x}", c);
        else
            quoted += c;
    }
    return quoted + '"';
}

std::string unquote_from_file(const std::string& text) {
    if (!text.starts_with('"')) return text;
    try {
        return nlohmann::json::parse(text).get<std::string>();
    } catch (const nlohmann::json::exception&) {
        throw UsageError(text + " starts with a quote but is not a quoted string");
    }
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
    // distance[i][j]: between the first i letters of a and the first j of b
    std::vector<std::vector<std::size_t>> distance(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
    for (std::size_t i = 0; i <= a.size(); ++i) {
        for (std::size_t j = 0; j <= b.size(); ++j) {
            if (i == 0 || j == 0) {
                distance[i][j] = i + j;
                continue;
            }
            const std::size_t replaced = distance[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            distance[i][j] = std::min({distance[i - 1][j] + 1, distance[i][j - 1] + 1, replaced});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                distance[i][j] = std::min(distance[i][j], distance[i - 2][j - 2] + 1);
        }
    }
    return distance[a.size()][b.size()];
}

std::string nearest(std::string_view name, const std::vector<std::string>& candidates) {
    std::string best;
    std::size_t least = 1 + std::max<std::size_t>(2, name.size() / 3);  // further than this is another word
    for (const std::string& candidate : candidates) {
        const std::size_t distance = edit_distance(name, candidate);
        if (distance < least && distance < candidate.size()) {
            least = distance;
            best = candidate;
        }
    }
    return best;
}

std::string suggestion(std::string_view name, const std::vector<std::string>& candidates, std::string_view prefix) {
    const std::string near = nearest(name, candidates);
    return near.empty() ? "" : fmt::format("; did you mean {}{}?", prefix, near);
}

}  // namespace ulmpi
