#include <cstring>

#include "base/files/half_float.hpp"
#include "base/files/hdf5_library.hpp"

namespace ulmpi {

using namespace hdf5_library;

namespace {

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

// The memory space of a box, after selecting that box in the space of the file.
Hdf5Handle select_box(hid_t space, const Dims& start, const Dims& count, std::size_t size, const std::string& name) {
    const int rank = must(H5Sget_simple_extent_ndims(space), "cannot read the shape of " + name);
    check(start.size() == count.size() && start.size() == static_cast<std::size_t>(rank),
          "{} has {} dimensions, not {}", name, rank, count.size());
    std::uint64_t box = 1;
    for (std::uint64_t n : count) box *= n;
    check(box == size, "{}: a box of {} elements, {} in memory", name, box, size);
    if (rank > 0 && size > 0) {
        must(H5Sselect_hyperslab(space, H5S_SELECT_SET, extents(start).data(), nullptr, extents(count).data(), nullptr),
             "cannot select a box in " + name);
        check(H5Sselect_valid(space) > 0, "{} is smaller than the box asked for", name);
    }
    return space_of(rank == 0 ? Dims{} : Dims{size});
}

}  // namespace

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
    check(before.size() == 1, "{} is not one-dimensional", name_);
    const hsize_t after = before[0] + size;
    must(H5Dset_extent(handle_.id(), &after), "cannot lengthen " + name_);
    write_box(type, before, {size}, values, size);
}

std::uint64_t Hdf5Dataset::byte_offset() const {
    const Lock lock;
    const haddr_t offset = H5Dget_offset(handle_.id());
    check(offset != HADDR_UNDEF, "{} is not one allocated piece of its file", name_);
    return offset;
}

}  // namespace ulmpi
