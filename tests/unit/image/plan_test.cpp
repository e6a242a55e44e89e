// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Order and content of edits, on images made by hand where only set tables matter.
#include "image/plan.hpp"

#include <gtest/gtest.h>

#include "image/encode.hpp"
#include "tests/support/states.hpp"

namespace sgbpf {
namespace {

MapImage with_members(const std::vector<std::pair<std::string, std::uint32_t>>& rows) {
    SetFamily family;
    auto table = std::make_shared<SetTable>();
    for (const auto& [prefix, value] : rows) {
        table->rows.push_back({1, test::prefix(prefix), value});
    }
    std::sort(table->rows.begin(), table->rows.end());
    table->sum = sum_of(*table, kGroupSets);
    family.tables = {table, std::make_shared<const SetTable>()};
    MapImage image;
    image.sets[kGroupSets] = std::make_shared<const SetFamily>(std::move(family));
    image.sum = sum_of(image);
    return image;
}

struct MemberEdit {
    std::string prefix;
    bool removed;
    std::uint32_t before;
    std::uint32_t after;
    std::uint64_t since;
    bool operator==(const MemberEdit&) const = default;
};

std::vector<MemberEdit> member_edits(const EditList& edits) {
    std::vector<MemberEdit> found;
    for (std::size_t i = 0; i < edits.size(); ++i) {
        const EditList::Edit edit = edits[i];
        EXPECT_EQ(edit.map, MapId::kMembers4);
        sg_prefix4 key;
        std::memcpy(&key, edit.key.data(), sizeof(key));
        sg_versioned value{};
        if (edit.op == EditOp::kPut) {
            std::memcpy(&value, edit.value.data(), sizeof(value));
        }
        found.push_back({prefix_of(key).to_string(), edit.op == EditOp::kRemove,
                         static_cast<std::uint32_t>(value.values), static_cast<std::uint32_t>(value.values >> 32),
                         value.since});
    }
    return found;
}

TEST(Plan, ARowThatComesHoldsWhatWasInheritedBefore) {
    const MapImage a = with_members({{"10.0.0.0/8", 5}, {"10.0.0.0/24", 6}});
    const MapImage b = with_members({{"10.0.0.0/8", 5}, {"10.0.0.0/24", 7}, {"10.0.0.1/32", 8}, {"11.0.0.0/8", 9}});
    const CommitPlan plan = plan_commit(a, b, 3);
    EXPECT_EQ(member_edits(plan.publish),
              (std::vector<MemberEdit>{
                  {"10.0.0.0/24", false, 6, 7, 4}, {"10.0.0.1/32", false, 6, 8, 4}, {"11.0.0.0/8", false, 0, 9, 4}}));
    EXPECT_EQ(member_edits(plan.after),
              (std::vector<MemberEdit>{
                  {"10.0.0.0/24", false, 7, 7, 0}, {"10.0.0.1/32", false, 8, 8, 0}, {"11.0.0.0/8", false, 9, 9, 0}}));
    EXPECT_TRUE(plan.before.empty());
    EXPECT_FALSE(plan.single_write);
}

TEST(Plan, ARowThatGoesHoldsWhatIsInheritedAfter) {
    const MapImage a = with_members({{"10.0.0.0/8", 5}, {"10.0.0.0/24", 6}, {"10.0.0.1/32", 8}});
    const MapImage b = with_members({{"10.0.0.0/8", 9}});
    const CommitPlan plan = plan_commit(a, b, 3);
    EXPECT_EQ(member_edits(plan.publish),
              (std::vector<MemberEdit>{
                  {"10.0.0.0/8", false, 5, 9, 4}, {"10.0.0.0/24", false, 6, 9, 4}, {"10.0.0.1/32", false, 8, 9, 4}}));
    EXPECT_EQ(member_edits(plan.after),
              (std::vector<MemberEdit>{
                  {"10.0.0.0/8", false, 9, 9, 0}, {"10.0.0.0/24", true, 0, 0, 0}, {"10.0.0.1/32", true, 0, 0, 0}}));
}

TEST(Plan, AdditionsComeBeforeRemovals) {
    const CommitPlan plan = plan_commit(with_members({{"10.0.0.1/32", 5}}), with_members({{"10.0.0.2/32", 5}}), 3);
    EXPECT_EQ(member_edits(plan.publish),
              (std::vector<MemberEdit>{{"10.0.0.2/32", false, 0, 5, 4}, {"10.0.0.1/32", false, 5, 0, 4}}));
}

TEST(Plan, OneWriteTakesEffectAtOnceAndNeedsNoSettling) {
    const CommitPlan added = plan_commit(with_members({}), with_members({{"10.0.0.1/32", 5}}), 3);
    EXPECT_TRUE(added.single_write);
    EXPECT_EQ(member_edits(added.publish), (std::vector<MemberEdit>{{"10.0.0.1/32", false, 5, 5, 0}}));
    EXPECT_TRUE(added.after.empty());
    const CommitPlan removed = plan_commit(with_members({{"10.0.0.1/32", 5}}), with_members({}), 3);
    EXPECT_EQ(member_edits(removed.publish), (std::vector<MemberEdit>{{"10.0.0.1/32", true, 0, 0, 0}}));
    EXPECT_TRUE(removed.after.empty());
}

TEST(Plan, TheSameImageNeedsNoEdits) {
    const MapImage a = with_members({{"10.0.0.0/8", 5}});
    EXPECT_EQ(plan_commit(a, a, 1).edits(), 0U);
    EXPECT_EQ(plan_commit(a, with_members({{"10.0.0.0/8", 5}}), 1).edits(), 0U);
}

TEST(Cache, DamagedBytesAreRefused) {
    const std::vector<std::byte> good = serialise(with_members({{"10.0.0.0/8", 5}}));
    ASSERT_TRUE(deserialise(good));
    for (std::size_t i = 0; i < good.size(); ++i) {
        std::vector<std::byte> bad = good;
        bad[i] ^= std::byte{0x40};
        const auto read = deserialise(bad);
        ASSERT_FALSE(read) << "byte " << i;
        EXPECT_EQ(read.error().code, ErrorCode::kCorrupt);
        const std::span<const std::byte> head = std::span(good).first(i);
        ASSERT_FALSE(deserialise(head)) << "cut at " << i;
    }
}

}  // namespace
}  // namespace sgbpf
