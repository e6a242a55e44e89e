// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// NumberPool: which numbers (or ranges of array elements) are free. A value: an image carries the
// pools as they will be once its commit is complete.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sgbpf {

class NumberPool {
public:
    struct Range {
        std::uint32_t first = 0;
        std::uint32_t count = 0;
        bool operator==(const Range&) const = default;
    };
    static constexpr std::uint32_t kEnd = 0xffffffff;

    // All numbers from `first` on are free.
    explicit NumberPool(std::uint32_t first = 1) : free_{{first, kEnd - first}} {}

    // Lowest run of `count` numbers. Cost: the gaps too small for it; up to 8 numbers at a time,
    // each gap is passed once per compile.
    std::uint32_t take(std::uint32_t count = 1);
    // Marks numbers as used; they must be free.
    void take_at(std::uint32_t first, std::uint32_t count = 1);
    // Gives back. Not before every take of the same compile: numbers of the previous image must not
    // get another meaning in the next.
    void give_back(std::vector<Range> ranges);

    [[nodiscard]] std::uint32_t end() const { return free_.back().first; }  // highest number in use + 1
    [[nodiscard]] bool is_free(std::uint32_t number) const;
    [[nodiscard]] const std::vector<Range>& free_ranges() const { return free_; }
    // Free: everything from `first` on but `used`, which may overlap.
    static NumberPool from_used(std::uint32_t first, std::vector<Range> used);
    static NumberPool from_free_ranges(std::vector<Range> ranges);
    bool operator==(const NumberPool& other) const;

private:
    std::vector<Range> free_;  // sorted, not adjacent; the last one is open-ended
    // Ranges before hint_[n] hold fewer than n + 1 numbers. Only a shortcut.
    static constexpr std::size_t kHints = 8;
    std::size_t hint_[kHints] = {};
};

}  // namespace sgbpf
