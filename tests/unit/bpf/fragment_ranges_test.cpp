// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// bpf/fragment_ranges.h against a list of bytes (SG-5.54, 5.55, 5.58).
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "bpf/fragment_ranges.h"

namespace {

struct Piece {
    std::uint32_t first;
    std::uint32_t last;
    bool more;
};

sg_fragment_fit add(sg_fragment_ranges& seen, const Piece& piece) {
    return sg_fragment_add(&seen, piece.first, piece.last, piece.more ? 1 : 0, 0);
}

TEST(FragmentRanges, InOrderCompletesWithTheLast) {
    sg_fragment_ranges seen{};
    EXPECT_EQ(add(seen, {0, 1480, true}), SG_FRAGMENT_FITS);
    EXPECT_EQ(add(seen, {1480, 2960, true}), SG_FRAGMENT_FITS);
    EXPECT_EQ(add(seen, {2960, 3001, false}), SG_FRAGMENT_COMPLETES);
    EXPECT_EQ(std::count_if(std::begin(seen.range), std::end(seen.range), [](const auto& r) { return r.last != 0; }),
              1);
}

TEST(FragmentRanges, TheLargestDatagramFits) {
    sg_fragment_ranges seen{};
    EXPECT_EQ(add(seen, {0, 65528, true}), SG_FRAGMENT_FITS);
    EXPECT_EQ(add(seen, {65528, 65535, false}), SG_FRAGMENT_COMPLETES);
}

TEST(FragmentRanges, WhatContradictsTheLengthIsAnOverlap) {
    sg_fragment_ranges seen{};
    add(seen, {0, 80, true});
    EXPECT_EQ(add(seen, {160, 200, false}), SG_FRAGMENT_FITS);
    EXPECT_EQ(add(seen, {200, 208, true}), SG_FRAGMENT_OVERLAPS);  // behind the end
    EXPECT_EQ(add(seen, {80, 120, false}), SG_FRAGMENT_OVERLAPS);  // another end
    EXPECT_EQ(add(seen, {80, 160, true}), SG_FRAGMENT_COMPLETES);  // none of them was noted
    sg_fragment_ranges other{};
    add(other, {0, 80, true});
    add(other, {160, 240, true});
    EXPECT_EQ(add(other, {80, 120, false}), SG_FRAGMENT_OVERLAPS);  // an end before what passed
}

TEST(FragmentRanges, TooManyHolesAreToldFromOverlaps) {
    sg_fragment_ranges seen{};
    for (std::uint32_t i = 0; i < SG_FRAGMENT_RANGES; ++i) {
        ASSERT_EQ(add(seen, {i * 16, i * 16 + 8, true}), SG_FRAGMENT_FITS) << i;
    }
    EXPECT_EQ(add(seen, {5000, 5008, true}), SG_FRAGMENT_SCATTERED);
    EXPECT_EQ(add(seen, {8, 16, true}), SG_FRAGMENT_FITS);  // joins two: one is free again
    EXPECT_EQ(add(seen, {5000, 5008, true}), SG_FRAGMENT_FITS);
}

TEST(FragmentRanges, AskingChangesNothing) {
    sg_fragment_ranges seen{};
    add(seen, {0, 80, true});
    const sg_fragment_ranges before = seen;
    EXPECT_EQ(sg_fragment_add(&seen, 80, 160, 0, 1), SG_FRAGMENT_FITS);
    EXPECT_EQ(sg_fragment_add(&seen, 40, 160, 0, 1), SG_FRAGMENT_OVERLAPS);
    EXPECT_EQ(std::memcmp(&seen, &before, sizeof(seen)), 0);
}

// Datagrams cut and shuffled, with pieces that overlap thrown in, against one flag for each byte.
TEST(FragmentRanges, AgreesWithAListOfBytes) {
    std::mt19937 generator(20261124);
    const auto random = [&generator] { return static_cast<std::uint32_t>(generator()); };
    std::size_t completed = 0;
    std::size_t overlapped = 0;
    for (int round = 0; round < 20000; ++round) {
        std::vector<Piece> pieces;
        const std::uint32_t count = 1 + random() % 9;
        std::uint32_t at = 0;
        for (std::uint32_t i = 0; i < count; ++i) {
            const bool more = i + 1 < count;
            const std::uint32_t bytes = more ? 8 * (1 + random() % 20) : 1 + random() % 160;
            pieces.push_back({at, at + bytes, more});
            at += bytes;
        }
        if (random() % 3 == 0) {
            const std::uint32_t first = 8 * (random() % (at / 8 + 2));
            pieces.push_back({first, first + 8 * (1 + random() % 8), random() % 4 != 0});
        }
        std::shuffle(pieces.begin() + 1, pieces.end(), generator);
        sg_fragment_ranges seen{};
        std::vector<bool> bytes(at + 400);
        std::uint32_t total = 0;
        for (const Piece& piece : pieces) {
            const auto begin = bytes.begin() + piece.first;
            const auto end = bytes.begin() + piece.last;
            const bool overlap = std::find(begin, end, true) != end || (total != 0 && piece.last > total) ||
                                 (!piece.more && (std::find(end, bytes.end(), true) != bytes.end() ||
                                                  (total != 0 && total != piece.last)));
            const auto fit = add(seen, piece);
            ASSERT_EQ(fit == SG_FRAGMENT_OVERLAPS, overlap) << round << " " << piece.first << "-" << piece.last;
            if (overlap) {
                ++overlapped;
                continue;
            }
            std::fill(begin, end, true);
            total = piece.more ? total : piece.last;
            const bool whole =
                total != 0 && std::all_of(bytes.begin(), bytes.begin() + total, [](bool b) { return b; });
            ASSERT_EQ(fit == SG_FRAGMENT_COMPLETES, whole) << round;
            completed += whole ? 1 : 0;
        }
    }
    EXPECT_GT(completed, 10000U);
    EXPECT_GT(overlapped, 2000U);
}

}  // namespace
