#include "data/labelled_set.hpp"

#include <algorithm>
#include <map>

#include "base/error.hpp"
#include "base/files/hdf5_file.hpp"
#include "base/files/line_reader.hpp"
#include "base/files/seal.hpp"
#include "base/quoted.hpp"
#include "data/document_reader.hpp"
#include "data/shard_writer.hpp"

namespace ulmpi {
namespace {

/// A set before its labels have their final ids and its texts their tokens.
struct Records {
    std::vector<std::string> names;    // of classes, in the order of first sight
    std::vector<std::size_t> seen_at;  // line or record of that first sight
    std::vector<std::int32_t> labels;  // indices into names
    std::vector<std::string> texts;
};

bool is_sealed(const std::filesystem::path& path) {
    const auto source = open_bytes(path);
    std::string begin(11, '\0');
    begin.resize(source->read(begin));
    return begin == "ulmpi file ";
}

Records read_tsv(const std::filesystem::path& path) {
    LineReader lines(path);
    std::string line;
    lines.append_line(line);
    if (line.ends_with('\n')) line.pop_back();
    if (line.starts_with("\xef\xbb\xbf")) line.erase(0, 3);
    const bool carriage_returns = line.ends_with('\r');
    if (carriage_returns) line.pop_back();
    check_usage(line == "label\ttext", "{}: the header 'label<TAB>text' was expected", lines.where());

    Records records;
    std::map<std::string, std::int32_t, std::less<>> ids;
    while (line.clear(), lines.append_line(line)) {
        if (line.ends_with('\n')) line.pop_back();
        if (carriage_returns && line.ends_with('\r')) line.pop_back();
        const std::size_t tab = line.find('\t');
        check_usage(tab != std::string::npos, "{}: no tab between label and text", lines.where());
        check_usage(tab > 0, "{}: the label is empty", lines.where());
        const auto [id, is_new] = ids.try_emplace(line.substr(0, tab), static_cast<std::int32_t>(ids.size()));
        if (is_new) {
            records.names.push_back(id->first);
            records.seen_at.push_back(lines.line_number());
        }
        records.labels.push_back(id->second);
        records.texts.push_back(line.substr(tab + 1));
    }
    return records;
}

/// The final id of each name: its place among the given classes, or in the sorted list of the names themselves.
void assign_labels(LabelledSet& set, const Records& records, const LabelledOptions& options, const std::string& unit) {
    set.classes = options.classes;
    if (set.classes.empty()) {
        set.classes = records.names;
        std::ranges::sort(set.classes);
    }
    std::vector<std::int32_t> final_ids;
    for (std::size_t i = 0; i < records.names.size(); ++i) {
        const auto found = std::ranges::find(set.classes, records.names[i]);
        check_usage(found != set.classes.end(),
                    "{} {}: the label '{}' is not one of the {} classes of the training set", unit, records.seen_at[i],
                    records.names[i], set.classes.size());
        final_ids.push_back(static_cast<std::int32_t>(found - set.classes.begin()));
    }
    for (std::int32_t label : records.labels) set.labels.push_back(final_ids[static_cast<std::size_t>(label)]);
}

// The tokens of the texts, as the set's records.
void encode(LabelledSet& set, std::vector<std::string> texts, const Tokenizer& tokenizer,
            const LabelledOptions& options) {
    const int threads = options.threads > 0 ? options.threads : omp_get_max_threads();
    std::vector<BpeCache> caches(static_cast<std::size_t>(threads));
    std::vector<std::vector<Token>> tokens(texts.size());
    parallel_loop(threads, tokens.size(), [&](std::size_t thread, std::size_t i) {
        tokenizer.encode(texts[i], tokens[i], caches[thread]);
        if (tokens[i].empty()) tokens[i].push_back(tokenizer.end_of_text());
    });
    set.starts.push_back(0);
    for (const std::vector<Token>& record : tokens) {
        set.tokens.insert(set.tokens.end(), record.begin(), record.end());
        set.starts.push_back(set.tokens.size());
    }
    if (options.keep_texts) set.texts = std::move(texts);
}

LabelledSet from_tsv(const std::filesystem::path& path, const Tokenizer& tokenizer, const LabelledOptions& options) {
    Records records = read_tsv(path);
    LabelledSet set;
    assign_labels(set, records, options, quoted(path) + ", line");
    encode(set, std::move(records.texts), tokenizer, options);
    return set;
}

LabelledSet from_hdf5(const std::filesystem::path& path, const Tokenizer& tokenizer, const LabelledOptions& options) {
    verify_seal(path, labelled_set_kind);
    const Hdf5File file = Hdf5File::open(path);
    const std::uint64_t version = file.unsigned_attribute("/", "format_version");
    check_usage(version == 1, "{} has format {}, this program reads 1", quoted(path), version);
    check_usage(file.text_attribute("/", "tokenizer_fingerprint") == fmt::format("{:016x}", tokenizer.fingerprint()),
                "{} was made with another tokenizer; make it again with this one", quoted(path));
    LabelledSet set;
    Records records;
    records.names = file.read_texts("/classes");
    records.labels = file.read<std::int32_t>("/labels");
    records.seen_at.assign(records.names.size(), records.labels.size());
    for (std::size_t i = records.labels.size(); i-- > 0;) {
        check(records.labels[i] >= 0 && std::size_t(records.labels[i]) < records.names.size(),
              "{} holds a label that is not one of its classes", quoted(path));
        records.seen_at[static_cast<std::size_t>(records.labels[i])] = i + 1;
    }
    assign_labels(set, records, options, quoted(path) + ", record");

    set.tokens = file.read<Token>("/tokens");
    set.starts = file.read<std::uint64_t>("/documents");
    set.starts.push_back(set.tokens.size());
    check(set.starts.size() == set.size() + 1 && std::ranges::is_sorted(set.starts),
          "{} holds records that do not fit its labels", quoted(path));
    check(set.tokens.empty() || std::size_t(std::ranges::max(set.tokens)) < tokenizer.vocabulary_size(),
          "{} holds a token that is not in the vocabulary", quoted(path));
    if (options.keep_texts)
        for (std::size_t i = 0; i < set.size(); ++i) {
            const bool empty = set.tokens_of(i).size() == 1 && set.tokens_of(i)[0] == tokenizer.end_of_text();
            set.texts.push_back(empty ? std::string() : tokenizer.decode(set.tokens_of(i)));
        }
    return set;
}

void cut_records(LabelledSet& set, std::uint64_t max_length) {
    std::uint64_t end = 0;
    for (std::size_t i = 0; i < set.size(); ++i) {
        const std::span<const Token> record = set.tokens_of(i);
        const std::uint64_t kept = std::min<std::uint64_t>(record.size(), max_length);
        set.cut += kept < record.size();
        std::copy_n(record.begin(), kept, set.tokens.begin() + static_cast<std::ptrdiff_t>(end));
        set.starts[i] = end;
        end += kept;
    }
    set.starts.back() = end;
    set.tokens.resize(end);
}

template <class T>
void broadcast(std::vector<T>& values, const Communicator& ranks) {
    values.resize(broadcast_value<std::uint64_t>(values.size(), ranks, 0));
    ranks.broadcast(std::span<T>(values), 0);
}

void broadcast(std::vector<std::string>& texts, const Communicator& ranks) {
    std::vector<std::uint64_t> ends;
    std::string joined;
    for (const std::string& text : texts) ends.push_back((joined += text).size());
    broadcast(ends, ranks);
    joined = broadcast_text(std::move(joined), ranks, 0);
    texts.resize(ends.size());
    for (std::size_t i = 0, begin = 0; i < ends.size(); begin = ends[i++])
        texts[i] = joined.substr(begin, ends[i] - begin);
}

}  // namespace

std::vector<std::uint32_t> LabelledSet::lengths() const {
    std::vector<std::uint32_t> all(size());
    for (std::size_t i = 0; i < size(); ++i) all[i] = static_cast<std::uint32_t>(tokens_of(i).size());
    return all;
}

LabelledSet load_labelled_set(const std::filesystem::path& path, const Tokenizer& tokenizer,
                              const LabelledOptions& options) {
    const bool regular = std::filesystem::is_regular_file(path);  // a pipe can be read only once
    LabelledSet set =
        regular && is_sealed(path) ? from_hdf5(path, tokenizer, options) : from_tsv(path, tokenizer, options);
    check_usage(set.size() > 0, "{} holds no records", quoted(path));
    if (options.max_length > 0) cut_records(set, options.max_length);
    return set;
}

LabelledSet unlabelled_set(std::vector<std::string> texts, const Tokenizer& tokenizer, const LabelledOptions& options) {
    LabelledSet set;
    set.labels.assign(texts.size(), 0);
    encode(set, std::move(texts), tokenizer, options);
    if (options.max_length > 0) cut_records(set, options.max_length);
    return set;
}

void append(LabelledSet& set, const LabelledSet& more) {
    const std::uint64_t end = set.tokens.size();
    set.labels.insert(set.labels.end(), more.labels.begin(), more.labels.end());
    set.tokens.insert(set.tokens.end(), more.tokens.begin(), more.tokens.end());
    set.texts.insert(set.texts.end(), more.texts.begin(), more.texts.end());
    for (std::size_t i = 1; i < more.starts.size(); ++i) set.starts.push_back(end + more.starts[i]);
    set.cut += more.cut;
}

void broadcast(LabelledSet& set, const Communicator& ranks) {
    broadcast(set.classes, ranks);
    broadcast(set.labels, ranks);
    broadcast(set.tokens, ranks);
    broadcast(set.starts, ranks);
    broadcast(set.texts, ranks);
    set.cut = broadcast_value(set.cut, ranks, 0);
}

void save_labelled_set(const std::filesystem::path& path, const LabelledSet& set, const Tokenizer& tokenizer) {
    remove_stale_temporaries(path);
    const std::filesystem::path temporary = temporary_name(path);
    try {
        Hdf5File file = Hdf5File::create(temporary);
        file.create_extendable("/tokens", token_type(tokenizer.vocabulary_size()), 1 << 13).append<Token>(set.tokens);
        file.create_extendable("/documents", ElementType::u64, 1 << 13)
            .append<std::uint64_t>(std::span(set.starts).first(set.size()));
        file.create_extendable("/labels", ElementType::i32, 1 << 13).append<std::int32_t>(set.labels);
        file.write_texts("/classes", set.classes);
        file.write_text("/tokenizer", tokenizer.to_json());
        file.set_attribute("/", "format_version", 1);
        file.set_attribute("/", "vocabulary_size", std::uint64_t{tokenizer.vocabulary_size()});
        file.set_attribute("/", "end_of_text", tokenizer.end_of_text());
        file.set_attribute("/", "tokenizer_fingerprint", fmt::format("{:016x}", tokenizer.fingerprint()));
        file.set_attribute("/", "tokens", std::uint64_t{set.tokens.size()});
        file.set_attribute("/", "documents", std::uint64_t{set.size()});
        file.close();
        seal_file(temporary, labelled_set_kind);
        publish(temporary, path);
    } catch (...) {
        std::error_code ignored;
        std::filesystem::remove(temporary, ignored);
        throw;
    }
}

}  // namespace ulmpi
