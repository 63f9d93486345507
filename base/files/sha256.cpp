#include "base/files/sha256.hpp"

#include <sys/types.h>  // sha2.h lacks it

#include <sha2.h>

#include <cstdint>

#include "base/files/descriptor.hpp"

namespace ulmpi {

std::string sha256_of_file(const std::filesystem::path& file) {
    std::string digits(SHA256_DIGEST_STRING_LENGTH, '\0');
    const bool is_read = SHA256File(file.c_str(), digits.data()) != nullptr;
    check(is_read, "cannot read {}: {}", quoted(file), system_reason());
    digits.pop_back();  // the closing NUL
    return digits;
}

}  // namespace ulmpi
