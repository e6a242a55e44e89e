// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Damaged states; that good ones survive is tested over the whole corpus.
#include "model/ids.hpp"
#include "model/json.hpp"
#include "model/parse.hpp"

#include <functional>

#include <gtest/gtest.h>

namespace sgbpf {
namespace {

using Json = nlohmann::json;

Json example() {
    ParsedState parsed = parse_state(
        "schema: sgbpf/v1\nvpcs: {a: {cidrs: [10.0.0.0/16]}, b: {cidrs: [10.1.0.0/16]}}\n"
        "peerings: {p: {vpcs: [a, b], status: active}}\n"
        "prefix_lists: {l: {family: ipv4, max_entries: 2, entries: [{cidr: 10.0.0.0/8, description: x}, 192.0.2.0/24]}}\n"
        "groups: {web: {vpc: a, description: W, inbound: [{type: http, cidr: 10.0.0.0/8}, {type: all-icmp, "
        "prefix_list: l}, {protocol: icmp, icmp: {type: 3, code: 1}, group: self}]}}\n"
        "interfaces: {i: {vpc: a, match: tap0, addresses: [10.0.0.1], groups: [web]}}\n",
        "s.yaml", "");
    EXPECT_TRUE(parsed.ok());
    CountingIds ids;
    assign_ids(parsed.state, nullptr, ids);
    return to_json(parsed.state);
}

TEST(StateJson, ReadsBackWhatItWrote) {
    const Json json = example();
    const auto state = state_from_json(json);
    ASSERT_TRUE(state) << state.error().message;
    EXPECT_EQ(to_json(*state), json);
}

TEST(StateJson, NamesTheFirstThingThatIsDamaged) {
    struct Row {
        const char* name;
        std::function<void(Json&)> damage;
        const char* message;
    };
    const Row rows[] = {
        {"no object", [](Json& j) { j = 1; }, "state is not an object"},
        {"no groups", [](Json& j) { j.erase("groups"); }, "state.groups is missing"},
        {"groups is a list", [](Json& j) { j["groups"] = Json::array(); }, "state.groups has the wrong type"},
        {"group is text", [](Json& j) { j["groups"]["a/web"] = "x"; }, "groups.a/web is not an object"},
        {"bad id", [](Json& j) { j["groups"]["a/web"]["id"] = "sg-1"; }, "groups.a/web.id is not an id"},
        {"key and name differ", [](Json& j) { j["groups"]["a/web"]["name"] = "x"; }, "does not agree with its vpc"},
        {"protocol", [](Json& j) { j["groups"]["a/web"]["inbound"][0]["protocol"] = 256; }, "from -1 to 255"},
        {"protocol is text", [](Json& j) { j["groups"]["a/web"]["inbound"][0]["protocol"] = "tcp"; }, "protocol"},
        {"ports reversed", [](Json& j) { j["groups"]["a/web"]["inbound"][0]["ports"] = {90, 80}; }, ".ports"},
        {"one port", [](Json& j) { j["groups"]["a/web"]["inbound"][0]["ports"] = Json::array({90}); }, "not a pair"},
        {"host bits", [](Json& j) { j["groups"]["a/web"]["inbound"][0]["cidr"] = "10.0.0.1/8"; }, "canonical"},
        {"no peer", [](Json& j) { j["groups"]["a/web"]["inbound"][0].erase("cidr"); }, ".group is missing"},
        {"unknown group", [](Json& j) { j["groups"]["a/web"]["inbound"][2]["group"] = "a/x"; }, "names group a/x"},
        {"unknown list", [](Json& j) { j["prefix_lists"] = Json::object(); }, "names prefix list l, which is missing"},
        {"unknown VPC", [](Json& j) { j["vpcs"].erase("b"); }, "peering p names VPC b, which is missing"},
        {"family", [](Json& j) { j["prefix_lists"]["l"]["family"] = "ipv6"; }, "other family"},
        {"interface group", [](Json& j) { j["interfaces"]["i"]["groups"] = {"a/x"}; }, "names group a/x"},
        {"role", [](Json& j) { j["interfaces"]["i"]["role"] = "uplink"; }, "neither workload nor host"},
        {"mac", [](Json& j) { j["interfaces"]["i"]["mac"] = "x"; }, "not a MAC"},
        {"tracking", [](Json& j) { j["interfaces"]["i"]["tracking"] = {{"revocation", "x"}}; }, "not known"},
        {"reserve", [](Json& j) { j["interfaces"]["i"]["tracking"] = {{"reserved", -1}}; }, "tracking.reserved"},
        {"timeouts", [](Json& j) { j["interfaces"]["i"]["timeouts"].erase("udp"); }, "timeouts.udp"},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(row.name);
        Json json = example();
        row.damage(json);
        const auto state = state_from_json(json);
        ASSERT_FALSE(state);
        EXPECT_EQ(state.error().code, ErrorCode::kCorrupt);
        EXPECT_NE(state.error().message.find(row.message), std::string::npos) << state.error().message;
    }
}

}  // namespace
}  // namespace sgbpf
