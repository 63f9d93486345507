#include "model/families/encoder_decoder.hpp"

#include <fmt/format.h>

#include "base/error.hpp"
#include "model/layers/attention.hpp"
#include "model/layers/cross_attention.hpp"
#include "model/layers/embedding.hpp"
#include "model/layers/feed_forward.hpp"
#include "model/layers/lm_head.hpp"
#include "model/layers/source_side.hpp"
#include "model/layers/sublayer.hpp"

namespace ulmpi {
namespace {

// Dropout places: the two embeddings, then five of each layer.
constexpr std::uint32_t of_source = 0, of_target = 1;
std::uint32_t dropouts_of(std::size_t layer) { return static_cast<std::uint32_t>(2 + 5 * layer); }

/// Adds the sublayers of one layer, in their order.
class Block {
public:
    Block(StageModules& stage, const ModelConfig& config, ParameterStore& store, const StagePlace& place,
          std::size_t layer)
        : stage_(stage),
          config_(config),
          store_(store),
          place_(place),
          of_encoder_(layer < config.encoder_layers),
          name_(of_encoder_ ? fmt::format("encoder.block.{}.", layer)
                            : fmt::format("decoder.block.{}.", layer - config.encoder_layers)),
          group_(static_cast<int>(layer) + 1),
          dropouts_(dropouts_of(layer)) {}

    void self_attention() {
        add(std::make_unique<Attention>(store_, config_, name_ + "attention", group_, place_.slice, place_.slices,
                                        dropouts_));
    }
    void cross_attention() {
        add(std::make_unique<CrossAttention>(store_, config_, name_ + "cross_attention", group_, place_.slice,
                                             place_.slices, dropouts_ + 1));
    }
    void feed_forward() {
        add(std::make_unique<FeedForward>(store_, config_, name_ + "ffn", group_, place_.slice, place_.slices));
    }

private:
    void add(std::unique_ptr<Layer> inner) {
        ++sublayers_;
        std::unique_ptr<Module> sublayer =
            std::make_unique<Sublayer>(store_, config_, fmt::format("{}norm{}", name_, sublayers_), group_,
                                       place_.slice == 0, dropouts_ + 1 + sublayers_, std::move(inner));
        if (of_encoder_) sublayer = std::make_unique<OfSources>(std::move(sublayer));
        stage_.modules.push_back({group_, std::move(sublayer)});
    }

    StageModules& stage_;
    const ModelConfig& config_;
    ParameterStore& store_;
    const StagePlace& place_;
    bool of_encoder_;
    std::string name_;
    int group_;
    std::uint32_t dropouts_, sublayers_ = 0;
};

std::unique_ptr<Norm> final_norm(const ModelConfig& config, ParameterStore& store, const StagePlace& place,
                                 const char* name, std::size_t layers) {
    if (!config.final_norm()) return nullptr;
    return std::make_unique<Norm>(store, name, config.hidden, config, static_cast<int>(layers), place.slice == 0);
}

void add_layer(StageModules& stage, const ModelConfig& config, ParameterStore& store, const StagePlace& place,
               std::size_t layer) {
    Block block(stage, config, store, place, layer);
    block.self_attention();
    if (layer >= config.encoder_layers) block.cross_attention();
    block.feed_forward();
    if (layer + 1 != config.encoder_layers) return;
    stage.modules.push_back(
        {static_cast<int>(layer) + 1,
         std::make_unique<OfSources>(std::make_unique<EncoderEnd>(
             config.hidden, final_norm(config, store, place, "encoder.final_norm", config.encoder_layers)))});
}

void add_embeddings(StageModules& stage, const ModelConfig& config, ParameterStore& store, const StagePlace& place,
                    ParameterId tokens) {
    const auto add = [&](const EmbeddingPlace& which) {
        std::unique_ptr<Module> embedding =
            std::make_unique<Embedding>(store, config, tokens, place.slice, place.slices, which);
        if (which.side == Side::sources) embedding = std::make_unique<OfSources>(std::move(embedding));
        stage.modules.push_back({0, std::move(embedding)});
    };
    add({Side::sources, Lane::hidden, "encoder.", config.source_context, of_source});
    add({Side::inputs, Lane::target, "decoder.", config.context, of_target});
}

// Before layer `layer`, or behind the last.
FlowShape edge_before(const ModelConfig& config, std::size_t layer) {
    const bool in_encoder = layer < config.encoder_layers;
    FlowShape shape = FlowShape::of_hidden(config.hidden, in_encoder ? Side::sources : Side::inputs);
    if (in_encoder)
        shape[Lane::target] = {config.hidden, Side::inputs};
    else
        shape[Lane::memory] = {config.hidden, Side::sources};
    return shape;
}

}  // namespace

StageModules encoder_decoder(const ModelConfig& config, const HeadConfig& head, ParameterStore& store,
                             const StagePlace& place) {
    check_usage(!head, "a classifier is trained on a decoder or on awd-lstm, not on an encoder-decoder");
    StageModules stage;
    std::optional<ParameterId> tokens;
    if (place.first() || place.last())
        tokens = declare_token_embedding(store, config, place.slice, place.slices, place.first());
    if (place.stages > 1) stage.shared_embedding = tokens;
    if (place.first()) add_embeddings(stage, config, store, place, *tokens);
    const Range layers = place.blocks(config);
    if (!place.first()) stage.group_before = static_cast<int>(layers.first);
    stage.in = edge_before(config, layers.first);
    stage.out = edge_before(config, layers.last);
    for (std::size_t layer = layers.first; layer < layers.last; ++layer) add_layer(stage, config, store, place, layer);
    if (place.last())
        stage.head = std::make_unique<LmHead>(store, config, *tokens,
                                              final_norm(config, store, place, "decoder.final_norm", config.layers),
                                              place.slice, place.slices);
    return stage;
}

}  // namespace ulmpi
