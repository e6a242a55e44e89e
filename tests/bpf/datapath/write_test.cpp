// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Edits as the kernel keeps them: every map, batches, keys that are gone, limits.
#include <cstring>

#include "support/kernel_fixture.hpp"

namespace sgbpf::test {
namespace {

class WriteTest : public KernelTest {};

template <typename Value> std::vector<std::byte> bytes_of(const Value& value) {
    const auto* begin = reinterpret_cast<const std::byte*>(&value);
    return {begin, begin + sizeof(value)};
}

// A value with something in every byte.
template <typename Value> Value filled(std::uint8_t with) {
    Value value;
    std::memset(static_cast<void*>(&value), with, sizeof(value));
    return value;
}

template <MapId map> typename MapTypes<map>::Key key_number(std::uint32_t number) {
    using Key = typename MapTypes<map>::Key;
    if constexpr (std::is_same_v<Key, sg_prefix4>) {
        Key key{SG_SCOPE_BITS + 32, 9, {10, 0, 0, 0}};
        key.address[2] = static_cast<std::uint8_t>(number >> 8);
        key.address[3] = static_cast<std::uint8_t>(number);
        return key;
    } else if constexpr (std::is_same_v<Key, sg_prefix6>) {
        Key key{SG_SCOPE_BITS + 128, 9, {0x20, 1, 0xd, 0xb8}};
        key.address[14] = static_cast<std::uint8_t>(number >> 8);
        key.address[15] = static_cast<std::uint8_t>(number);
        return key;
    } else if constexpr (std::is_same_v<Key, sg_set_key>) {
        return Key{7, number};
    } else {
        return number;
    }
}

template <MapId map> void put_rows(EditList& edits, std::uint32_t first, std::uint32_t count, std::uint8_t with) {
    for (std::uint32_t i = first; i < first + count; ++i) {
        edits.put<map>(key_number<map>(i), filled<typename MapTypes<map>::Value>(with));
    }
}

template <MapId map> void check_written(Datapath& datapath) {
    SCOPED_TRACE(map_info(map).name);
    EditList edits;
    put_rows<map>(edits, 1, 3, 0x5a);
    const auto written = datapath.write(edits, 0, edits.size());
    ASSERT_TRUE(written) << written.error().message;
    const auto rows = datapath.read_maps();
    ASSERT_TRUE(rows) << rows.error().message;
    ASSERT_EQ(rows->at(map).size(), 3U);
    for (const RawRow& row : rows->at(map)) {
        EXPECT_EQ(row.value, bytes_of(filled<typename MapTypes<map>::Value>(0x5a)));
        const bool known = row.key == bytes_of(key_number<map>(1)) || row.key == bytes_of(key_number<map>(2)) ||
                           row.key == bytes_of(key_number<map>(3));
        EXPECT_TRUE(known);
    }
}

TEST_F(WriteTest, ReadsBackWhatItWroteInEveryMap) {
    auto datapath = loaded();
#define SGBPF_CHECK_MAP(symbol, name, kind, key, value, capacity, words) check_written<MapId::k##symbol>(*datapath);
    SGBPF_MAPS(SGBPF_CHECK_MAP)
#undef SGBPF_CHECK_MAP
}

TEST_F(WriteTest, LeavesOutArrayElementsThatAreZero) {
    auto datapath = loaded();
    EditList edits;
    edits.put<MapId::kRules>(5, filled<sg_rule>(1));
    edits.put<MapId::kRules>(5, sg_rule{});
    ASSERT_TRUE(datapath->write(edits, 0, edits.size()));
    EXPECT_TRUE(datapath->read_maps()->at(MapId::kRules).empty());
}

TEST_F(WriteTest, WritesOnlyTheEditsAskedFor) {
    auto datapath = loaded();
    EditList edits;
    put_rows<MapId::kCidr4>(edits, 0, 10, 1);
    ASSERT_TRUE(datapath->write(edits, 2, 3));
    EXPECT_EQ(datapath->read_maps()->at(MapId::kCidr4).size(), 3U);
    ASSERT_TRUE(datapath->write(edits, 8, 100));
    EXPECT_EQ(datapath->read_maps()->at(MapId::kCidr4).size(), 5U);
}

TEST_F(WriteTest, KeepsTheOrderOfEditsOnOneKey) {
    auto datapath = loaded();
    EditList edits;
    edits.put<MapId::kSetClasses>({1, 1}, 10);
    edits.put<MapId::kSetClasses>({1, 1}, 11);
    edits.remove<MapId::kSetClasses>({1, 1});
    edits.put<MapId::kSetClasses>({1, 1}, 12);
    ASSERT_TRUE(datapath->write(edits, 0, edits.size()));
    const auto rows = datapath->read_maps();
    ASSERT_EQ(rows->at(MapId::kSetClasses).size(), 1U);
    EXPECT_EQ(rows->at(MapId::kSetClasses)[0].value, bytes_of(std::uint32_t{12}));
}

// The kernel's batch stops at a key that is not there; removing it was all that was wanted.
TEST_F(WriteTest, GoesOnWhenAKeyToRemoveIsGone) {
    auto datapath = loaded();
    EditList edits;
    put_rows<MapId::kLists6>(edits, 0, 20, 1);
    put_rows<MapId::kSetClasses>(edits, 0, 20, 1);
    ASSERT_TRUE(datapath->write(edits, 0, edits.size()));
    EditList removals;
    for (std::uint32_t i = 0; i < 40; i += 3) {
        removals.remove<MapId::kLists6>(key_number<MapId::kLists6>(i));
    }
    for (std::uint32_t i = 0; i < 40; i += 3) {
        removals.remove<MapId::kSetClasses>({7, i});
    }
    removals.remove<MapId::kSetClasses>({7, 1});
    const auto removed = datapath->write(removals, 0, removals.size());
    ASSERT_TRUE(removed) << removed.error().message;
    const auto rows = datapath->read_maps();
    EXPECT_EQ(rows->at(MapId::kLists6).size(), 13U);
    EXPECT_EQ(rows->at(MapId::kSetClasses).size(), 12U);
}

TEST_F(WriteTest, WritesMoreThanOneBatch) {
    Capacities capacities = small_capacities();
    capacities.members = 20000;
    capacities.set_classes = 20000;
    auto datapath = loaded(capacities);
    EditList edits;
    put_rows<MapId::kMembers4>(edits, 0, 10000, 3);
    put_rows<MapId::kSetClasses>(edits, 0, 10000, 3);
    ASSERT_TRUE(datapath->write(edits, 0, edits.size()));
    auto rows = datapath->read_maps();
    EXPECT_EQ(rows->at(MapId::kMembers4).size(), 10000U);
    EXPECT_EQ(rows->at(MapId::kSetClasses).size(), 10000U);
    EditList removals;
    for (std::uint32_t i = 0; i < 10000; ++i) {
        removals.remove<MapId::kMembers4>(key_number<MapId::kMembers4>(i));
    }
    ASSERT_TRUE(datapath->write(removals, 0, removals.size()));
    EXPECT_TRUE(datapath->read_maps()->at(MapId::kMembers4).empty());
}

TEST_F(WriteTest, NamesTheMapThatIsFullAndTheEdit) {
    Capacities capacities = small_capacities();
    capacities.prefixes = 4;
    capacities.set_classes = 4;
    auto datapath = loaded(capacities);
    EditList edits;
    put_rows<MapId::kCidr6>(edits, 0, 5, 1);
    const auto trie = datapath->write(edits, 0, edits.size());
    ASSERT_FALSE(trie);
    EXPECT_EQ(trie.error().code, ErrorCode::kExhausted);
    EXPECT_EQ(trie.error().message, "map sg_cidr6 is full: 4 IPv6 prefixes fit (edit 4)");
    EXPECT_EQ(datapath->read_maps()->at(MapId::kCidr6).size(), 4U);

    EditList grants;
    put_rows<MapId::kSetClasses>(grants, 0, 5, 1);
    const auto hash = datapath->write(grants, 0, grants.size());
    ASSERT_FALSE(hash);
    EXPECT_EQ(hash.error().code, ErrorCode::kExhausted);
    EXPECT_NE(hash.error().message.find("sg_set_class is full: 4 grants"), std::string::npos) << hash.error().message;

    EditList beyond;
    beyond.put<MapId::kRules>(capacities.rules - 1, filled<sg_rule>(1));
    beyond.put<MapId::kRules>(capacities.rules, filled<sg_rule>(1));
    const auto array = datapath->write(beyond, 0, beyond.size());
    ASSERT_FALSE(array);
    EXPECT_EQ(array.error().code, ErrorCode::kExhausted);
    EXPECT_NE(array.error().message.find("sg_rules is full: 1024 rules fit (edit 1)"), std::string::npos)
        << array.error().message;
    EXPECT_EQ(datapath->read_maps()->at(MapId::kRules).size(), 1U);
}

TEST_F(WriteTest, CountsWhatIsUsed) {
    auto datapath = loaded();
    EditList edits;
    put_rows<MapId::kIntervals>(edits, 3, 5, 1);
    put_rows<MapId::kLocals4>(edits, 0, 7, 1);
    ASSERT_TRUE(datapath->write(edits, 0, edits.size()));
    const auto usage = datapath->map_usage();
    ASSERT_TRUE(usage) << usage.error().message;
    std::map<std::string, MapUsage> by_name;
    for (const MapUsage& row : *usage) {
        by_name[row.name] = row;
    }
    EXPECT_EQ(by_name["sg_intervals"].used, 5U);
    EXPECT_EQ(by_name["sg_intervals"].limit, small_capacities().intervals);
    EXPECT_EQ(by_name["sg_locals4"].used, 7U);
    EXPECT_EQ(by_name["sg_flows"].used, 0U);
    EXPECT_EQ(by_name["sg_flow_free"].used, small_capacities().flows - 1);
    EXPECT_GE(by_name["sg_flows"].bytes, small_capacities().flows * sizeof(sg_flow));
    EXPECT_EQ(by_name["sg_events"].used, 0U);
    EXPECT_EQ(by_name["sg_events"].limit, SG_EVENT_RING_BYTES);
    EXPECT_EQ(by_name.size(), kMaps.size() + 12);
}

}  // namespace
}  // namespace sgbpf::test
