#pragma once
// Several classifiers of the same kind in one file, each under its own prefix, with what mixes them and a model of
// words (finetune/stacking.hpp): asked like one.

#include <filesystem>
#include <string>
#include <vector>

#include "base/files/hdf5_file.hpp"

namespace ulmpi {

/// "member.3/": before the names of the fourth member's weights.
std::string member_prefix(std::size_t member);

/// How the members' mean and the words are mixed.
struct EnsembleMix {
    double network = 1, words = 0;
    std::vector<std::uint8_t> model_of_words = {};  ///< as finetune/linear_model.hpp has it; empty: none
};

/// Writes the weights of the classifiers in `members`, rounded to `precision`, into one file. What they say of
/// themselves is the first's; metadata.ensemble says how many they are, how they are mixed and where they come from.
/// Without a model of words, one that all members share stays theirs. One rank. Throws UsageError naming the file and
/// what differs if they cannot be averaged (other classes, head, shape, tokenizer or words), if one is no classifier or
/// an ensemble itself, or a weight that the precision does not hold; Error if `to` cannot be written.
void write_ensemble(const std::vector<std::filesystem::path>& members, const EnsembleMix& mix,
                    const std::filesystem::path& to, ElementType precision);

}  // namespace ulmpi
