#pragma once
// What tells two contents apart in 64 bits: of vocabularies, sets of data, models.

#include <cstdint>
#include <string_view>

namespace ulmpi {

/// FNV-1a over numbers and strings, each string with its length. Guards against mistakes, not against forgery.
class Fingerprint {
public:
    void add(std::uint64_t number) {
        for (int byte = 0; byte < 8; ++byte) mix(static_cast<unsigned char>(number >> 8 * byte));
    }
    void add(std::string_view text) {
        add(text.size());
        for (const char byte : text) mix(static_cast<unsigned char>(byte));
    }
    std::uint64_t value() const { return value_; }

private:
    void mix(unsigned char byte) { value_ = (value_ ^ byte) * 0x100000001B3u; }
    std::uint64_t value_ = 0xCBF29CE484222325u;
};

}  // namespace ulmpi
