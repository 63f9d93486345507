#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "base/random_key.hpp"
#include "parallel/run_main.hpp"
#include "pretrain/commands.hpp"
#include "training/inference.hpp"

namespace ulmpi {
namespace {

/// Draws from softmax(logits / temperature) over the `top_k` best (0: all), by a number u in [0, 1). Temperature 0: the
/// best.
Token sample(std::span<const float> logits, double temperature, std::size_t top_k, double u) {
    std::vector<Token> order(logits.size());
    std::iota(order.begin(), order.end(), Token{0});
    const std::size_t kept = temperature == 0 ? 1 : top_k == 0 ? order.size() : std::min(top_k, order.size());
    const auto score = [&](Token t) { return logits[static_cast<std::size_t>(t)]; };
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end(),
                      [&](Token a, Token b) { return score(a) != score(b) ? score(a) > score(b) : a < b; });
    if (kept == 1) return order[0];
    std::vector<double> cumulative(kept);
    double sum = 0;
    for (std::size_t i = 0; i < kept; ++i)
        cumulative[i] = sum += std::exp(static_cast<double>(score(order[i]) - score(order[0])) / temperature);
    const auto at = std::upper_bound(cumulative.begin(), cumulative.end(), u * sum);
    return order[std::min<std::size_t>(static_cast<std::size_t>(at - cumulative.begin()), kept - 1)];
}

/// A recurrent model has read all but the newest tokens already; another reads the last ones again.
class NextToken {
public:
    explicit NextToken(RankModel& model) : model_(model) {
        if (model.stage.config().recurrent()) states_.emplace(model.stage.states(), 1);
    }
    std::vector<float> logits_after(std::span<const Token> text) {
        const std::size_t context = model_.stage.config().context;
        if (!states_) return logits_of(text.last(std::min(text.size(), context)));
        std::vector<float> logits;
        while (have_read_ < text.size()) {
            const std::span<const Token> window = text.subspan(have_read_, std::min(context, text.size() - have_read_));
            logits = logits_of(window);
            have_read_ += window.size();
        }
        return logits;
    }

private:
    std::vector<float> logits_of(std::span<const Token> window) {
        MicroBatch batch;
        batch.sequences = 1;
        batch.length = window.size();
        batch.inputs.assign(window.begin(), window.end());
        batch.lengths = {static_cast<std::int32_t>(window.size())};
        return predict_scores(model_, {batch}, model_.stage.config().vocabulary, states_ ? &*states_ : nullptr);
    }

    RankModel& model_;
    std::optional<CarriedStates> states_;
    std::size_t have_read_ = 0;
};

}  // namespace

int generate_command(std::span<const std::string> arguments, const Communicator& world) {
    std::string model_path, prompt;
    std::size_t max_tokens = 100, top_k = 50;
    double temperature = 0.8;
    std::uint64_t seed = 1;
    LayoutOptions layout_options;
    OptionTable table(
        "generate",
        "Samples text from a language model. The text is a function of model, prompt and seed, under any layout.");
    table.example("--model runs/wiki --prompt \"The city of\"");
    table.group("Text");
    table.add("model", model_path, "run or checkpoint", "RUN");
    table.required("model");
    table.add("prompt", prompt, "text to continue; may be empty", "TEXT");
    table.add("max-tokens", max_tokens, "how far to go on; ends earlier at an end-of-text", "tokens");
    table.range("max-tokens", 1, 1e6);
    table.add("temperature", temperature, "0: always the likeliest token");
    table.range("temperature", 0, 100);
    table.add("top-k", top_k, "draw among so many; 0: all");
    table.add("seed", seed, "of the draws");
    add_layout_options(table, layout_options);
    if (!together(world, [&] { return table.parse(arguments); })) return 0;

    const StoredModel stored = open_model(model_path, world);
    const std::size_t context = stored.config.context;
    std::vector<Token> tokens = together(world, [&] {
        check_usage(stored.record.kind == language_model_kind,
                    "{} holds no language model; generate needs one of stage 1 or 2", model_path);
        std::vector<Token> encoded{stored.tokenizer.end_of_text()};
        const std::vector<Token> words = stored.tokenizer.encode(prompt);
        encoded.insert(encoded.end(), words.begin(), words.end());
        check_usage(encoded.size() <= context || stored.config.recurrent(),
                    "the prompt has {} tokens, more than the model's context of {} can hold after the "
                    "end-of-text that begins it; shorten it",
                    words.size(), context);
        return encoded;
    });
    const auto model = load_for_inference(stored, {}, layout_from(layout_options, world), {1, context}, world);
    if (world.rank() == 0) fmt::print("{}", prompt);
    NextToken next_token(*model);
    std::vector<Token> made;
    for (std::size_t step = 0; step < max_tokens; ++step) {
        const std::vector<float> logits = next_token.logits_after(tokens);
        const double u = static_cast<double>(random_key(seed, step) >> 11) * 0x1p-53;
        const Token next = broadcast_value(sample(logits, temperature, top_k, u), world, 0);
        if (next == stored.tokenizer.end_of_text()) break;
        tokens.push_back(next);
        made.push_back(next);
        if (world.rank() == 0) {
            fmt::print("{}", stored.tokenizer.decode({&next, 1}));
            std::fflush(stdout);
        }
    }
    if (world.rank() == 0) print_line("");
    return 0;
}

}  // namespace ulmpi
