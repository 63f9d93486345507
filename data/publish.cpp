#include "data/publish.hpp"

#include "data/file_descriptor.hpp"
#include "data/quoted.hpp"

namespace ulmpi {

std::filesystem::path temporary_name(const std::filesystem::path& final_name) {
    return final_name.parent_path() / fmt::format(".{}.tmp-{}", final_name.filename().string(), ::getpid());
}

void sync_path(const std::filesystem::path& path) {
    FileDescriptor file(path, O_RDONLY);
    check(file.is_open(), "cannot open " + quoted(path) + ": " + system_reason());
    file.sync();
}

void publish(const std::filesystem::path& temporary, const std::filesystem::path& final_name) {
    sync_path(temporary);
    std::error_code failure;
    std::filesystem::rename(temporary, final_name, failure);
    check(!failure, "cannot rename " + quoted(temporary) + " to " + quoted(final_name) + ": " + failure.message());
    sync_path(final_name.has_parent_path() ? final_name.parent_path() : std::filesystem::path("."));
}

void write_file(const std::filesystem::path& final_name, std::string_view content) {
    const std::filesystem::path temporary = temporary_name(final_name);
    {
        FileDescriptor file(temporary, O_WRONLY | O_CREAT | O_TRUNC);
        check(file.is_open(), "cannot create " + quoted(temporary) + ": " + system_reason());
        try {
            file.write_at(0, content.data(), content.size());
        } catch (...) {
            ::unlink(temporary.c_str());
            throw;
        }
    }
    publish(temporary, final_name);
}

}  // namespace ulmpi
