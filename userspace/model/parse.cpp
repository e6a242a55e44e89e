// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "model/parse.hpp"

#include "base/file.hpp"
#include "model/state_reader.hpp"

#include <unistd.h>

#include <fmt/format.h>

namespace sgbpf {

ParsedState parse_state(std::string_view text, const std::string& file_name, const std::string& directory) {
    ParsedState parsed;
    parsed.sources.push_back(file_name);
    const std::string normal = normalise_text(text);
    Report report(file_name, normal);
    YamlNode root;
    if (normal.size() > kMaxStateBytes) {
        report.document_error(
            fmt::format("is larger than {} MiB, which is the limit for one file", kMaxStateBytes >> 20));
    } else if (read_yaml(normal, report, root)) {
        StateReader reader(report, directory);
        reader.read(root);
        parsed.state = std::move(reader.state);
        for (std::string& file : reader.entry_files) {
            parsed.sources.push_back(std::move(file));
        }
    }
    parsed.errors = report.take_errors();
    parsed.warnings = report.take_warnings();
    return parsed;
}

Result<ParsedState> parse_state_file(const std::string& path) {
    if (path == "-") {
        auto text = read_all(STDIN_FILENO, "standard input", kMaxStateBytes);
        if (!text) {
            return unexpected(std::move(text).error());
        }
        return parse_state(*text, "<stdin>", "");
    }
    auto text = read_file(path, kMaxStateBytes);
    if (!text) {
        return unexpected(std::move(text).error());
    }
    const std::size_t slash = path.rfind('/');
    const std::string directory = slash == std::string::npos ? "" : slash == 0 ? "/" : path.substr(0, slash);
    return parse_state(*text, path, directory);
}

}  // namespace sgbpf
