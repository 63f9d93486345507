#include "checkpoints/commands.hpp"

#include <fmt/format.h>

#include <cstdio>

#include "checkpoints/checkpoint.hpp"
#include "checkpoints/format.hpp"
#include "checkpoints/run_folder.hpp"
#include "checkpoints/slim.hpp"
#include "data/quoted.hpp"
#include "parallel/command_table.hpp"
#include "parallel/option_table.hpp"
#include "parallel/run_main.hpp"

namespace ulmpi {
namespace {

using Json = nlohmann::ordered_json;

// Paths may hold bytes that are no UTF-8.
void print_json(const Json& line) { print_line(line.dump(-1, ' ', false, Json::error_handler_t::replace)); }

void declare_path(OptionTable& options, std::string& path, const std::string& which) {
    options.add("model", path, "a checkpoint, or a run folder: " + which, "PATH");
    options.required("model");
    options.positional("model");
    options.example("runs/one");
    options.example("runs/one/checkpoints/step-00001000.h5");
}

void show(const std::string& path, bool tensors) {
    const std::filesystem::path file = resolve_checkpoint(path);
    const CheckpointInfo info = read_checkpoint_info(file);
    Json line{{"kind", "checkpoint"}, {"path", file.string()}};
    if (const auto progress = info.metadata.find("progress"); progress != info.metadata.end() && progress->is_object())
        line["step"] = progress->value("step", nlohmann::json());
    line["parameters"] = info.parameters();
    line["tensors"] = info.tensors.size();
    line["precision"] = info.tensors.empty() ? "" : precision_name(info.tensors.front().type);
    line["moments"] = info.has_moments;
    if (info.is_averaged) line["averaged"] = true;
    line["bytes"] = info.bytes;
    line["tokenizer_bytes"] = info.tokenizer_json.size();
    if (!info.wide.empty()) line["wide_bytes"] = info.wide.bytes();
    line["format_version"] = info.format_version;
    line["code_version"] = info.code_version;
    if (info.metadata.is_object())
        for (const auto& [name, value] : info.metadata.items())
            if (!line.contains(name)) line[name] = value;
    print_json(line);
    if (!tensors) return;
    for (const TensorInfo& tensor : info.tensors)
        print_json(Json{{"kind", "tensor"},
                        {"name", tensor.name},
                        {"shape", tensor.shape},
                        {"elements", tensor.elements()},
                        {"precision", precision_name(tensor.type)},
                        {"crc32", fmt::format("{:08x}", tensor.crc32)}});
}

// A line for each checkpoint; what is wrong also goes to standard error.
int verify(const std::string& path) {
    int status = 0;
    for (const std::filesystem::path& file : resolve_checkpoints(path)) {
        Json line{{"kind", "verify"}, {"path", file.string()}};
        try {
            verify_checkpoint(file);
            line["ok"] = true;
        } catch (const UsageError& damage) {
            status = 1;
            line["ok"] = false;
            line["problem"] = damage.what();
            std::fprintf(stderr, "ulmpi: %s\n", damage.what());
        }
        print_json(line);
    }
    return status;
}

// Rank 0 works; the others share its end.
template <class Body>
int on_first_rank(const Communicator& world, Body body) {
    const int status = together(world, [&] { return world.rank() == 0 ? body() : 0; });
    return broadcast_value(status, world, 0);
}

int show_command(std::span<const std::string> arguments, const Communicator& world) {
    OptionTable options("checkpoint show", "Prints what a checkpoint holds as a line of JSON, after verifying it.");
    std::string path;
    bool tensors = false;
    declare_path(options, path, "its newest checkpoint");
    options.add("tensors", tensors, "also a line for every tensor: name, shape, checksum");
    if (!options.parse(arguments)) return 0;
    return on_first_rank(world, [&] {
        show(path, tensors);
        return 0;
    });
}

int verify_command(std::span<const std::string> arguments, const Communicator& world) {
    OptionTable options("checkpoint verify",
                        "Checks every byte against the checksums and prints a line of JSON for each checkpoint. "
                        "Exit status 0 if all are whole, 1 if one is not.");
    std::string path;
    declare_path(options, path, "all its checkpoints");
    if (!options.parse(arguments)) return 0;
    return on_first_rank(world, [&] { return verify(path); });
}

int slim_command(std::span<const std::string> arguments, const Communicator& world) {
    OptionTable options("checkpoint slim",
                        "Writes a checkpoint's weights alone, with its tokenizer and what it says of itself, into one "
                        "small file: to start from (--init-from), predict, evaluate and generate, not to go on from.");
    std::string path, output, precision = "fp16";
    declare_path(options, path, "its newest checkpoint");
    options.add("output", output, "the file to write", "FILE");
    options.required("output");
    options.add("precision", precision, "of the weights, rounded to the nearest");
    options.choices("precision", precision_names());
    if (!options.parse(arguments)) return 0;
    return on_first_rank(world, [&] {
        check_usage(!std::filesystem::exists(output),
                    fmt::format("--output {} is there already; remove it or name another", output));
        const std::filesystem::path from = resolve_checkpoint(path);
        write_slim_checkpoint(from, output, precision_from(precision));
        print_json(Json{{"kind", "slim"},
                        {"path", output},
                        {"from", from.string()},
                        {"precision", precision},
                        {"bytes", std::filesystem::file_size(output)}});
        return 0;
    });
}

}  // namespace

int checkpoint_command(std::span<const std::string> arguments, const Communicator& world) {
    static const std::vector<Command> table{
        {"show", "what it holds, as JSON", show_command},
        {"verify", "whether every byte is as it was written", verify_command},
        {"slim", "weights alone, in half precision", slim_command},
    };
    return run_command("checkpoint", table, arguments, world);
}

}  // namespace ulmpi
