// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The order of stores into array elements that the packet path reads at the same time (abi/version.h).
#include "datapath/writer.hpp"

#include <vector>

#include <gtest/gtest.h>

namespace sgbpf {
namespace {

using Stores = std::vector<std::pair<std::size_t, std::uint64_t>>;

template <typename Value> Stores stores(const Value& value, bool versioned) {
    Stores seen;
    in_store_order(std::as_bytes(std::span(&value, 1)), versioned,
                   [&seen](std::size_t i, std::uint64_t content) { seen.emplace_back(i, content); });
    return seen;
}

TEST(StoreOrder, AnnouncesSinceBeforeTheNewValue) {
    const sg_versioned change{(9ULL << 32) | 5, 43};
    EXPECT_EQ(stores(change, true), (Stores{{1, 43}, {0, (9ULL << 32) | 5}}));
}

TEST(StoreOrder, SettlesTheValueBeforeSince) {
    const sg_versioned settled{(9ULL << 32) | 9, 0};
    EXPECT_EQ(stores(settled, true), (Stores{{0, (9ULL << 32) | 9}, {1, 0}}));
}

TEST(StoreOrder, WritesAnInterfaceBehindItsSelectorFirst) {
    sg_interface interface{};
    interface.current = {1ULL << 32, 8};
    interface.live = 1;
    interface.config[1].vpc = 77;
    const Stores seen = stores(interface, true);
    ASSERT_EQ(seen.size(), sizeof(interface) / 8);
    for (std::size_t i = 0; i + 2 < seen.size(); ++i) {
        EXPECT_EQ(seen[i].first, i + 2);
    }
    EXPECT_EQ(seen[seen.size() - 2], (std::pair<std::size_t, std::uint64_t>(1, 8)));
    EXPECT_EQ(seen.back(), (std::pair<std::size_t, std::uint64_t>(0, 1ULL << 32)));
}

TEST(StoreOrder, WritesOtherElementsInAscendingOrder) {
    sg_policy policy{};
    policy.any_class[0] = 3;
    policy.live = 1;
    const Stores seen = stores(policy, false);
    ASSERT_EQ(seen.size(), sizeof(policy) / 8);
    for (std::size_t i = 0; i < seen.size(); ++i) {
        EXPECT_EQ(seen[i].first, i);
    }
}

TEST(StoreOrder, TreatsExactlyTheElementsThatBeginWithAVersionedValueSo) {
    for (const MapInfo& info : kMaps) {
        const bool expected = info.name == "sg_interfaces" || info.name == "sg_policy_slots";
        EXPECT_EQ(begins_versioned(info.id), expected) << info.name;
    }
}

}  // namespace
}  // namespace sgbpf
