#pragma once
// What comes before and after the loop of training/trainer.hpp where a run is done in parts.

#include <string>

#include "checkpoints/run_progress.hpp"
#include "training/rank_model.hpp"
#include "training/run_spec.hpp"

namespace ulmpi {

/// "the same command", and what it must say besides to find what this run has saved.
std::string command_to_go_on(const RunOptions& run);

/// The weights that a run starts with: those it goes on from, with moments and progress; its parent's, the head and
/// spec.fresh_blocks made new (Zhang et al. 2021, arXiv 2006.05987); or all made new, by names and global indices.
/// `vocabulary`: from its parent's to its own, where they differ. Collective.
Progress start_from(const RunSpec& run, RankModel& model, const VocabularyMap* vocabulary = nullptr);

}  // namespace ulmpi
