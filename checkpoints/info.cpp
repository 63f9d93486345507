// What a checkpoint says of itself, and whether it is whole.

#include <fmt/format.h>

#include "base/files/seal.hpp"
#include "base/quoted.hpp"
#include "base/slice.hpp"
#include "checkpoints/checkpoint.hpp"
#include "checkpoints/content.hpp"
#include "checkpoints/format.hpp"
#include "parallel/run_main.hpp"

namespace ulmpi {
namespace {

CheckpointInfo read_info(const std::filesystem::path& path) {
    const CheckpointContent content(path);
    const Hdf5File& file = content.file();
    CheckpointInfo info;
    info.bytes = std::filesystem::file_size(path);
    info.format_version = file.unsigned_attribute("/", "format_version");
    info.code_version = file.text_attribute("/", "code_version");
    info.has_moments = content.has_moments();
    info.is_averaged = content.is_averaged();
    info.metadata = nlohmann::json::parse(file.read_text(metadata_dataset));
    info.tokenizer_json = file.read_text(tokenizer_dataset);
    if (file.exists(wide_model_dataset)) info.wide.model = file.read<std::uint8_t>(wide_model_dataset);
    if (file.exists(said_dataset)) info.wide.said = file.read<float>(said_dataset);
    for (const std::string& name : content.tensors()) {
        const std::string stored_as = dataset_name(Part::weight, name);
        const Hdf5Dataset dataset = file.dataset(stored_as);
        info.tensors.push_back({name, dataset.shape(),
                                static_cast<std::uint32_t>(file.unsigned_attribute(stored_as, crc_attribute)),
                                dataset.type()});
    }
    return info;
}

// Any failure of `body` as a UsageError: the file cannot be used.
template <class Body>
auto or_unusable(Body body) {
    std::optional<decltype(body())> result;
    const std::string problem = problem_of([&] { result.emplace(body()); });
    check_usage(problem.empty(), problem);
    return std::move(*result);
}

}  // namespace

CheckpointContent::CheckpointContent(const std::filesystem::path& verified) : file_(Hdf5File::open(verified)) {
    const std::uint64_t version = file_.unsigned_attribute("/", "format_version");
    check_usage(version <= checkpoint_format,
                fmt::format("{} is a checkpoint of format {}, made by a newer program ({}); this one reads up to {}",
                            quoted(verified), version, file_.text_attribute("/", "code_version"), checkpoint_format));
    for (const std::string& name : file_.datasets()) {
        is_averaged_ = is_averaged_ || name.starts_with(training_weight_group);
        if (name.starts_with(optimizer_group))
            has_moments_ = true;
        else if (name != metadata_dataset && name != tokenizer_dataset && !name.starts_with(wide_group))
            tensors_.push_back(name.substr(1));
    }
}

std::uint64_t TensorInfo::elements() const {
    std::uint64_t product = 1;
    for (std::uint64_t extent : shape) product *= extent;
    return product;
}

std::uint64_t CheckpointInfo::parameters() const {
    std::uint64_t sum = 0;
    for (const TensorInfo& tensor : tensors) sum += tensor.elements();
    return sum;
}

void verify_seal_together(const std::filesystem::path& path, const Communicator& ranks) {
    const Seal seal = together(ranks, [&] { return or_unusable([&] { return read_seal(path, checkpoint_kind); }); });
    const auto share = [&](int rank) {
        const Range part =
            even_slice(seal.bytes - seal_size, static_cast<std::size_t>(ranks.size()), static_cast<std::size_t>(rank));
        return Range{part.first + seal_size, part.last + seal_size};
    };
    std::uint32_t mine = 0;
    agree(ranks, problem_of([&] { mine = crc32_of_file(path, share(ranks.rank()).first, share(ranks.rank()).last); }));
    const std::vector<std::uint32_t> parts = ranks.all_gather(std::span<const std::uint32_t>(&mine, 1));
    std::uint32_t crc = 0;
    for (int rank = 0; rank < ranks.size(); ++rank)
        crc = crc32_joined(crc, parts[static_cast<std::size_t>(rank)], share(rank).size());
    agree(ranks,
          crc == seal.crc32
              ? std::string()
              : fmt::format("{} is damaged: its checksum is {:08x}, its seal says {:08x}; use another checkpoint",
                            quoted(path), crc, seal.crc32));
}

CheckpointInfo read_checkpoint_info(const std::filesystem::path& path, bool verified) {
    return or_unusable([&] {
        if (!verified) verify_seal(path, checkpoint_kind);
        return read_info(path);
    });
}

CheckpointInfo read_checkpoint_info(const std::filesystem::path& path, const Communicator& ranks, bool verified) {
    if (!verified) verify_seal_together(path, ranks);
    return together(ranks, [&] { return or_unusable([&] { return read_info(path); }); });
}

void verify_checkpoint(const std::filesystem::path& path) {
    const CheckpointInfo info = read_checkpoint_info(path);
    const Hdf5File file = Hdf5File::open(path);
    for (const TensorInfo& tensor : info.tensors)
        for (Part part : {Part::weight, Part::first_moment, Part::second_moment, Part::training_weight}) {
            if (part != Part::weight && !(part == Part::training_weight ? info.is_averaged : info.has_moments))
                continue;
            const std::string name = dataset_name(part, tensor.name);
            or_unusable([&] {
                const std::uint64_t begin = file.dataset(name).byte_offset();
                const std::uint64_t found =
                    crc32_of_file(path, begin, begin + tensor.elements() * element_size(tensor.type));
                check_usage(found == file.unsigned_attribute(name, crc_attribute),
                            quoted(path) + ": the checksum of " + name + " is not that of its bytes");
                return true;
            });
        }
}

}  // namespace ulmpi
