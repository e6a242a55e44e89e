// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "image/number_pool.hpp"

#include <algorithm>
#include <cassert>

namespace sgbpf {

std::uint32_t NumberPool::take(std::uint32_t count) {
    assert(count > 0);
    std::size_t at = count <= kHints ? hint_[count - 1] : 0;
    while (free_[at].count < count) {
        ++at;  // the last range is open-ended: it always fits
    }
    if (count <= kHints) {
        hint_[count - 1] = at;
    }
    const std::uint32_t first = free_[at].first;
    free_[at].first += count;
    free_[at].count -= count;
    return first;
}

void NumberPool::take_at(std::uint32_t first, std::uint32_t count) {
    const auto it = std::upper_bound(free_.begin(), free_.end(), first,
                                     [](std::uint32_t number, const Range& range) { return number < range.first; });
    assert(it != free_.begin());
    const auto range = it - 1;
    const std::uint32_t end = range->first + range->count;
    assert(first + count <= end);
    const std::uint32_t before = first - range->first;
    if (before == 0) {
        range->first += count;
        range->count -= count;
    } else {
        range->count = before;
        if (first + count < end) {
            free_.insert(range + 1, Range{first + count, end - first - count});
        }
    }
    std::fill(std::begin(hint_), std::end(hint_), 0);
}

void NumberPool::give_back(std::vector<Range> ranges) {
    std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.first < b.first; });
    std::vector<Range> merged;
    merged.reserve(free_.size() + ranges.size());
    auto a = free_.begin();
    auto b = ranges.begin();
    while (a != free_.end() || b != ranges.end()) {
        const bool from_free = b == ranges.end() || (a != free_.end() && a->first < b->first);
        const Range next = from_free ? *a++ : *b++;
        if (next.count == 0) {
            continue;
        }
        if (!merged.empty() && merged.back().first + merged.back().count == next.first) {
            merged.back().count += next.count;
        } else {
            merged.push_back(next);
        }
    }
    free_ = std::move(merged);
    std::fill(std::begin(hint_), std::end(hint_), 0);
}

bool NumberPool::is_free(std::uint32_t number) const {
    return std::any_of(free_.begin(), free_.end(), [number](const Range& range) {
        return number >= range.first && number - range.first < range.count;
    });
}

NumberPool NumberPool::from_used(std::uint32_t first, std::vector<Range> used) {
    std::sort(used.begin(), used.end(), [](const Range& a, const Range& b) { return a.first < b.first; });
    NumberPool pool(first);
    pool.free_.clear();
    std::uint32_t next = first;
    for (const Range& range : used) {
        if (range.first > next) {
            pool.free_.push_back({next, range.first - next});
        }
        next = std::max(next, range.first + range.count);
    }
    pool.free_.push_back({next, kEnd - next});
    return pool;
}

NumberPool NumberPool::from_free_ranges(std::vector<Range> ranges) {
    NumberPool pool;
    pool.free_ = std::move(ranges);
    return pool;
}

bool NumberPool::operator==(const NumberPool& other) const {
    const auto used = [](const Range& range) { return range.count != 0; };
    std::vector<Range> a;
    std::vector<Range> b;
    std::copy_if(free_.begin(), free_.end(), std::back_inserter(a), used);
    std::copy_if(other.free_.begin(), other.free_.end(), std::back_inserter(b), used);
    return a == b;
}

}  // namespace sgbpf
