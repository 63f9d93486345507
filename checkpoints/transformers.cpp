#include "checkpoints/transformers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.hpp"
#include "base/files/publish.hpp"
#include "base/quoted.hpp"
#include "checkpoints/checkpoint.hpp"
#include "checkpoints/content.hpp"
#include "checkpoints/format.hpp"
#include "checkpoints/llama.hpp"
#include "checkpoints/run_record.hpp"
#include "checkpoints/safetensors.hpp"
#include "checkpoints/slim.hpp"
#include "data/tokenizer/tokenizer.hpp"

namespace ulmpi {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* config_file = "config.json";
constexpr const char* weights_file = "model.safetensors";
constexpr const char* index_file = "model.safetensors.index.json";
constexpr const char* tokenizer_file = "tokenizer.json";
constexpr std::uintmax_t largest_json = std::uintmax_t{1} << 28;

json read_json(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    check_usage(file.is_open() && fs::is_regular_file(path),
                "cannot open {}; --from needs a folder that transformers' save_pretrained wrote", quoted(path));
    check_usage(fs::file_size(path) <= largest_json, "{} has more than 256 MiB", quoted(path));
    try {
        return json::parse(file);
    } catch (const json::exception& error) {
        throw UsageError(quoted(path) + " is not valid JSON (" + json_problem(error) + ")");
    }
}

/// The weights of a folder, in one file or several.
class FolderWeights {
public:
    explicit FolderWeights(const fs::path& folder) : folder_(folder) {
        const bool one = fs::exists(folder / weights_file), several = fs::exists(folder / index_file);
        check_usage(!one || !several, "{} holds both {} and {}: remove the one that is not meant", quoted(folder),
                    weights_file, index_file);
        check_usage(one || several,
                    "{} holds no {}; models in other formats are written anew by transformers' "
                    "save_pretrained",
                    quoted(folder), weights_file);
        if (one)
            open(weights_file);
        else
            open_all_of_index();
    }

    const SafetensorsTensor* find(const std::string& name) const {
        const auto found = places_.find(name);
        return found == places_.end() ? nullptr : &found->second.tensor;
    }

    std::vector<float> read(const std::string& name) {
        const Place& place = places_.at(name);
        return files_[place.file].read(place.tensor);
    }

    std::set<std::string> names() const {
        std::set<std::string> names;
        for (const auto& [name, place] : places_) names.insert(name);
        return names;
    }

    /// That of all tensors; f32 if they differ.
    ElementType type() const {
        const ElementType first = places_.empty() ? ElementType::f32 : places_.begin()->second.tensor.type;
        const bool alike = std::ranges::all_of(places_, [&](const auto& p) { return p.second.tensor.type == first; });
        return alike ? first : ElementType::f32;
    }

private:
    struct Place {
        std::size_t file = 0;  // in files_
        SafetensorsTensor tensor;
    };

    void open(const std::string& name) {
        SafetensorsFile& file = files_.emplace_back(folder_ / name);
        for (const SafetensorsTensor& tensor : file.tensors())
            check_usage(places_.emplace(tensor.name, Place{files_.size() - 1, tensor}).second,
                        "{} is in two files of {}", shown_name(tensor.name), quoted(folder_));
    }

    // What the index says of each tensor must be so.
    void open_all_of_index() {
        const json index = read_json(folder_ / index_file);
        check_usage(index.is_object() && index.contains("weight_map") && index["weight_map"].is_object(),
                    "{} has no weight_map of tensors and files", quoted(folder_ / index_file));
        std::map<std::string, std::set<std::string>> tensors_of;
        for (const auto& [tensor, file] : index["weight_map"].items()) {
            const std::string name = file.is_string() ? file.get<std::string>() : "";
            check_usage(name.ends_with(".safetensors") && fs::path(name).filename() == name,
                        "{}: {} lies in {}, which is no .safetensors file of this folder", quoted(folder_ / index_file),
                        shown_name(tensor), shown_name(name));
            tensors_of[name].insert(tensor);
        }
        for (const auto& [name, tensors] : tensors_of) {
            open(name);
            std::set<std::string> found;
            for (const SafetensorsTensor& tensor : files_.back().tensors()) found.insert(tensor.name);
            std::vector<std::string> differing;
            std::ranges::set_symmetric_difference(found, tensors, std::back_inserter(differing));
            check_usage(differing.empty(), "{} and {} disagree on where {} lies", quoted(folder_ / name), index_file,
                        shown_name(differing.empty() ? "" : differing[0]));
        }
    }

    fs::path folder_;
    std::vector<SafetensorsFile> files_;
    std::map<std::string, Place> places_;
};

// Each source is there in its share of the shape, and nothing else is there.
void check_tensors(const FolderWeights& weights, const std::vector<MappedTensor>& wanted, const fs::path& folder) {
    std::set<std::string> left = weights.names();
    for (const MappedTensor& tensor : wanted) {
        Dims shape = tensor.shape;
        shape[0] /= tensor.sources.size();
        for (const std::string& source : tensor.sources) {
            const SafetensorsTensor* found = weights.find(source);
            check_usage(found != nullptr, "{} lacks the tensor {} of the model that its {} describes", quoted(folder),
                        source, config_file);
            check_usage(found->shape == shape, "{}: {} has the shape {}, its {} asks for {}", quoted(folder), source,
                        shown_shape(found->shape), config_file, shown_shape(shape));
            left.erase(source);
        }
    }
    check_usage(left.empty(), "{} has a tensor {} that the model of its {} lacks", quoted(folder),
                left.empty() ? "" : shown_name(*left.begin()), config_file);
}

std::vector<float> stacked(FolderWeights& weights, const MappedTensor& tensor) {
    std::vector<float> all;
    for (const std::string& source : tensor.sources) {
        const std::vector<float> part = weights.read(source);
        const auto bad = std::ranges::find_if_not(part, [](float x) { return std::isfinite(x); });
        check_usage(bad == part.end(), "{} holds {} (element {}): the model is of no use", source,
                    bad == part.end() ? 0 : *bad, bad - part.begin());
        all.insert(all.end(), part.begin(), part.end());
    }
    return all;
}

// The tensors of a checkpoint are those of the model.
void check_tensors(const CheckpointInfo& info, const std::vector<MappedTensor>& wanted, const fs::path& path) {
    std::map<std::string, Dims> found;
    for (const TensorInfo& tensor : info.tensors) found[tensor.name] = tensor.shape;
    bool same = found.size() == wanted.size();
    for (const MappedTensor& tensor : wanted)
        same = same && found.contains(tensor.name) && found[tensor.name] == tensor.shape;
    check_usage(same, "{} holds other tensors than its model has", quoted(path));
}

void write_weights_of(const CheckpointInfo& info, const CheckpointContent& content,
                      const std::vector<MappedTensor>& tensors, const fs::path& to) {
    struct Part {
        std::string dataset;
        Dims start, count;
    };
    std::vector<SafetensorsTensor> theirs;
    std::vector<Part> ours;
    for (const MappedTensor& tensor : tensors) {
        const auto stored = std::ranges::find(info.tensors, tensor.name, &TensorInfo::name);
        Part part{dataset_name(ulmpi::Part::weight, tensor.name), Dims(tensor.shape.size(), 0), tensor.shape};
        part.count[0] /= tensor.sources.size();
        for (const std::string& source : tensor.sources) {
            theirs.push_back({source, stored->type, part.count});
            ours.push_back(part);
            part.start[0] += part.count[0];
        }
    }
    write_safetensors(to, theirs, [&](std::size_t i) {
        const Hdf5Dataset dataset = content.file().dataset(ours[i].dataset);
        std::uint64_t elements = 1;
        for (std::uint64_t extent : ours[i].count) elements *= extent;
        std::vector<float> values(elements);
        dataset.read(ours[i].start, ours[i].count, std::span<float>(values));
        return values;
    });
}

const char* torch_name(ElementType type) {
    return type == ElementType::f16 ? "float16" : type == ElementType::bf16 ? "bfloat16" : "float32";
}

}  // namespace

ElementType import_model(const fs::path& folder, const fs::path& to, std::optional<ElementType> precision) {
    check_usage(fs::is_directory(folder), "{} is no folder; --from needs one that transformers' save_pretrained wrote",
                quoted(folder));
    const json config = read_json(folder / config_file);
    ModelConfig model = llama_model(config);
    const Tokenizer tokenizer = Tokenizer::load(folder);
    check_usage(tokenizer.vocabulary_size() == model.vocabulary,
                "{}: vocab_size of {} is {}, its tokenizer has {} tokens; bring them together by "
                "transformers' resize_token_embeddings",
                quoted(folder), config_file, model.vocabulary, tokenizer.vocabulary_size());
    model.end_of_text = tokenizer.end_of_text();
    FolderWeights weights(folder);
    const std::vector<MappedTensor> tensors = llama_tensors(model);
    check_tensors(weights, tensors, folder);

    std::vector<WeightSource> sources;
    for (const MappedTensor& tensor : tensors)
        sources.push_back({tensor.name, tensor.shape, [&] { return stacked(weights, tensor); }});
    const ElementType chosen = precision.value_or(weights.type());
    const RunRecord record{
        .kind = language_model_kind, .model = model, .tokenizer_fingerprint = tokenizer.fingerprint()};
    write_weights(to, as_imported(to_json(record), folder.string(), "llama"), tokenizer.to_json(), {}, sources, chosen);
    return chosen;
}

void export_model(const fs::path& checkpoint, const fs::path& to) {
    const CheckpointInfo info = read_checkpoint_info(checkpoint);
    const RunRecord record = record_of(checkpoint, info);
    check_usage(record.kind == language_model_kind && record.model,
                "{} holds {}, and only a language model is exported", quoted(checkpoint),
                record.kind.empty() ? "a model that does not say what it is" : "a " + record.kind);
    const ModelConfig& model = *record.model;
    check_usage(model.architecture == Architecture::decoder,
                "{} holds a model of the architecture {}, for which transformers has none", quoted(checkpoint),
                to_string(model.architecture));
    const Tokenizer tokenizer = Tokenizer::from_json(info.tokenizer_json, checkpoint.string());
    const std::string end_of_text(Tokenizer::end_of_text_piece);
    json config = llama_config(model);
    config["bos_token_id"] = config["eos_token_id"] = tokenizer.end_of_text();
    config["pad_token_id"] = nullptr;
    const std::vector<MappedTensor> tensors = llama_tensors(model);
    check_tensors(info, tensors, checkpoint);
    config["dtype"] = config["torch_dtype"] = torch_name(info.tensors.front().type);
    const json tokenizer_config{{"tokenizer_class", "PreTrainedTokenizerFast"},
                                {"bos_token", end_of_text},
                                {"eos_token", end_of_text},
                                {"clean_up_tokenization_spaces", false},
                                {"model_max_length", model.context}};

    if (model.mask_documents)
        fmt::print(stderr,
                   "note: the model was trained with --mask-documents on; in transformers attention crosses an "
                   "end of text, so give it one document at a time\n");

    const fs::path folder = to.has_filename() ? to : to.parent_path();
    remove_stale_temporaries(folder);
    const fs::path temporary = temporary_name(folder);
    std::error_code failure;
    try {
        fs::create_directory(temporary, failure);
        check_usage(!failure, "cannot create {}: {}", quoted(temporary), failure.message());
        write_file(temporary / config_file, config.dump(2) + "\n");
        write_file(temporary / tokenizer_file, tokenizer.to_json());
        write_file(temporary / "tokenizer_config.json", tokenizer_config.dump(2) + "\n");
        write_weights_of(info, CheckpointContent(checkpoint), tensors, temporary / weights_file);
        publish(temporary, folder);
    } catch (...) {
        fs::remove_all(temporary, failure);
        throw;
    }
}

}  // namespace ulmpi
