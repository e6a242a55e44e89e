// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What rules admit, one behaviour of the specification per test. Every question is put to the maps and
// to the evaluator (World::admits fails when they disagree).
#include <gtest/gtest.h>

#include "tests/support/world.hpp"

namespace sgbpf {
namespace {

using test::group_peer;
using test::list_peer;
using test::prefix;
using test::World;

struct OneVpc : World {
    OneVpc() {
        vpc("prod").group("prod/web").group("prod/db");
        interface("web", "prod", {"10.0.0.5/32", "2001:db8::5/128"}, {"prod/web"});
        interface("db", "prod", {"10.0.0.6/32", "2001:db8::6/128"}, {"prod/db"});
    }
};

TEST(Match, NoRuleAdmitsNothing) {  // SG-4.4, SG-4.5
    OneVpc world;
    world.rule("prod/web", SG_OUT, kAllProtocols, {}, prefix("0.0.0.0/0"));
    world.commit();
    EXPECT_EQ(world.admits("web", SG_IN, "198.51.100.1", kTcp, 80), "");
    EXPECT_NE(world.admits("web", SG_OUT, "198.51.100.1", kTcp, 80), "");
    EXPECT_EQ(world.admits("web", SG_OUT, "2001:db8:f::1", kTcp, 80), "");  // SG-2.30
}

TEST(Match, PortsAreInclusive) {  // SG-2.17
    OneVpc world;
    const std::string id = world.rule("prod/web", SG_IN, kTcp, {7000, 8000}, prefix("0.0.0.0/0"));
    world.commit();
    EXPECT_EQ(world.admits("web", SG_IN, "198.51.100.1", kTcp, 6999), "");
    EXPECT_EQ(world.admits("web", SG_IN, "198.51.100.1", kTcp, 7000), id);
    EXPECT_EQ(world.admits("web", SG_IN, "198.51.100.1", kTcp, 8000), id);
    EXPECT_EQ(world.admits("web", SG_IN, "198.51.100.1", kTcp, 8001), "");
    EXPECT_EQ(world.admits("web", SG_IN, "198.51.100.1", kUdp, 7000), "");
    EXPECT_EQ(world.admits("web", SG_IN, "198.51.100.1", kTcp, std::nullopt), "");  // SG-13.20
}

TEST(Match, IcmpTypesAndCodes) {  // SG-2.20, SG-2.22, SG-2.23
    OneVpc world;
    const std::string echo = world.icmp_rule("prod/web", SG_IN, kIcmp, 8, -1, prefix("0.0.0.0/0"));
    const std::string needed = world.icmp_rule("prod/web", SG_IN, kIcmp, 3, 4, prefix("0.0.0.0/0"));
    const std::string any6 = world.icmp_rule("prod/web", SG_IN, kIcmpv6, -1, -1, prefix("::/0"));
    world.commit();
    EXPECT_EQ(world.admits("web", SG_IN, "198.51.100.1", kIcmp, 8 << 8), echo);
    EXPECT_EQ(world.admits("web", SG_IN, "198.51.100.1", kIcmp, 8 << 8 | 255), echo);
    EXPECT_EQ(world.admits("web", SG_IN, "198.51.100.1", kIcmp, 9 << 8), "");
    EXPECT_EQ(world.admits("web", SG_IN, "198.51.100.1", kIcmp, 3 << 8 | 4), needed);
    EXPECT_EQ(world.admits("web", SG_IN, "198.51.100.1", kIcmp, 3 << 8 | 3), "");
    EXPECT_EQ(world.admits("web", SG_IN, "2001:db8:f::1", kIcmpv6, 128 << 8), any6);
}

TEST(Match, AProtocolWithoutPortsIsAdmittedWhole) {  // SG-2.10, SG-2.11, SG-13.20
    OneVpc world;
    const std::string sctp = world.rule("prod/web", SG_IN, 132, {80, 80}, prefix("10.0.0.0/8"));
    const std::string all = world.rule("prod/db", SG_IN, kAllProtocols, {}, prefix("10.0.0.0/8"));
    world.commit();
    EXPECT_EQ(world.admits("web", SG_IN, "10.9.9.9", 132, std::nullopt), sctp);
    EXPECT_EQ(world.admits("web", SG_IN, "10.9.9.9", 50, std::nullopt), "");
    EXPECT_EQ(world.admits("db", SG_IN, "10.9.9.9", 50, std::nullopt), all);
    EXPECT_EQ(world.admits("db", SG_IN, "10.9.9.9", kTcp, std::nullopt), all);
    EXPECT_EQ(world.admits("db", SG_IN, "10.9.9.9", kIcmp, 5 << 8), all);
}

TEST(Match, AShortPrefixCountsInsideALongOne) {  // SG-13.7
    OneVpc world;
    const std::string wide = world.rule("prod/web", SG_IN, kTcp, {80, 80}, prefix("10.0.0.0/8"));
    const std::string middle = world.rule("prod/web", SG_IN, kTcp, {81, 81}, prefix("10.1.0.0/16"));
    const std::string host = world.rule("prod/web", SG_IN, kTcp, {22, 22}, prefix("10.1.2.3/32"));
    world.commit();
    EXPECT_EQ(world.admits("web", SG_IN, "10.1.2.3", kTcp, 80), wide);
    EXPECT_EQ(world.admits("web", SG_IN, "10.1.2.3", kTcp, 81), middle);
    EXPECT_EQ(world.admits("web", SG_IN, "10.1.2.3", kTcp, 22), host);
    EXPECT_EQ(world.admits("web", SG_IN, "10.1.2.4", kTcp, 22), "");
    EXPECT_EQ(world.admits("web", SG_IN, "10.2.0.1", kTcp, 81), "");
    EXPECT_EQ(world.admits("web", SG_IN, "11.0.0.1", kTcp, 80), "");
}

TEST(Match, ListsNestAcrossBandsAndLists) {  // SG-4.28, SG-4.30
    OneVpc world;
    world.list("wide", {"10.0.0.0/7"}).list("narrow", {"10.1.0.0/16", "10.1.2.0/24"}).list("six", {"2001:db8::/32"});
    const std::string a = world.rule("prod/web", SG_IN, kTcp, {80, 80}, list_peer("wide"));
    const std::string b = world.rule("prod/web", SG_IN, kTcp, {81, 81}, list_peer("narrow"));
    const std::string c = world.rule("prod/web", SG_IN, kTcp, {82, 82}, list_peer("six"));
    world.commit();
    EXPECT_EQ(world.admits("web", SG_IN, "10.1.2.3", kTcp, 80), a);
    EXPECT_EQ(world.admits("web", SG_IN, "10.1.2.3", kTcp, 81), b);
    EXPECT_EQ(world.admits("web", SG_IN, "11.1.2.3", kTcp, 80), a);
    EXPECT_EQ(world.admits("web", SG_IN, "11.1.2.3", kTcp, 81), "");
    EXPECT_EQ(world.admits("web", SG_IN, "2001:db8:1::1", kTcp, 82), c);
    EXPECT_EQ(world.admits("web", SG_IN, "10.1.2.3", kTcp, 82), "");
}

TEST(Match, AnEmptyListAndAnEmptyGroupMatchNothing) {  // SG-4.25, SG-4.29
    OneVpc world;
    world.list("empty", {}).group("prod/nobody");
    world.rule("prod/web", SG_IN, kAllProtocols, {}, list_peer("empty"));
    world.rule("prod/web", SG_IN, kAllProtocols, {}, group_peer("prod/nobody"));
    world.commit();
    EXPECT_EQ(world.admits("web", SG_IN, "10.0.0.6", kTcp, 80), "");
    // Later members need no new policy: the same policy number grants them.
    const std::uint32_t policy = world.image.policy_slots[1].policy;
    world.state.prefix_lists.at("empty").entries.push_back({prefix("10.0.0.6/32"), ""});
    world.commit();
    EXPECT_NE(world.admits("web", SG_IN, "10.0.0.6", kTcp, 80), "");
    EXPECT_EQ(world.image.policy_slots[1].policy, policy);
}

TEST(Match, MembersAreTheAddressesOfInterfacesInTheGroup) {  // SG-4.16, SG-4.20, SG-1.30
    OneVpc world;
    world.at("db").addresses.push_back(prefix("10.7.0.0/28"));          // delegated
    world.at("db").allowed_addresses.push_back(prefix("10.8.0.0/28"));  // not a member's address
    const std::string id = world.rule("prod/web", SG_IN, kTcp, {80, 80}, group_peer("prod/db"));
    world.commit();
    EXPECT_EQ(world.admits("web", SG_IN, "10.0.0.6", kTcp, 80), id);
    EXPECT_EQ(world.admits("web", SG_IN, "2001:db8::6", kTcp, 80), id);
    EXPECT_EQ(world.admits("web", SG_IN, "10.7.0.15", kTcp, 80), id);
    EXPECT_EQ(world.admits("web", SG_IN, "10.7.0.16", kTcp, 80), "");
    EXPECT_EQ(world.admits("web", SG_IN, "10.8.0.1", kTcp, 80), "");
    EXPECT_EQ(world.admits("web", SG_IN, "10.0.0.5", kTcp, 80), "");
    EXPECT_EQ(world.admits("db", SG_IN, "10.0.0.5", kTcp, 80), "");  // SG-4.18
}

TEST(Match, AMemberInsideADelegatedPrefixIsAlsoInItsGroups) {  // SG-13.7 for members
    OneVpc world;
    world.at("db").addresses.push_back(prefix("10.0.0.0/28"));
    const std::string by_db = world.rule("prod/web", SG_IN, kTcp, {80, 80}, group_peer("prod/db"));
    const std::string by_web = world.rule("prod/web", SG_IN, kTcp, {81, 81}, group_peer("prod/web"));
    world.commit();
    EXPECT_EQ(world.admits("web", SG_IN, "10.0.0.5", kTcp, 80), by_db);
    EXPECT_EQ(world.admits("web", SG_IN, "10.0.0.5", kTcp, 81), by_web);
}

TEST(Match, SelfReferenceAndIsolation) {  // SG-3.16, SG-4.27
    OneVpc world;
    world.interface("web2", "prod", {"10.0.0.7/32"}, {"prod/web"});
    world.commit();
    EXPECT_EQ(world.admits("web", SG_IN, "10.0.0.7", kTcp, 80), "");
    const std::string id = world.rule("prod/web", SG_IN, kAllProtocols, {}, group_peer("prod/web"));
    world.commit();
    EXPECT_EQ(world.admits("web", SG_IN, "10.0.0.7", kTcp, 80), id);
    EXPECT_EQ(world.admits("web", SG_IN, "10.0.0.5", kTcp, 80), id);
}

struct Peered : World {
    Peered() {
        vpc("a").vpc("b").vpc("c");
        group("a/web").group("b/db").group("c/db");
        peering("a", "b");
        interface("web", "a", {"10.0.0.5/32"}, {"a/web"});
        interface("db", "b", {"10.1.0.6/32"}, {"b/db"});
        interface("stranger", "c", {"10.1.0.6/32", "10.0.0.5/32"}, {"c/db"});
        reference = rule("a/web", SG_IN, kTcp, {80, 80}, group_peer("b/db"));
    }
    std::string reference;
};

TEST(Match, ReferencesReachActivelyPeeredVpcs) {  // SG-2.24, SG-4.17
    Peered world;
    world.commit();
    EXPECT_EQ(world.admits("web", SG_IN, "10.1.0.6", kTcp, 80), world.reference);
}

TEST(Match, AStaleReferenceMatchesNothingUntilThePeeringIsBack) {  // SG-4.26
    Peered world;
    for (const char* status : {"deleted", "pending-acceptance", "active", "expired"}) {
        world.state.peerings.at("a-b").status = status;
        world.commit();
        EXPECT_EQ(world.admits("web", SG_IN, "10.1.0.6", kTcp, 80) != "", std::string(status) == "active") << status;
    }
}

TEST(Match, PeeringIsNotTransitive) {  // SG-1.54
    Peered world;
    world.peering("b", "c");
    world.rule("a/web", SG_IN, kTcp, {81, 81}, group_peer("c/db"));
    world.commit();
    EXPECT_EQ(world.admits("web", SG_IN, "10.1.0.6", kTcp, 81), "");
}

TEST(Match, EqualAddressesInUnrelatedVpcsDoNotMix) {  // SG-4.17
    Peered world;
    const std::string c = world.rule("c/db", SG_IN, kTcp, {90, 90}, group_peer("c/db"));
    world.commit();
    EXPECT_EQ(world.admits("stranger", SG_IN, "10.0.0.5", kTcp, 90), c);
    EXPECT_EQ(world.admits("stranger", SG_IN, "10.1.0.6", kTcp, 80), "");
    EXPECT_EQ(world.admits("web", SG_IN, "10.0.0.5", kTcp, 80), "");
}

TEST(Match, OnlyALiteralAnyRuleMakesFlowsUntracked) {  // SG-5.11..5.16
    OneVpc world;
    world.rule("prod/web", SG_IN, kTcp, {80, 80}, prefix("0.0.0.0/0"));
    world.rule("prod/web", SG_IN, kTcp, {22, 22}, prefix("203.0.113.1/32"));
    world.rule("prod/web", SG_IN, kTcp, {80, 80}, prefix("::/0"));
    world.icmp_rule("prod/web", SG_IN, kIcmp, -1, -1, prefix("0.0.0.0/0"));
    world.rule("prod/web", SG_OUT, kAllProtocols, {}, prefix("0.0.0.0/0"));
    world.commit();
    EXPECT_FALSE(world.tracks("web", SG_IN, "203.0.113.1", kTcp, 80));
    EXPECT_TRUE(world.tracks("web", SG_IN, "203.0.113.1", kTcp, 22));
    EXPECT_TRUE(world.tracks("web", SG_IN, "203.0.113.1", kIcmp, 8 << 8));
    EXPECT_TRUE(world.tracks("web", SG_OUT, "203.0.113.1", kTcp, 80));
    EXPECT_TRUE(world.tracks("web", SG_IN, "2001:db8:f::1", kTcp, 80)) << "families are independent (SG-5.14)";
}

TEST(Match, HalvesOfTheInternetDoNotOpenTheWayBack) {  // SG-5.12
    OneVpc world;
    world.rule("prod/web", SG_IN, kTcp, {80, 80}, prefix("0.0.0.0/0"));
    world.rule("prod/web", SG_OUT, kAllProtocols, {}, prefix("0.0.0.0/1"));
    world.rule("prod/web", SG_OUT, kAllProtocols, {}, prefix("128.0.0.0/1"));
    world.commit();
    EXPECT_TRUE(world.tracks("web", SG_IN, "203.0.113.1", kTcp, 80));
    world.rule("prod/web", SG_OUT, kTcp, {0, 65534}, prefix("0.0.0.0/0"));
    world.commit();
    EXPECT_TRUE(world.tracks("web", SG_IN, "203.0.113.1", kTcp, 80)) << "not all ports";
    world.rule("prod/web", SG_OUT, kTcp, {0, 65535}, prefix("0.0.0.0/0"));
    world.commit();
    EXPECT_FALSE(world.tracks("web", SG_IN, "203.0.113.1", kTcp, 80));
}

}  // namespace
}  // namespace sgbpf
