#include "jobs/fit_baselines.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <utility>

#include "parallel/run_main.hpp"

namespace ulmpi {
namespace {

/// Of the time that words alone take (docs/LOG.md: three to six).
constexpr double with_pieces = 5;
/// Bytes of text: the pieces of each take about 50 in memory, on every rank.
constexpr std::size_t most_in_pieces = std::size_t{64} << 20;

std::size_t bytes_of(const std::vector<std::string>& texts) {
    std::size_t bytes = 0;
    for (const std::string& text : texts) bytes += text.size();
    return bytes;
}

Baseline commonest_class(const LabelledSet& train, std::size_t rows) {
    std::vector<std::uint64_t> of_class(train.classes.size(), 0);
    for (const std::int32_t label : train.labels) ++of_class[static_cast<std::size_t>(label)];
    const auto commonest = std::ranges::max_element(of_class) - of_class.begin();
    return {"majority",
            fmt::format("always \"{}\", the commonest class", train.classes[static_cast<std::size_t>(commonest)]),
            std::vector<std::int32_t>(rows, static_cast<std::int32_t>(commonest))};
}

}  // namespace

Compared compare(const LabelledSet& train, const LabelledSet* judged, std::uint64_t seed, int threads,
                 double pieces_seconds, const Communicator& world) {
    const std::size_t classes = train.classes.size();
    LinearOptions options{.seed = seed, .threads = threads};
    const auto begin = std::chrono::steady_clock::now();
    LinearFit linear = fit_linear(train.texts, train.labels, classes, options, world);
    const double seconds =
        broadcast_value(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), world, 0);
    const std::vector<float> scores =
        judged != nullptr ? linear.model.log_probabilities(judged->texts, threads) : linear.held_out;
    std::vector<Baseline> baselines{
        commonest_class(train, (judged != nullptr ? *judged : train).size()),
        {"linear", "linear model of words and of groups of words", best_classes(scores, classes)}};
    if (with_pieces * seconds > pieces_seconds || bytes_of(train.texts) > most_in_pieces)
        return {std::move(baselines), std::move(linear), seconds};
    options.kinds.pieces = true;
    options.like = linear.model.summary();
    return {std::move(baselines), fit_linear(train.texts, train.labels, classes, options, world), seconds};
}

nlohmann::json to_json(const std::vector<Baseline>& baselines) {
    nlohmann::json all = nlohmann::json::array();
    for (const Baseline& one : baselines) all.push_back({{"key", one.key}, {"name", one.name}, {"said", one.said}});
    return all;
}

std::vector<Baseline> baselines_from(const nlohmann::json& baselines) {
    std::vector<Baseline> all;
    for (const nlohmann::json& one : baselines) all.push_back({one.at("key"), one.at("name"), one.at("said")});
    return all;
}

std::vector<Baseline> baselines_at(const nlohmann::json& baselines, std::span<const std::uint32_t> places) {
    std::vector<Baseline> all = baselines_from(baselines);
    for (Baseline& baseline : all) {
        std::vector<std::int32_t> said;
        for (const std::uint32_t place : places) said.push_back(baseline.said[place]);
        baseline.said = std::move(said);
    }
    return all;
}

}  // namespace ulmpi
