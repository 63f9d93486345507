// Where OptionTable reads: the command line, the environment, a file. Boost.Program_options takes both texts apart;
// what is known, what is repeated and where it stood is decided here.

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/error.hpp"
#include "base/options/names.hpp"
#include "base/options/table.hpp"

namespace po = boost::program_options;

namespace ulmpi {
namespace {

bool contains(const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

/// The numbers of the lines that hold an assignment: neither empty, nor a comment, nor a section.
std::vector<std::size_t> assignment_lines(const std::string& text) {
    std::vector<std::size_t> numbers;
    std::istringstream stream(text);
    std::string line;
    for (std::size_t number = 1; std::getline(stream, line); ++number) {
        line.erase(std::min(line.find('#'), line.size()));
        const std::size_t first = line.find_first_not_of(" \t\r\n");
        if (first == std::string::npos || (line[first] == '[' && line.find_last_not_of(" \t\r\n") == line.rfind(']')))
            continue;
        numbers.push_back(number);
    }
    return numbers;
}

std::size_t line_that_holds(const std::string& text, const std::string& part) {
    const std::size_t at = std::min(text.find(part), text.size());
    return 1 + static_cast<std::size_t>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n'));
}

std::string read_whole(const std::string& path) {
    std::error_code failed;
    const bool regular = std::filesystem::is_regular_file(path, failed);
    check_usage(regular, "--config: {} is not a file that can be read", path);
    check_usage(std::filesystem::file_size(path, failed) < 1'000'000,
                "--config: {} is over 1 MB; is it a configuration file?", path);
    std::ifstream stream(path, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
    check_usage(stream.good(), "--config: cannot read {}", path);
    check_usage(text.find('\0') == std::string::npos, "--config: {} is binary, not an INI file", path);
    return text;
}

std::vector<po::option> options_in(const std::string& text, const std::string& path) {
    try {
        std::istringstream stream(text);
        return po::parse_config_file(stream, po::options_description(), /*allow_unregistered=*/true).options;
    } catch (const po::invalid_config_file_syntax& error) {
        throw UsageError(fmt::format("{}:{}: \"{}\" is neither [section] nor name = value", path,
                                     line_that_holds(text, error.tokens()), error.tokens()));
    } catch (const po::error& error) {
        throw UsageError(fmt::format("{}: {}", path, error.what()));
    }
}

std::string section_of(const std::string& key) {
    const std::size_t dot = key.rfind('.');
    return dot == std::string::npos ? "" : key.substr(0, dot);
}

}  // namespace

std::vector<std::string> sections_of_file(const std::string& path) {
    std::vector<std::string> sections;
    for (const po::option& option : options_in(read_whole(path), path))
        if (const std::string section = section_of(option.string_key); !section.empty() && !contains(sections, section))
            sections.push_back(section);
    return sections;
}

// --dry-run, with nothing behind it that is meant as its value, is --dry-run on. Where words without a name are taken,
// any other word than on or off is one of those.
std::vector<std::string> OptionTable::with_bare_switches(std::span<const std::string> arguments) const {
    std::vector<std::string> words;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        words.push_back(arguments[i]);
        const Option* option = arguments[i].starts_with("--") ? find_option(arguments[i].substr(2)) : nullptr;
        if (option == nullptr || !option->on_off) continue;
        bool value = false;
        if (i + 1 == arguments.size() || arguments[i + 1].starts_with("--") ||
            (!positional_.empty() && !read_value(arguments[i + 1], value).empty()))
            words.emplace_back("on");
    }
    return words;
}

OptionTable::FoundByName OptionTable::read_command_line(std::span<const std::string> given) const {
    const std::vector<std::string> arguments = with_bare_switches(given);
    po::options_description description;
    const auto describe = [&](const std::string& name, bool several) {
        if (several)
            description.add_options()(name.c_str(), po::value<std::vector<std::string>>()->multitoken(), "");
        else
            description.add_options()(name.c_str(), po::value<std::string>(), "");
    };
    for (const Option& option : options_) describe(option.name, option.several);
    for (const auto& [alias, name] : aliases_) describe(alias, find(name).several);

    std::vector<po::option> options;
    try {
        using namespace po::command_line_style;
        options = po::command_line_parser(arguments)
                      .options(description)
                      .style(allow_long | long_allow_adjacent | long_allow_next)
                      .allow_unregistered()
                      .run()
                      .options;
    } catch (const po::error_with_option_name& error) {
        throw UsageError(fmt::format("{} (command line) needs a value", error.get_option_name()));
    } catch (const po::error& error) {
        throw UsageError(fmt::format("command line: {}", error.what()));
    }

    for (const po::option& option : options)
        check_usage(!option.unregistered, "unknown option --{} (command line){}; ulmpi {} --help lists them all",
                    option.string_key,
                    find_option(option.string_key) ? "" : suggestion(option.string_key, names(), "--"), command_);
    FoundByName found;
    std::size_t next_positional = 0;
    for (const po::option& option : options) {
        std::string name;
        if (option.position_key < 0) {
            name = find(option.string_key).name;
            const bool separate = option.original_tokens.at(0).find('=') == std::string::npos;
            check_usage(!option.value.empty() && !(separate && option.value[0].starts_with("--")),
                        "--{} (command line) needs a value", option.string_key);
            check_usage(!found.contains(name) || find(name).several, "--{} (command line) is given twice",
                        option.string_key);
        } else {
            const std::string& word = option.value.at(0);
            check_usage(next_positional < positional_.size(),
                        "unexpected word \"{}\" (command line){}; ulmpi {} --help explains", word,
                        suggestion(word.substr(std::min(word.size(), word.find_first_not_of('-'))), names(), "--"),
                        command_);
            name = positional_[next_positional];
            if (!find(name).several) ++next_positional;
            check_usage(!found.contains(name) || find(name).several,
                        "--{} (command line) is given twice: by name and as \"{}\"", name, word);
        }
        Found& entry = found.try_emplace(name, Found{{}, Origin::command_line, "command line"}).first->second;
        entry.words.insert(entry.words.end(), option.value.begin(), option.value.end());
    }
    return found;
}

// A list's words are separated by blanks.
OptionTable::FoundByName OptionTable::read_environment() const {
    FoundByName found;
    for (char** variable = environ; *variable != nullptr; ++variable) {
        const std::string text = *variable;
        if (!text.starts_with("ULMPI_")) continue;
        const std::size_t equals = std::min(text.find('='), text.size());
        const std::string variable_name = text.substr(0, equals);
        if (contains(other_variables(), variable_name)) continue;

        std::string name = variable_name.substr(6);
        for (char& c : name) c = c == '_' ? '-' : c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
        const Option* option = find_option(name);
        if (option == nullptr) {
            std::string near =
                nearest(name, contains(all_options(), name) ? std::vector<std::string>{} : all_options());
            for (char& c : near) c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
            check_usage(contains(all_options(), name), "unknown environment variable {}{}; unset it", variable_name,
                        near.empty() ? "" : fmt::format("; did you mean ULMPI_{}?", near));
            continue;  // meant for another command
        }
        const std::string value = equals < text.size() ? text.substr(equals + 1) : "";
        std::vector<std::string> words{value};
        if (option->several) {
            std::istringstream stream(value);
            words.assign(std::istream_iterator<std::string>(stream), std::istream_iterator<std::string>());
        }
        const bool fresh =
            found.try_emplace(option->name, Found{words, Origin::environment, "environment " + variable_name}).second;
        check_usage(fresh, "the environment gives --{} twice, once as {}", option->name, variable_name);
    }
    return found;
}

OptionTable::FoundByName OptionTable::read_file(const std::string& path) const {
    const std::string text = read_whole(path);
    const std::vector<po::option> options = options_in(text, path);
    const std::vector<std::size_t> lines = assignment_lines(text);
    check(lines.size() == options.size(), "{}: {} lines for {} options", path, lines.size(), options.size());

    std::vector<std::string> sections = all_sections();
    std::string mine = command_;
    std::replace(mine.begin(), mine.end(), ' ', '.');
    if (!contains(sections, mine)) sections.push_back(mine);

    FoundByName common, own;
    for (std::size_t i = 0; i < options.size(); ++i) {
        const std::string place = fmt::format("{}:{}", path, lines[i]);
        const std::string key = options[i].string_key;
        const std::string section = section_of(key), name = key.substr(section.empty() ? 0 : section.size() + 1);
        check_usage(section.empty() || contains(sections, section), "unknown section [{}] ({}){}", section, place,
                    suggestion(section, sections));
        const Option* option = name == "config" ? nullptr : find_option(name);
        const bool for_this = section.empty() || section == mine;
        if (option == nullptr || !for_this) {
            const bool elsewhere = section != mine && contains(all_options(), name) && name != "config";
            check_usage(elsewhere || (option != nullptr && !for_this), "unknown option {} ({}){}", name, place,
                        suggestion(name, section == mine ? names() : all_options()));
            continue;
        }
        FoundByName& found = section.empty() ? common : own;
        const bool fresh = found.try_emplace(option->name, Found{{}, Origin::file, place}).second;
        check_usage(fresh || option->several, "{} is given twice ({})", name, place);
        try {
            found.at(option->name).words.push_back(unquote_from_file(options[i].value.at(0)));
        } catch (const UsageError& error) {
            throw UsageError(fmt::format("{} ({}): {}", name, place, error.what()));
        }
    }
    own.insert(common.begin(), common.end());  // the command's own section wins
    return own;
}

}  // namespace ulmpi
