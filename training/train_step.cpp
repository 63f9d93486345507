#include "training/train_step.hpp"

#include <array>
#include <cmath>

#include "model/kernels/elementwise.hpp"

namespace ulmpi {
namespace {

// A document with chunks in several micro-batches can be judged when all of them have gone by: forward alone, dropout
// and all, of which only what was pooled stays.
void judge_documents(Stage& stage, const Topology& topology, const Team& team) {
    const std::vector<int> parts = stage.micro_batches(true);
    if (parts.empty()) return;
    play_schedule(forward_of(parts), stage, {}, topology.pipeline, team, topology.timeline);
    stage.judge_documents(team);
}

// Where nothing but the head is trained, judging the documents was all that they were needed for; otherwise their
// chunks go forward once more, the same way, and then back.
void play(Trainee& trainee, const std::vector<MicroBatch>& batches, const PassOptions& options, const Team& team) {
    Stage& stage = trainee.stage;
    const Topology& topology = trainee.topology;
    judge_documents(stage, topology, team);
    const bool head_alone = options.first_trained_group > static_cast<int>(stage.config().layers);
    const bool goes_back = options.training && stage.trains_modules(options.first_trained_group);
    const std::vector<Action> actions =
        head_alone ? forward_of(stage.micro_batches(false))
                   : training_actions(trainee.schedule, stage.place().stage, stage.place().stages,
                                      static_cast<int>(batches.size()), stage.slots());
    play_schedule(goes_back ? actions : forward_only(actions), stage, stage.gradient_edges(options.first_trained_group),
                  topology.pipeline, team, topology.timeline);
}

// Of what every worker holds: its share of each counted tensor.
double sum_of_squared_gradients(Trainee& trainee, const PassOptions& options, const Team& team) {
    double mine = 0;
    for (const Parameter& p : trainee.parameters.parameters()) {
        if (!p.counted || p.statistic || p.group < options.first_trained_group) continue;
        const Range part = team.share(p.size());
        mine += sum_of_squares(trainee.parameters.gradient_of(p).data() + part.first, part.size());
    }
    return team.sum(mine);
}

// Every slice of the last stage has the loss: each counts for its part.
double own_loss(const Stage& stage, const Topology& topology) { return stage.loss() / topology.extents.tensor; }

// Every rank has the same loss and norm; rank 0 says what is wrong and ends the job, the others wait for that. A loss
// is the last stage's; gradients flow from the last stage down, so those of the uppermost bad one came first.
void check_finite(const StepResult& result, double own_squares, std::uint64_t step, const Topology& topology) {
    if (std::isfinite(result.loss) && std::isfinite(result.gradient_norm)) return;
    const bool loss = !std::isfinite(result.loss);
    std::array<int, 1> stage{loss ? topology.extents.pipeline - 1 : std::isfinite(own_squares) ? 0 : topology.at.stage};
    topology.all.all_reduce_max(std::span<int>(stage));
    check(topology.all.rank() != 0,
          "step {}, stage {}: the {} is not finite; the run stops here. Lower --lr, raise --warmup-steps, "
          "or set --clip-grad, and resume from the last checkpoint",
          step, stage[0], loss ? "loss" : "gradient norm");
    topology.all.barrier();
}

}  // namespace

StepResult train_step(Trainee& trainee, const std::vector<MicroBatch>& batches, const PassOptions& options,
                      const GroupRates& rates, double max_gradient_norm, std::uint64_t step) {
    const Topology& topology = trainee.topology;
    GradientSums sums(trainee.parameters, topology,
                      {options.first_trained_group, trainee.stage.shared_embedding(), trainee.bucket_bytes});
    trainee.stage.start(batches, options, &sums);
    StepResult result;
    run_team(trainee.threads, [&](const Team& team) {
        play(trainee, batches, options, team);
        team.single([&] { sums.finish(); });
        const During phase(team.leader() ? topology.timeline : nullptr, Phase::optimizer);
        const double squares = sum_of_squared_gradients(trainee, options, team);
        team.single([&] {
            std::array<double, 2> totals{squares, own_loss(trainee.stage, topology)};
            topology.model.all_reduce_sum(std::span<double>(totals));
            topology.data.all_reduce_sum(std::span<double>(totals).subspan(1));
            result = {totals[1] * options.loss_scale, std::sqrt(totals[0])};
            check_finite(result, squares, step, topology);
        });
        // As PyTorch's clip_grad_norm_: scaled by max / (norm + 1e-6) when the norm is larger.
        const bool clip = max_gradient_norm > 0 && result.gradient_norm > max_gradient_norm;
        trainee.optimizer.step(trainee.parameters, rates, clip ? max_gradient_norm / (result.gradient_norm + 1e-6) : 1,
                               team);
        if (options.states != nullptr) team.single([&] { options.states->advance(); });
    });
    return result;
}

double evaluate_pass(Stage& stage, const Topology& topology, int threads, const std::vector<MicroBatch>& batches,
                     const PassOptions& options) {
    stage.start(batches, options);
    run_team(threads, [&](const Team& team) {
        judge_documents(stage, topology, team);
        play_schedule(forward_of(stage.micro_batches(false)), stage, {}, topology.pipeline, team, topology.timeline);
    });
    double loss = own_loss(stage, topology);
    topology.model.all_reduce_sum(std::span<double>(&loss, 1));
    return loss;
}

int slots_needed(PipelineSchedule schedule, const StagePlace& place, int micro_batches, int at_most) {
    return most_in_flight(training_actions(schedule, place.stage, place.stages, micro_batches, at_most));
}

}  // namespace ulmpi
