#pragma once
// The only door to HDF5: files, datasets and attributes as C++ values. Serial HDF5, one process per open file.
//
// Equal content gives equal bytes: no time stamps, a fixed version of the format (1.10), a fixed user block.
// Every call may be made from any thread (one lock guards the library) and throws Error naming file and dataset.
// Files of strangers must pass verify_seal (file_seal.hpp) before they are opened here.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace ulmpi {

/// Extents or coordinates, outermost first. Empty: a scalar.
using Dims = std::vector<std::uint64_t>;

/// What one element of a dataset is, on disk (little-endian) or in memory. `f16`: IEEE 754's binary16; `bf16`: the
/// upper half of a float; both are read as float or double, exactly. `text`: a string of fixed length.
enum class ElementType { u8, u16, u32, u64, i32, i64, f16, bf16, f32, f64, text };

std::size_t element_size(ElementType type);  // in bytes; `text` has no size of its own and is refused

/// The C++ types that can be read and written. HDF5 converts between any two of them.
template <class T>
concept Hdf5Element = std::same_as<T, std::uint8_t> || std::same_as<T, std::uint16_t> ||
    std::same_as<T, std::uint32_t> || std::same_as<T, std::uint64_t> || std::same_as<T, std::int32_t> ||
    std::same_as<T, std::int64_t> || std::same_as<T, float> || std::same_as<T, double>;

template <Hdf5Element T>
constexpr ElementType element_type_of() {
    if constexpr (std::same_as<T, std::uint8_t>) return ElementType::u8;
    if constexpr (std::same_as<T, std::uint16_t>) return ElementType::u16;
    if constexpr (std::same_as<T, std::uint32_t>) return ElementType::u32;
    if constexpr (std::same_as<T, std::uint64_t>) return ElementType::u64;
    if constexpr (std::same_as<T, std::int32_t>) return ElementType::i32;
    if constexpr (std::same_as<T, std::int64_t>) return ElementType::i64;
    if constexpr (std::same_as<T, float>) return ElementType::f32;
    if constexpr (std::same_as<T, double>) return ElementType::f64;
}

/// Owns one reference to an HDF5 object.
class Hdf5Handle {
public:
    Hdf5Handle() = default;
    explicit Hdf5Handle(std::int64_t id) : id_(id) {}
    Hdf5Handle(Hdf5Handle&& other) noexcept : id_(std::exchange(other.id_, -1)) {}
    Hdf5Handle& operator=(Hdf5Handle&& other) noexcept {
        std::swap(id_, other.id_);
        return *this;
    }
    ~Hdf5Handle();
    std::int64_t id() const { return id_; }
    std::int64_t release() { return std::exchange(id_, -1); }

private:
    std::int64_t id_ = -1;
};

/// An open dataset of an open file. Keeps its file open; must be gone before Hdf5File::close().
class Hdf5Dataset {
public:
    Dims shape() const;
    ElementType type() const;

    /// Reads or writes the box [start, start + count), row-major. `values` has exactly as many elements as the box.
    template <Hdf5Element T>
    void read(const Dims& start, const Dims& count, std::span<T> values) const {
        read_box(element_type_of<T>(), start, count, values.data(), values.size());
    }
    template <Hdf5Element T>
    void write(const Dims& start, const Dims& count, std::span<const T> values) {
        write_box(element_type_of<T>(), start, count, values.data(), values.size());
    }

    /// All elements, flat and row-major.
    template <Hdf5Element T>
    std::vector<T> read_all() const {
        const Dims extents = shape();
        std::size_t size = 1;
        for (std::uint64_t extent : extents) size *= extent;
        std::vector<T> values(size);
        read(Dims(extents.size(), 0), extents, std::span<T>(values));
        return values;
    }

    /// Lengthens a 1-D extendable dataset.
    template <Hdf5Element T>
    void append(std::span<const T> values) {
        append_raw(element_type_of<T>(), values.data(), values.size());
    }

    /// Where the bytes of an allocated contiguous dataset begin, counted from the first byte of the file (the user
    /// block included), so that several processes may pwrite into it once this one has closed the file.
    std::uint64_t byte_offset() const;

private:
    friend class Hdf5File;
    Hdf5Dataset(Hdf5Handle handle, std::string name) : handle_(std::move(handle)), name_(std::move(name)) {}
    void read_box(ElementType type, const Dims& start, const Dims& count, void* values, std::size_t size) const;
    void write_box(ElementType type, const Dims& start, const Dims& count, const void* values, std::size_t size);
    void append_raw(ElementType type, const void* values, std::size_t size);

    Hdf5Handle handle_;
    std::string name_;  // "dataset '/tokens' of 'file.h5'", for messages
};

class Hdf5File {
public:
    /// Bytes in front of the HDF5 data of every file made by create(), zero until sealed.
    static constexpr std::size_t user_block = 512;

    static Hdf5File create(const std::filesystem::path& path);  // replaces what is there: hand it a temporary name
    static Hdf5File open(const std::filesystem::path& path);    // to read only
    static Hdf5File open_to_change(const std::filesystem::path& path);

    /// Writes everything and closes, so that a full disk is an error here. The destructor closes in silence.
    void close();

    /// New datasets; missing groups on the way are made. Contiguous ones are allocated at once and not filled.
    Hdf5Dataset create_contiguous(const std::string& name, ElementType type, const Dims& shape);
    /// 1-D, empty, to be appended to; chunks of `chunk` elements, each with a Fletcher-32 checksum.
    Hdf5Dataset create_extendable(const std::string& name, ElementType type, std::uint64_t chunk);

    template <Hdf5Element T>
    void write(const std::string& name, const Dims& shape, std::span<const T> values) {
        create_contiguous(name, element_type_of<T>(), shape).write(Dims(shape.size(), 0), shape, values);
    }
    template <Hdf5Element T>
    std::vector<T> read(const std::string& name) const {
        return dataset(name).read_all<T>();
    }

    /// A text as a scalar string of fixed length, a list as a 1-D dataset of them. Bytes pass unchanged, except that
    /// NULs at the end are lost.
    void write_text(const std::string& name, std::string_view text);
    std::string read_text(const std::string& name) const;
    void write_texts(const std::string& name, const std::vector<std::string>& texts);
    std::vector<std::string> read_texts(const std::string& name) const;

    Hdf5Dataset dataset(const std::string& name) const;
    bool exists(const std::string& name) const;  // a dataset or a group
    /// Full names ("/a/b") of all datasets in a group and the groups below it, sorted.
    std::vector<std::string> datasets(const std::string& group = "/") const;

    /// Attributes of a group or dataset ("/": the file itself). A text attribute is under 64 KiB.
    template <class Number>
    requires std::is_arithmetic_v<Number>
    void set_attribute(const std::string& object, const std::string& name, Number value) {
        using Stored =
            std::conditional_t<std::floating_point<Number>, double,
                               std::conditional_t<std::signed_integral<Number>, std::int64_t, std::uint64_t>>;
        const Stored stored = value;
        write_number(object, name, element_type_of<Stored>(), &stored);
    }
    void set_attribute(const std::string& object, const std::string& name, std::string_view value);
    bool has_attribute(const std::string& object, const std::string& name) const;
    std::int64_t integer_attribute(const std::string& object, const std::string& name) const {
        return read_number<std::int64_t>(object, name);
    }
    std::uint64_t unsigned_attribute(const std::string& object, const std::string& name) const {
        return read_number<std::uint64_t>(object, name);
    }
    double real_attribute(const std::string& object, const std::string& name) const {
        return read_number<double>(object, name);
    }
    std::string text_attribute(const std::string& object, const std::string& name) const;

    const std::filesystem::path& path() const { return path_; }

private:
    Hdf5File(Hdf5Handle handle, std::filesystem::path path) : handle_(std::move(handle)), path_(std::move(path)) {}
    static Hdf5File open_as(const std::filesystem::path& path, unsigned mode);
    Hdf5Dataset create_dataset(const std::string& name, std::int64_t type, std::int64_t space, std::int64_t properties);
    void write_strings(const std::string& name, const std::vector<std::string_view>& texts, bool scalar);
    std::vector<std::string> read_strings(const std::string& name) const;
    void write_attribute(const std::string& object, const std::string& name, std::int64_t type, const void* value);
    void write_number(const std::string& object, const std::string& name, ElementType type, const void* value);
    void read_number(const std::string& object, const std::string& name, ElementType type, void* value) const;
    template <Hdf5Element T>
    T read_number(const std::string& object, const std::string& name) const {
        T value{};
        read_number(object, name, element_type_of<T>(), &value);
        return value;
    }
    std::string named(const std::string& name) const;

    Hdf5Handle handle_;
    std::filesystem::path path_;
};

}  // namespace ulmpi
