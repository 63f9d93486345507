#pragma once
// What a model looks like. Plain data, stored in every checkpoint.

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace ulmpi {

/// Which family (model/families) the model is of.
enum class Architecture { decoder, awd_lstm, encoder_decoder };
enum class Normalization { layernorm, rmsnorm };
enum class Activation { gelu, relu, swiglu };
enum class PositionEmbedding { learned, sinusoidal, rotary, none };

/// Sizes and options of the model. The residual wiring is two strings, as in tensor2tensor (layer_prepostprocess):
/// 'n' normalise, 'd' dropout, 'a' add the residual. "n"/"da" is Pre-LN, "none"/"dan" the published Post-LN
/// (Vaswani et al. 2017). A stack that normalises before its sublayers is normalised once more after the last one.
struct ModelConfig {
    Architecture architecture = Architecture::decoder;
    std::size_t layers = 4, hidden = 256, heads = 4;
    std::size_t query_groups = 0;  ///< heads of keys and values, each shared by heads / query_groups queries; 0: heads
    std::size_t encoder_layers = 0;  ///< encoder-decoder: so many of the layers are the encoder's
    std::size_t source_context = 0;  ///< encoder-decoder: longest source, in tokens
    std::size_t embedding = 0;       ///< AWD-LSTM: width of the embedding and of the last layer's states
    std::size_t ffn = 0;  ///< width inside the feed-forward layer; 0 stands for 4 × hidden (SwiGLU: 8/3 × hidden)
    std::size_t context = 128;   ///< longest sequence, in tokens
    std::size_t vocabulary = 0;  ///< distinct token ids
    std::string preprocess = "n", postprocess = "da";
    Normalization normalization = Normalization::layernorm;
    Activation activation = Activation::gelu;
    PositionEmbedding position = PositionEmbedding::learned;
    bool tied = true;                                ///< the output matrix is the token embedding
    bool linear_bias = true, attention_bias = true;  ///< attention has biases where both say so
    bool scale_embedding = false;                    ///< embeddings times sqrt(hidden), before positions
    double norm_eps = 1e-5;
    double embedding_dropout = 0, attention_dropout = 0, residual_dropout = 0;
    bool mask_documents = false;      ///< no attention across an end-of-text token
    int end_of_text = -1;             ///< its id; needed where documents are masked
    bool zero_residual_init = false;  ///< the last matrix of each sublayer starts at 0 instead of N(0, 0.02²/2L)
    /// AWD-LSTM alone (model/families/awd_lstm.hpp); its embedding_dropout drops rows of the table.
    double input_dropout = 0, hidden_dropout = 0, output_dropout = 0, weight_dropout = 0;
    double activation_reg = 0, temporal_reg = 0;

    bool reads_sources() const { return architecture == Architecture::encoder_decoder; }
    bool recurrent() const { return architecture == Architecture::awd_lstm; }
    /// Of the embedding, and of the states that a head takes.
    std::size_t width() const { return recurrent() ? embedding : hidden; }
    std::size_t head_size() const { return hidden / heads; }
    std::size_t key_heads() const { return query_groups > 0 ? query_groups : heads; }
    std::size_t ffn_size() const;  ///< ffn, or its default
    bool normalises_before() const { return preprocess == "n"; }
    bool normalises_after() const { return postprocess != "none" && postprocess.find('n') != std::string::npos; }
    bool final_norm() const { return !recurrent() && normalises_before(); }
    friend bool operator==(const ModelConfig&, const ModelConfig&) = default;
};

/// Deviation of the initial weights of the last matrix of a sublayer: 0.02 / sqrt(2 L), so that the sum of L blocks of
/// two sublayers begins with the variance of one (GPT-2), or 0.
double residual_deviation(const ModelConfig&);

/// Floating-point operations of forward and backward for one token of a language model with so many parameters, as
/// is usually counted: 6 a parameter that is multiplied by (position embeddings are not), and 12 L d T of attention as
/// if it were not causal.
double training_flops(const ModelConfig&, std::uint64_t parameters);
/// Of forward alone for a text of so many tokens, without the lookups and as causal attention needs them; the head's
/// weights count once a token like all others.
double forward_flops(const ModelConfig&, std::uint64_t parameters, std::size_t length);

/// Dropout places, numbered through the whole model: 0 the embedding, then three for each block (attention
/// probabilities, attention's residual, feed-forward's residual; AWD-LSTM: recurrent weights, what comes out of the
/// last block, what goes in), then those of a classifier head. An encoder-decoder, which has no
/// classifier, numbers its own.
std::uint32_t dropout_place_of_block(std::size_t block);
std::uint32_t dropout_place_after(const ModelConfig&);

/// Throws UsageError naming the option that cannot work: sizes of 0, heads that do not divide the width, odd rotary
/// heads, wiring strings with unknown letters, dropout outside [0, 1).
void check_model(const ModelConfig&);
/// Throws UsageError where the layout splits finer than the model goes: more stages than layers, more slices than
/// heads.
void check_layout(const ModelConfig&, int pipeline, int tensor);

std::string to_string(Architecture);
std::string to_string(Normalization);
std::string to_string(Activation);
std::string to_string(PositionEmbedding);
Architecture architecture_from(const std::string&);
Normalization normalization_from(const std::string&);
Activation activation_from(const std::string&);
PositionEmbedding position_embedding_from(const std::string&);

nlohmann::json to_json(const ModelConfig&);
ModelConfig model_config_from(const nlohmann::json&);

}  // namespace ulmpi
