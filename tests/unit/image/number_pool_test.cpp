// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "image/number_pool.hpp"

#include <gtest/gtest.h>

namespace sgbpf {
namespace {

TEST(NumberPool, HandsOutTheLowestFreeNumber) {
    NumberPool pool(1);
    EXPECT_EQ(pool.take(), 1U);
    EXPECT_EQ(pool.take(), 2U);
    EXPECT_EQ(pool.end(), 3U);
}

TEST(NumberPool, WhatWasGivenBackIsUsedFirst) {
    NumberPool pool(0);
    EXPECT_EQ(pool.take(5), 0U);
    pool.give_back({{1, 2}});
    EXPECT_EQ(pool.take(3), 5U) << "a run does not fit into a smaller gap";
    EXPECT_EQ(pool.take(2), 1U);
    EXPECT_EQ(pool.take(), 8U);
}

TEST(NumberPool, NeighboursGivenBackBecomeOneRun) {
    NumberPool pool(0);
    pool.take(10);
    pool.give_back({{4, 2}, {2, 2}, {6, 1}});
    EXPECT_EQ(pool.take(5), 2U);
}

TEST(NumberPool, TheHintOfASizeSurvivesTakesOfOtherSizes) {
    NumberPool pool(0);
    pool.take(20);
    pool.give_back({{0, 1}, {3, 2}, {8, 4}});
    EXPECT_EQ(pool.take(2), 3U);
    EXPECT_EQ(pool.take(1), 0U);
    EXPECT_EQ(pool.take(2), 8U);
    EXPECT_EQ(pool.take(1), 10U);
    EXPECT_EQ(pool.take(2), 20U);
}

TEST(NumberPool, CountsFreeFromUsed) {
    NumberPool pool = NumberPool::from_used(1, {{4, 1}, {2, 1}, {2, 1}});
    EXPECT_FALSE(pool.is_free(0));
    EXPECT_TRUE(pool.is_free(1));
    EXPECT_FALSE(pool.is_free(2));
    EXPECT_TRUE(pool.is_free(3));
    EXPECT_FALSE(pool.is_free(4));
    EXPECT_TRUE(pool.is_free(5));
    pool.take_at(3);
    EXPECT_EQ(pool.take(), 1U);
    EXPECT_EQ(pool.take(), 5U);
}

}  // namespace
}  // namespace sgbpf
