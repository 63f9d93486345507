#include "finetune/fit_baselines.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace ulmpi {

std::vector<Baseline> baselines(const LabelledSet& train, const LabelledSet* judged, std::uint64_t /*seed*/,
                                int /*threads*/, const Communicator& /*world*/) {
    std::vector<std::uint64_t> rows(train.classes.size(), 0);
    for (const std::int32_t label : train.labels) ++rows[static_cast<std::size_t>(label)];
    const auto commonest = std::ranges::max_element(rows) - rows.begin();
    return {{fmt::format("always \"{}\", the commonest class", train.classes[static_cast<std::size_t>(commonest)]),
             std::vector<std::int32_t>((judged != nullptr ? *judged : train).size(),
                                       static_cast<std::int32_t>(commonest))}};
}

nlohmann::json to_json(const std::vector<Baseline>& baselines) {
    nlohmann::json all = nlohmann::json::array();
    for (const Baseline& baseline : baselines) all.push_back({{"name", baseline.name}, {"said", baseline.said}});
    return all;
}

std::vector<Baseline> baselines_from(const nlohmann::json& baselines) {
    std::vector<Baseline> all;
    for (const nlohmann::json& one : baselines) all.push_back({one.at("name"), one.at("said")});
    return all;
}

}  // namespace ulmpi
