#include "base/files/byte_source.hpp"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/files/descriptor.hpp"
#include "base/quoted.hpp"

namespace ulmpi {
namespace {

// The raw bytes of the file, in pieces.
class RawFile {
public:
    explicit RawFile(const std::filesystem::path& path)
        : name_(path == "-" ? "standard input" : quoted(path)),
          file_(path == "-" ? std::filesystem::path("/dev/stdin") : path, O_RDONLY),
          buffer_(std::size_t{1} << 20) {
        std::error_code ignored;
        check_usage(file_.is_open(), "cannot open {}: {}", name_, system_reason());
        check_usage(!std::filesystem::is_directory(path, ignored), "{} is a folder, a file was expected", name_);
        refill();
        check_usage(!rest_.empty(), "{} is empty", name_);
    }

    /// What has been read and not used; empty only at the end of the file.
    std::span<const char> rest() {
        if (rest_.empty()) refill();
        return rest_;
    }
    void use(std::size_t bytes) { rest_ = rest_.subspan(bytes); }
    bool begins_with(std::string_view bytes) const {
        return std::string_view(rest_.data(), rest_.size()).starts_with(bytes);
    }
    std::uint64_t taken() const { return taken_ - rest_.size(); }
    const std::string& name() const { return name_; }

private:
    void refill() {
        const std::size_t n = file_.read(buffer_.data(), buffer_.size());
        taken_ += n;
        rest_ = std::span<const char>(buffer_).first(n);
    }

    std::string name_;
    FileDescriptor file_;
    std::vector<char> buffer_;
    std::span<const char> rest_;
    std::uint64_t taken_ = 0;
};

class PlainSource : public ByteSource {
public:
    explicit PlainSource(RawFile file) : file_(std::move(file)) {}
    std::size_t read(std::span<char> bytes) override {
        const auto rest = file_.rest();
        const std::size_t n = std::min(rest.size(), bytes.size());
        std::copy_n(rest.begin(), n, bytes.begin());
        file_.use(n);
        return n;
    }
    std::uint64_t bytes_taken() const override { return file_.taken(); }

private:
    RawFile file_;
};

class GzipSource : public ByteSource {
public:
    explicit GzipSource(RawFile file) : file_(std::move(file)) {
        check(inflateInit2(&stream_, 15 + 16) == Z_OK, "cannot start zlib");  // 15: window bits, 16: gzip alone
    }
    GzipSource(const GzipSource&) = delete;
    GzipSource& operator=(const GzipSource&) = delete;
    ~GzipSource() override { inflateEnd(&stream_); }

    std::size_t read(std::span<char> bytes) override {
        const std::size_t wanted = std::min<std::size_t>(bytes.size(), std::size_t{1} << 30);
        while (!ended_) {
            const auto rest = file_.rest();
            check_usage(!rest.empty(), "{} is truncated: the gzip stream ends too early", file_.name());
            stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(rest.data()));
            stream_.avail_in = static_cast<uInt>(rest.size());
            stream_.next_out = reinterpret_cast<Bytef*>(bytes.data());
            stream_.avail_out = static_cast<uInt>(wanted);
            const int status = inflate(&stream_, Z_NO_FLUSH);
            check_usage(status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR,
                        "{} is damaged at byte {}: {}", file_.name(), file_.taken(),
                        stream_.msg ? stream_.msg : "the gzip stream cannot be unpacked");
            file_.use(rest.size() - stream_.avail_in);
            if (status == Z_STREAM_END) begin_next_member();
            if (const std::size_t n = wanted - stream_.avail_out; n > 0) return n;
        }
        return 0;
    }
    std::uint64_t bytes_taken() const override { return file_.taken(); }

private:
    // Another member may follow, or zeros that fill up a tape block; nothing else.
    void begin_next_member() {
        while (!file_.rest().empty() && file_.rest()[0] == '\0') file_.use(1);
        ended_ = file_.rest().empty();
        check_usage(ended_ || file_.rest()[0] == '\x1f',
                    fmt::format("{} is damaged: at byte {}, after the gzip stream, something else follows",
                                file_.name(), file_.taken()));
        inflateReset(&stream_);
    }

    RawFile file_;
    z_stream stream_{};
    bool ended_ = false;
};

class ZstdSource : public ByteSource {
public:
    explicit ZstdSource(RawFile file) : file_(std::move(file)), stream_(ZSTD_createDStream()) {
        check(stream_ != nullptr, "cannot start zstd");
    }

    std::size_t read(std::span<char> bytes) override {
        for (;;) {
            const auto rest = file_.rest();
            if (rest.empty() && frame_left_ == 0) return 0;
            ZSTD_inBuffer in{rest.data(), rest.size(), 0};
            ZSTD_outBuffer out{bytes.data(), bytes.size(), 0};
            frame_left_ = ZSTD_decompressStream(stream_.get(), &out, &in);
            check_usage(!ZSTD_isError(frame_left_), "{} is damaged near byte {}: {}", file_.name(), file_.taken(),
                        ZSTD_getErrorName(frame_left_));
            file_.use(in.pos);
            if (out.pos > 0) return out.pos;
            check_usage(!rest.empty(), "{} is truncated: the zstd stream ends too early", file_.name());
        }
    }
    std::uint64_t bytes_taken() const override { return file_.taken(); }

private:
    struct Free {
        void operator()(ZSTD_DStream* stream) const { ZSTD_freeDStream(stream); }
    };
    RawFile file_;
    std::unique_ptr<ZSTD_DStream, Free> stream_;
    std::size_t frame_left_ = 0;  // 0: between two frames
};

}  // namespace

std::unique_ptr<ByteSource> open_bytes(const std::filesystem::path& path) {
    RawFile file(path);
    if (file.begins_with("\x1f\x8b")) return std::make_unique<GzipSource>(std::move(file));
    if (file.begins_with("\x28\xb5\x2f\xfd")) return std::make_unique<ZstdSource>(std::move(file));
    return std::make_unique<PlainSource>(std::move(file));
}

}  // namespace ulmpi
