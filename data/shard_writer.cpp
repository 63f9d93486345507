#include "data/shard_writer.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/files/publish.hpp"
#include "base/files/seal.hpp"
#include "base/quoted.hpp"
#include "data/document_reader.hpp"

namespace ulmpi {
namespace {

// Chunks small enough that reading one window unpacks little more than it needs.
constexpr std::uint64_t token_chunk = 1 << 13, document_chunk = 1 << 13;
constexpr std::size_t buffer_limit = std::size_t{1} << 20;

// "runs/wiki/" and "runs/./wiki" -> the absolute name of wiki, so that it can be renamed to.
std::filesystem::path plain_name(const std::filesystem::path& folder) {
    const std::filesystem::path name = std::filesystem::absolute(folder).lexically_normal();
    return name.has_filename() ? name : name.parent_path();
}

bool is_shard_folder(const std::filesystem::path& folder) {
    return std::ranges::all_of(std::filesystem::directory_iterator(folder), [](const auto& entry) {
        const std::string name = entry.path().filename().string();
        return name == "tokenizer.json" || (name.starts_with("shard-") && name.ends_with(".h5"));
    });
}

}  // namespace

ElementType token_type(std::uint64_t vocabulary_size) {
    return vocabulary_size <= 256 ? ElementType::u8 : vocabulary_size <= 65536 ? ElementType::u16 : ElementType::u32;
}

std::string shard_name(std::uint64_t index) { return fmt::format("shard-{:05}.h5", index); }

ShardWriter::ShardWriter(const Tokenizer& tokenizer, std::filesystem::path folder, std::uint64_t shard_tokens)
    : tokenizer_(tokenizer),
      tokenizer_json_(tokenizer.to_json()),
      folder_(std::move(folder)),
      shard_tokens_(shard_tokens) {
    check_usage(shard_tokens > 0, "a shard must hold at least one token");
}

void ShardWriter::open_shard() {
    shard_path_ = folder_ / shard_name(shards_done_);
    Hdf5File file = Hdf5File::create(shard_path_);
    Hdf5Dataset tokens = file.create_extendable("/tokens", token_type(tokenizer_.vocabulary_size()), token_chunk);
    Hdf5Dataset documents = file.create_extendable("/documents", ElementType::u64, document_chunk);
    file.write_text("/tokenizer", tokenizer_json_);
    file.set_attribute("/", "format_version", 1);
    file.set_attribute("/", "shard", shards_done_);
    file.set_attribute("/", "first_token", done_.tokens);
    file.set_attribute("/", "vocabulary_size", std::uint64_t{tokenizer_.vocabulary_size()});
    file.set_attribute("/", "end_of_text", tokenizer_.end_of_text());
    file.set_attribute("/", "tokenizer_fingerprint", fmt::format("{:016x}", tokenizer_.fingerprint()));
    shard_.emplace(Shard{std::move(file), std::move(tokens), std::move(documents), {}, {}, {}});
}

void ShardWriter::append_document(std::span<const Token> tokens, std::uint64_t bytes, std::uint64_t words) {
    for (bool begins = true; !tokens.empty(); begins = false) {
        if (shard_ && shard_->counts.tokens == shard_tokens_) close_shard(false);
        if (!shard_) open_shard();
        CorpusCounts& counts = shard_->counts;
        if (begins) {
            shard_->document_buffer.push_back(counts.tokens);
            counts += {.tokens = 0, .documents = 1, .bytes = bytes, .words = words};
        }
        const std::size_t fits = std::min<std::uint64_t>({tokens.size(), shard_tokens_ - counts.tokens, buffer_limit});
        shard_->token_buffer.insert(shard_->token_buffer.end(), tokens.begin(),
                                    tokens.begin() + static_cast<std::ptrdiff_t>(fits));
        counts.tokens += fits;
        if (shard_->token_buffer.size() >= buffer_limit) flush();
        tokens = tokens.subspan(fits);
    }
}

void ShardWriter::flush() {
    shard_->tokens.append<Token>(shard_->token_buffer);
    shard_->documents.append<std::uint64_t>(shard_->document_buffer);
    shard_->token_buffer.clear();
    shard_->document_buffer.clear();
}

void ShardWriter::close_shard(bool last) {
    flush();
    const CorpusCounts counts = shard_->counts;
    Hdf5File file = std::move(shard_->file);
    file.set_attribute("/", "tokens", counts.tokens);
    file.set_attribute("/", "documents", counts.documents);
    file.set_attribute("/", "bytes", counts.bytes);
    file.set_attribute("/", "words", counts.words);
    file.set_attribute("/", "last", last ? 1 : 0);
    shard_.reset();
    file.close();
    seal_file(shard_path_, token_shard_kind);
    done_ += counts;
    ++shards_done_;
}

CorpusCounts ShardWriter::finish() {
    check_usage(shard_.has_value(), "the input holds no document");
    close_shard(true);
    write_file(folder_ / "tokenizer.json", tokenizer_json_);
    return done_;
}

void check_shard_folder(const std::filesystem::path& given, bool overwrite) {
    const std::filesystem::path folder = plain_name(given);
    std::error_code failure;
    if (!std::filesystem::exists(std::filesystem::symlink_status(folder, failure))) return;
    check_usage(std::filesystem::is_directory(folder, failure), "{} exists and is not a folder", quoted(given));
    if (std::filesystem::is_empty(folder, failure)) return;
    check_usage(overwrite, "{} exists and is not empty; name another folder, or say --overwrite on", quoted(given));
    check_usage(is_shard_folder(folder), "{} holds other files than shards; it will not be replaced", quoted(given));
}

namespace {

void encode_all(const Tokenizer& tokenizer, TextReader& reader, const ShardOptions& options,
                const ShardProgress& progress, ShardWriter& writer) {
    const int threads = options.threads > 0 ? options.threads : omp_get_max_threads();
    std::vector<BpeCache> caches(static_cast<std::size_t>(threads));
    std::vector<std::vector<Token>> tokens;
    std::vector<std::uint64_t> words;
    const Token end_of_text = tokenizer.end_of_text();
    std::uint64_t tokens_done = 0, documents_before = 0;

    BatchReader batches(reader);
    for (DocumentBatch batch; batches.next(batch);) {
        tokens.resize(std::max(tokens.size(), batch.size()));
        words.resize(tokens.size());
        parallel_loop(threads, batch.size(), [&](std::size_t thread, std::size_t i) {
            tokens[i].clear();
            if (options.takes && !options.takes(documents_before + i)) return;
            tokenizer.encode(batch[i], tokens[i], caches[thread]);
            tokens[i].push_back(end_of_text);
            words[i] = count_words(batch[i]);
        });
        for (std::size_t i = 0; i < batch.size(); ++i) {
            if (tokens[i].empty()) continue;
            writer.append_document(tokens[i], batch[i].size(), words[i]);
            tokens_done += tokens[i].size();
        }
        documents_before += batch.size();
        if (progress) progress(batch.bytes_taken, tokens_done);
    }
}

}  // namespace

CorpusCounts write_shards(const Tokenizer& tokenizer, TextReader& reader, const std::filesystem::path& folder,
                          const ShardOptions& options, const ShardProgress& progress) {
    check_shard_folder(folder, options.overwrite);
    const std::filesystem::path final_name = plain_name(folder), old_name = final_name.string() + ".old",
                                temporary = temporary_name(final_name), replaced = temporary_name(old_name);
    std::error_code failure;
    std::filesystem::create_directories(final_name.parent_path(), failure);
    remove_stale_temporaries(final_name);
    if (!failure) std::filesystem::remove_all(temporary, failure);
    if (!failure) std::filesystem::create_directory(temporary, failure);
    check_usage(!failure, "cannot make the folder {}: {}", quoted(final_name), failure.message());
    try {
        ShardWriter writer(tokenizer, temporary, options.shard_tokens);
        encode_all(tokenizer, reader, options, progress, writer);
        const CorpusCounts counts = writer.finish();
        check_shard_folder(folder, options.overwrite);  // somebody may have been faster
        if (options.overwrite && std::filesystem::exists(final_name)) std::filesystem::rename(final_name, replaced);
        publish(temporary, final_name);
        std::filesystem::remove_all(replaced);
        remove_stale_temporaries(old_name);
        return counts;
    } catch (...) {
        std::error_code ignored;
        if (std::filesystem::exists(replaced, ignored)) std::filesystem::rename(replaced, final_name, ignored);
        std::filesystem::remove_all(temporary, ignored);
        throw;
    }
}

}  // namespace ulmpi
