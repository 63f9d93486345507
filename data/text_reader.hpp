#pragma once
// Text files -> documents, one after the other, in bounded memory.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/files/line_reader.hpp"

namespace ulmpi {

/// What a document of a plain text file is:
/// line: a line with its newline; blank: lines up to a blank one (spaces, tabs, '\r' alone), which belongs to none;
/// file: all of it. In JSON lines a document is always the text of one record.
enum class DocumentUnit { line, blank, file };

/// automatic: JSON lines if the file is called so (.jsonl, .ndjson, a further .gz or .zst aside) or if its first line
/// is a JSON object; else plain.
enum class TextFormat { automatic, plain, json_lines };

struct TextOptions {
    DocumentUnit documents = DocumentUnit::line;
    TextFormat format = TextFormat::automatic;
    std::string text_key = "text";  // the member of a JSON record that holds its text
};

DocumentUnit documents_named(const std::string& name);  // "line", "blank", "file"
TextFormat text_format_named(const std::string& name);  // "auto", "plain", "jsonl"

class TextReader {
public:
    /// Looks at every file before any is read: throws UsageError if there is none, or one is missing or empty.
    TextReader(std::vector<std::filesystem::path> inputs, TextOptions options);

    /// Appends the next document to `text`; false after the last one of the last file. Throws UsageError naming file
    /// and line for a record that is no JSON object or lacks its text, and for a file that holds no document.
    bool append_document(std::string& text);

    std::uint64_t bytes_taken() const;                          ///< of the files as they lie on disk
    std::uint64_t bytes_total() const { return bytes_total_; }  ///< 0 if unknown (standard input, pipes)

private:
    void open_next();
    bool take_line(std::string& text);
    bool append_from_file(std::string& text);
    bool append_paragraph(std::string& text);
    bool append_record(std::string& text);

    std::vector<std::filesystem::path> inputs_;
    TextOptions options_;
    std::size_t next_input_ = 0;
    std::optional<LineReader> lines_;  // of the file being read
    std::string first_line_, line_;    // read ahead to tell the format; scratch
    bool json_lines_ = false;
    std::uint64_t documents_in_file_ = 0, bytes_before_ = 0, bytes_total_ = 0;
};

}  // namespace ulmpi
