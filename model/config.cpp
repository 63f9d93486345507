#include "model/config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.hpp"

namespace ulmpi {
namespace {

template <typename Enum, std::size_t n>
std::string name_of(Enum value, const std::array<std::pair<Enum, const char*>, n>& names) {
    for (const auto& [candidate, name] : names)
        if (candidate == value) return name;
    throw Error("an option holds a value without a name");
}

template <typename Enum, std::size_t n>
Enum value_of(const std::string& name, const char* option, const std::array<std::pair<Enum, const char*>, n>& names) {
    std::string known;
    for (const auto& [value, candidate] : names) {
        if (candidate == name) return value;
        known += (known.empty() ? "" : ", ") + std::string(candidate);
    }
    throw UsageError(fmt::format("{} {} is unknown: choose one of {}", option, name, known));
}

constexpr std::array<std::pair<Architecture, const char*>, 3> architectures{
    {{Architecture::decoder, "decoder"},
     {Architecture::awd_lstm, "awd-lstm"},
     {Architecture::encoder_decoder, "encoder-decoder"}}};
constexpr std::array<std::pair<Normalization, const char*>, 2> normalizations{
    {{Normalization::layernorm, "layernorm"}, {Normalization::rmsnorm, "rmsnorm"}}};
constexpr std::array<std::pair<Activation, const char*>, 3> activations{
    {{Activation::gelu, "gelu"}, {Activation::relu, "relu"}, {Activation::swiglu, "swiglu"}}};
constexpr std::array<std::pair<PositionEmbedding, const char*>, 4> positions{
    {{PositionEmbedding::learned, "learned"},
     {PositionEmbedding::sinusoidal, "sinusoidal"},
     {PositionEmbedding::rotary, "rotary"},
     {PositionEmbedding::none, "none"}}};

void check_wiring(const std::string& option, const std::string& wiring, const std::string& allowed) {
    if (wiring == "none") return;
    for (std::size_t i = 0; i < wiring.size(); ++i) {
        check_usage(allowed.find(wiring[i]) != std::string::npos,
                    "{} {} has the letter '{}': use letters of \"{}\" (n normalise, d dropout, a add), or none", option,
                    wiring, wiring[i], allowed);
        check_usage(wiring.find(wiring[i], i + 1) == std::string::npos, "{} {} repeats the letter '{}'", option, wiring,
                    wiring[i]);
    }
}

void check_dropout(const char* option, double probability) {
    check_usage(probability >= 0 && probability < 1, "{} {} is outside [0, 1)", option, probability);
}

}  // namespace

std::size_t ModelConfig::ffn_size() const {
    if (ffn > 0) return ffn;
    return activation == Activation::swiglu ? (8 * hidden / 3 + 7) / 8 * 8 : 4 * hidden;
}

double residual_deviation(const ModelConfig& c) {
    return c.zero_residual_init ? 0 : 0.02 / std::sqrt(2.0 * static_cast<double>(c.layers));
}

double training_flops(const ModelConfig& c, std::uint64_t parameters) {
    if (c.recurrent()) return 6 * static_cast<double>(parameters);
    const std::size_t positions = c.position == PositionEmbedding::learned ? c.context * c.hidden : 0;
    return 6 * static_cast<double>(parameters - positions) + 12 * static_cast<double>(c.layers * c.hidden * c.context);
}

// Lookups of tokens and positions are no products; of the products a text's tokens take two operations a weight, and
// attention two of 2 x hidden a pair of positions.
double forward_flops(const ModelConfig& c, std::uint64_t parameters, std::size_t length) {
    const std::size_t positions = c.position == PositionEmbedding::learned ? c.context * c.hidden : 0;
    const auto n = static_cast<double>(length);
    if (c.recurrent()) return 2 * static_cast<double>(parameters - c.vocabulary * c.width()) * n;
    return 2 * static_cast<double>(parameters - positions - c.vocabulary * c.hidden) * n +
           4 * static_cast<double>(c.layers * c.hidden) * n * (n + 1) / 2;
}

std::uint32_t dropout_place_of_block(std::size_t block) { return static_cast<std::uint32_t>(1 + 3 * block); }
std::uint32_t dropout_place_after(const ModelConfig& c) { return dropout_place_of_block(c.layers); }

std::string to_string(Architecture value) { return name_of(value, architectures); }
std::string to_string(Normalization value) { return name_of(value, normalizations); }
std::string to_string(Activation value) { return name_of(value, activations); }
std::string to_string(PositionEmbedding value) { return name_of(value, positions); }
Architecture architecture_from(const std::string& name) { return value_of(name, "--architecture", architectures); }
Normalization normalization_from(const std::string& name) { return value_of(name, "--normalization", normalizations); }
Activation activation_from(const std::string& name) { return value_of(name, "--activation", activations); }
PositionEmbedding position_embedding_from(const std::string& name) {
    return value_of(name, "--position-embedding", positions);
}

namespace {

void check_decoder(const ModelConfig& c) {
    check_usage(c.heads >= 1, "--num-attention-heads must be at least 1");
    check_usage(c.hidden % c.heads == 0, "--num-attention-heads {} does not divide --hidden-size {}", c.heads,
                c.hidden);
    check_usage(c.heads % c.key_heads() == 0, "--num-query-groups {} does not divide --num-attention-heads {}",
                c.query_groups, c.heads);
    check_usage(c.position != PositionEmbedding::rotary || c.head_size() % 2 == 0,
                "rotary positions need heads of even size: --hidden-size {} / --num-attention-heads {} is {}", c.hidden,
                c.heads, c.head_size());
    check_usage(c.position != PositionEmbedding::sinusoidal || c.hidden % 2 == 0,
                "sinusoidal positions need an even --hidden-size, not {}", c.hidden);
    check_usage(c.norm_eps > 0, "--norm-eps must be positive");
    check_wiring("--layer-preprocess", c.preprocess, "n");
    check_wiring("--layer-postprocess", c.postprocess, "dan");
    check_usage(!c.normalises_before() || !c.normalises_after(),
                "--layer-preprocess {} and --layer-postprocess {} both normalise: choose one place", c.preprocess,
                c.postprocess);
    check_dropout("--attention-dropout", c.attention_dropout);
    check_dropout("--residual-dropout", c.residual_dropout);
}

void check_encoder_decoder(const ModelConfig& c) {
    check_usage(c.encoder_layers >= 1 && c.encoder_layers < c.layers,
                "of {} layers {} are the encoder's: both stacks need one", c.layers, c.encoder_layers);
    check_usage(c.source_context >= 1, "the longest source has no token");
    check_usage(c.position != PositionEmbedding::rotary, "an encoder-decoder has no rotary positions");
    check_usage(!c.mask_documents, "an encoder-decoder reads one text at a time: it masks no documents");
    check_usage(c.key_heads() == c.heads, "an encoder-decoder has as many heads of keys and values as of queries");
    check_usage(c.tied, "an encoder-decoder has one embedding for sources, targets and the output");
}

void check_awd_lstm(const ModelConfig& c) {
    check_usage(c.embedding >= 1, "awd-lstm needs --embedding-size, as published 400 with --hidden-size 1152");
    check_dropout("--input-dropout", c.input_dropout);
    check_dropout("--hidden-dropout", c.hidden_dropout);
    check_dropout("--output-dropout", c.output_dropout);
    check_dropout("--weight-dropout", c.weight_dropout);
    check_usage(c.activation_reg >= 0, "--activation-reg must not be negative");
    check_usage(c.temporal_reg >= 0, "--temporal-reg must not be negative");
}

}  // namespace

void check_model(const ModelConfig& c) {
    check_usage(c.layers >= 1, "--num-layers must be at least 1");
    check_usage(c.hidden >= 1, "--hidden-size must be at least 1");
    check_usage(c.context >= 1, "--seq-length must be at least 1");
    check_usage(c.vocabulary >= 1, "the vocabulary is empty");
    check_dropout("--embedding-dropout", c.embedding_dropout);
    if (c.recurrent()) return check_awd_lstm(c);
    check_decoder(c);
    if (c.reads_sources()) check_encoder_decoder(c);
}

void check_layout(const ModelConfig& c, int pipeline, int tensor) {
    check_usage(static_cast<std::size_t>(pipeline) <= c.layers,
                "--pipeline-parallel-size {} is more than the {} layers there are", pipeline, c.layers);
    const auto slices = static_cast<std::size_t>(tensor);
    if (c.recurrent()) {
        const std::size_t units = c.layers > 1 ? std::min(c.hidden, c.embedding) : c.embedding;
        return check_usage(slices <= units && slices <= c.vocabulary,
                           "--tensor-parallel-size {} is more than the model has to split (units {}, "
                           "vocabulary {})",
                           tensor, units, c.vocabulary);
    }
    check_usage(slices <= c.key_heads(), "--tensor-parallel-size {} is more than the {} attention heads{} there are",
                tensor, c.key_heads(), c.key_heads() < c.heads ? " of keys and values (--num-query-groups)" : "");
    check_usage(slices <= c.ffn_size() && slices <= c.vocabulary,
                "--tensor-parallel-size {} is more than the model has to split (ffn {}, vocabulary {})", tensor,
                c.ffn_size(), c.vocabulary);
}

nlohmann::json to_json(const ModelConfig& c) {
    if (c.recurrent())
        return {{"architecture", to_string(c.architecture)},
                {"layers", c.layers},
                {"embedding", c.embedding},
                {"hidden", c.hidden},
                {"context", c.context},
                {"vocabulary", c.vocabulary},
                {"end_of_text", c.end_of_text},
                {"embedding_dropout", c.embedding_dropout},
                {"input_dropout", c.input_dropout},
                {"hidden_dropout", c.hidden_dropout},
                {"output_dropout", c.output_dropout},
                {"weight_dropout", c.weight_dropout},
                {"activation_reg", c.activation_reg},
                {"temporal_reg", c.temporal_reg}};
    nlohmann::json j{{"layers", c.layers},
                     {"hidden", c.hidden},
                     {"heads", c.heads},
                     {"ffn", c.ffn_size()},
                     {"context", c.context},
                     {"vocabulary", c.vocabulary},
                     {"preprocess", c.preprocess},
                     {"postprocess", c.postprocess},
                     {"normalization", to_string(c.normalization)},
                     {"activation", to_string(c.activation)},
                     {"position", to_string(c.position)},
                     {"tied", c.tied},
                     {"linear_bias", c.linear_bias},
                     {"norm_eps", c.norm_eps},
                     {"embedding_dropout", c.embedding_dropout},
                     {"attention_dropout", c.attention_dropout},
                     {"residual_dropout", c.residual_dropout},
                     {"mask_documents", c.mask_documents},
                     {"end_of_text", c.end_of_text},
                     {"zero_residual_init", c.zero_residual_init}};
    if (c.query_groups > 0) j["query_groups"] = c.query_groups;
    if (c.reads_sources())
        j.update({{"architecture", to_string(c.architecture)},
                  {"encoder_layers", c.encoder_layers},
                  {"source_context", c.source_context},
                  {"attention_bias", c.attention_bias},
                  {"scale_embedding", c.scale_embedding}});
    return j;
}

ModelConfig model_config_from(const nlohmann::json& j) {
    try {
        ModelConfig c;
        c.architecture = architecture_from(j.value("architecture", to_string(c.architecture)));
        j.at("layers").get_to(c.layers);
        j.at("hidden").get_to(c.hidden);
        j.at("context").get_to(c.context);
        j.at("vocabulary").get_to(c.vocabulary);
        j.at("end_of_text").get_to(c.end_of_text);
        j.at("embedding_dropout").get_to(c.embedding_dropout);
        if (c.recurrent()) {
            j.at("embedding").get_to(c.embedding);
            j.at("input_dropout").get_to(c.input_dropout);
            j.at("hidden_dropout").get_to(c.hidden_dropout);
            j.at("output_dropout").get_to(c.output_dropout);
            j.at("weight_dropout").get_to(c.weight_dropout);
            j.at("activation_reg").get_to(c.activation_reg);
            j.at("temporal_reg").get_to(c.temporal_reg);
            return c;
        }
        if (c.reads_sources()) {
            j.at("encoder_layers").get_to(c.encoder_layers);
            j.at("source_context").get_to(c.source_context);
            j.at("attention_bias").get_to(c.attention_bias);
            j.at("scale_embedding").get_to(c.scale_embedding);
        }
        j.at("heads").get_to(c.heads);
        c.query_groups = j.value("query_groups", c.query_groups);
        j.at("ffn").get_to(c.ffn);
        j.at("preprocess").get_to(c.preprocess);
        j.at("postprocess").get_to(c.postprocess);
        c.normalization = normalization_from(j.at("normalization").get<std::string>());
        c.activation = activation_from(j.at("activation").get<std::string>());
        c.position = position_embedding_from(j.at("position").get<std::string>());
        j.at("tied").get_to(c.tied);
        j.at("linear_bias").get_to(c.linear_bias);
        j.at("norm_eps").get_to(c.norm_eps);
        j.at("attention_dropout").get_to(c.attention_dropout);
        j.at("residual_dropout").get_to(c.residual_dropout);
        j.at("mask_documents").get_to(c.mask_documents);
        j.at("zero_residual_init").get_to(c.zero_residual_init);
        return c;
    } catch (const nlohmann::json::exception& error) {
        throw UsageError(std::string("the stored model configuration cannot be read: ") + error.what());
    }
}

}  // namespace ulmpi
