#include "training/run_spec.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <limits>

#include "base/error.hpp"
#include "base/slice.hpp"
#include "training/lineage.hpp"

namespace ulmpi {

RunRecord record_of(const RunSpec& run, const std::string& kind) {
    return {.kind = kind,
            .command = run.command,
            .model = run.model,
            .tokenizer_fingerprint = run.tokenizer.fingerprint,
            .lineage = lineage_of(run),
            .options = run.options};
}

void take_source(OptionTable& table, const std::string& command, const Facts& facts) {
    if (!facts.source) return;
    if (facts.resumed) {
        take_stored_options(table, facts.source->record, command, facts.ranks);
        keep_as_begun(table, "ema", 0.0, facts.source->record, facts.source->path);
    } else {
        check_usage(facts.source->record.kind == language_model_kind, "--init-from {} holds no language model",
                    facts.source->path);
    }
    take_shape(table, facts.source->model(), facts.source->path, facts.resumed);
}

std::optional<ModelConfig> model_of(const OptionTable& table, const StageOptions& o, const Facts& facts) {
    if (facts.source) {
        ModelConfig model = facts.source->model();
        apply_dropouts(table, o.shape, model);
        if (model.recurrent() && table.json().contains("seq-length")) model.context = o.shape.model.context;
        return model;
    }
    if (!o.init_from.empty()) return std::nullopt;
    ModelConfig model = o.shape.resolved();
    model.vocabulary = facts.tokenizer ? facts.tokenizer->vocabulary : std::numeric_limits<std::size_t>::max();
    if (facts.tokenizer) model.end_of_text = facts.tokenizer->end_of_text;
    return model;
}

void check_options(const OptionTable& table, const StageOptions& o, const Facts& facts) {
    check_run_options(o.run);
    const std::optional<ModelConfig> model = model_of(table, o, facts);
    if (!model) return;
    check_shape_options(table, model->architecture);
    check_model(*model);
    check_layout(*model, o.layout.pipeline_parallel, o.layout.tensor_parallel);
}

RunSpec resolve_run(const std::string& command, const OptionTable& table, const StageOptions& o, const Facts& facts) {
    check_options(table, o, facts);
    const std::optional<ModelConfig> model = model_of(table, o, facts);
    check(model && facts.tokenizer, "a run is resolved before its source and its tokenizer are known");
    RunSpec run{.command = command,
                .model = *model,
                .tokenizer = *facts.tokenizer,
                .training = o.training,
                .run = o.run,
                .layout = resolve_layout(o.layout, facts.ranks, facts.threads),
                .source = facts.source,
                .resumed = facts.resumed,
                .inputs = facts.inputs,
                .options = table.json(),
                .ini = table.ini()};
    if (run.resumed) {
        const nlohmann::json& before = run.source->record.lineage;
        run.parent = parent_of(before);
        check_same_data(before, run);
    } else if (run.source) {
        run.parent = run.source->fingerprint;
    }
    return run;
}

PassPlan pass_plan(std::size_t global_batch, int replicas, std::size_t micro_batch, std::size_t length) {
    const std::size_t rows = even_slice(global_batch, static_cast<std::size_t>(replicas), 0).size();
    const std::size_t sequences = std::min(micro_batch, rows);
    return {sequences, length, static_cast<int>((rows + sequences - 1) / sequences)};
}

}  // namespace ulmpi
