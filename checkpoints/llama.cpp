#include "checkpoints/llama.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <set>

#include "base/error.hpp"
#include "checkpoints/safetensors.hpp"

namespace ulmpi {
namespace {

using nlohmann::json;

constexpr double rotary_base = 10000;  // model/kernels/rotary.hpp
constexpr std::size_t largest_size = std::size_t{1} << 31, most_layers = std::size_t{1} << 16;

// Keys of a config.json that change nothing of what a Llama computes without training.
const std::set<std::string> inert{"_attn_implementation",
                                  "_attn_implementation_autoset",
                                  "_name_or_path",
                                  "attn_implementation",
                                  "bos_token_id",
                                  "chunk_size_feed_forward",
                                  "dtype",
                                  "eos_token_id",
                                  "id2label",
                                  "initializer_range",
                                  "is_llama_config",
                                  "label2id",
                                  "output_attentions",
                                  "output_hidden_states",
                                  "pad_token_id",
                                  "pretraining_tp",
                                  "problem_type",
                                  "return_dict",
                                  "torch_dtype",
                                  "transformers_version",
                                  "use_cache"};

// Reads a JSON object key by key; what nobody asked for is refused at the end. null stands for a missing value.
class Reader {
public:
    Reader(const json& object, std::string place) : object_(object), place_(std::move(place)) {
        check_usage(object.is_object(), "{} is not an object of keys and values", place_);
    }

    const json* find(const std::string& key) {
        asked_.insert(key);
        const auto found = object_.find(key);
        return found == object_.end() || found->is_null() ? nullptr : &*found;
    }

    [[noreturn]] void refuse(const std::string& key, const std::string& why) const {
        throw UsageError(fmt::format("{}: {} is {}, and {}", place_, key,
                                     object_.at(key).dump(-1, ' ', true, json::error_handler_t::replace).substr(0, 100),
                                     why));
    }

    std::size_t size(const std::string& key, std::size_t most = largest_size) {
        const json* value = find(key);
        check_usage(value != nullptr, "{} has no {}", place_, key);
        if (!value->is_number_integer() || *value < 1 || *value > most)
            refuse(key, fmt::format("a whole number from 1 to {} is needed", most));
        return value->get<std::size_t>();
    }

    double number(const std::string& key, double missing) {
        const json* value = find(key);
        if (value == nullptr) return missing;
        if (!value->is_number() || !std::isfinite(value->get<double>())) refuse(key, "a number is needed");
        return value->get<double>();
    }

    bool flag(const std::string& key) {
        const json* value = find(key);
        if (value != nullptr && !value->is_boolean()) refuse(key, "true or false is needed");
        return value != nullptr && value->get<bool>();
    }

    /// Missing, or nothing but `only`.
    void expect(const std::string& key, const json& only) {
        const json* value = find(key);
        if (value != nullptr && *value != only) refuse(key, "only " + only.dump() + " is implemented");
    }

    void expect_no_more(const std::set<std::string>& ignored = {}) const {
        for (const auto& [key, value] : object_.items())
            check_usage(value.is_null() || asked_.contains(key) || ignored.contains(key),
                        "{} has a key {}, which is not known here and might change the model; if it does "
                        "not, remove it from the file",
                        place_, shown_name(key));
    }

private:
    const json& object_;
    std::string place_;
    std::set<std::string> asked_;
};

// Transformers 4 has rope_theta and rope_scaling, 5 has rope_parameters.
void check_rotary(Reader& config) {
    config.expect("rope_theta", rotary_base);
    config.expect("partial_rotary_factor", 1.0);
    for (const char* key : {"rope_scaling", "rope_parameters"}) {
        const json* value = config.find(key);
        if (value == nullptr) continue;
        Reader rope(*value, std::string("config.json, ") + key);
        rope.expect("rope_type", "default");
        rope.expect("type", "default");
        rope.expect("rope_theta", rotary_base);
        rope.expect("partial_rotary_factor", 1.0);
        rope.expect_no_more();
    }
}

}  // namespace

ModelConfig llama_model(const json& config) {
    Reader reader(config, "config.json");
    check_usage(reader.find("architectures") != nullptr || reader.find("model_type") != nullptr,
                "config.json names no architectures: it is not one of transformers' models");
    reader.expect("architectures", json::array({"LlamaForCausalLM"}));
    reader.expect("model_type", "llama");

    ModelConfig model;
    model.normalization = Normalization::rmsnorm;
    model.activation = Activation::swiglu;
    model.position = PositionEmbedding::rotary;
    model.linear_bias = false;
    model.layers = reader.size("num_hidden_layers", most_layers);
    model.hidden = reader.size("hidden_size");
    model.heads = reader.size("num_attention_heads");
    model.ffn = reader.size("intermediate_size");
    model.context = reader.size("max_position_embeddings");
    model.vocabulary = reader.size("vocab_size");
    model.norm_eps = reader.number("rms_norm_eps", 1e-6);
    model.attention_dropout = reader.number("attention_dropout", 0);
    model.tied = reader.flag("tie_word_embeddings");
    check_model(model);
    if (const json* groups = reader.find("num_key_value_heads"); groups != nullptr && *groups != model.heads)
        reader.refuse("num_key_value_heads", fmt::format("attention with fewer heads of keys and values than the {} of "
                                                         "num_attention_heads is not implemented",
                                                         model.heads));
    if (const json* head = reader.find("head_dim"); head != nullptr && *head != model.head_size())
        reader.refuse("head_dim",
                      fmt::format("only hidden_size / num_attention_heads, {}, is implemented", model.head_size()));
    reader.expect("hidden_act", "silu");
    reader.expect("attention_bias", false);
    reader.expect("mlp_bias", false);
    check_rotary(reader);
    reader.expect_no_more(inert);
    return model;
}

json llama_config(const ModelConfig& model) {
    const auto expect = [](const char* option, const std::string& value, const std::string& wanted) {
        check_usage(value == wanted, "the model was made with {} {}: a Llama of transformers needs {}", option, value,
                    wanted);
    };
    expect("--normalization", to_string(model.normalization), to_string(Normalization::rmsnorm));
    expect("--activation", to_string(model.activation), to_string(Activation::swiglu));
    expect("--position-embedding", to_string(model.position), to_string(PositionEmbedding::rotary));
    expect("--linear-bias", model.linear_bias ? "on" : "off", "off");
    expect("--layer-preprocess", model.preprocess, "n");
    expect("--num-query-groups", fmt::format("{}", model.query_groups), "0");
    check_usage(model.postprocess.find('a') != std::string::npos && !model.normalises_after(),
                "the model was made with --layer-postprocess {}: a Llama of transformers needs da", model.postprocess);
    return {{"architectures", {"LlamaForCausalLM"}},
            {"model_type", "llama"},
            {"hidden_size", model.hidden},
            {"intermediate_size", model.ffn_size()},
            {"num_hidden_layers", model.layers},
            {"num_attention_heads", model.heads},
            {"num_key_value_heads", model.heads},
            {"head_dim", model.head_size()},
            {"max_position_embeddings", model.context},
            {"vocab_size", model.vocabulary},
            {"rms_norm_eps", model.norm_eps},
            {"rope_theta", rotary_base},  // transformers 4 reads this, 5 both
            {"rope_parameters", {{"rope_type", "default"}, {"rope_theta", rotary_base}}},
            {"hidden_act", "silu"},
            {"attention_bias", false},
            {"mlp_bias", false},
            {"attention_dropout", model.attention_dropout},
            {"tie_word_embeddings", model.tied},
            {"use_cache", true}};
}

std::vector<MappedTensor> llama_tensors(const ModelConfig& model) {
    const std::uint64_t d = model.hidden, f = model.ffn_size(), v = model.vocabulary;
    std::vector<MappedTensor> tensors{{"token_embedding", {v, d}, {"model.embed_tokens.weight"}}};
    for (std::size_t layer = 0; layer < model.layers; ++layer) {
        const std::string ours = fmt::format("block.{}.", layer), theirs = fmt::format("model.layers.{}.", layer);
        const auto add = [&](const std::string& name, Dims shape, std::initializer_list<const char*> sources) {
            MappedTensor& tensor = tensors.emplace_back(MappedTensor{ours + name + ".weight", std::move(shape), {}});
            for (const char* source : sources) tensor.sources.push_back(theirs + source + ".weight");
        };
        add("norm1", {d}, {"input_layernorm"});
        add("attention.qkv", {3 * d, d}, {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"});
        add("attention.out", {d, d}, {"self_attn.o_proj"});
        add("norm2", {d}, {"post_attention_layernorm"});
        add("ffn.up", {f, d}, {"mlp.up_proj"});
        add("ffn.gate", {f, d}, {"mlp.gate_proj"});
        add("ffn.down", {d, f}, {"mlp.down_proj"});
    }
    tensors.push_back({"final_norm.weight", {d}, {"model.norm.weight"}});
    if (!model.tied) tensors.push_back({"output.weight", {v, d}, {"lm_head.weight"}});
    return tensors;
}

}  // namespace ulmpi
