// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Overlapping port ranges: each port belongs to the first rule that covers it.
#include <random>

#include <gtest/gtest.h>

#include "compiler/classes.hpp"

namespace sgbpf {
namespace {

struct Row {
    const char* name;
    std::vector<Claim> claims;
    std::vector<Segment> segments;
};

TEST(Attribution, SplitsOverlapsAndJoinsNeighboursOfOneRule) {
    const std::vector<Row> rows = {
        {"nothing", {}, {}},
        {"one rule", {{80, 90, 1}}, {{{80, 90, 0}, 1}}},
        {"the first of two equals", {{80, 80, 1}, {80, 80, 2}}, {{{80, 80, 0}, 1}}},
        {"a hole in a later rule",
         {{80, 80, 1}, {0, 65535, 2}},
         {{{0, 79, 0}, 2}, {{80, 80, 0}, 1}, {{81, 65535, 0}, 2}}},
        {"a later rule inside is not seen", {{0, 65535, 1}, {80, 80, 2}}, {{{0, 65535, 0}, 1}}},
        {"overlap", {{10, 20, 1}, {15, 30, 2}, {5, 12, 3}}, {{{5, 9, 0}, 3}, {{10, 20, 0}, 1}, {{21, 30, 0}, 2}}},
        {"touching ranges of two rules stay apart", {{1, 5, 1}, {6, 9, 2}}, {{{1, 5, 0}, 1}, {{6, 9, 0}, 2}}},
        {"touching ranges of one rule join", {{1, 5, 1}, {6, 9, 1}}, {{{1, 9, 0}, 1}}},
        {"the last port", {{65535, 65535, 1}, {65000, 65535, 2}}, {{{65000, 65534, 0}, 2}, {{65535, 65535, 0}, 1}}},
        {"port zero", {{0, 0, 1}}, {{{0, 0, 0}, 1}}},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(row.name);
        const std::vector<Segment> found = attribute(row.claims);
        ASSERT_EQ(found.size(), row.segments.size());
        for (std::size_t i = 0; i < found.size(); ++i) {
            EXPECT_EQ(found[i].ports.first, row.segments[i].ports.first);
            EXPECT_EQ(found[i].ports.last, row.segments[i].ports.last);
            EXPECT_EQ(found[i].rule, row.segments[i].rule);
        }
    }
}

TEST(Attribution, AgreesWithAskingEveryPort) {
    std::mt19937 random(7);
    for (int round = 0; round < 200; ++round) {
        std::vector<Claim> claims;
        for (std::uint32_t i = 1; i <= 1 + random() % 8; ++i) {
            const auto first = static_cast<std::uint16_t>(random() % 64);
            claims.push_back({first, static_cast<std::uint16_t>(first + random() % 32), i});
        }
        const std::vector<Segment> segments = attribute(claims);
        for (std::uint32_t port = 0; port < 128; ++port) {
            std::uint32_t wanted = 0;
            for (const Claim& claim : claims) {
                wanted = wanted == 0 && claim.first <= port && port <= claim.last ? claim.rule : wanted;
            }
            std::uint32_t found = 0;
            for (const Segment& segment : segments) {
                if (segment.ports.first <= port && port <= segment.ports.last) {
                    ASSERT_EQ(found, 0U) << "segments overlap";
                    found = segment.rule;
                }
            }
            ASSERT_EQ(found, wanted) << "round " << round << " port " << port;
        }
    }
}

}  // namespace
}  // namespace sgbpf
