// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Taking back what an interrupted commit announced in arrays: before it is settled, with `since` as it was.
#include <gtest/gtest.h>

#include <cstring>

#include "image/plan.hpp"

namespace sgbpf::test {
namespace {

template <typename Value> RawRow row(std::uint32_t slot, const Value& value) {
    RawRow result{std::vector<std::byte>(sizeof(slot)), std::vector<std::byte>(sizeof(value))};
    std::memcpy(result.key.data(), &slot, sizeof(slot));
    std::memcpy(result.value.data(), &value, sizeof(value));
    return result;
}

sg_versioned versioned(std::uint64_t old_value, std::uint64_t new_value, std::uint64_t since) {
    return {new_value << 32 | old_value, since};
}

TEST(UndoEdits, TakeBackOnlyWhatTheGenerationDoesNotSeeAndKeepSince) {
    constexpr std::uint64_t kGeneration = 7;
    sg_interface interface{};
    interface.current = versioned(0, 1, kGeneration + 1);
    interface.config[1].flags = SG_IF_READY;
    RawMaps maps;
    maps[MapId::kPolicySlots] = {row(1, versioned(4, 5, kGeneration + 1)),  // announced
                                 row(2, versioned(6, 8, kGeneration)),      // in force, not settled yet
                                 row(3, versioned(9, 9, 0))};               // settled
    maps[MapId::kInterfaces] = {row(1, interface)};

    const EditList edits = undo_edits(maps, kGeneration);
    ASSERT_EQ(edits.size(), 2u);
    std::uint32_t slot = 0;
    std::memcpy(&slot, edits[0].key.data(), sizeof(slot));
    sg_versioned undone{};
    std::memcpy(&undone, edits[0].value.data(), sizeof(undone));
    EXPECT_EQ(edits[0].map, MapId::kPolicySlots);
    EXPECT_EQ(slot, 1u);
    EXPECT_EQ(undone.values, versioned(4, 4, 0).values);
    EXPECT_EQ(undone.since, kGeneration + 1) << "a packet that loaded the announced value must still see it as later";

    sg_interface record{};
    std::memcpy(&record, edits[1].value.data(), sizeof(record));
    EXPECT_EQ(edits[1].map, MapId::kInterfaces);
    EXPECT_EQ(record.current.values, 0u);
    EXPECT_EQ(record.current.since, kGeneration + 1);
    EXPECT_EQ(record.config[1].flags, static_cast<__u32>(SG_IF_READY)) << "the rest of the record stays";
}

}  // namespace
}  // namespace sgbpf::test
