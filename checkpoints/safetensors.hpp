#pragma once
// Files of safetensors (https://huggingface.co/docs/safetensors): the length of a header (u64, little-endian), the
// header, which is JSON and says of every tensor its type, its shape and where its bytes lie, and the bytes.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/files/descriptor.hpp"
#include "base/files/hdf5_file.hpp"

namespace ulmpi {

struct SafetensorsTensor {
    std::string name;
    ElementType type = ElementType::f32;  ///< f32, f16 or bf16
    Dims shape;
    std::uint64_t begin = 0, bytes = 0;  ///< where it lies in the file

    std::uint64_t elements() const { return bytes / element_size(type); }
};

/// A file open for reading. What it says of itself is checked before a tensor is read: a header that ends within the
/// file and names nothing twice, types that are known here, and tensors of their shapes' sizes that fill the rest of
/// the file without a gap or an overlap.
class SafetensorsFile {
public:
    /// Throws UsageError naming the file and what is wrong with it.
    explicit SafetensorsFile(const std::filesystem::path& path);

    const std::vector<SafetensorsTensor>& tensors() const { return tensors_; }  ///< as they lie in the file

    /// All elements of one of the tensors, exactly. Throws Error.
    std::vector<float> read(const SafetensorsTensor& tensor);

private:
    std::filesystem::path path_;
    FileDescriptor file_;
    std::vector<SafetensorsTensor> tensors_;
};

/// Writes a file of tensors, whose places (begin, bytes) are chosen here, one after another; `read(i)` gives the
/// elements of tensors[i], which are rounded to its type. One tensor at a time is in memory. On the disk when it
/// returns. Throws Error.
void write_safetensors(const std::filesystem::path& path, std::vector<SafetensorsTensor> tensors,
                       const std::function<std::vector<float>(std::size_t)>& read);

/// A name that a file gives, fit for a message: in double quotes, short, of one line.
std::string shown_name(const std::string& name);
/// "[3, 4]"
std::string shown_shape(const Dims& shape);

}  // namespace ulmpi
