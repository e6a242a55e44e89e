// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <gtest/gtest.h>

#include "datapath/clock.hpp"

namespace sgbpf {
namespace {

// CONFIG_HZ is one of four; a measurement over 50 ms is off by a scheduling delay at most.
TEST(TickRate, IsTheNearestOfTheKernelsChoices) {
    struct Row {
        std::uint64_t ticks;
        std::uint64_t nanoseconds;
        std::uint32_t rate;
    };
    for (const Row& row :
         {Row{5, 50'000'000, 100}, Row{6, 60'003'000, 100}, Row{13, 52'000'000, 250}, Row{15, 50'000'000, 300},
          Row{50, 50'001'000, 1000}, Row{14, 52'000'000, 250}, Row{95, 100'000'000, 1000}, Row{0, 50'000'000, 100}}) {
        EXPECT_EQ(nearest_tick_rate(row.ticks, row.nanoseconds), row.rate) << row.ticks << " in " << row.nanoseconds;
    }
}

}  // namespace
}  // namespace sgbpf
