#include "base/files/direct_writer.hpp"

#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <new>

#include "base/files/seal.hpp"

namespace ulmpi {
namespace {

// File systems of a machine's own disks, by the numbers of statfs(2). Over a network a page cache gathers what one
// request after the other would wait for.
bool is_local(const std::filesystem::path& path) {
    constexpr std::array<unsigned long, 4> local{0xEF53 /* ext */, 0x58465342 /* XFS */, 0x9123683E /* Btrfs */,
                                                 0xF2F52010 /* F2FS */};
    struct statfs about {};
    return ::statfs(path.c_str(), &about) == 0 &&
           std::ranges::find(local, static_cast<unsigned long>(about.f_type) & 0xFFFFFFFFUL) != local.end();
}

// A page is the least that the page cache writes: one that is written past it must not be in it too.
std::size_t page_size() { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)); }

}  // namespace

DirectWriter::DirectWriter(const std::filesystem::path& path) : file_(path, O_WRONLY) {
    check(file_.is_open(), "cannot open {}: {}", quoted(path), system_reason());
    if (!is_local(path)) return;
    direct_.emplace(path, O_WRONLY | O_DIRECT);
    if (!direct_->is_open()) direct_.reset();
}

// |head| whole pages ... |tail|
std::uint32_t DirectWriter::write(std::uint64_t offset, std::span<const std::byte> bytes) {
    const std::size_t page = page_size();
    if (!direct_ || bytes.size() < least) return write_ordinarily(offset, bytes);
    const std::size_t head = static_cast<std::size_t>((page - offset % page) % page);
    std::uint32_t crc = write_ordinarily(offset, bytes.first(head));
    std::size_t done = head;
    while (bytes.size() - done >= page) {
        const std::span<const std::byte> next =
            bytes.subspan(done, std::min(piece, (bytes.size() - done) / page * page));
        crc = crc32_joined(crc, begin_piece(offset + done, next), next.size());
        done += next.size();
    }
    const std::span<const std::byte> tail = bytes.subspan(done);
    return crc32_joined(crc, write_ordinarily(offset + done, tail), tail.size());
}

// In pieces that fit the processor's cache, so that the checksum finds them there; the disk begins with each at once.
std::uint32_t DirectWriter::write_ordinarily(std::uint64_t offset, std::span<const std::byte> bytes) {
    constexpr std::size_t at_once = std::size_t{1} << 20;
    std::uint32_t crc = 0;
    while (!bytes.empty()) {  // pieces end where pages of the file do
        const std::span<const std::byte> next =
            bytes.first(std::min<std::size_t>(at_once - offset % at_once, bytes.size()));
        crc = crc32_of(next, crc);
        file_.write_at(offset, next.data(), next.size());
        file_.start_sync(offset, next.size());
        offset += next.size();
        bytes = bytes.subspan(next.size());
    }
    return crc;
}

std::uint32_t DirectWriter::begin_piece(std::uint64_t offset, std::span<const std::byte> bytes) {
    Slot& slot = slots_[next_];
    next_ = (next_ + 1) % pieces;
    if (slot.written.valid()) slot.written.get();
    if (!slot.copy) slot.copy.reset(static_cast<std::byte*>(std::aligned_alloc(page_size(), piece)));
    if (!slot.copy) throw std::bad_alloc();
    std::memcpy(slot.copy.get(), bytes.data(), bytes.size());
    const std::span<const std::byte> copy(slot.copy.get(), bytes.size());
    slot.written = std::async(std::launch::async, [this, offset, copy] {
        const std::size_t done = direct_->write_directly_at(offset, copy.data(), copy.size());
        if (done < copy.size()) file_.write_at(offset + done, copy.data() + done, copy.size() - done);
    });
    return crc32_of(copy);
}

void DirectWriter::finish() {
    for (Slot& slot : slots_)
        if (slot.written.valid()) slot.written.get();
    file_.sync();
}

}  // namespace ulmpi
