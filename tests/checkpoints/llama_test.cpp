// What a config.json may say. Oracle: what transformers 5.24 writes of a LlamaConfig.

#include "checkpoints/llama.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>

#include "base/error.hpp"
#include "model/stage.hpp"
#include "tests/checkpoints/sample_model.hpp"

namespace ulmpi {
namespace {

using nlohmann::json;

const json config = json::parse(R"({
    "architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 1,
    "dtype": "float32", "eos_token_id": 2, "head_dim": 8, "hidden_act": "silu", "hidden_size": 32,
    "initializer_range": 0.02, "intermediate_size": 48, "max_position_embeddings": 64, "mlp_bias": false,
    "model_type": "llama", "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 4,
    "pad_token_id": null, "pretraining_tp": 1, "rms_norm_eps": 1e-06,
    "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}, "tie_word_embeddings": true,
    "transformers_version": "5.24.0", "use_cache": true, "vocab_size": 330})");

json with(const char* key, const json& value) {
    json changed = config;
    changed[key] = value;
    return changed;
}

std::string refusal_of(const json& changed) {
    return message_of<UsageError>([&] { llama_model(changed); });
}

TEST(Llama, ConfigBecomesAModel) {
    const ModelConfig model = llama_model(config);
    EXPECT_EQ(model.layers, 2U);
    EXPECT_EQ(model.hidden, 32U);
    EXPECT_EQ(model.heads, 4U);
    EXPECT_EQ(model.ffn, 48U);
    EXPECT_EQ(model.context, 64U);
    EXPECT_EQ(model.vocabulary, 330U);
    EXPECT_EQ(model.norm_eps, 1e-6);
    EXPECT_TRUE(model.tied);
    EXPECT_FALSE(model.linear_bias);
    EXPECT_EQ(to_string(model.normalization) + to_string(model.activation) + to_string(model.position),
              "rmsnormswiglurotary");

    json old = config;  // as transformers 4 writes it, and what its class adds
    for (const char* key : {"rope_parameters", "head_dim", "tie_word_embeddings", "num_key_value_heads"})
        old.erase(key);
    old["rope_theta"] = 10000;
    old["rope_scaling"] = nullptr;
    EXPECT_FALSE(llama_model(old).tied);
    EXPECT_EQ(refusal_of(with("rope_scaling", {{"type", "default"}})), "");
}

TEST(Llama, WhatIsNotImplementedIsRefusedByName) {
    const std::vector<std::pair<const char*, json>> refused{
        {"architectures", {"MistralForCausalLM"}},
        {"architectures", {"LlamaForCausalLM", "LlamaModel"}},
        {"model_type", "mistral"},
        {"num_key_value_heads", 2},
        {"num_key_value_heads", "4"},
        {"head_dim", 16},
        {"hidden_act", "gelu"},
        {"attention_bias", true},
        {"attention_bias", "false"},
        {"mlp_bias", true},
        {"rope_theta", 500000.0},
        {"rope_scaling", {{"rope_type", "llama3"}, {"factor", 8.0}}},
        {"rope_scaling", {{"factor", 8.0}}},
        {"rope_scaling", "linear"},
        {"rope_parameters", {{"rope_type", "default"}, {"rope_theta", 500000.0}}},
        {"rope_parameters", {{"rope_type", "yarn"}, {"rope_theta", 10000.0}}},
        {"partial_rotary_factor", 0.5},
        {"hidden_size", 0},
        {"hidden_size", -32},
        {"hidden_size", 32.5},
        {"hidden_size", 1e300},
        {"intermediate_size", std::uint64_t{1} << 40},
        {"num_hidden_layers", 1000000000},
        {"vocab_size", "330"},
        {"max_position_embeddings", json::array()},
        {"rms_norm_eps", "small"},
        {"tie_word_embeddings", 1},
        {"quantization_config", {{"bits", 4}}},
        {"auto_map", json::object()},
    };
    for (const auto& [key, value] : refused) {
        const std::string refusal = refusal_of(with(key, value));
        EXPECT_NE(refusal.find(key), std::string::npos) << key << " " << value << ": " << refusal;
    }
    EXPECT_NE(refusal_of(with("num_attention_heads", 5)).find("--num-attention-heads 5"), std::string::npos);
    EXPECT_NE(refusal_of(with("rms_norm_eps", -1)).find("--norm-eps"), std::string::npos);
    for (const char* key : {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
                            "num_attention_heads", "max_position_embeddings"}) {
        json less = config;
        less.erase(key);
        EXPECT_NE(refusal_of(less).find(std::string("has no ") + key), std::string::npos) << refusal_of(less);
    }
    EXPECT_NE(refusal_of(json::array()).find("not an object"), std::string::npos);
    EXPECT_NE(refusal_of(json::object()).find("names no architectures"), std::string::npos);
}

// Oracle: what the model itself declares.
TEST(Llama, TensorsAreThoseOfTheModel) {
    for (bool tied : {false, true}) {
        const ModelConfig model = llama_model(with("tie_word_embeddings", tied));
        ParameterStore store;
        const Topology topology(Communicator::world(), {1, 1, 1});
        const Stage stage(model, std::nullopt, store, place_of(topology), topology.tensor);
        const std::vector<MappedTensor> tensors = llama_tensors(model);
        EXPECT_EQ(tensors.size(), store.parameters().size());
        for (const Parameter& p : store.parameters()) {
            const auto found = std::ranges::find(tensors, p.name, &MappedTensor::name);
            ASSERT_NE(found, tensors.end()) << p.name;
            EXPECT_EQ(found->shape, dims_of(p.global)) << p.name;
            EXPECT_EQ(found->shape[0] % found->sources.size(), 0U) << p.name;
        }
    }
}

}  // namespace
}  // namespace ulmpi
