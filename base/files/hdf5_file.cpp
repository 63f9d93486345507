#include "base/files/hdf5_file.hpp"

#include <algorithm>

#include "base/files/hdf5_library.hpp"
#include "base/quoted.hpp"

namespace ulmpi {

using namespace hdf5_library;

std::size_t element_size(ElementType type) {
    const Lock lock;
    return H5Tget_size(disk_type(type));
}

Hdf5Handle::~Hdf5Handle() {
    if (id_ < 0) return;
    const Lock lock;
    H5Idec_ref(id_);
}

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
          "{} is closed while its datasets are in use", quoted(path_));
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
          "{} does not hold strings of fixed length", source.name_);
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
    check(texts.size() == 1, "dataset {} is not one text", named(name));
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
    check(H5Sget_simple_extent_npoints(space.id()) == 1, "{}: it is not one number", what);
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
    check(H5Tget_class(type.id()) == H5T_STRING, "{}: it is not a text", what);
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
