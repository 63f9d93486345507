// What --help prints.

#include <fmt/format.h>

#include <algorithm>

#include "base/options/table.hpp"

namespace ulmpi {
namespace {

constexpr std::size_t width = 100, margin = 34;

/// `text` broken between words so that it stays within `width`, the first line beginning in column `column`.
std::string wrapped(const std::string& text, std::size_t column, std::size_t indent) {
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find_first_of(" \n", at), text.size());
        const std::string word = text.substr(at, end - at);
        if (column + 1 + word.size() > width && column > indent) {
            out += '\n' + std::string(indent, ' ');
            column = indent;
        } else if (!out.empty() && column > indent) {
            out += ' ';
            ++column;
        }
        out += word;
        column += word.size();
        at = end + 1;
    }
    return out;
}

}  // namespace

std::string OptionTable::help() const {
    const auto value_of = [](const Option& option) {
        const std::string value =
            option.allowed.empty() ? option.placeholder : fmt::format("{}", fmt::join(option.allowed, "|"));
        return value + (option.several ? "..." : "");
    };
    const auto is_positional = [&](const Option& option) {
        return std::find(positional_.begin(), positional_.end(), option.name) != positional_.end();
    };
    std::string usage = fmt::format("usage: ulmpi {}", command_);
    for (const Option& option : options_)
        if (option.required && !is_positional(option)) usage += fmt::format(" --{} {}", option.name, value_of(option));
    usage += " [options]";
    for (const std::string& name : positional_) usage += " " + value_of(find(name));
    std::string text = wrapped(usage, 0, 4) + "\n\n" + wrapped(summary_, 0, 0) + "\n";
    for (const std::string& example : examples_)
        text += "\n  " + wrapped(fmt::format("ulmpi {} {}", command_, example), 2, 6) + "\n";

    const auto entry = [&](const std::string& left, const std::string& right) {
        text += "  " + left;
        std::size_t column = 2 + left.size();
        if (column + 2 > margin) {
            text += '\n';
            column = 0;
        }
        text += std::string(margin - column, ' ') + wrapped(right, margin, margin) + "\n";
    };
    const auto explain = [&](const Option& option) {
        std::string left = fmt::format("--{}", option.name);
        for (const auto& [alias, name] : aliases_)
            if (name == option.name) left += fmt::format(", --{}", alias);
        std::vector<std::string> facts;
        if (!option.unit.empty()) facts.push_back(option.unit);
        if (option.required) facts.push_back("required");
        const std::vector<std::string> words = option.write();
        const bool shown = !words.empty() && !option.required && !(words.size() == 1 && words[0].empty());
        if (shown) facts.push_back(fmt::format("default {}", fmt::join(words, " ")));
        entry(left + " " + value_of(option),
              option.help + (facts.empty() ? "" : fmt::format(" [{}]", fmt::join(facts, "; "))));
    };
    std::vector<std::string> groups;
    for (const Option& option : options_)
        if (option.name != "config" && std::find(groups.begin(), groups.end(), option.group) == groups.end())
            groups.push_back(option.group);
    for (const std::string& group : groups) {
        text += fmt::format("\n{}\n", group);
        for (const Option& option : options_)
            if (option.group == group && option.name != "config") explain(option);
    }
    text += "\nFor every command\n";
    explain(find("config"));
    entry("--help", "Prints this.");
    entry("--list-options", "Prints the names of the options, one a line.");
    text += "\n" +
            wrapped(
                "An option can also stand in the environment (--train-steps as ULMPI_TRAIN_STEPS) or in the file; "
                "the command line wins over the environment, the environment over the file.",
                0, 0) +
            "\n";
    return text;
}

}  // namespace ulmpi
