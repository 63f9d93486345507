#pragma once
// Texts that have a long piece in common with others: what was copied, though not letter by letter from end to end.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ulmpi {

/// Which texts share a run of `length` letters and digits in a row, case folded, all else left out, with any of those
/// that are read past them. Memory: the letters of the texts four times, whatever is read.
class SharedRuns {
public:
    static constexpr std::size_t usual_length = 50;
    explicit SharedRuns(std::span<const std::string> texts, std::size_t length = usual_length);

    void read(std::string_view other);
    const std::vector<bool>& found() const { return found_; }  ///< by text
    std::size_t count() const;

private:
    struct Place {
        std::uint32_t text = 0, first = 0;
    };
    bool is_in_a_run(const Place& place, std::u32string_view other, std::size_t at) const;

    std::size_t length_, probe_;  ///< letters of a run, and of a probe: every run holds one whole probe of a text
    std::vector<std::u32string> letters_;
    std::unordered_map<std::uint64_t, std::vector<Place>> probes_;  ///< by their hash
    std::vector<bool> found_;
};

/// The letters and digits of a text, case folded.
std::u32string letters_and_digits(std::string_view text);

}  // namespace ulmpi
