#include "checkpoints/outline.hpp"

#include <sys/resource.h>
#include <nlohmann/json.hpp>

#include <cstdlib>

#include <algorithm>
#include <numeric>

#include "base/files/descriptor.hpp"
#include "base/files/seal.hpp"
#include "checkpoints/format.hpp"
#include "checkpoints/run_record.hpp"

namespace ulmpi {
namespace {

// Files in memory obey the limit on the size of files too.
void check_size_limit(std::uint64_t bytes) {
    rlimit limit{};
    ::getrlimit(RLIMIT_FSIZE, &limit);
    check(limit.rlim_cur == RLIM_INFINITY || bytes <= limit.rlim_cur,
          "a file of {} bytes is too large for the limit of {} (ulimit -f)", bytes, limit.rlim_cur);
}

}  // namespace

CheckpointOutline::CheckpointOutline(const nlohmann::json& metadata, const std::string& tokenizer_json,
                                     const WideContent& wide, const std::vector<TensorPlacement>& tensors,
                                     const std::vector<WriteJob>& jobs, ElementType type) {
    const std::string metadata_json = metadata.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    const auto size_of = [&](const WriteJob& job) { return tensors[job.tensor].shape.size() * element_size(type); };
    std::uint64_t bytes = metadata_json.size() + tokenizer_json.size() + wide.bytes() + 65536;
    for (const WriteJob& job : jobs) bytes += size_of(job) + 1024;
    check_size_limit(bytes);

    std::string name = "/dev/shm/ulmpi-XXXXXX";
    const int made = ::mkstemp(name.data());
    check(made >= 0, "cannot make a file in memory under /dev/shm: {}", system_reason());
    ::close(made);
    const struct Unlinked {
        const std::string& name;
        ~Unlinked() { ::unlink(name.c_str()); }
    } in_any_case{name};
    memory_.emplace(name, O_RDONLY);
    check(memory_->is_open(), "cannot open a file in memory under /dev/shm: {}", system_reason());
    outline_ = Hdf5File::create(name);

    const bool averaged = std::ranges::any_of(jobs, [](WriteJob job) { return job.part == Part::training_weight; });
    Hdf5File& file = *outline_;
    file.set_attribute("/", "format_version",
                       format_of({.type = type,
                                  .words = !wide.model.empty(),
                                  .ensemble = is_ensemble(metadata),
                                  .averaged = averaged,
                                  .taught = wide.model.empty() && !wide.said.empty(),
                                  .other_family = names_family(metadata)}));
    file.set_attribute("/", "code_version", ULMPI_VERSION);
    file.write_text(metadata_dataset, metadata_json);
    file.write_text(tokenizer_dataset, tokenizer_json);
    if (!wide.model.empty()) file.write<std::uint8_t>(wide_model_dataset, {wide.model.size()}, wide.model);
    if (!wide.said.empty()) file.write<float>(said_dataset, {wide.said.size()}, wide.said);
    for (const WriteJob& job : jobs) {
        const TensorPlacement& tensor = tensors[job.tensor];
        const std::string dataset = dataset_name(job.part, tensor.name);
        const std::uint64_t offset = file.create_contiguous(dataset, type, dims_of(tensor.shape)).byte_offset();
        tensors_.push_back({dataset, offset, size_of(job)});
    }
}

std::uint64_t CheckpointOutline::end_of_tensors() const {
    std::uint64_t end = 0;
    for (const OutlinedTensor& tensor : tensors_) end = std::max(end, tensor.offset + tensor.bytes);
    return end;
}

std::uint32_t CheckpointOutline::complete(const std::filesystem::path& path, std::span<const std::uint32_t> crc32s) {
    for (std::size_t t = 0; t < tensors_.size(); ++t)
        outline_->set_attribute(tensors_[t].dataset, crc_attribute, std::uint64_t{crc32s[t]});
    outline_->close();

    FileDescriptor to(path, O_WRONLY);
    check(to.is_open(), "cannot open {}: {}", quoted(path), system_reason());
    std::vector<std::byte> buffer(std::size_t{1} << 20);
    std::uint64_t position = seal_size;
    std::uint32_t crc = 0;
    const auto copy_until = [&](std::uint64_t end) {  // or until the end of the outline
        memory_->seek(position);
        while (position < end) {
            const std::size_t n = memory_->read(buffer.data(), std::min<std::uint64_t>(buffer.size(), end - position));
            if (n == 0) break;
            to.write_at(position, buffer.data(), n);
            crc = crc32_joined(crc, crc32_of(std::span(buffer).first(n)), n);
            position += n;
        }
    };
    std::vector<std::size_t> order(tensors_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::sort(order, {}, [&](std::size_t t) { return tensors_[t].offset; });
    for (std::size_t t : order) {
        copy_until(tensors_[t].offset);
        check(position == tensors_[t].offset, "two datasets of {} overlap", quoted(path));
        crc = crc32_joined(crc, crc32s[t], tensors_[t].bytes);
        position += tensors_[t].bytes;
    }
    copy_until(UINT64_MAX);
    to.sync();  // here, since closing may flush as well, and tells nobody of a failure
    return crc;
}

}  // namespace ulmpi
