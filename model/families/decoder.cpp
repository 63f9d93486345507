#include "model/families/decoder.hpp"

#include <fmt/format.h>

#include "model/layers/attention.hpp"
#include "model/layers/embedding.hpp"
#include "model/layers/feed_forward.hpp"
#include "model/layers/lm_head.hpp"
#include "model/layers/sublayer.hpp"

namespace ulmpi {
namespace {

int group_of(std::size_t block) { return static_cast<int>(block) + 1; }

void add_block(StageModules& stage, const ModelConfig& config, ParameterStore& store, const StagePlace& place,
               std::size_t block) {
    const std::string name = fmt::format("block.{}.", block);
    const int group = group_of(block);
    const std::uint32_t dropouts = dropout_place_of_block(block);
    const auto add = [&](const char* norm, std::uint32_t dropout, std::unique_ptr<Layer> inner) {
        stage.modules.push_back({group, std::make_unique<Sublayer>(store, config, name + norm, group, place.slice == 0,
                                                                   dropout, std::move(inner))});
    };
    add("norm1", dropouts + 1,
        std::make_unique<Attention>(store, config, name + "attention", group, place.slice, place.slices, dropouts));
    add("norm2", dropouts + 2,
        std::make_unique<FeedForward>(store, config, name + "ffn", group, place.slice, place.slices));
}

void add_head(StageModules& stage, const ModelConfig& config, const HeadConfig& head, ParameterStore& store,
              const StagePlace& place, std::optional<ParameterId> tokens) {
    std::unique_ptr<Norm> norm;
    if (config.final_norm())
        norm = std::make_unique<Norm>(store, "final_norm", config.hidden, config, static_cast<int>(config.layers),
                                      place.slice == 0);
    if (head) {
        auto classifier = std::make_unique<ClassifierHead>(store, config, *head, std::move(norm), place.slice == 0);
        stage.classifier = classifier.get();
        stage.head = std::move(classifier);
    } else {
        const ParameterId output = config.tied ? *tokens : declare_output(store, config, place.slice, place.slices);
        stage.head = std::make_unique<LmHead>(store, config, output, std::move(norm), place.slice, place.slices);
    }
}

}  // namespace

StageModules decoder(const ModelConfig& config, const HeadConfig& head, ParameterStore& store,
                     const StagePlace& place) {
    StageModules stage;
    stage.in = stage.out = FlowShape::of_hidden(config.hidden);
    const bool ties = config.tied && !head;
    std::optional<ParameterId> tokens;
    if (place.first() || (place.last() && ties))
        tokens = declare_token_embedding(store, config, place.slice, place.slices, place.first());
    if (place.stages > 1 && ties) stage.shared_embedding = tokens;
    if (place.first())
        stage.modules.push_back({0, std::make_unique<Embedding>(store, config, *tokens, place.slice, place.slices)});
    const Range blocks = place.blocks(config);
    if (!place.first()) stage.group_before = group_of(blocks.first) - 1;
    for (std::size_t block = blocks.first; block < blocks.last; ++block) add_block(stage, config, store, place, block);
    if (place.last()) add_head(stage, config, head, store, place, tokens);
    return stage;
}

}  // namespace ulmpi
