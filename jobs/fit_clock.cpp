#include "jobs/fit_clock.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "parallel/run_main.hpp"
#include "training/wall_clock.hpp"

namespace ulmpi {

FitClock::FitClock(double given, const std::string& walltime, const StopSignals& signals, const Communicator& world)
    : given_(given), signals_(signals), world_(world) {
    end_of_job_ = together(world, [&] {
        if (world.rank() != 0) return std::optional<Time>();
        const bool asks_slurm = walltime == "auto";
        return job_end(walltime, asks_slurm ? std::chrono::system_clock::now() : signals.since(), slurm_seconds_left);
    });
}

double FitClock::here() const {
    return std::chrono::duration<double>(std::chrono::system_clock::now() - signals_.since()).count();
}

double FitClock::spent() const { return broadcast_value(before_ + here(), world_, 0); }

double FitClock::left_in_job() const {
    double left = given_ - before_ - here();
    if (end_of_job_)
        left = std::min(left, std::chrono::duration<double>(*end_of_job_ - std::chrono::system_clock::now()).count());
    return broadcast_value(left, world_, 0);
}

FitClock::Limit FitClock::limit(double spent) const {
    double until = std::max(spent - before_, here() + 1);
    bool of_job = false;
    if (end_of_job_) {
        const double end = std::chrono::duration<double>(*end_of_job_ - signals_.since()).count();
        of_job = end <= until;
        until = std::min(end, until);
    }
    return {fmt::format("{:.1f}s", broadcast_value(until, world_, 0)), broadcast_value(of_job, world_, 0)};
}

}  // namespace ulmpi
