#pragma once
// Models that come with the program, found by name: FOLDER/NAME/NAME.h5, with SHA256SUMS beside it.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace ulmpi {

/// Where a model that is called by a word alone may lie, the first first; empty if `name` is no such word. Of a program
/// PREFIX/bin/ulmpi: PREFIX/bin/models, PREFIX/share/ulmpi/models, and models/ of the source that it was built from.
std::vector<std::filesystem::path> shipped_model_places(const std::string& name, const std::filesystem::path& program);
/// Of the running program.
std::vector<std::filesystem::path> shipped_model_places(const std::string& name);

/// The first of its places that is there.
std::optional<std::filesystem::path> find_shipped_model(const std::string& name);

/// UsageError unless the file has the checksum that SHA256SUMS in its folder (as sha256sum writes it) has for it.
void check_shipped_model(const std::filesystem::path& file);

}  // namespace ulmpi
