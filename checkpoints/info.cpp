// What a checkpoint says of itself, and whether it is whole.

#include <nlohmann/json.hpp>

#include <array>

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
                "{} is a checkpoint of format {}, made by a newer program ({}); this one reads up to {}",
                quoted(verified), version, file_.text_attribute("/", "code_version"), checkpoint_format);
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
    Seal seal;
    const auto share = [&](int rank) {
        const Range part =
            even_slice(seal.bytes - seal_size, static_cast<std::size_t>(ranks.size()), static_cast<std::size_t>(rank));
        return Range{part.first + seal_size, part.last + seal_size};
    };
    std::array<std::uint64_t, 3> mine{};  // checksum of its share, and what it takes for the seal's
    together(ranks, [&] {
        mine = or_unusable([&] {
            seal = read_seal(path, checkpoint_kind);
            const Range part = share(ranks.rank());
            return std::array<std::uint64_t, 3>{crc32_of_file(path, part.first, part.last), seal.crc32, seal.bytes};
        });
    });
    const std::vector<std::uint64_t> all = ranks.all_gather(std::span<const std::uint64_t>(mine));
    std::uint32_t crc = 0;
    for (int rank = 0; rank < ranks.size(); ++rank) {
        const std::uint64_t* const its = all.data() + mine.size() * static_cast<std::size_t>(rank);
        check_usage(its[1] == all[1] && its[2] == all[2],
                    "{} is not the same file on all ranks: they must see one folder", quoted(path));
        crc = crc32_joined(crc, static_cast<std::uint32_t>(its[0]), share(rank).size());
    }
    check_usage(crc == seal.crc32,
                "{} is damaged: its checksum is {:08x}, its seal says {:08x}; use another checkpoint", quoted(path),
                crc, seal.crc32);
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
    read_checkpoint_info(path);
    const Hdf5File file = Hdf5File::open(path);
    for (const std::string& name : file.datasets()) {
        if (name == metadata_dataset || name == tokenizer_dataset || name.starts_with(wide_group)) continue;
        or_unusable([&] {
            const Hdf5Dataset tensor = file.dataset(name);
            std::uint64_t bytes = element_size(tensor.type());
            for (const std::uint64_t extent : tensor.shape()) bytes *= extent;
            const std::uint64_t found = crc32_of_file(path, tensor.byte_offset(), tensor.byte_offset() + bytes);
            check_usage(found == file.unsigned_attribute(name, crc_attribute),
                        "{}: the checksum of {} is not that of its bytes", quoted(path), name);
            return true;
        });
    }
}

}  // namespace ulmpi
