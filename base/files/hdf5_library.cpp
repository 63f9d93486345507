#include "base/files/hdf5_library.hpp"

#include <algorithm>

namespace ulmpi::hdf5_library {

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

namespace {

// A float of 16 bits: the sign, the exponent, the rest the mantissa. Made once; the library frees it.
hid_t half_type(std::size_t exponent_bits, std::size_t bias) {
    const hid_t type = must(H5Tcopy(H5T_IEEE_F32LE), "cannot make an HDF5 type");
    const std::size_t mantissa_bits = 15 - exponent_bits;
    must(H5Tset_fields(type, 15, mantissa_bits, exponent_bits, 0, mantissa_bits), "cannot make an HDF5 type");
    must(H5Tset_size(type, 2), "cannot make an HDF5 type");
    must(H5Tset_ebias(type, bias), "cannot make an HDF5 type");
    return type;
}

}  // namespace

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

Hdf5Handle space_of(const Dims& shape) {
    const auto sizes = extents(shape);
    return own(
        shape.empty() ? H5Screate(H5S_SCALAR) : H5Screate_simple(static_cast<int>(sizes.size()), sizes.data(), nullptr),
        "cannot make an HDF5 data space");
}

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

Hdf5Handle access_properties() {
    Hdf5Handle list = own(H5Pcreate(H5P_FILE_ACCESS), "cannot make an HDF5 property list");
    must(H5Pset_libver_bounds(list.id(), H5F_LIBVER_V110, H5F_LIBVER_V110), "cannot set HDF5 properties");
    must(H5Pset_file_locking(list.id(), false, true), "cannot set HDF5 properties");
    return list;
}

}  // namespace ulmpi::hdf5_library
