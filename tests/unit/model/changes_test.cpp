// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "model/changes.hpp"
#include "model/ids.hpp"
#include "model/parse.hpp"

#include <gtest/gtest.h>

namespace sgbpf {
namespace {

State parse(const std::string& text) {
    ParsedState parsed = parse_state("schema: sgbpf/v1\n" + text, "s.yaml", "");
    EXPECT_TRUE(parsed.ok()) << (parsed.errors.empty() ? "" : parsed.errors[0].to_string());
    return std::move(parsed.state);
}

std::string diff(const std::string& from, const std::string& to) {
    State a = parse(from);
    State b = parse(to);
    CountingIds ids;
    assign_ids(b, nullptr, ids);  // ids are no difference
    std::string text;
    for (const Change& change : changes(a, b)) {
        text += change.to_string() + '\n';
    }
    return text;
}

constexpr const char* kBase = "vpcs: {prod: {cidrs: [10.0.0.0/16]}}\n";

std::string web(const std::string& rules, const std::string& more = "") {
    return kBase + std::string("groups: {web: {vpc: prod, description: W, inbound: [") + rules + "]" + more + "}}\n";
}

TEST(Changes, OfTheSameStateAreNone) {
    EXPECT_EQ(diff(kBase, kBase), "");
    EXPECT_EQ(diff(web("{type: http, cidr: 10.0.0.0/8}, {type: https, cidr: 10.0.0.0/8}"),
                   web("{protocol: 6, port: 443, cidr: 10.1.2.3/8}, {type: http, cidr: 10.0.0.0/8}")),
              "");
}

TEST(Changes, NameRulesAddedAndRemoved) {
    EXPECT_EQ(diff(web("{type: http, cidr: 0.0.0.0/0}, {type: ssh, cidr: 10.0.0.0/8}"),
                   web("{type: http, cidr: 0.0.0.0/0}, {type: https, cidr: \"::/0\"}", ", outbound: []")),
              "- rule web in tcp 22 from 10.0.0.0/8\n"
              "+ rule web in tcp 443 from ::/0\n"
              "- rule web out all to 0.0.0.0/0\n");
}

TEST(Changes, NameDescriptionsAndTags) {
    EXPECT_EQ(
        diff(web("{type: http, cidr: 10.0.0.0/8}"), web("{type: http, cidr: 10.0.0.0/8, description: x, tags: {a: b}}",
                                                        ", owner: \"012345678901\", tags: {c: d}")),
        "~ group web owner (none) -> 012345678901\n"
        "~ group web tags\n"
        "~ rule web in tcp 80 from 10.0.0.0/8 description\n"
        "~ rule web in tcp 80 from 10.0.0.0/8 tags\n");
}

TEST(Changes, OfAListAreItsEntries) {
    const auto list = [](const std::string& entries, int most) {
        return std::string(kBase) + "prefix_lists: {office: {family: ipv4, max_entries: " + std::to_string(most) +
               ", entries: [" + entries + "]}}\n";
    };
    EXPECT_EQ(diff(list("10.0.0.0/8, 192.0.2.0/24", 2), list("198.51.100.0/24, {cidr: 10.0.0.0/8, description: x}", 3)),
              "~ prefix list office max_entries 2 -> 3\n"
              "~ entry office 10.0.0.0/8 description\n"
              "- entry office 192.0.2.0/24\n"
              "+ entry office 198.51.100.0/24\n");
    EXPECT_EQ(diff(kBase, list("10.0.0.0/8", 2)), "+ prefix list office (ipv4, 1 of 2 entries)\n");
}

TEST(Changes, OfAnInterface) {
    const auto nic = [](const std::string& fields) {
        return std::string(kBase) + "groups: {web: {vpc: prod, description: W}}\ninterfaces: {web0: {vpc: prod, " +
               fields + "}}\n";
    };
    EXPECT_EQ(
        diff(nic("match: tap0, addresses: [10.0.0.1, 10.0.0.2]"),
             nic("match: tap1, addresses: [10.0.0.2, 10.0.0.3], groups: [web], source_dest_check: false, timeouts: "
                 "{udp: 60}, mac: \"52:54:00:00:00:01\", allowed_addresses: [\"::/0\"]")),
        "~ interface web0 match tap0 -> tap1\n"
        "~ interface web0 mac (none) -> 52:54:00:00:00:01\n"
        "~ interface web0 source_dest_check true -> false\n"
        "~ interface web0 udp 30 s -> 60 s\n"
        "- address web0 10.0.0.1\n"
        "+ address web0 10.0.0.3\n"
        "+ allowed address web0 ::/0\n"
        "- association web0 default\n"
        "+ association web0 web\n");
}

TEST(Changes, OfTrackingKeyByKey) {
    const auto nic = [](const std::string& tracking) {
        return std::string(kBase) + "interfaces: {web0: {vpc: prod, match: tap0, addresses: [10.0.0.1], tracking: {" +
               tracking + "}}}\n";
    };
    EXPECT_EQ(diff(nic("max_flows: 100, mode: strict, always_track: true"),
                   nic("max_flows: 200, opening_recycle: off, always_track: [192.0.2.0/24], revocation: kill")),
              "~ interface web0 tracking.always_track true -> [192.0.2.0/24]\n"
              "~ interface web0 tracking.max_flows 100 -> 200\n"
              "~ interface web0 tracking.mode strict -> (none)\n"
              "~ interface web0 tracking.opening_recycle (none) -> off\n"
              "~ interface web0 tracking.revocation (none) -> kill\n");
}

TEST(Changes, OfVpcsAndPeeringsUseWholeGroupNames) {
    const std::string a = "vpcs: {a: {cidrs: [10.0.0.0/16]}, b: {cidrs: [10.1.0.0/16]}}\n";
    EXPECT_EQ(
        diff(a + "peerings: {p: {vpcs: [a, b], status: active}}\n", "vpcs: {a: {cidrs: [10.0.0.0/16, 10.2.0.0/16]}}\n"),
        "+ cidr of vpc a 10.2.0.0/16\n"
        "- vpc b 10.1.0.0/16\n"
        "- peering p of a and b, active\n"
        "- group b/default\n"
        "- rule b/default in all from group b/default\n"
        "- rule b/default out all to 0.0.0.0/0\n");
    EXPECT_EQ(diff(a + "peerings: {p: {vpcs: [a, b], status: active}}\n",
                   a + "peerings: {p: {vpcs: [a, b], status: deleted}}\n"),
              "~ peering p status active -> deleted\n");
}

}  // namespace
}  // namespace sgbpf
