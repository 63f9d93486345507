#include "base/options/names.hpp"

#include <algorithm>
#include <iterator>

namespace ulmpi {
namespace {

constexpr const char* commands[]{
    "data tokenizer",
    "data shards",
    "data encode",
    "data verify",
    "data show",
    "data ledger",
    "pretrain",
    "finetune lm",
    "finetune classifier",
    "fit",
    "submit",
    "status",
    "predict",
    "evaluate",
    "generate",
    "checkpoint show",
    "checkpoint verify",
    "checkpoint slim",
    "checkpoint import",
    "checkpoint export",
    "checkpoint ensemble",
    "bench step",
    "bench predict",
    "bench gemm",
};

constexpr const char* options[]{
    // data
    "input",
    "output",
    "vocab-size",
    "tokenizer",
    "shard-tokens",
    "documents",
    "text-key",
    "text-format",
    "labelled",
    "min-frequency",
    "overwrite",
    // where things are
    "data",
    "valid",
    "run",
    "init-from",
    "from",
    "resume",
    "train",
    "test",
    "distill-from",
    "distill-text",
    "distill-weight",
    "model",
    "models",
    "prompt",
    "text",
    "minutes",
    "stage-2",
    "pseudo-labels",
    "networks",
    "config",
    // shape of the model
    "num-layers",
    "architecture",
    "hidden-size",
    "embedding-size",
    "num-attention-heads",
    "num-query-groups",
    "ffn-hidden-size",
    "seq-length",
    "layer-preprocess",
    "layer-postprocess",
    "normalization",
    "norm-eps",
    "activation",
    "position-embedding",
    "tie-embeddings",
    "linear-bias",
    "dropout",
    "embedding-dropout",
    "attention-dropout",
    "residual-dropout",
    "input-dropout",
    "hidden-dropout",
    "output-dropout",
    "weight-dropout",
    "activation-reg",
    "temporal-reg",
    "zero-residual-init",
    "mask-documents",
    // layout
    "tensor-parallel-size",
    "tp",
    "pipeline-parallel-size",
    "pp",
    "pipeline-schedule",
    "overlap-grad-reduce",
    "micro-batch-size",
    "global-batch-size",
    "threads-per-rank",
    "precision",
    // training
    "train-steps",
    "train-tokens",
    "epochs",
    "lr",
    "min-lr",
    "lr-schedule",
    "warmup-steps",
    "optimizer",
    "weight-decay",
    "adam-beta1",
    "adam-beta2",
    "adam-eps",
    "clip-grad",
    "ema",
    "recipe",
    "seed",
    "save-interval",
    "save-mode",
    "keep-last",
    "keep-every",
    "eval-interval",
    "early-stop",
    "log-interval",
    "walltime",
    "profile",
    "transfer-vocabulary",
    // classifier
    "gradual-unfreezing",
    "discriminative-factor",
    "max-length",
    "pooling",
    "class-weights",
    "label-smoothing",
    "reinit-blocks",
    "wide-features",
    "head-hidden-size",
    "head-normalization",
    "head-dropout",
    "head-dropout2",
    // generation
    "max-tokens",
    "temperature",
    "top-k",
    // evaluation
    "stride",
    // jobs
    "jobs",
    "dry-run",
    "set-aside",
    "template",
    "program",
    "launcher",
    "nodes",
    "ranks-per-node",
    "cpus-per-rank",
    "time",
    "grace",
    "partition",
    "account",
    "sbatch",
    // checkpoints and bench
    "tensors",
    "steps",
    "seconds",
    "micro-batches",
};

}  // namespace

const std::vector<std::string>& all_commands() {
    static const std::vector<std::string> names(std::begin(commands), std::end(commands));
    return names;
}

std::vector<std::string> all_sections() {
    std::vector<std::string> sections = all_commands();
    for (std::string& section : sections) std::replace(section.begin(), section.end(), ' ', '.');
    for (const char* stage : {"pretrain", "finetune.lm", "finetune.classifier"})
        sections.push_back(std::string("submit.") + stage);
    return sections;
}

const std::vector<std::string>& all_options() {
    static const std::vector<std::string> names(std::begin(options), std::end(options));
    return names;
}

const std::vector<std::string>& other_variables() {
    static const std::vector<std::string> names{"ULMPI_GOLDEN_DIR", "ULMPI_TEST_DATA", blas_chosen_variable};
    return names;
}

}  // namespace ulmpi
