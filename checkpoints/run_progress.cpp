#include "checkpoints/run_progress.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdlib>

namespace ulmpi {

bool is_better(double loss, const std::optional<BestStep>& best) {
    return std::isfinite(loss) && (!best || loss < best->loss);
}

nlohmann::json to_json(const Progress& progress) {
    nlohmann::json json{{"step", progress.step}, {"tokens", progress.tokens}, {"seconds", progress.seconds}};
    if (progress.ledger) json["ledger"] = fmt::format("{:016x}", *progress.ledger);
    if (progress.best) json["best"] = {{"step", progress.best->step}, {"loss", progress.best->loss}};
    if (progress.of_step) json["of_step"] = *progress.of_step;
    return json;
}

Progress progress_from(const nlohmann::json& json) {
    Progress progress{json.at("step"), json.at("tokens"), json.at("seconds"), std::nullopt};
    if (json.contains("ledger"))
        progress.ledger = std::strtoull(json["ledger"].get<std::string>().c_str(), nullptr, 16);
    if (json.contains("best")) progress.best = BestStep{json["best"].at("step"), json["best"].at("loss")};
    if (json.contains("of_step")) progress.of_step = json["of_step"].get<std::uint64_t>();
    return progress;
}

}  // namespace ulmpi
