// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "cli/output.hpp"

#include <algorithm>
#include <array>
#include <cassert>

#include <fmt/format.h>

#include "base/strings.hpp"

namespace sgbpf::cli {

namespace {

// Code points, which is columns for all text we print ourselves.
std::size_t width(std::string_view text) {
    return static_cast<std::size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

}  // namespace

void Table::add(std::vector<std::string> cells) {
    assert(cells.size() == columns_.size());
    for (std::string& cell : cells) {
        cell = cell.empty() ? "-" : harmless(cell);
    }
    rows_.push_back(std::move(cells));
}

std::string Table::to_string() const {
    std::vector<std::size_t> widths;
    for (const Column& column : columns_) {
        widths.push_back(width(column.title));
    }
    for (const auto& row : rows_) {
        for (std::size_t i = 0; i < row.size(); ++i) {
            widths[i] = std::max(widths[i], width(row[i]));
        }
    }
    std::string out;
    const auto line = [&](const auto& cell_at) {
        std::string text;
        for (std::size_t i = 0; i < columns_.size(); ++i) {
            const std::string& cell = cell_at(i);
            const std::string blanks(widths[i] - width(cell), ' ');
            if (i > 0) {
                text += "  ";
            }
            text += columns_[i].align == Align::kRight ? blanks + cell : cell + blanks;
        }
        text.erase(text.find_last_not_of(' ') + 1);
        out += text + "\n";
    };
    line([&](std::size_t i) -> const std::string& { return columns_[i].title; });
    for (const auto& row : rows_) {
        line([&](std::size_t i) -> const std::string& { return row[i]; });
    }
    return out;
}

std::string harmless(std::string_view text) {
    return printable(text, std::string_view::npos);
}

std::string duration(std::uint64_t seconds) {
    if (seconds < 60) {
        return fmt::format("{}s", seconds);
    }
    if (seconds < 3600) {
        return fmt::format("{}m{:02}s", seconds / 60, seconds % 60);
    }
    if (seconds < 86400) {
        return fmt::format("{}h{:02}m", seconds / 3600, seconds % 3600 / 60);
    }
    return fmt::format("{}d{:02}h", seconds / 86400, seconds % 86400 / 3600);
}

std::string bytes(std::uint64_t number) {
    if (number < 1024) {
        return fmt::format("{} B", number);
    }
    constexpr std::array kUnits = {"KiB", "MiB", "GiB", "TiB"};
    double value = static_cast<double>(number) / 1024;
    std::size_t unit = 0;
    while (value >= 1024 && unit + 1 < kUnits.size()) {
        value /= 1024;
        ++unit;
    }
    return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string milliseconds(double ms) {
    return ms < 10 ? fmt::format("{:.1f} ms", ms) : fmt::format("{:.0f} ms", ms);
}

std::string join(const std::vector<std::string>& words, std::string_view separator) {
    return fmt::format("{}", fmt::join(words, separator));
}

}  // namespace sgbpf::cli
