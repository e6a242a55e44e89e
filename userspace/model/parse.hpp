// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// State file (YAML, schema sgbpf/v1) -> State. Strict: unknown keys, duplicate keys, anchors, merge
// keys and numbers that YAML readers disagree about are refused. Every error of a file is reported
// with its place; a file with errors yields no usable state.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <sgbpf/result.hpp>
#include <sgbpf/state.hpp>

namespace sgbpf {

struct Diagnostic {
    std::string file;
    int line = 0;  // from 1; 0 = the file as a whole
    int column = 0;
    std::string path;  // groups.web.inbound[2].port; empty = the document
    std::string message;
    bool warning = false;

    // "bad.yaml:12:15: groups.web.inbound[2].port: 70000 exceeds 65535"; a warning says so after the place.
    [[nodiscard]] std::string to_string() const;
};

struct ParsedState {
    State state;  // complete (defaults of SG-3 filled in), without assigned ids; meaningless if !ok()
    std::vector<Diagnostic> errors;    // in the order of the file
    std::vector<Diagnostic> warnings;  // likewise
    std::vector<std::string> sources;  // the state file, then the entries_files read

    [[nodiscard]] bool ok() const { return errors.empty(); }
};

// Largest state file and largest entries_file.
inline constexpr std::size_t kMaxStateBytes = std::size_t{64} << 20;

// `file_name` is for diagnostics; relative entries_file names are looked up in `directory` (empty =
// the current one). Linear in the text, plus sorting.
ParsedState parse_state(std::string_view text, const std::string& file_name, const std::string& directory);

// Reads `path` ("-" = standard input). Error for what cannot be read at all: missing, directory, too
// large, no permission. What can be read but makes no sense (binary, empty ...) is a Diagnostic.
Result<ParsedState> parse_state_file(const std::string& path);

}  // namespace sgbpf
