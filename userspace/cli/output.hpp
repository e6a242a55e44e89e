// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// How things are shown: tables, numbers, times, and text from outside made harmless. Nothing here
// knows what a group is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sgbpf::cli {

enum class Align { kLeft, kRight };

struct Column {
    std::string title;
    Align align = Align::kLeft;
};

// Columns two spaces apart, as wide as their widest cell; an empty cell shows as "-"; no blanks at the
// end of a line. A table without rows prints its header only, so that scripts can rely on line 1.
class Table {
public:
    explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
    void add(std::vector<std::string> cells);  // one per column
    [[nodiscard]] bool empty() const { return rows_.empty(); }
    [[nodiscard]] std::string to_string() const;

private:
    std::vector<Column> columns_;
    std::vector<std::vector<std::string>> rows_;
};

// Control characters become \xNN, so that a name in a file cannot drive the terminal. Not shortened.
std::string harmless(std::string_view text);

std::string duration(std::uint64_t seconds);  // "59s", "12m05s", "3h07m", "5d02h"
std::string bytes(std::uint64_t number);      // "512 B", "16.0 MiB"
std::string milliseconds(double ms);          // "4.1 ms", "120 ms"
std::string join(const std::vector<std::string>& words, std::string_view separator);

}  // namespace sgbpf::cli
