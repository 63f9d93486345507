#include "data/text_reader.hpp"

#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/quoted.hpp"

namespace ulmpi {
namespace {

bool is_blank(std::string_view line) { return line.find_first_not_of(" \t\r\n") == std::string_view::npos; }

bool named_json_lines(std::filesystem::path path) {
    if (path.extension() == ".gz" || path.extension() == ".zst") path = path.stem();
    return path.extension() == ".jsonl" || path.extension() == ".ndjson";
}

bool is_json_object(const std::string& line) {
    const std::size_t begin = line.find_first_not_of(" \t\xef\xbb\xbf");  // a byte-order mark may stand in front
    return begin != std::string::npos && line[begin] == '{' && nlohmann::json::accept(line);
}

}  // namespace

DocumentUnit documents_named(const std::string& name) {
    if (name == "line") return DocumentUnit::line;
    if (name == "blank") return DocumentUnit::blank;
    check_usage(name == "file", "a document is a line, blank (up to a blank line) or a file, not '{}'", name);
    return DocumentUnit::file;
}

TextFormat text_format_named(const std::string& name) {
    if (name == "auto") return TextFormat::automatic;
    if (name == "plain") return TextFormat::plain;
    check_usage(name == "jsonl", "the format of a text is auto, plain or jsonl, not '{}'", name);
    return TextFormat::json_lines;
}

TextReader::TextReader(std::vector<std::filesystem::path> inputs, TextOptions options)
    : inputs_(std::move(inputs)), options_(std::move(options)) {
    check_usage(!inputs_.empty(), "no input file was given");
    bool known = true;
    for (const auto& input : inputs_) {
        std::error_code failure;
        if (const auto bytes = std::filesystem::file_size(input, failure); !failure)
            bytes_total_ += bytes;
        else
            known = false;
        if (std::filesystem::is_regular_file(input, failure) || !std::filesystem::exists(input, failure)) {
            if (input != "-") open_bytes(input);  // throws if missing, unreadable or empty
        } else {
            check_usage(!std::filesystem::is_directory(input, failure), "{} is a folder, a file was expected",
                        quoted(input));
        }
    }
    if (!known) bytes_total_ = 0;
}

void TextReader::open_next() {
    lines_.emplace(inputs_[next_input_]);
    documents_in_file_ = 0;
    first_line_.clear();
    if (options_.format == TextFormat::automatic) {
        lines_->append_line(first_line_);
        json_lines_ = named_json_lines(inputs_[next_input_]) || is_json_object(first_line_);
    } else {
        json_lines_ = options_.format == TextFormat::json_lines;
    }
    ++next_input_;
}

bool TextReader::append_document(std::string& text) {
    for (;;) {
        if (!lines_) {
            if (next_input_ == inputs_.size()) return false;
            open_next();
        }
        if (append_from_file(text)) {
            ++documents_in_file_;
            return true;
        }
        check_usage(documents_in_file_ > 0, "{} holds no text", quoted(inputs_[next_input_ - 1]));
        bytes_before_ += lines_->bytes_taken();
        lines_.reset();
    }
}

bool TextReader::append_from_file(std::string& text) {
    if (json_lines_) return append_record(text);
    if (options_.documents == DocumentUnit::line) return take_line(text);
    if (options_.documents == DocumentUnit::blank) return append_paragraph(text);
    if (documents_in_file_ > 0) return false;
    const std::size_t before = text.size();
    text += std::exchange(first_line_, {});
    lines_->append_rest(text);
    return text.size() > before;
}

bool TextReader::take_line(std::string& text) {
    if (first_line_.empty()) return lines_->append_line(text);
    text += std::exchange(first_line_, {});
    return true;
}

bool TextReader::append_paragraph(std::string& text) {
    bool any = false;
    while (line_.clear(), take_line(line_)) {
        if (!is_blank(line_)) {
            text += line_;
            any = true;
        } else if (any) {
            break;
        }
    }
    return any;
}

bool TextReader::append_record(std::string& text) {
    while (line_.clear(), take_line(line_)) {
        if (is_blank(line_)) continue;
        nlohmann::json record;
        try {
            record = nlohmann::json::parse(line_);
        } catch (const nlohmann::json::exception& error) {
            throw UsageError(fmt::format("{}: not a line of JSON ({:.160}); mend it, or say that the text is plain",
                                         lines_->where(), json_problem(error)));
        }
        check_usage(record.is_object(), "{}: a JSON object was expected", lines_->where());
        const auto member = record.find(options_.text_key);
        check_usage(member != record.end(),
                    "{}: the record has no '{}'; name the member that holds the text (--text-key), or say that the "
                    "text is plain",
                    lines_->where(), options_.text_key);
        check_usage(member->is_string(), "{}: '{}' is not a string", lines_->where(), options_.text_key);
        text += member->get_ref<const std::string&>();
        return true;
    }
    return false;
}

std::uint64_t TextReader::bytes_taken() const { return bytes_before_ + (lines_ ? lines_->bytes_taken() : 0); }

}  // namespace ulmpi
