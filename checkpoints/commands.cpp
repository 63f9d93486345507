#include "checkpoints/commands.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cstdio>

#include "base/options/table.hpp"
#include "base/quoted.hpp"
#include "checkpoints/checkpoint.hpp"
#include "checkpoints/ensemble.hpp"
#include "checkpoints/format.hpp"
#include "checkpoints/run_folder.hpp"
#include "checkpoints/run_record.hpp"
#include "checkpoints/slim.hpp"
#include "checkpoints/transformers.hpp"
#include "parallel/command_table.hpp"
#include "parallel/run_main.hpp"

namespace ulmpi {
namespace {

using Json = nlohmann::ordered_json;

void declare_path(OptionTable& options, std::string& path, const std::string& which, const std::string& more = "") {
    options.add("model", path, "a checkpoint, or a run folder: " + which, "PATH");
    options.required("model");
    options.positional("model");
    options.example("runs/one" + more);
    options.example("runs/one/checkpoints/step-00001000.h5" + more);
}

void show(const std::string& path, bool tensors) {
    const std::filesystem::path file = resolve_checkpoint(path);
    const CheckpointInfo info = read_checkpoint_info(file);
    Json line{{"kind", "checkpoint"}, {"path", file.string()}};
    if (const auto step = step_as_stored(info.metadata)) line["step"] = *step;
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

// A file of weights alone.
void declare_slim_output(OptionTable& options, std::string& output, std::string& precision) {
    options.add("output", output, "the file to write", "FILE");
    options.required("output");
    options.add("precision", precision, "of the weights, rounded to the nearest");
    options.choices("precision", precision_names());
}

void check_new(const std::string& output) {
    check_usage(!std::filesystem::exists(output), "--output {} is there already; remove it or name another", output);
}

int slim_command(std::span<const std::string> arguments, const Communicator& world) {
    OptionTable options("checkpoint slim",
                        "Writes a checkpoint's weights alone, with its tokenizer and what it says of itself, into one "
                        "small file: to start from (--init-from), predict, evaluate and generate, not to go on from.");
    std::string path, output, precision = "fp16";
    declare_path(options, path, "its newest checkpoint", " --output model.h5");
    declare_slim_output(options, output, precision);
    if (!options.parse(arguments)) return 0;
    return on_first_rank(world, [&] {
        check_new(output);
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

int ensemble_command(std::span<const std::string> arguments, const Communicator& world) {
    OptionTable options(
        "checkpoint ensemble",
        "Writes classifiers of the same classes, head, shape and tokenizer into one file, which says of "
        "a text the geometric mean of their probabilities: predict and evaluate take it like any classifier, in "
        "the memory of one and the time of all.");
    std::vector<std::string> models;
    std::string output, precision = "fp16";
    options.add("models", models, "checkpoints, or run folders: their newest checkpoints", "RUN");
    options.required("models");
    options.positional("models");
    options.example("runs/seed-1 runs/seed-2 runs/seed-3 --output ensemble.h5");
    declare_slim_output(options, output, precision);
    if (!options.parse(arguments)) return 0;
    return on_first_rank(world, [&] {
        check_new(output);
        std::vector<std::filesystem::path> members;
        Json from = Json::array();
        for (const std::string& model : models) {
            members.push_back(resolve_checkpoint(model));
            from.push_back(members.back().string());
        }
        write_ensemble(members, {}, output, precision_from(precision));
        print_json(Json{{"kind", "ensemble"},
                        {"path", output},
                        {"from", from},
                        {"precision", precision},
                        {"bytes", std::filesystem::file_size(output)}});
        return 0;
    });
}

int import_command(std::span<const std::string> arguments, const Communicator& world) {
    OptionTable options("checkpoint import",
                        "Writes a language model of Hugging Face's transformers as a checkpoint of weights alone: to "
                        "start from (--init-from), evaluate and generate. The folder holds config.json "
                        "(LlamaForCausalLM without grouped heads, scaled rotary positions or biases), a byte-level "
                        "BPE tokenizer.json, and the weights as model.safetensors or as the files of its index.");
    std::string from, output;
    std::optional<std::string> precision;
    options.add("from", from, "the folder that save_pretrained wrote", "FOLDER");
    options.required("from");
    options.add("output", output, "the file to write", "FILE");
    options.required("output");
    options.add("precision", precision,
                "of the weights, rounded to the nearest; without it that of the folder's weights, or fp32 where they "
                "differ among themselves");
    options.choices("precision", precision_names());
    options.example("--from llama --output llama.h5");
    if (!options.parse(arguments)) return 0;
    return on_first_rank(world, [&] {
        check_new(output);
        std::optional<ElementType> asked;
        if (precision) asked = precision_from(*precision);
        const ElementType written = import_model(from, output, asked);
        print_json(Json{{"kind", "import"},
                        {"path", output},
                        {"from", from},
                        {"precision", precision_name(written)},
                        {"bytes", std::filesystem::file_size(output)}});
        return 0;
    });
}

int export_command(std::span<const std::string> arguments, const Communicator& world) {
    OptionTable options("checkpoint export",
                        "Writes a language model as a folder of Hugging Face's transformers (config.json, "
                        "tokenizer.json, model.safetensors), each weight in the precision that it has. The model is a "
                        "Llama: --normalization rmsnorm --activation swiglu --position-embedding rotary --linear-bias "
                        "off; others are refused by name.");
    std::string path, output;
    declare_path(options, path, "its newest checkpoint", " --output llama");
    options.add("output", output, "the folder to write", "FOLDER");
    options.required("output");
    if (!options.parse(arguments)) return 0;
    return on_first_rank(world, [&] {
        check_new(output);
        const std::filesystem::path from = resolve_checkpoint(path);
        export_model(from, output);
        print_json(Json{{"kind", "export"}, {"path", output}, {"from", from.string()}});
        return 0;
    });
}

}  // namespace

int checkpoint_command(std::span<const std::string> arguments, const Communicator& world) {
    static const std::vector<Command> table{
        {"show", "what it holds, as JSON", show_command},
        {"verify", "whether every byte is as it was written", verify_command},
        {"slim", "weights alone, in half precision", slim_command},
        {"ensemble", "several classifiers in one file, averaged", ensemble_command},
        {"import", "a model of Hugging Face's transformers as a checkpoint", import_command},
        {"export", "a checkpoint as a folder for Hugging Face's transformers", export_command},
    };
    return run_command("checkpoint", table, arguments, world);
}

}  // namespace ulmpi
