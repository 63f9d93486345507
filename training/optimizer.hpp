#pragma once
// AdamW: Adam with decoupled weight decay (Loshchilov & Hutter 2019); or, of the matrices of blocks, Muon.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "model/parameters.hpp"
#include "parallel/team.hpp"
#include "training/muon.hpp"

namespace ulmpi {

struct AdamwConfig {
    double beta1 = 0.9, beta2 = 0.95, eps = 1e-8;
    double weight_decay = 0.1;  ///< matrices and embeddings only
    bool muon = false;          ///< the matrices of blocks are Muon's
    double average = 0;         ///< decay d of the weights' moving average; 0: there is none
};

/// The rate of each parameter group for one update; groups below `first_trained` are frozen and do not move at all.
struct GroupRates {
    std::vector<double> rate;
    int first_trained = 0;
};

class Optimizer {
public:
    /// `tensor`: the ranks that hold the other slices of this stage, for Muon; it must outlive this. May be null where
    /// no tensor is sliced.
    Optimizer(const ParameterStore& store, const AdamwConfig& config, const Communicator* tensor = nullptr);
    /// One update with gradients * gradient_scale, and the gradients are zero afterwards. Every worker calls it. A
    /// group counts its own updates for the bias correction, so that one unfrozen late starts afresh.
    void step(ParameterStore& store, const GroupRates& rates, double gradient_scale, const Team& team);

    /// Laid out like the store's buffers. Muon's momentum is among the first; its second ones stay 0.
    std::span<Real> first_moments() { return first_; }
    std::span<Real> second_moments() { return second_; }
    /// The mean of the weights after the updates s = 1 ... t of this run, each d^(t - s) times as heavy as the newest:
    /// an exponential moving average with its bias corrected. Laid out like the store; empty: none.
    std::span<Real> average() { return average_; }
    /// Weights and average change places, if there is one: called twice, nothing has changed.
    void exchange_average(ParameterStore& store);
    /// Of all groups of the model, whether this rank has parameters of them or not; empty before the first update.
    std::vector<std::uint64_t>& updates_by_group() { return updates_; }

private:
    void move_average(ParameterStore& store, const Team& team);

    AdamwConfig config_;
    std::optional<Muon> muon_;
    std::vector<Real> first_, second_, average_;
    std::vector<std::uint64_t> updates_;
};

}  // namespace ulmpi
