#include "model/families/awd_lstm.hpp"

#include <fmt/format.h>

#include "model/layers/embedding.hpp"
#include "model/layers/lm_head.hpp"
#include "model/layers/locked_dropout.hpp"
#include "model/layers/lstm.hpp"
#include "model/layers/regularization.hpp"

namespace ulmpi {
namespace {

// Of the states that layer `b` takes; that of layer L is what the head takes.
std::size_t width_before(const ModelConfig& config, std::size_t b) {
    return b == 0 || b == config.layers ? config.embedding : config.hidden;
}

void add_recurrent_layer(StageModules& stage, const ModelConfig& config, ParameterStore& store, const StagePlace& place,
                         std::size_t b) {
    const int group = static_cast<int>(b) + 1;
    const std::uint32_t dropouts = dropout_place_of_block(b);
    stage.modules.push_back(
        {group, std::make_unique<LockedDropout>(width_before(config, b),
                                                b == 0 ? config.input_dropout : config.hidden_dropout, dropouts + 2)});
    stage.modules.push_back({group, std::make_unique<Lstm>(store, stage.states,
                                                           LstmOptions{.name = fmt::format("block.{}.lstm", b),
                                                                       .in = width_before(config, b),
                                                                       .width = width_before(config, b + 1),
                                                                       .weight_dropout = config.weight_dropout,
                                                                       .dropout_place = dropouts,
                                                                       .group = group},
                                                           place.slice, place.slices)});
}

// The regularisers look at the last layer's states before and after they are dropped.
void add_end(StageModules& stage, const ModelConfig& config, bool regularised) {
    const int group = static_cast<int>(config.layers);
    const std::uint32_t dropout = dropout_place_of_block(config.layers - 1) + 1;
    const auto add = [&](std::unique_ptr<Module> module) { stage.modules.push_back({group, std::move(module)}); };
    if (regularised && config.temporal_reg > 0)
        add(std::make_unique<TemporalRegularization>(config.embedding, config.temporal_reg));
    add(std::make_unique<LockedDropout>(config.embedding, config.output_dropout, dropout));
    if (regularised && config.activation_reg > 0)
        add(std::make_unique<ActivationRegularization>(config.embedding, config.activation_reg));
}

}  // namespace

StageModules awd_lstm(const ModelConfig& config, const HeadConfig& head, ParameterStore& store,
                      const StagePlace& place) {
    StageModules stage;
    const bool ties = !head;
    std::optional<ParameterId> tokens;
    if (place.first() || (place.last() && ties))
        tokens = declare_token_embedding(store, config, place.slice, place.slices, place.first());
    if (place.stages > 1 && ties) stage.shared_embedding = tokens;
    if (place.first())
        stage.modules.push_back({0, std::make_unique<Embedding>(store, config, *tokens, place.slice, place.slices)});
    const Range layers = place.blocks(config);
    if (!place.first()) stage.group_before = static_cast<int>(layers.first);
    stage.in = FlowShape::of_hidden(width_before(config, layers.first));
    stage.out = FlowShape::of_hidden(width_before(config, layers.last));
    for (std::size_t b = layers.first; b < layers.last; ++b) add_recurrent_layer(stage, config, store, place, b);
    if (!place.last()) return stage;
    add_end(stage, config, !head);
    if (head) {
        auto classifier = std::make_unique<ClassifierHead>(store, config, *head, nullptr, place.slice == 0);
        stage.classifier = classifier.get();
        stage.head = std::move(classifier);
    } else {
        stage.head = std::make_unique<LmHead>(store, config, *tokens, nullptr, place.slice, place.slices,
                                              declare_output_bias(store, config, place.slice, place.slices));
    }
    return stage;
}

}  // namespace ulmpi
