#pragma once
// Muon (Jordan et al. 2024): the momentum of a matrix, orthogonalised, so that a step moves all its directions alike.
// Scaled so that an element moves about as far as under AdamW (Liu et al. 2025, arXiv 2502.16982), so that rates and
// decays are those of AdamW.

#include <span>
#include <vector>

#include "model/parameters.hpp"
#include "parallel/communicator.hpp"
#include "parallel/team.hpp"

namespace ulmpi {

/// The scalars of one update.
struct MuonStep {
    double lr = 0, weight_decay = 0;
    double gradient_scale = 1;  ///< clipping by the global norm: the gradient is multiplied by it first
};

/// Elements that it takes for the largest matrix of a store: of the whole one, where a rank holds a slice, and of
/// scratch.
struct MuonRoom {
    std::size_t whole = 0, scratch = 0;
    std::size_t bytes() const { return (whole + scratch) * sizeof(Real); }
};

class Muon {
public:
    static constexpr double momentum = 0.95;
    static constexpr int iterations = 5;

    /// Matrices of blocks; embeddings, heads, norms and biases are not its.
    static bool takes(const Parameter& p) { return p.stacked > 0; }
    static MuonRoom room_for(const ParameterStore& store);

    /// `tensor`: the ranks that hold the other slices; may be null where no tensor is sliced. It must outlive this.
    Muon(const ParameterStore& store, const Communicator* tensor);

    /// One update of a matrix, of which this rank may hold a slice; its gradient is zero afterwards. The whole one is
    /// put together first, since its directions are not those of its slices. Every worker calls it; collective over
    /// `tensor`.
    ///   g *= gradient_scale;  m = mu m + (1 - mu) g;  u = mu m + (1 - mu) g             (Nesterov's look ahead)
    ///   w = (1 - lr decay) w - lr 0.2 sqrt(max(rows, columns)) orthogonal(u)
    void step(ParameterStore& store, const Parameter& p, std::span<Real> first_moments, const MuonStep& step,
              const Team& team);

private:
    void gather(const Parameter& p, std::span<const Real> slice);
    void take_slice(const Parameter& p, std::span<Real> slice) const;

    const Communicator* tensor_;
    std::vector<Real> whole_, scratch_;
};

/// Turns g into about U V^T of its singular value decomposition U S V^T, by Newton-Schulz iterations
///   X <- a X + (b A + c A A) X,   A = X X^T,   (a, b, c) = (3.4445, -4.7750, 2.0315),   from X = g / |g|,
/// which bring every singular value that is not tiny to between 0.7 and 1.2. Each worker computes its rows; all call
/// it. scratch: orthogonalising_scratch(rows, columns) elements, the same for all.
void orthogonalise(View<Real> g, std::span<Real> scratch, const Team& team);
std::size_t orthogonalising_scratch(std::size_t rows, std::size_t columns);

}  // namespace ulmpi
