// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Where in a document the parser is (Path) and what it found wrong there (Report).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/parse.hpp"

namespace sgbpf {

// A step of groups.web.inbound[2].port; lives on the stack of the function that reads this level.
class Path {
public:
    Path() = default;
    [[nodiscard]] Path operator/(std::string_view key) const { return {this, key, -1}; }
    [[nodiscard]] Path operator[](std::size_t index) const { return {this, {}, static_cast<std::int64_t>(index)}; }
    [[nodiscard]] std::string to_string() const;

private:
    Path(const Path* parent, std::string_view key, std::int64_t index) : parent_(parent), key_(key), index_(index) {}

    const Path* parent_ = nullptr;
    std::string_view key_;
    std::int64_t index_ = -1;  // of a list element; -1 = a key
};

// Place in the text: byte offset and line from 0, as the scanner counts them.
struct Place {
    std::uint32_t offset = 0;
    std::uint32_t line = 0;
};

class Report {
public:
    // `text` must outlive the report.
    Report(std::string file, std::string_view text) : file_(std::move(file)), text_(text) {}

    void error(Place place, const Path& path, std::string message);
    void warning(Place place, const Path& path, std::string message);
    // The same with the path as text.
    void error_at(Place place, std::string path, std::string message);
    void document_error(std::string message);  // about the file as a whole
    void add_error(Diagnostic diagnostic);     // of another file
    void add_warning(Diagnostic diagnostic);
    [[nodiscard]] const std::string& file() const { return file_; }
    [[nodiscard]] bool ok() const { return errors_.empty(); }

    // In the order of the file, those of other files last.
    std::vector<Diagnostic> take_errors();
    std::vector<Diagnostic> take_warnings();

private:
    [[nodiscard]] Diagnostic at(Place place, std::string path, std::string message) const;
    void sort(std::vector<Diagnostic>& diagnostics) const;

    std::string file_;
    std::string_view text_;
    std::vector<Diagnostic> errors_;
    std::vector<Diagnostic> warnings_;
};

}  // namespace sgbpf
