#pragma once
// Small models and random batches for the tests of stages and training.

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "base/random_key.hpp"
#include "model/stage.hpp"
#include "parallel/pipeline_schedule.hpp"

namespace ulmpi::reference {

inline constexpr bool in_double = sizeof(Real) == 8;

/// Sequences [first, first + count) of an endless stream of random tokens; the target of each position is the token
/// after it. What a sequence holds depends on (seed, its number) alone; so does its source, for a model that reads one.
inline MicroBatch random_batch(const ModelConfig& c, std::uint32_t first, std::size_t count, std::size_t length,
                               std::uint64_t seed) {
    MicroBatch b;
    b.sequences = count;
    b.length = length;
    b.first_sequence = first;
    const auto token = [&](std::size_t sequence, std::size_t t) {
        return static_cast<Token>(random_key(seed, 1000 * (first + sequence) + t) % c.vocabulary);
    };
    for (std::size_t s = 0; s < count; ++s)
        for (std::size_t t = 0; t < length; ++t) {
            b.inputs.push_back(token(s, t));
            b.targets.push_back(token(s, t + 1));
        }
    if (!c.reads_sources()) return b;
    b.source_length = c.source_context;
    for (std::size_t s = 0; s < count; ++s) {
        const std::uint64_t random = random_key(seed + 55, first + s);
        b.source_lengths.push_back(static_cast<std::int32_t>(1 + random % b.source_length));
        for (std::size_t t = 0; t < b.source_length; ++t) b.sources.push_back(token(s, 500 + t));
    }
    return b;
}

/// From -4 to 0, as log-probabilities are.
inline float random_offset(std::uint64_t seed, std::uint64_t number) {
    return -static_cast<float>(random_key(seed + 99, number) % 4096) / 1024;
}

/// The same for classifiers: rows of 1 to `length` tokens, padded, and random labels; for a wide head offsets.
inline MicroBatch random_labelled_batch(const ModelConfig& c, std::uint32_t first, std::size_t count,
                                        std::size_t length, std::size_t classes, std::uint64_t seed,
                                        bool wide = false) {
    MicroBatch b = random_batch(c, first, count, length, seed);
    b.targets.clear();
    for (std::size_t s = 0; s < count; ++s) {
        const std::uint64_t random = random_key(seed + 77, first + s);
        b.lengths.push_back(static_cast<std::int32_t>(1 + random % length));
        b.labels.push_back(static_cast<std::int32_t>((random >> 32) % classes));
        for (auto t = static_cast<std::size_t>(b.lengths.back()); t < length; ++t) b.inputs[s * length + t] = 0;
        for (std::size_t k = 0; wide && k < classes; ++k)
            b.offsets.push_back(random_offset(seed, (first + s) * classes + k));
    }
    return b;
}

/// Weights large enough that every gradient is far from zero, norms around 1.
inline void spread_weights(ParameterStore& store, unsigned seed) {
    std::mt19937 generator(seed);
    std::normal_distribution<double> normal;
    for (const Parameter& p : store.parameters())
        for (Real& w : store.value_of(p))
            w = static_cast<Real>((p.init.kind == Init::Kind::one ? 1 : 0) + 0.3 * normal(generator));
}

/// The whole model on this rank alone.
class TinyModel {
public:
    explicit TinyModel(const ModelConfig& config, const HeadConfig& head = {}, Precision precision = Precision::fp32)
        : alone_(everybody_.split(everybody_.rank(), 0)),
          precision_(precision),
          stage(config, head, store, {}, alone_) {
        store.allocate(true, precision);
        spread_weights(store, 1);
        store.round_values();
    }

    /// One pass over the batches. Returns the sum of their losses; when training, adds to the gradients.
    double pass(const std::vector<MicroBatch>& batches, const PassOptions& options, int threads = 1) {
        BatchPlan plan{.sequences = 1,
                       .length = 1,
                       .slots = 1,
                       .threads = threads,
                       .training = options.training,
                       .precision = precision_,
                       .source_length = stage.config().source_context};
        for (const MicroBatch& b : batches) {
            plan.sequences = std::max(plan.sequences, b.sequences);
            plan.length = std::max(plan.length, b.length);
            if (b.partial) plan.documents += b.documents_begun();
        }
        stage.prepare(plan);
        stage.start(batches, options);
        run_team(threads, [&](const Team& team) {
            const auto play = [&](const std::vector<Action>& actions) {
                play_schedule(actions, stage, {false, false}, alone_, team);
            };
            play(forward_of(stage.micro_batches(true)));
            stage.judge_documents(team);
            play(options.training ? one_forward_one_backward(0, 1, static_cast<int>(batches.size()))
                                  : forward_of(stage.micro_batches(false)));
        });
        return stage.loss();
    }

private:
    Communicator everybody_ = Communicator::world(), alone_;
    Precision precision_;

public:
    ParameterStore store;
    Stage stage;
};

/// What a whole model's activations take; no weight is made.
inline ActivationBytes planned_bytes(const ModelConfig& config, const HeadConfig& head, const BatchPlan& plan) {
    const Communicator everybody = Communicator::world(), alone = everybody.split(everybody.rank(), 0);
    ParameterStore store;
    return Stage(config, head, store, {}, alone).activation_bytes(plan);
}

/// A name and a model: what the tests of stages go through.
struct NamedConfig {
    const char* name;
    ModelConfig config;
};

/// Other keys for a query to see, or to share.
template <typename Add>
void add_attention_configs(Add add) {
    add("grouped queries, rotary", [](ModelConfig& c) {
        c.heads = 6;
        c.query_groups = 2;
        c.position = PositionEmbedding::rotary;
        c.attention_dropout = 0.2;
    });
    add("multi-query", [](ModelConfig& c) { c.query_groups = 1; });
    add("masked documents, dropout", [](ModelConfig& c) {
        c.mask_documents = true;
        c.end_of_text = 3;
        c.vocabulary = 11;  // the end of text comes often
        c.attention_dropout = 0.2;
    });
    add("masked documents, rotary", [](ModelConfig& c) {
        c.mask_documents = true;
        c.end_of_text = 0;
        c.vocabulary = 7;
        c.position = PositionEmbedding::rotary;
    });
}

/// Every option at least once, sizes that divide nothing.
inline std::vector<NamedConfig> tiny_configs() {
    ModelConfig base;
    base.layers = 2;
    base.hidden = 12;
    base.heads = 3;
    base.ffn = 20;
    base.context = 9;
    base.vocabulary = 23;
    std::vector<NamedConfig> configs{{"pre-LN, GELU, learned, tied", base}};
    const auto add = [&](const char* name, auto change) {
        configs.push_back({name, base});
        change(configs.back().config);
    };
    add("post-LN, ReLU, sinusoidal", [](ModelConfig& c) {
        c.preprocess = "none";
        c.postprocess = "dan";
        c.activation = Activation::relu;
        c.position = PositionEmbedding::sinusoidal;
        c.residual_dropout = 0.2;
    });
    add("none and dna", [](ModelConfig& c) {
        c.preprocess = "none";
        c.postprocess = "dna";
        c.residual_dropout = 0.2;
    });
    add("RMSNorm, SwiGLU, rotary, untied, no bias", [](ModelConfig& c) {
        c.normalization = Normalization::rmsnorm;
        c.activation = Activation::swiglu;
        c.position = PositionEmbedding::rotary;
        c.tied = c.linear_bias = false;
    });
    add("RMSNorm behind", [](ModelConfig& c) {
        c.normalization = Normalization::rmsnorm;
        c.preprocess = "none";
        c.postprocess = "dan";
        c.residual_dropout = 0.1;
    });
    add("no positions", [](ModelConfig& c) { c.position = PositionEmbedding::none; });
    add("dropout everywhere", [](ModelConfig& c) {
        c.embedding_dropout = 0.1;
        c.attention_dropout = 0.3;
        c.residual_dropout = 0.2;
    });
    add_attention_configs(add);
    for (const char* wiring : {"adn", "and", "nda", "nad", "da", "d", "none"})
        add(wiring, [&](ModelConfig& c) {
            c.preprocess = "none";
            c.postprocess = wiring;
            c.residual_dropout = 0.2;
        });
    add("one head, one layer, SwiGLU of the default width", [](ModelConfig& c) {
        c.layers = c.heads = 1;
        c.ffn = 0;
        c.activation = Activation::swiglu;
    });
    return configs;
}

/// Encoder-decoders, which have no classifier.
inline std::vector<NamedConfig> encoder_decoder_configs() {
    ModelConfig base;
    base.architecture = Architecture::encoder_decoder;
    base.layers = 3;
    base.encoder_layers = 1;
    base.hidden = 12;
    base.heads = 3;
    base.ffn = 20;
    base.context = 9;
    base.source_context = 7;
    base.vocabulary = 23;
    std::vector<NamedConfig> configs{{"encoder-decoder, pre-LN", base}};
    base.layers = 4;
    base.encoder_layers = 2;
    base.preprocess = "none";
    base.postprocess = "dan";
    base.activation = Activation::relu;
    base.position = PositionEmbedding::sinusoidal;
    base.attention_bias = false;
    base.scale_embedding = true;
    base.embedding_dropout = base.attention_dropout = base.residual_dropout = 0.1;
    configs.push_back({"encoder-decoder, post-LN, dropout", base});
    return configs;
}

/// Recurrent ones, which the naive Transformer cannot be held against.
inline std::vector<NamedConfig> recurrent_configs() {
    ModelConfig base;
    base.architecture = Architecture::awd_lstm;
    base.layers = 3;
    base.embedding = 10;
    base.hidden = 13;
    base.context = 9;
    base.vocabulary = 23;
    std::vector<NamedConfig> configs{{"AWD-LSTM, nothing dropped", base}};
    base.embedding_dropout = 0.1;
    base.input_dropout = 0.2;
    base.hidden_dropout = 0.15;
    base.output_dropout = 0.3;
    base.weight_dropout = 0.25;
    base.activation_reg = 2;
    base.temporal_reg = 1;
    configs.push_back({"AWD-LSTM, all dropouts and regularisers", base});
    base.layers = 1;
    configs.push_back({"AWD-LSTM, one layer", base});
    return configs;
}

/// Those that end in a language model's head, or in a classifier's.
inline std::vector<NamedConfig> both_heads_configs() {
    std::vector<NamedConfig> configs = tiny_configs();
    for (const NamedConfig& more : recurrent_configs()) configs.push_back(more);
    return configs;
}

inline std::vector<NamedConfig> all_configs() {
    std::vector<NamedConfig> configs = both_heads_configs();
    for (const NamedConfig& more : encoder_decoder_configs()) configs.push_back(more);
    return configs;
}

/// With each of the heads that it has.
inline std::vector<bool> heads_of(const ModelConfig& config) {
    return config.reads_sources() ? std::vector<bool>{false} : std::vector<bool>{false, true};
}

}  // namespace ulmpi::reference
