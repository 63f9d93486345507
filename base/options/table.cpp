#include "base/options/table.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cassert>
#include <cstdio>

#include "base/error.hpp"

namespace ulmpi {

OptionTable::OptionTable(std::string command, std::string summary)
    : command_(std::move(command)), summary_(std::move(summary)) {
    add("config", config_, "Options from an INI file: what stands before the first section and in this command's.",
        "FILE");
}

void OptionTable::declare(Option option) {
    assert(find_option(option.name) == nullptr && "an option is declared once");
    const bool capitals =
        std::none_of(option.unit.begin(), option.unit.end(), [](char c) { return c >= 'a' && c <= 'z'; });
    if (capitals && !option.unit.empty()) option.placeholder = std::exchange(option.unit, "");
    options_.push_back(std::move(option));
}

const OptionTable::Option* OptionTable::find_option(const std::string& name_or_alias) const {
    const auto alias = aliases_.find(name_or_alias);
    const std::string& name = alias == aliases_.end() ? name_or_alias : alias->second;
    const auto at = std::find_if(options_.begin(), options_.end(), [&](const Option& o) { return o.name == name; });
    return at == options_.end() ? nullptr : &*at;
}

const OptionTable::Option& OptionTable::find(const std::string& name) const {
    const Option* option = find_option(name);
    check(option != nullptr, "the command {} declares no option --{}", command_, name);
    return *option;
}

OptionTable::Option& OptionTable::find(const std::string& name) {
    return const_cast<Option&>(std::as_const(*this).find(name));
}

std::vector<std::string> OptionTable::names() const {
    std::vector<std::string> all{"help", "list-options"};
    for (const Option& option : options_) all.push_back(option.name);
    for (const auto& [alias, name] : aliases_) all.push_back(alias);
    return all;
}

void OptionTable::choices(const std::string& name, std::vector<std::string> allowed) {
    find(name).allowed = std::move(allowed);
}

void OptionTable::range(const std::string& name, double least, double most) {
    find(name).least = least;
    find(name).most = most;
}

void OptionTable::alias(std::string other, const std::string& name) { aliases_[std::move(other)] = find(name).name; }

void OptionTable::required(const std::string& name) { find(name).required = true; }

void OptionTable::positional(const std::string& name) { positional_.push_back(find(name).name); }

void OptionTable::refuse(const std::string& name, const std::string& problem) const {
    const Option& option = find(name);
    throw UsageError(fmt::format("--{} ({}): {}", option.name, option.place, problem));
}

std::string OptionTable::bounds(const Option& option) const {
    if (option.most == std::numeric_limits<double>::infinity()) return fmt::format("at least {}", option.least);
    if (option.least == -std::numeric_limits<double>::infinity()) return fmt::format("at most {}", option.most);
    return fmt::format("between {} and {}", option.least, option.most);
}

void OptionTable::assign(const std::string& name, const Found& found) {
    Option& option = find(name);
    option.origin = found.origin;
    option.place = found.place;
    const std::string problem = option.read(found.words);
    if (!problem.empty()) refuse(name, fmt::format("\"{}\" {}", found.words.at(0), problem));
    for (const std::string& word : found.words) {
        if (option.required && word.empty()) refuse(name, "is empty");
        if (!option.allowed.empty() &&
            std::find(option.allowed.begin(), option.allowed.end(), word) == option.allowed.end())
            refuse(name, fmt::format("\"{}\" is not one of {}{}", word, fmt::join(option.allowed, ", "),
                                     suggestion(word, option.allowed)));
        double number = 0;
        if (read_value(word, number).empty() && (number < option.least || number > option.most))
            refuse(name, fmt::format("{} must be {}", word, bounds(option)));
    }
}

bool OptionTable::parse(std::span<const std::string> arguments) {
    for (const std::string& argument : arguments) {
        if (argument == "--") break;
        if (argument == "--help" || argument == "-h") {
            std::fputs(help().c_str(), stdout);
            return false;
        }
        if (argument == "--list-options") {
            for (const std::string& name : names()) std::printf("%s\n", name.c_str());
            return false;
        }
    }
    const FoundByName command_line = read_command_line(arguments);
    const FoundByName environment = read_environment();
    for (const FoundByName* source : {&environment, &command_line})
        if (const auto found = source->find("config"); found != source->end()) assign("config", found->second);
    const FoundByName file = config_.empty() ? FoundByName{} : read_file(config_);

    FoundByName resolved = command_line;
    resolved.insert(environment.begin(), environment.end());  // insert keeps what is already there
    resolved.insert(file.begin(), file.end());
    for (const auto& [name, found] : resolved) assign(name, found);

    for (const Option& option : options_)
        if (option.required && option.origin == Origin::built_in)
            throw UsageError(fmt::format("ulmpi {} needs --{} {} ({}); see ulmpi {} --help", command_, option.name,
                                         option.placeholder, option.help, command_));
    return true;
}

void OptionTable::set_default(const std::string& name, const nlohmann::json& value, Origin origin) {
    const Option& option = find(name);
    const std::vector<std::string> words = words_of(value);
    if (option.origin >= Origin::file || words.empty()) return;
    assign(option.name, {words, origin, origin == Origin::recipe ? "by the recipe" : "stored in the checkpoint"});
}

void OptionTable::take(const OptionTable& other) {
    for (Option& option : options_) {
        const Option& taken = other.find(option.name);
        const std::vector<std::string> words = taken.write();
        if (!words.empty() || option.several) option.read(words);
        option.origin = taken.origin;
        option.place = taken.place;
    }
}

std::string OptionTable::ini_head(const std::string& what) const {
    std::string section = command_;
    std::replace(section.begin(), section.end(), ' ', '.');
    return fmt::format("# ulmpi {} {}: {}; ulmpi {} --config THIS runs it.\n[{}]\n", ULMPI_VERSION, command_, what,
                       command_, section);
}

std::string OptionTable::given_ini() const {
    std::string text = ini_head("what was asked for");
    for (const Option& option : options_)
        if (option.name != "config" && given(option.name))
            for (const std::string& word : option.write())
                text += fmt::format("{} ={}{}\n", option.name, word.empty() ? "" : " ", quote_for_file(word));
    return text;
}

std::string OptionTable::ini() const {
    std::string text = ini_head("the resolved configuration");
    std::string group = group_;
    for (const Option& option : options_) {
        if (option.name == "config") continue;
        if (option.group != std::exchange(group, option.group)) text += fmt::format("\n# {}\n", option.group);
        const std::vector<std::string> words = option.write();
        if (words.empty()) text += fmt::format("# {} is not set\n", option.name);
        for (const std::string& word : words)
            text += fmt::format("{} ={}{}\n", option.name, word.empty() ? "" : " ", quote_for_file(word));
    }
    return text;
}

nlohmann::json OptionTable::json() const {
    nlohmann::json values = nlohmann::json::object();
    for (const Option& option : options_)
        if (option.name != "config") values[option.name] = option.json();
    return values;
}

}  // namespace ulmpi
