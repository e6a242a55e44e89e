// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The text of small images, so that a reviewer sees what a change does to the maps. To accept new texts:
// SGBPF_UPDATE_GOLDEN=1 sgbpf_compiler_tests --gtest_filter='Golden.*', then read the diff.
#include <cstdlib>
#include <fstream>
#include <functional>
#include <sstream>

#include <gtest/gtest.h>

#include "tests/support/world.hpp"

namespace sgbpf {
namespace {

using test::group_peer;
using test::list_peer;
using test::prefix;
using test::World;

void base(World& world) {
    world.vpc("prod").group("prod/web").interface("web", "prod", {"10.0.0.5/32"}, {"prod/web"});
}

struct Case {
    const char* name;
    std::function<void(World&)> build;
};

const std::vector<Case>& cases() {
    static const std::vector<Case> all = {
        {"nothing", [](World&) {}},
        {"no-rules", base},
        {"web-server",
         [](World& world) {  // the table of the seed page, SG-12.1
             base(world);
             for (const std::uint16_t port : std::initializer_list<std::uint16_t>{80, 443}) {
                 world.rule("prod/web", SG_IN, kTcp, {port, port}, prefix("0.0.0.0/0"));
                 world.rule("prod/web", SG_IN, kTcp, {port, port}, prefix("::/0"));
             }
             world.rule("prod/web", SG_IN, kTcp, {22, 22}, prefix("198.51.100.0/24"));
             world.rule("prod/web", SG_IN, kTcp, {3389, 3389}, prefix("198.51.100.0/24"));
             world.rule("prod/web", SG_OUT, kAllProtocols, {}, prefix("0.0.0.0/0"));
         }},
        {"default-group",
         [](World& world) {  // SG-3.9
             world.vpc("prod").group("prod/default");
             world.rule("prod/default", SG_IN, kAllProtocols, {}, group_peer("prod/default"));
             world.rule("prod/default", SG_OUT, kAllProtocols, {}, prefix("0.0.0.0/0"));
             world.interface("a", "prod", {"10.0.0.5/32"}, {"prod/default"});
             world.interface("b", "prod", {"10.0.0.6/32", "2001:db8::6/128"}, {"prod/default"});
         }},
        {"nested-prefixes",
         [](World& world) {
             base(world);
             world.rule("prod/web", SG_IN, kTcp, {80, 80}, prefix("10.0.0.0/8"));
             world.rule("prod/web", SG_IN, kTcp, {22, 22}, prefix("10.1.0.0/16"));
             world.rule("prod/web", SG_IN, kTcp, {1, 100}, prefix("10.1.2.0/24"));
             world.rule("prod/web", SG_IN, kTcp, {443, 443}, prefix("192.0.2.0/24"));
         }},
        {"overlapping-ports",
         [](World& world) {
             base(world);
             world.rule("prod/web", SG_IN, kTcp, {1000, 2000}, prefix("10.0.0.0/8"));
             world.rule("prod/web", SG_IN, kTcp, {1500, 2500}, prefix("10.0.0.0/8"));
             world.rule("prod/web", SG_IN, kUdp, {0, 65535}, prefix("10.0.0.0/8"));
             world.rule("prod/web", SG_IN, kAllProtocols, {}, prefix("10.0.0.0/8"));
         }},
        {"icmp",
         [](World& world) {
             base(world);
             world.icmp_rule("prod/web", SG_IN, kIcmp, 8, -1, prefix("0.0.0.0/0"));
             world.icmp_rule("prod/web", SG_IN, kIcmp, 3, 4, prefix("0.0.0.0/0"));
             world.icmp_rule("prod/web", SG_IN, kIcmpv6, -1, -1, prefix("2001:db8::/32"));
             world.rule("prod/web", SG_IN, 132, {}, prefix("2001:db8::/32"));
         }},
        {"lists",
         [](World& world) {
             base(world);
             world.list("partners", {"192.0.2.0/25", "198.51.100.7/32"})
                 .list("cloud", {"198.0.0.0/7", "198.51.100.0/24"});
             world.list("six", {"2001:db8:f::/48", "2001::/16"}).list("unused", {"203.0.113.0/24"});
             world.rule("prod/web", SG_IN, kTcp, {22, 22}, list_peer("partners"));
             world.rule("prod/web", SG_IN, kTcp, {80, 80}, list_peer("cloud"));
             world.rule("prod/web", SG_OUT, kTcp, {443, 443}, list_peer("six"));
         }},
        {"group-references",
         [](World& world) {
             base(world);
             world.group("prod/db").group("prod/admin");
             world.rule("prod/db", SG_IN, kTcp, {3306, 3306}, group_peer("prod/web"));
             world.rule("prod/db", SG_IN, kTcp, {22, 22}, group_peer("prod/admin"));
             world.interface("db", "prod", {"10.0.0.6/32", "10.0.1.0/28"}, {"prod/db"});
             world.interface("jump", "prod", {"10.0.0.7/32"}, {"prod/admin", "prod/web"});
         }},
        {"peered-vpcs",
         [](World& world) {
             world.vpc("a").vpc("b").group("a/web").group("b/db").group("b/other").peering("a", "b");
             world.rule("a/web", SG_OUT, kTcp, {3306, 3306}, group_peer("b/db"));
             world.interface("web", "a", {"10.0.0.5/32"}, {"a/web"});
             world.interface("db", "b", {"10.1.0.5/32"}, {"b/db", "b/other"});
             world.interface("other", "b", {"10.1.0.6/32"}, {"b/other"});
         }},
        {"stale-peering",
         [](World& world) {
             world.vpc("a").vpc("b").group("a/web").group("b/db").peering("a", "b", "deleted");
             world.rule("a/web", SG_OUT, kTcp, {3306, 3306}, group_peer("b/db"));
             world.interface("web", "a", {"10.0.0.5/32"}, {"a/web"});
             world.interface("db", "b", {"10.1.0.5/32"}, {"b/db"});
         }},
        {"interface-settings",
         [](World& world) {
             base(world);
             world.at("web").source_dest_check = false;
             world.at("web").mac = MacAddress{{0x52, 0x54, 0, 0x12, 0x34, 0x56}};
             world.at("web").allowed_addresses = {prefix("10.9.0.0/16")};
             world.at("web").timeouts = {600, 45, 60};
             world.at("web").role = Role::kHost;
             world.at("web").tracking = {.strict = true,
                                         .max_flows = 1000,
                                         .max_opening = 100,
                                         .reserved = 10,
                                         .opening_recycle = 5,
                                         .always_track = true};
         }},
        {"services",
         [](World& world) {  // SG-6.4, SG-5.19
             base(world);
             world.vpc("dev").group("dev/web").interface("dev", "dev", {"10.0.0.5/32"}, {"dev/web"});
             world.host.services = {{"*", prefix("169.254.169.254/32"), kTcp, 80, true, true, "metadata"},
                                    {"prod", prefix("2001:db8:53::/64"), kUdp, 53, true, true, "resolvers"},
                                    {"prod", prefix("2001:db8:53::1/128"), kUdp, 53, false, true, ""},
                                    {"dev", prefix("10.0.0.1/32"), kIcmp, 0, true, true, "gateway"},
                                    {"dev", prefix("10.0.0.2/32"), kAllProtocols, 0, true, false, ""}};
             world.host.exempt_rate = 100;
             world.host.tracking.always_track_peers = {prefix("192.0.2.0/24")};
             world.at("web").tracking.always_track = false;
             world.at("web").tracking.always_track_peers = {prefix("192.0.2.0/24"), prefix("2001:db8:64::/96")};
         }},
        {"second-commit",
         [](World& world) {
             base(world);
             world.rule("prod/web", SG_IN, kTcp, {80, 80}, prefix("10.0.0.0/8"));
             world.rule("prod/web", SG_IN, kTcp, {81, 81}, prefix("10.0.0.0/8"));
             world.interface("gone", "prod", {"10.0.0.6/32"}, {"prod/web"});
             world.commit();
             world.state.interfaces.erase("gone");
             world.state.groups.at("prod/web")
                 .rules[SG_IN]
                 .erase(world.state.groups.at("prod/web").rules[SG_IN].begin());
             world.at("web").addresses.push_back(prefix("10.0.0.7/32"));
         }},
    };
    return all;
}

std::string read(const std::string& path) {
    std::ifstream file(path);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

TEST(Golden, TextsOfSmallImages) {
    for (const Case& row : cases()) {
        SCOPED_TRACE(row.name);
        World world;
        row.build(world);
        world.commit();
        const std::string path = std::string(SGBPF_GOLDEN) + "/" + row.name + ".txt";
        const std::string text = to_text(world.image);
        if (std::getenv("SGBPF_UPDATE_GOLDEN") != nullptr) {
            std::ofstream(path) << text;
        }
        EXPECT_EQ(text, read(path));
        EXPECT_EQ(test::differs(world.maps, world.image), "");
    }
}

}  // namespace
}  // namespace sgbpf
