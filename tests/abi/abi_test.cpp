// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What C++ can say of the ABI beyond the size asserts in its headers: no hidden padding (keys are hashed
// by byte), complete tables, numbers that never change.
#include <gtest/gtest.h>
#include <sgbpf/abi/config.h>
#include <sgbpf/abi/flow.h>
#include <sgbpf/abi/interface.h>
#include <sgbpf/abi/policy.h>
#include <sgbpf/abi/verdict.h>

#include <set>
#include <string>
#include <type_traits>

#include "image/maps.hpp"

namespace {

template <typename T>
constexpr bool kPlain = std::is_trivially_copyable_v<T> && std::has_unique_object_representations_v<T>;

static_assert(kPlain<sg_versioned> && kPlain<sg_control>);
static_assert(kPlain<sg_prefix4> && kPlain<sg_prefix6> && kPlain<sg_set_key>);
static_assert(kPlain<sg_ports> && kPlain<sg_class> && kPlain<sg_interval> && kPlain<sg_rule_ref>);
static_assert(kPlain<sg_policy> && kPlain<sg_rule> && kPlain<sg_rule_counters>);
static_assert(kPlain<sg_interface_config> && kPlain<sg_interface> && kPlain<sg_binding>);
static_assert(kPlain<sg_flow_key> && kPlain<sg_flow> && kPlain<sg_account> && kPlain<sg_reap_request> &&
              kPlain<sg_reap_request>);
static_assert(kPlain<sg_counters> && kPlain<sg_config> && kPlain<sg_test>);

TEST(Abi, ReasonsHaveUniqueNumbersAndNamesAndSentences) {
    std::set<int> numbers;
    std::set<std::string> names;
    int rows = 0;
#define SG_ROW(number, symbol, name, verdict, sentence)                                                                \
    ++rows;                                                                                                            \
    numbers.insert(number);                                                                                            \
    names.insert(name);                                                                                                \
    EXPECT_LT(number, SG_REASON_MAX) << name;                                                                          \
    EXPECT_EQ((number) < SG_REASON_NO_RULE, (verdict) == SG_PASS) << name;                                             \
    EXPECT_GT(std::string(sentence).size(), 10u) << name;
    SG_REASONS(SG_ROW)
#undef SG_ROW
    EXPECT_EQ(numbers.size(), static_cast<std::size_t>(rows));
    EXPECT_EQ(names.size(), static_cast<std::size_t>(rows));
}

// In users' dashboards: a number keeps its meaning for ever.
TEST(Abi, ReasonNumbersNeverChange) {
    EXPECT_EQ(SG_REASON_RULE, 1);
    EXPECT_EQ(SG_REASON_TRACKED, 2);
    EXPECT_EQ(SG_REASON_EXEMPT, 3);
    EXPECT_EQ(SG_REASON_NO_RULE, 16);
    EXPECT_EQ(SG_REASON_SOURCE_DEST, 17);
    EXPECT_EQ(SG_REASON_NO_CAPACITY, 28);
    EXPECT_EQ(SG_REASON_INTERNAL, 31);
}

TEST(Abi, MapNamesFitTheKernel) {
    std::set<std::string_view> names;
    for (const sgbpf::MapInfo& info : sgbpf::kMaps) {
        EXPECT_LE(info.name.size(), 15u) << info.name;
        EXPECT_TRUE(names.insert(info.name).second) << info.name;
    }
}

// Line 0 of a flow record decides, line 1 accounts: they must not share a cache line.
TEST(Abi, FlowRecordIsTwoCacheLines) {
    EXPECT_EQ(sizeof(sg_flow), 128u);
    EXPECT_LE(offsetof(sg_flow, icmp_code) + 1, 64u);
    EXPECT_EQ(offsetof(sg_flow, packets), 64u);
}

}  // namespace
