#include "data/hdf5_file.hpp"

#define H5_USE_110_API
#include <hdf5.h>

#include <algorithm>
#include <cstring>
#include <mutex>

#include "data/half_float.hpp"
#include "data/quoted.hpp"
#include "parallel/error.hpp"

namespace ulmpi {

static_assert(std::same_as<hid_t, std::int64_t> && std::same_as<hsize_t, unsigned long long>);

namespace {

// Serial HDF5 is not thread-safe, and prints every error on its own unless told otherwise (per thread, hence here).
class Lock {
public:
    Lock() { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }

private:
    static std::recursive_mutex& mutex() {
        static std::recursive_mutex the_mutex;
        return the_mutex;
    }
    std::lock_guard<std::recursive_mutex> guard_{mutex()};
};

// What HDF5 says about the last failure: the operating system's words if it knows them, else its innermost message.
std::string reason() {
    std::string text;
    H5Ewalk2(
        H5E_DEFAULT, H5E_WALK_UPWARD,
        [](unsigned n, const H5E_error2_t* error, void* result) -> herr_t {
            if (n == 0 && error->desc) *static_cast<std::string*>(result) = error->desc;
            return 0;
        },
        &text);
    constexpr std::string_view mark = "error message = '";
    if (const auto begin = text.find(mark); begin != std::string::npos) {
        text.erase(0, begin + mark.size());
        text.erase(std::min(text.find('\''), text.size()));
    }
    return text.empty() ? std::string() : ": " + text;
}

template <class Result>
Result must(Result result, const std::string& what) {
    if (result < 0) throw Error(what + reason());
    return result;
}

Hdf5Handle own(hid_t id, const std::string& what) { return Hdf5Handle(must(id, what)); }

// A float of 16 bits: the sign, the exponent, the rest the mantissa. Made once; the library frees it.
hid_t half_type(std::size_t exponent_bits, std::size_t bias) {
    const hid_t type = must(H5Tcopy(H5T_IEEE_F32LE), "cannot make an HDF5 type");
    const std::size_t mantissa_bits = 15 - exponent_bits;
    must(H5Tset_fields(type, 15, mantissa_bits, exponent_bits, 0, mantissa_bits), "cannot make an HDF5 type");
    must(H5Tset_size(type, 2), "cannot make an HDF5 type");
    must(H5Tset_ebias(type, bias), "cannot make an HDF5 type");
    return type;
}

struct KnownType {
    ElementType type;
    hid_t on_disk, in_memory;
};

const std::vector<KnownType>& known_types() {
    static const hid_t f16 = half_type(5, 15), bf16 = half_type(8, 127);
    static const std::vector<KnownType> types{
        {ElementType::u8, H5T_STD_U8LE, H5T_NATIVE_UINT8},
        {ElementType::u16, H5T_STD_U16LE, H5T_NATIVE_UINT16},
        {ElementType::u32, H5T_STD_U32LE, H5T_NATIVE_UINT32},
        {ElementType::u64, H5T_STD_U64LE, H5T_NATIVE_UINT64},
        {ElementType::i32, H5T_STD_I32LE, H5T_NATIVE_INT32},
        {ElementType::i64, H5T_STD_I64LE, H5T_NATIVE_INT64},
        {ElementType::f16, f16, f16},
        {ElementType::bf16, bf16, bf16},
        {ElementType::f32, H5T_IEEE_F32LE, H5T_NATIVE_FLOAT},
        {ElementType::f64, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE},
    };
    return types;
}

const KnownType& known(ElementType type) {
    const auto found = std::ranges::find(known_types(), type, &KnownType::type);
    check(found != known_types().end(), "a text has no element type of fixed size");
    return *found;
}

hid_t disk_type(ElementType type) { return known(type).on_disk; }
hid_t memory_type(ElementType type) { return known(type).in_memory; }

// floats[i] = the number that the i-th pair of bytes stands for; i ascends, so that no pair is lost that is still
// needed.
template <class Widen>
void widen(float* floats, const std::byte* halves, std::size_t size, Widen widened) {
    for (std::size_t i = 0; i < size; ++i) {
        std::uint16_t half = 0;
        std::memcpy(&half, halves + 2 * i, 2);
        floats[i] = widened(half);
    }
}

std::vector<hsize_t> extents(const Dims& dims) { return {dims.begin(), dims.end()}; }

Hdf5Handle space_of(const Dims& shape) {
    const auto sizes = extents(shape);
    return own(
        shape.empty() ? H5Screate(H5S_SCALAR) : H5Screate_simple(static_cast<int>(sizes.size()), sizes.data(), nullptr),
        "cannot make an HDF5 data space");
}

// A property list whose objects carry no time stamps.
Hdf5Handle without_times(hid_t list_class) {
    Hdf5Handle list = own(H5Pcreate(list_class), "cannot make an HDF5 property list");
    must(H5Pset_obj_track_times(list.id(), false), "cannot set HDF5 properties");
    return list;
}

Hdf5Handle text_type(std::size_t length) {
    Hdf5Handle type = own(H5Tcopy(H5T_C_S1), "cannot make an HDF5 string type");
    must(H5Tset_size(type.id(), std::max<std::size_t>(length, 1)), "cannot make an HDF5 string type");
    must(H5Tset_strpad(type.id(), H5T_STR_NULLPAD), "cannot make an HDF5 string type");
    must(H5Tset_cset(type.id(), H5T_CSET_UTF8), "cannot make an HDF5 string type");
    return type;
}

// One format for all writers; no locks, which network file systems often lack (files here are written once, under a
// temporary name, by one process).
Hdf5Handle access_properties() {
    Hdf5Handle list = own(H5Pcreate(H5P_FILE_ACCESS), "cannot make an HDF5 property list");
    must(H5Pset_libver_bounds(list.id(), H5F_LIBVER_V110, H5F_LIBVER_V110), "cannot set HDF5 properties");
    must(H5Pset_file_locking(list.id(), false, true), "cannot set HDF5 properties");
    return list;
}

// The memory space of a box, after selecting that box in the space of the file.
Hdf5Handle select_box(hid_t space, const Dims& start, const Dims& count, std::size_t size, const std::string& name) {
    const int rank = must(H5Sget_simple_extent_ndims(space), "cannot read the shape of " + name);
    check(start.size() == count.size() && start.size() == static_cast<std::size_t>(rank),
          name + " has " + std::to_string(rank) + " dimensions, not " + std::to_string(count.size()));
    std::uint64_t box = 1;
    for (std::uint64_t n : count) box *= n;
    check(box == size,
          name + ": a box of " + std::to_string(box) + " elements, " + std::to_string(size) + " in memory");
    if (rank > 0 && size > 0) {
        must(H5Sselect_hyperslab(space, H5S_SELECT_SET, extents(start).data(), nullptr, extents(count).data(), nullptr),
             "cannot select a box in " + name);
        check(H5Sselect_valid(space) > 0, name + " is smaller than the box asked for");
    }
    return space_of(rank == 0 ? Dims{} : Dims{size});
}

}  // namespace

std::size_t element_size(ElementType type) {
    const Lock lock;
    return H5Tget_size(disk_type(type));
}

Hdf5Handle::~Hdf5Handle() {
    if (id_ < 0) return;
    const Lock lock;
    H5Idec_ref(id_);
}

// ---------------------------------------------------------------- datasets

Dims Hdf5Dataset::shape() const {
    const Lock lock;
    const Hdf5Handle space = own(H5Dget_space(handle_.id()), "cannot read the shape of " + name_);
    std::vector<hsize_t> sizes(
        static_cast<std::size_t>(must(H5Sget_simple_extent_ndims(space.id()), "cannot read the shape of " + name_)));
    must(H5Sget_simple_extent_dims(space.id(), sizes.data(), nullptr), "cannot read the shape of " + name_);
    return {sizes.begin(), sizes.end()};
}

ElementType Hdf5Dataset::type() const {
    const Lock lock;
    const Hdf5Handle type = own(H5Dget_type(handle_.id()), "cannot read the type of " + name_);
    if (H5Tget_class(type.id()) == H5T_STRING) return ElementType::text;
    for (const KnownType& known : known_types())
        if (H5Tequal(type.id(), known.on_disk) > 0) return known.type;
    throw Error(name_ + " has an element type that is not known here");
}

void Hdf5Dataset::read_box(ElementType type, const Dims& start, const Dims& count, void* values,
                           std::size_t size) const {
    const Lock lock;
    const Hdf5Handle space = own(H5Dget_space(handle_.id()), "cannot read " + name_);
    const Hdf5Handle memory = select_box(space.id(), start, count, size, name_);
    if (size == 0) return;
    const auto read_as = [&](hid_t memory_type_, void* to) {
        must(H5Dread(handle_.id(), memory_type_, memory.id(), space.id(), H5P_DEFAULT, to),
             "cannot read " + name_ + ", it may be damaged");
    };
    const Hdf5Handle stored = own(H5Dget_type(handle_.id()), "cannot read the type of " + name_);
    for (ElementType half : {ElementType::f16, ElementType::bf16})
        if (type == ElementType::f32 && H5Tequal(stored.id(), disk_type(half)) > 0) {
            // HDF5's own conversion takes 100 times as long. The halves lie at the end of the room of the floats.
            float* const floats = static_cast<float*>(values);
            auto* const halves = reinterpret_cast<std::byte*>(floats) + size * 2;
            read_as(disk_type(half), halves);
            return half == ElementType::f16 ? widen(floats, halves, size, float_from_half)
                                            : widen(floats, halves, size, float_from_bfloat16);
        }
    read_as(memory_type(type), values);
}

void Hdf5Dataset::write_box(ElementType type, const Dims& start, const Dims& count, const void* values,
                            std::size_t size) {
    const Lock lock;
    const Hdf5Handle space = own(H5Dget_space(handle_.id()), "cannot write " + name_);
    const Hdf5Handle memory = select_box(space.id(), start, count, size, name_);
    if (size == 0) return;
    must(H5Dwrite(handle_.id(), memory_type(type), memory.id(), space.id(), H5P_DEFAULT, values),
         "cannot write " + name_);
}

void Hdf5Dataset::append_raw(ElementType type, const void* values, std::size_t size) {
    const Lock lock;
    const Dims before = shape();
    check(before.size() == 1, name_ + " is not one-dimensional");
    const hsize_t after = before[0] + size;
    must(H5Dset_extent(handle_.id(), &after), "cannot lengthen " + name_);
    write_box(type, before, {size}, values, size);
}

std::uint64_t Hdf5Dataset::byte_offset() const {
    const Lock lock;
    const haddr_t offset = H5Dget_offset(handle_.id());
    check(offset != HADDR_UNDEF, name_ + " is not one allocated piece of its file");
    return offset;
}

// ---------------------------------------------------------------- files

std::string Hdf5File::named(const std::string& name) const { return "'" + name + "' of " + quoted(path_); }

Hdf5File Hdf5File::create(const std::filesystem::path& path) {
    const Lock lock;
    const Hdf5Handle creation = without_times(H5P_FILE_CREATE);
    must(H5Pset_userblock(creation.id(), user_block), "cannot set HDF5 properties");
    Hdf5Handle file = own(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation.id(), access_properties().id()),
                          "cannot create " + quoted(path));
    return {std::move(file), path};
}

Hdf5File Hdf5File::open_as(const std::filesystem::path& path, unsigned mode) {
    const Lock lock;
    return {own(H5Fopen(path.c_str(), mode, access_properties().id()), "cannot open " + quoted(path) + " as HDF5"),
            path};
}

Hdf5File Hdf5File::open(const std::filesystem::path& path) { return open_as(path, H5F_ACC_RDONLY); }
Hdf5File Hdf5File::open_to_change(const std::filesystem::path& path) { return open_as(path, H5F_ACC_RDWR); }

void Hdf5File::close() {
    const Lock lock;
    check(must(H5Fget_obj_count(handle_.id(), H5F_OBJ_DATASET | H5F_OBJ_LOCAL), "cannot close " + quoted(path_)) == 0,
          quoted(path_) + " is closed while its datasets are in use");
    must(H5Fflush(handle_.id(), H5F_SCOPE_LOCAL), "cannot write " + quoted(path_));
    must(H5Fclose(handle_.release()), "cannot write " + quoted(path_));
}

Hdf5Dataset Hdf5File::create_dataset(const std::string& name, std::int64_t type, std::int64_t space,
                                     std::int64_t properties) {
    const std::string what = "dataset " + named(name);
    for (std::size_t slash = name.find('/', 1); slash != std::string::npos; slash = name.find('/', slash + 1))
        if (const std::string group = name.substr(0, slash); !exists(group))
            own(H5Gcreate2(handle_.id(), group.c_str(), H5P_DEFAULT, without_times(H5P_GROUP_CREATE).id(), H5P_DEFAULT),
                "cannot create group " + named(group));
    return {own(H5Dcreate2(handle_.id(), name.c_str(), type, space, H5P_DEFAULT, properties, H5P_DEFAULT),
                "cannot create " + what),
            what};
}

Hdf5Dataset Hdf5File::create_contiguous(const std::string& name, ElementType type, const Dims& shape) {
    const Lock lock;
    const Hdf5Handle properties = without_times(H5P_DATASET_CREATE);
    must(H5Pset_layout(properties.id(), H5D_CONTIGUOUS), "cannot set HDF5 properties");
    must(H5Pset_alloc_time(properties.id(), H5D_ALLOC_TIME_EARLY), "cannot set HDF5 properties");
    must(H5Pset_fill_time(properties.id(), H5D_FILL_TIME_NEVER), "cannot set HDF5 properties");
    return create_dataset(name, disk_type(type), space_of(shape).id(), properties.id());
}

Hdf5Dataset Hdf5File::create_extendable(const std::string& name, ElementType type, std::uint64_t chunk) {
    const Lock lock;
    const Hdf5Handle properties = without_times(H5P_DATASET_CREATE);
    const hsize_t chunk_size = chunk, none = 0, unlimited = H5S_UNLIMITED;
    must(H5Pset_chunk(properties.id(), 1, &chunk_size), "cannot set HDF5 properties");
    must(H5Pset_fletcher32(properties.id()), "cannot set HDF5 properties");
    const Hdf5Handle space = own(H5Screate_simple(1, &none, &unlimited), "cannot make an HDF5 data space");
    return create_dataset(name, disk_type(type), space.id(), properties.id());
}

Hdf5Dataset Hdf5File::dataset(const std::string& name) const {
    const Lock lock;
    const std::string what = "dataset " + named(name);
    return {own(H5Dopen2(handle_.id(), name.c_str(), H5P_DEFAULT), "cannot open " + what), what};
}

bool Hdf5File::exists(const std::string& name) const {
    const Lock lock;
    if (name == "/") return true;
    for (std::size_t slash = name.find('/', 1); slash != std::string::npos; slash = name.find('/', slash + 1))
        if (H5Lexists(handle_.id(), name.substr(0, slash).c_str(), H5P_DEFAULT) <= 0) return false;
    return H5Lexists(handle_.id(), name.c_str(), H5P_DEFAULT) > 0;
}

std::vector<std::string> Hdf5File::datasets(const std::string& group) const {
    const Lock lock;
    const Hdf5Handle root = own(H5Oopen(handle_.id(), group.c_str(), H5P_DEFAULT), "cannot open group " + named(group));
    std::vector<std::string> names;
    must(H5Ovisit2(
             root.id(), H5_INDEX_NAME, H5_ITER_INC,
             [](hid_t, const char* name, const H5O_info_t* info, void* result) -> herr_t {
                 if (info->type == H5O_TYPE_DATASET) static_cast<std::vector<std::string>*>(result)->push_back(name);
                 return 0;
             },
             &names, H5O_INFO_BASIC),
         "cannot list group " + named(group));
    const std::string prefix = group.ends_with('/') ? group : group + "/";
    for (std::string& name : names) name = prefix + name;
    std::ranges::sort(names);
    return names;
}

// ---------------------------------------------------------------- texts

void Hdf5File::write_strings(const std::string& name, const std::vector<std::string_view>& texts, bool scalar) {
    const Lock lock;
    std::size_t length = 1;
    for (std::string_view text : texts) length = std::max(length, text.size());
    std::string padded;
    for (std::string_view text : texts) padded.append(text).append(length - text.size(), '\0');
    const Hdf5Handle type = text_type(length), space = space_of(scalar ? Dims{} : Dims{texts.size()});
    const Hdf5Dataset made = create_dataset(name, type.id(), space.id(), without_times(H5P_DATASET_CREATE).id());
    if (texts.empty()) return;
    must(H5Dwrite(made.handle_.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, padded.data()),
         "cannot write " + made.name_);
}

std::vector<std::string> Hdf5File::read_strings(const std::string& name) const {
    const Lock lock;
    const Hdf5Dataset source = dataset(name);
    const Hdf5Handle type = own(H5Dget_type(source.handle_.id()), "cannot read " + source.name_);
    check(H5Tget_class(type.id()) == H5T_STRING && H5Tis_variable_str(type.id()) == 0,
          source.name_ + " does not hold strings of fixed length");
    const std::size_t length = H5Tget_size(type.id());
    std::size_t count = 1;
    for (std::uint64_t extent : source.shape()) count *= extent;
    std::string padded(count * length, '\0');
    if (count > 0)
        must(H5Dread(source.handle_.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, padded.data()),
             "cannot read " + source.name_ + ", it may be damaged");
    std::vector<std::string> texts(count);
    for (std::size_t i = 0; i < count; ++i) {
        texts[i] = padded.substr(i * length, length);
        texts[i].erase(texts[i].find_last_not_of('\0') + 1);
    }
    return texts;
}

void Hdf5File::write_text(const std::string& name, std::string_view text) { write_strings(name, {text}, true); }

std::string Hdf5File::read_text(const std::string& name) const {
    const auto texts = read_strings(name);
    check(texts.size() == 1, "dataset " + named(name) + " is not one text");
    return texts[0];
}

void Hdf5File::write_texts(const std::string& name, const std::vector<std::string>& texts) {
    write_strings(name, {texts.begin(), texts.end()}, false);
}

std::vector<std::string> Hdf5File::read_texts(const std::string& name) const { return read_strings(name); }

// ---------------------------------------------------------------- attributes

void Hdf5File::write_attribute(const std::string& object, const std::string& name, std::int64_t type,
                               const void* value) {
    const Lock lock;
    const std::string what = "cannot write attribute '" + name + "' of " + named(object);
    const Hdf5Handle owner = own(H5Oopen(handle_.id(), object.c_str(), H5P_DEFAULT), what);
    if (must(H5Aexists(owner.id(), name.c_str()), what) > 0) must(H5Adelete(owner.id(), name.c_str()), what);
    const Hdf5Handle attribute =
        own(H5Acreate2(owner.id(), name.c_str(), type, space_of({}).id(), H5P_DEFAULT, H5P_DEFAULT), what);
    must(H5Awrite(attribute.id(), type, value), what);
}

void Hdf5File::write_number(const std::string& object, const std::string& name, ElementType type, const void* value) {
    const Lock lock;
    write_attribute(object, name, disk_type(type), value);
}

void Hdf5File::set_attribute(const std::string& object, const std::string& name, std::string_view value) {
    const Lock lock;
    const std::string text(value);
    write_attribute(object, name, text_type(text.size()).id(), text.c_str());
}

void Hdf5File::read_number(const std::string& object, const std::string& name, ElementType type, void* value) const {
    const Lock lock;
    const std::string what = "cannot read attribute '" + name + "' of " + named(object);
    const Hdf5Handle attribute =
        own(H5Aopen_by_name(handle_.id(), object.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT), what);
    const Hdf5Handle space = own(H5Aget_space(attribute.id()), what);
    check(H5Sget_simple_extent_npoints(space.id()) == 1, what + ": it is not one number");
    must(H5Aread(attribute.id(), memory_type(type), value), what);
}

bool Hdf5File::has_attribute(const std::string& object, const std::string& name) const {
    const Lock lock;
    return H5Aexists_by_name(handle_.id(), object.c_str(), name.c_str(), H5P_DEFAULT) > 0;
}

std::string Hdf5File::text_attribute(const std::string& object, const std::string& name) const {
    const Lock lock;
    const std::string what = "cannot read attribute '" + name + "' of " + named(object);
    const Hdf5Handle attribute =
        own(H5Aopen_by_name(handle_.id(), object.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT), what);
    const Hdf5Handle type = own(H5Aget_type(attribute.id()), what);
    check(H5Tget_class(type.id()) == H5T_STRING, what + ": it is not a text");
    if (H5Tis_variable_str(type.id()) > 0) {
        char* value = nullptr;  // the library's, to be freed by it
        must(H5Aread(attribute.id(), type.id(), static_cast<void*>(&value)), what);
        const std::string copy = value ? value : "";
        H5free_memory(value);
        return copy;
    }
    std::string text(H5Tget_size(type.id()), '\0');
    must(H5Aread(attribute.id(), type.id(), text.data()), what);
    text.erase(text.find_last_not_of('\0') + 1);
    return text;
}

}  // namespace ulmpi
