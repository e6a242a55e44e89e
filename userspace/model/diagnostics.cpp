// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "model/diagnostics.hpp"

#include "base/strings.hpp"

#include <algorithm>
#include <functional>
#include <tuple>

#include <fmt/format.h>

namespace sgbpf {

std::string Diagnostic::to_string() const {
    std::string text = file;
    if (line > 0) {
        text += fmt::format(":{}:{}", line, column);
    }
    if (warning) {
        text += ": warning";
    }
    if (!path.empty()) {
        text += ": " + path;
    }
    return text + ": " + message;
}

std::string Path::to_string() const {
    if (parent_ == nullptr) {
        return {};
    }
    std::string text = parent_->to_string();
    if (index_ >= 0) {
        return text + fmt::format("[{}]", index_);
    }
    if (!text.empty()) {
        text += '.';
    }
    const bool simple = !key_.empty() && std::all_of(key_.begin(), key_.end(), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-' ||
               c == '/';
    });
    return text + (simple ? std::string(key_) : fmt::format("\"{}\"", printable(key_)));
}

Diagnostic Report::at(Place place, std::string path, std::string message) const {
    const std::size_t offset = std::min<std::size_t>(place.offset, text_.size());
    const std::size_t before = offset == 0 ? std::string_view::npos : text_.rfind('\n', offset - 1);
    const std::size_t start = before == std::string_view::npos ? 0 : before + 1;
    // Columns count characters, not bytes: skip UTF-8 continuation bytes.
    const auto columns = std::count_if(text_.begin() + static_cast<std::ptrdiff_t>(start),
                                       text_.begin() + static_cast<std::ptrdiff_t>(offset),
                                       [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
    return Diagnostic{file_, static_cast<int>(place.line) + 1, static_cast<int>(columns) + 1, std::move(path),
                      std::move(message)};
}

void Report::error(Place place, const Path& path, std::string message) {
    error_at(place, path.to_string(), std::move(message));
}

void Report::error_at(Place place, std::string path, std::string message) {
    errors_.push_back(at(place, std::move(path), std::move(message)));
}

void Report::warning(Place place, const Path& path, std::string message) {
    add_warning(at(place, path.to_string(), std::move(message)));
}

void Report::document_error(std::string message) {
    errors_.push_back(Diagnostic{file_, 0, 0, {}, std::move(message)});
}

void Report::add_error(Diagnostic diagnostic) {
    errors_.push_back(std::move(diagnostic));
}

void Report::add_warning(Diagnostic diagnostic) {
    diagnostic.warning = true;
    warnings_.push_back(std::move(diagnostic));
}

void Report::sort(std::vector<Diagnostic>& diagnostics) const {
    const auto key = [this](const Diagnostic& d) {
        return std::make_tuple(d.file != file_, std::cref(d.file), d.line, d.column, std::cref(d.path),
                               std::cref(d.message));
    };
    std::sort(diagnostics.begin(), diagnostics.end(),
              [&](const Diagnostic& a, const Diagnostic& b) { return key(a) < key(b); });
}

std::vector<Diagnostic> Report::take_errors() {
    sort(errors_);
    return std::move(errors_);
}

std::vector<Diagnostic> Report::take_warnings() {
    sort(warnings_);
    return std::move(warnings_);
}

}  // namespace sgbpf
