#pragma once
// HDF5's own interface, for the files of its door (hdf5_file.hpp) and for no others.

#define H5_USE_110_API
#include <hdf5.h>

#include <mutex>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/files/hdf5_file.hpp"

namespace ulmpi::hdf5_library {

static_assert(std::same_as<hid_t, std::int64_t> && std::same_as<hsize_t, unsigned long long>);

/// Serial HDF5 is not thread-safe, and prints every error on its own unless told otherwise (per thread, hence here).
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

/// What HDF5 says about the last failure: the operating system's words if it knows them, else its innermost message.
std::string reason();

/// The result of a call; Error where it is negative.
template <class Result>
Result must(Result result, const std::string& what) {
    if (result < 0) throw Error(what + reason());
    return result;
}

inline Hdf5Handle own(hid_t id, const std::string& what) { return Hdf5Handle(must(id, what)); }

struct KnownType {
    ElementType type;
    hid_t on_disk, in_memory;
};
const std::vector<KnownType>& known_types();
const KnownType& known(ElementType type);
inline hid_t disk_type(ElementType type) { return known(type).on_disk; }
inline hid_t memory_type(ElementType type) { return known(type).in_memory; }

inline std::vector<hsize_t> extents(const Dims& dims) { return {dims.begin(), dims.end()}; }
Hdf5Handle space_of(const Dims& shape);

/// A property list whose objects carry no time stamps.
Hdf5Handle without_times(hid_t list_class);
Hdf5Handle text_type(std::size_t length);
/// One format for all writers; no locks, which network file systems often lack (files here are written once, under a
/// temporary name, by one process).
Hdf5Handle access_properties();

}  // namespace ulmpi::hdf5_library
