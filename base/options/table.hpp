#pragma once
// The options of one command: the one door to Boost.Program_options.

#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/options/value.hpp"

namespace ulmpi {

/// Where a value came from; a later one wins over an earlier one.
enum class Origin { built_in, recipe, checkpoint, file, environment, command_line };

/// The sections of an INI file that hold something, with dots as they stand there. Throws UsageError.
std::vector<std::string> sections_of_file(const std::string& path);

/// Declares options bound to the caller's variables, reads them from every source, explains and records them.
///
/// Every option can stand on the command line (--train-steps 100, --train-steps=100; a switch alone is on), in the
/// environment (ULMPI_TRAIN_STEPS) or in the file of --config (INI: train-steps = 100 in the section of the command,
/// dots for spaces, [finetune.lm], or before the first section, for all commands). Anything unknown or malformed is a
/// UsageError that names the option, the nearest known one and where it stood.
class OptionTable {
public:
    /// `command` as it is typed ("finetune lm"); `summary` in a sentence or a few.
    OptionTable(std::string command, std::string summary);
    OptionTable(const OptionTable&) = delete;  // options refer to the caller's variables
    OptionTable& operator=(const OptionTable&) = delete;

    /// A line of the help that shows a real call, without "ulmpi" and the command.
    void example(std::string arguments) { examples_.push_back(std::move(arguments)); }
    /// Heading of the options that follow.
    void group(std::string title) { group_ = std::move(title); }

    /// Binds --name to `value`, whose present content is the default and which must outlive the table.
    /// T: bool, int, std::int64_t, std::uint64_t (std::size_t), double, std::string, std::vector<std::string> (takes
    /// several words) or a std::optional of those (not set: no default). A unit in capitals (FILE, DIR) stands for the
    /// value in the help; any other is named beside the default.
    template <class T>
    void add(std::string name, T& value, std::string help, std::string unit = "") {
        using Type = OptionType<T>;
        declare({.name = std::move(name),
                 .help = std::move(help),
                 .unit = std::move(unit),
                 .group = group_,
                 .placeholder = placeholder(typename Type::Word{}),
                 .several = Type::several,
                 .on_off = std::is_same_v<typename Type::Word, bool>,
                 .read = [&value](const std::vector<std::string>& words) { return Type::read(words, value); },
                 .write = [&value] { return Type::write(value); },
                 .json = [&value] { return Type::json(value); }});
    }

    void choices(const std::string& name, std::vector<std::string> allowed);  ///< nothing else is accepted
    void range(const std::string& name, double least, double most);           ///< both included
    void alias(std::string other, const std::string& name);                   ///< --other means --name
    void required(const std::string& name);                                   ///< must be given
    void positional(const std::string& name);  ///< words without a name go here; the first declared takes the first

    /// Reads `arguments` (what follows the command), the environment and the file of --config, if there is one.
    /// Returns false if help was asked for; it has been printed. Throws UsageError.
    bool parse(std::span<const std::string> arguments);

    /// The file of --config; empty: none.
    const std::string& config() const { return config_; }
    Origin origin(const std::string& name) const { return find(name).origin; }
    /// Whether the user gave it: in the command line, the environment or the file.
    bool given(const std::string& name) const { return origin(name) >= Origin::file; }
    /// After parse: a value from a checkpoint's stored configuration (as json() wrote it), or from a recipe, used where
    /// nothing was given.
    void set_default(const std::string& name, const nlohmann::json& value, Origin origin = Origin::checkpoint);
    /// All that another table of the same command holds: values, and where each came from.
    void take(const OptionTable& other);

    /// Throws UsageError "--name (where it stood): `problem`", for checks that concern several options or the outside.
    [[noreturn]] void refuse(const std::string& name, const std::string& problem) const;

    /// The resolved configuration as a file that runs the same job again by --config.
    std::string ini() const;
    /// Of it, what the user gave: a file that asks for the same where something else (a checkpoint) brings the rest.
    std::string given_ini() const;
    /// The resolved values under the options' names; null where nothing is set.
    nlohmann::json json() const;
    /// What --help prints.
    std::string help() const;

private:
    struct Option {
        std::string name, help, unit, group, placeholder;
        bool several = false, on_off = false;
        std::function<std::string(const std::vector<std::string>&)> read;
        std::function<std::vector<std::string>()> write;
        std::function<nlohmann::json()> json;
        std::vector<std::string> allowed = {};
        double least = -std::numeric_limits<double>::infinity(), most = std::numeric_limits<double>::infinity();
        bool required = false;
        Origin origin = Origin::built_in;
        std::string place = "default";  // in words
    };
    /// The words that one source gave for one option.
    struct Found {
        std::vector<std::string> words;
        Origin origin;
        std::string place;
    };
    using FoundByName = std::map<std::string, Found>;

    void declare(Option option);
    const Option* find_option(const std::string& name_or_alias) const;
    const Option& find(const std::string& name) const;
    Option& find(const std::string& name);
    std::vector<std::string> names() const;
    void assign(const std::string& name, const Found& found);
    std::string bounds(const Option& option) const;
    std::string ini_head(const std::string& what) const;
    std::vector<std::string> with_bare_switches(std::span<const std::string> arguments) const;

    FoundByName read_command_line(std::span<const std::string> arguments) const;
    FoundByName read_environment() const;
    FoundByName read_file(const std::string& path) const;

    std::string command_, summary_, group_ = "Options", config_;
    std::vector<std::string> examples_, positional_;
    std::vector<Option> options_;                 // in the order of declaration
    std::map<std::string, std::string> aliases_;  // alias -> name
};

}  // namespace ulmpi
