// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Whole files: read with a limit, replace atomically, append a line durably.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <sys/types.h>

#include <sgbpf/result.hpp>

namespace sgbpf {

// Everything in `path`, pipes and devices included. kNotFound if missing; kInvalid if it is a
// directory or holds more than `max_bytes` (never reads more than one byte beyond).
Result<std::string> read_file(const std::string& path, std::size_t max_bytes);

// The same from an open descriptor; `name` is for the sentence.
Result<std::string> read_all(int fd, const std::string& name, std::size_t max_bytes);

// Replaces `path` by `bytes`: temporary file beside it, fsync, rename, fsync of the directory. On any
// error (kExhausted: disk full) the old file stays and the temporary one is removed.
Result<void> write_file_atomically(const std::string& path, std::string_view bytes, mode_t mode);

// Appends `line` and a newline in one write, then fsync. Creates the file with `mode`. A write cut short
// by a full disk is taken back.
Result<void> append_line(const std::string& path, std::string_view line, mode_t mode);

}  // namespace sgbpf
