// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "image/shared_containers.hpp"

#include <string>

#include <gtest/gtest.h>

namespace sgbpf {
namespace {

TEST(PagedVector, ACopyDoesNotSeeLaterChanges) {
    PagedVector<int, 4> a;
    a.set(9, 1);
    PagedVector<int, 4> b = a;
    b.set(9, 2);
    EXPECT_EQ(a[9], 1);
    EXPECT_EQ(b[9], 2);
    EXPECT_EQ(a.get(100), 0);
}

TEST(PagedVector, OnlyPagesThatDifferAreVisited) {
    PagedVector<int, 4> a;
    for (std::size_t i = 0; i < 16; ++i) {
        a.set(i, 1);
    }
    PagedVector<int, 4> b = a;
    b.set(5, 2);
    b.set(17, 3);
    std::vector<std::size_t> visited;
    PagedVector<int, 4>::for_each_unshared(a, b, [&](std::size_t i, int, int) { visited.push_back(i); });
    EXPECT_EQ(visited, (std::vector<std::size_t>{4, 5, 6, 7, 16, 17, 18, 19}));
}

TEST(ShardedMap, ACopyDoesNotSeeLaterChanges) {
    ShardedMap<std::string, int, std::hash<std::string>, 4> a;
    a.edit("x") = 1;
    auto b = a;
    b.edit("x") = 2;
    b.edit("y") = 3;
    b.erase("none");
    ASSERT_NE(a.find("x"), nullptr);
    EXPECT_EQ(*a.find("x"), 1);
    EXPECT_EQ(a.find("y"), nullptr);
    EXPECT_EQ(a.size(), 1U);
    EXPECT_EQ(b.size(), 2U);
}

TEST(ShardedMap, NamesWhatOneMapHasAndTheOtherHasNot) {
    ShardedMap<int, int, std::hash<int>, 4> a;
    for (int i = 0; i < 1000; ++i) {
        a.edit(i) = i;
    }
    auto b = a;
    b.erase(500);
    b.edit(2000) = 1;
    std::vector<int> missing;
    decltype(a)::for_each_missing(a, b, [&](int key, int) { missing.push_back(key); });
    EXPECT_EQ(missing, std::vector<int>{500});
}

}  // namespace
}  // namespace sgbpf
