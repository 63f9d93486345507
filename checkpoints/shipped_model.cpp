#include "checkpoints/shipped_model.hpp"

#include <fstream>
#include <sstream>

#include "base/error.hpp"
#include "base/files/sha256.hpp"
#include "base/quoted.hpp"

namespace ulmpi {

namespace fs = std::filesystem;

std::vector<fs::path> shipped_model_places(const std::string& name, const fs::path& program) {
    if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos) return {};
    const fs::path beside = program.parent_path();
    std::vector<fs::path> places;
    for (const fs::path& folder : {beside / "models", beside.parent_path() / "share" / "ulmpi" / "models",
                                   fs::path(ULMPI_SOURCE_DIR) / "models"})
        places.push_back(folder / name / (name + ".h5"));
    return places;
}

std::vector<fs::path> shipped_model_places(const std::string& name) {
    std::error_code failure;
    return shipped_model_places(name, fs::read_symlink("/proc/self/exe", failure));
}

std::optional<fs::path> find_shipped_model(const std::string& name) {
    std::error_code failure;
    for (const fs::path& place : shipped_model_places(name))
        if (fs::exists(place, failure)) return place;
    return std::nullopt;
}

void check_shipped_model(const fs::path& file) {
    const fs::path sums = file.parent_path() / "SHA256SUMS";
    std::ifstream lines(sums);
    std::string said;
    for (std::string line; std::getline(lines, line);) {  // "DIGITS  NAME", or "DIGITS *NAME"
        std::istringstream words(line);
        std::string digits, name;
        words >> digits >> name;
        if (name == file.filename().string() || name == "*" + file.filename().string()) said = digits;
    }
    check_usage(!said.empty(), "{} has no checksum of {}: fetch the folder again", quoted(sums),
                file.filename().string());
    const std::string found = sha256_of_file(file);
    check_usage(found == said,
                "{} is not the file that was shipped: its SHA-256 is {}, {} says {}; fetch it "
                "again",
                quoted(file), found, sums.filename().string(), said);
}

}  // namespace ulmpi
