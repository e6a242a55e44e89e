// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Text helpers shared by the parsers: strict numbers, UTF-8, suggestions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sgbpf {

// "0" or digits without a leading zero, nothing else: readers disagree about 022, +1, 0x50, 1e3, 1_000.
// Empty if `text` is not that or does not fit 64 bits.
std::optional<std::uint64_t> parse_decimal(std::string_view text);

std::string to_lower(std::string_view text);  // ASCII only

// Offset of the first byte that is not valid UTF-8 (overlong forms and surrogates are not), or npos.
std::size_t find_invalid_utf8(std::string_view text);

// The candidate a person most likely meant: equal but for case or '-'/'_', a known beginning, or within an
// edit distance of a third of the length. Empty if none is close.
std::string closest(std::string_view text, std::span<const std::string> candidates);

// "; did you mean X?" or nothing.
std::string did_you_mean(std::string_view text, std::span<const std::string> candidates);

// For sentences: control characters and broken UTF-8 as \xNN, at most `max_bytes` bytes, then "...".
std::string printable(std::string_view text, std::size_t max_bytes = 80);

// "1 rule", "3 rules"; `plural` for words that do not take an s.
std::string counted(std::size_t number, std::string_view singular, std::string_view plural = {});

}  // namespace sgbpf
