#include "data/shared_runs.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "data/tokenizer/unicode.hpp"

namespace ulmpi {
namespace {

constexpr std::uint64_t base = 0x9E3779B97F4A7C15;

/// hash of letters c_0 … c_(n-1): sum of c_i base^(n - 1 - i), modulo 2^64; of the n letters one place on,
/// (hash - c_0 base^(n - 1)) base + c_n.
class RollingHash {
public:
    explicit RollingHash(std::size_t n) {
        for (std::size_t i = 1; i < n; ++i) highest_ *= base;
    }
    void add(char32_t letter) { value_ = value_ * base + letter; }
    void drop(char32_t letter) { value_ -= letter * highest_; }
    std::uint64_t value() const { return value_; }

private:
    std::uint64_t value_ = 0, highest_ = 1;
};

std::uint64_t hash_of(std::u32string_view letters) {
    RollingHash hash(letters.size());
    for (char32_t letter : letters) hash.add(letter);
    return hash.value();
}

void append_letters(std::u32string& letters, char32_t code) {
    std::string folded;
    append_folded(folded, code);
    for (std::size_t at = 0; at < folded.size();) {
        const CodePoint point = decode_utf8(folded, at);
        const CharacterCategory category = category_of(point.value);
        if (category == CharacterCategory::letter || category == CharacterCategory::number) letters += point.value;
        at += std::max<std::size_t>(point.length, 1);
    }
}

}  // namespace

std::u32string letters_and_digits(std::string_view text) {
    std::u32string letters;
    for (std::size_t at = 0; at < text.size();) {
        const auto byte = static_cast<unsigned char>(text[at]);
        if (byte < 0x80) {
            if ((byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9'))
                letters += byte;
            else if (byte >= 'A' && byte <= 'Z')
                letters += static_cast<char32_t>(byte - 'A' + 'a');
            ++at;
            continue;
        }
        const CodePoint point = decode_utf8(text, at);
        if (point.length > 0) append_letters(letters, point.value);
        at += std::max<std::size_t>(point.length, 1);
    }
    return letters;
}

// A run holds length - probe + 1 probes that begin one after the other: of a text's, one in so many is kept.
SharedRuns::SharedRuns(std::span<const std::string> texts, std::size_t length)
    : length_(length), probe_((length + 1) / 2), found_(texts.size(), false) {
    check(length > 0, "a run has a letter at least");
    for (std::uint32_t text = 0; text < texts.size(); ++text) {
        const std::u32string& letters = letters_.emplace_back(letters_and_digits(texts[text]));
        if (letters.size() < length_) continue;
        for (std::size_t first = 0; first + probe_ <= letters.size(); first += length_ - probe_ + 1)
            probes_[hash_of(std::u32string_view(letters).substr(first, probe_))].push_back(
                {text, static_cast<std::uint32_t>(first)});
    }
}

void SharedRuns::read(std::string_view other) {
    const std::u32string letters = letters_and_digits(other);
    if (letters.size() < length_) return;
    RollingHash hash(probe_);
    for (std::size_t end = 0; end < letters.size(); ++end) {
        if (end >= probe_) hash.drop(letters[end - probe_]);
        hash.add(letters[end]);
        if (end + 1 < probe_) continue;
        const auto same = probes_.find(hash.value());
        if (same == probes_.end()) continue;
        std::erase_if(same->second, [&](const Place& place) {
            if (!found_[place.text] && is_in_a_run(place, letters, end + 1 - probe_)) found_[place.text] = true;
            return bool(found_[place.text]);
        });
    }
}

bool SharedRuns::is_in_a_run(const Place& place, std::u32string_view other, std::size_t at) const {
    const std::u32string& own = letters_[place.text];
    std::size_t before = 0, after = 0;
    while (before < place.first && before < at && own[place.first - before - 1] == other[at - before - 1]) ++before;
    while (place.first + after < own.size() && at + after < other.size() &&
           own[place.first + after] == other[at + after])
        ++after;
    return after >= probe_ && before + after >= length_;
}

std::size_t SharedRuns::count() const { return static_cast<std::size_t>(std::ranges::count(found_, true)); }

}  // namespace ulmpi
