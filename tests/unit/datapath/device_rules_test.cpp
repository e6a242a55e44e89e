// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Which devices can be a workload's: the ones that lie about direction, or carry more than one workload,
// are refused in words of their own.
#include "datapath/device_rules.hpp"

#include <set>

#include <gtest/gtest.h>
#include <linux/if_arp.h>

namespace sgbpf {
namespace {

Device device(const std::string& kind, unsigned hardware_type = ARPHRD_ETHER) {
    Device made;
    made.ifindex = 7;
    made.name = "dev0";
    made.kind = kind;
    made.hardware_type = hardware_type;
    return made;
}

struct Row {
    const char* name;
    Device device;
    const char* word;  // in the refusal; nullptr: allowed
};

Device with(Device base, void (*change)(Device&)) {
    change(base);
    return base;
}

std::vector<Row> rows() {
    return {
        {"tap", device("tun"), nullptr},
        {"tap in a bridge", with(device("tun"), [](Device& d) { d.master_kind = "bridge"; }), nullptr},
        {"tap in an Open vSwitch", with(device("tun"), [](Device& d) { d.master_kind = "openvswitch"; }), nullptr},
        {"veth", device("veth"), nullptr},
        {"veth in a bridge", with(device("veth"), [](Device& d) { d.master_kind = "bridge"; }), nullptr},
        {"representor", with(device(""), [](Device& d) { d.is_representor = true; }), nullptr},
        {"tun", device("tun", ARPHRD_NONE), "make it a tap"},
        {"loopback", with(device("", ARPHRD_LOOPBACK), [](Device& d) { d.is_loopback = true; }), "loopback"},
        {"macvtap", device("macvtap"), "a macvtap shows"},
        {"macvlan", device("macvlan"), "a macvlan shows"},
        {"ipvtap", device("ipvtap"), "an ipvtap shows"},
        {"ipvlan", device("ipvlan"), "an ipvlan shows"},
        {"bridge", device("bridge"), "a bridge carries"},
        {"Open vSwitch", device("openvswitch"), "an Open vSwitch bridge"},
        {"bond", device("bond"), "a bond carries"},
        {"team", device("team"), "a team carries"},
        {"vlan", device("vlan"), "a VLAN device"},
        {"vxlan", device("vxlan"), "a tunnel carries"},
        {"gre", device("gre", 778), "a tunnel carries"},
        {"wireguard", device("wireguard", ARPHRD_NONE), "WireGuard"},
        {"dummy", device("dummy"), "nothing is behind"},
        {"ifb", device("ifb"), "redirected"},
        {"vrf", device("vrf"), "a VRF"},
        {"netkit", device("netkit"), "netkit"},
        {"a kind of tomorrow", device("quantum"), "its kind, quantum"},
        {"InfiniBand", device("", ARPHRD_INFINIBAND), "hardware type 32"},
        {"physical", device(""), "it is a physical NIC:"},
        {"physical in a bridge", with(device(""), [](Device& d) { d.master_kind = "bridge"; }),
         "judge every guest's traffic"},
    };
}

TEST(WorkloadDevice, IsAllowedOrRefusedByKind) {
    for (const Row& row : rows()) {
        SCOPED_TRACE(row.name);
        const auto checked = check_workload_device(row.device);
        if (row.word == nullptr) {
            EXPECT_TRUE(checked);
            continue;
        }
        if (checked) {
            ADD_FAILURE() << "allowed";
            continue;
        }
        EXPECT_EQ(checked.error().code, ErrorCode::kUnsupported);
        EXPECT_NE(checked.error().message.find(row.word), std::string::npos) << checked.error().message;
        EXPECT_TRUE(checked.error().message.starts_with("dev0 ")) << checked.error().message;
    }
}

std::vector<Row> host_rows() {
    return {
        {"physical", device(""), nullptr},
        {"veth", device("veth"), nullptr},
        {"tap", device("tun"), nullptr},
        {"bond", device("bond"), nullptr},
        {"team", device("team"), nullptr},
        {"bridge", device("bridge"), nullptr},
        {"vlan", device("vlan"), nullptr},
        {"macvlan", device("macvlan"), nullptr},
        {"physical in a VRF", with(device(""), [](Device& d) { d.master_kind = "vrf"; }), nullptr},
        {"port of a bridge", with(device(""), [](Device& d) { d.master_kind = "bridge"; }), "is a port of a bridge"},
        {"veth in a bridge", with(device("veth"), [](Device& d) { d.master_kind = "bridge"; }),
         "every guest's traffic"},
        {"bond in a bridge", with(device("bond"), [](Device& d) { d.master_kind = "bridge"; }),
         "every guest's traffic"},
        {"port of an Open vSwitch", with(device(""), [](Device& d) { d.master_kind = "openvswitch"; }),
         "a port of an Open vSwitch"},
        {"port of a bond", with(device(""), [](Device& d) { d.master_kind = "bond"; }), "attach to the bond"},
        {"port of a team", with(device(""), [](Device& d) { d.master_kind = "team"; }), "attach to the team"},
        {"port of tomorrow", with(device(""), [](Device& d) { d.master_kind = "quantum"; }), "a port of a quantum"},
        {"loopback", with(device("", ARPHRD_LOOPBACK), [](Device& d) { d.is_loopback = true; }), "loopback"},
        {"tun", device("tun", ARPHRD_NONE), "make it a tap"},
        {"wireguard", device("wireguard", ARPHRD_NONE), "WireGuard"},
        {"macvtap", device("macvtap"), "the NIC of a guest"},
        {"ipvtap", device("ipvtap"), "the NIC of a guest"},
        {"representor", with(device(""), [](Device& d) { d.is_representor = true; }), "take role workload"},
        {"vrf", device("vrf"), "attach to each of them"},
        {"dummy", device("dummy"), "its kind, dummy"},
        {"vxlan", device("vxlan"), "its kind, vxlan"},
        {"a kind of tomorrow", device("quantum"), "its kind, quantum"},
        {"InfiniBand", device("", ARPHRD_INFINIBAND), "hardware type 32"},
    };
}

TEST(HostDevice, IsAllowedOrRefusedByKind) {
    for (const Row& row : host_rows()) {
        SCOPED_TRACE(row.name);
        const auto checked = check_device(Role::kHost, row.device);
        if (row.word == nullptr) {
            EXPECT_TRUE(checked);
            continue;
        }
        if (checked) {
            ADD_FAILURE() << "allowed";
            continue;
        }
        EXPECT_EQ(checked.error().code, ErrorCode::kUnsupported);
        EXPECT_NE(checked.error().message.find(row.word), std::string::npos) << checked.error().message;
        EXPECT_TRUE(checked.error().message.starts_with("dev0 ")) << checked.error().message;
    }
}

// Who wants to protect the machine itself is told how.
TEST(WorkloadDevice, PointsToRoleHostWhereTheMachineIsMeant) {
    for (const char* kind : {"", "bond", "team", "bridge", "vlan"}) {
        const auto checked = check_device(Role::kWorkload, device(kind));
        ASSERT_FALSE(checked) << kind;
        EXPECT_NE(checked.error().message.find("take role host"), std::string::npos) << kind;
        EXPECT_TRUE(check_device(Role::kHost, device(kind))) << kind;
    }
}

// A reversed device must never be told "not supported" only: the words say what would have happened.
TEST(WorkloadDevice, SaysThatReversedKindsSwapTheRules) {
    for (const char* kind : {"macvtap", "macvlan", "ipvtap", "ipvlan"}) {
        const auto checked = check_workload_device(device(kind));
        ASSERT_FALSE(checked) << kind;
        EXPECT_NE(checked.error().message.find("would be swapped"), std::string::npos) << kind;
    }
}

TEST(LowerDevices, AreWhatVlansAndMacvlansStandOnButNoEndOfAPair) {
    using Stack = std::map<int, int>;
    EXPECT_EQ(lower_devices({{2, 0}, {3, 2}}), (Stack{{3, 2}})) << "a VLAN over a NIC";
    EXPECT_EQ(lower_devices({{4, 3}, {3, 2}, {2, 0}}), (Stack{{4, 3}, {3, 2}})) << "a macvlan over that";
    EXPECT_EQ(lower_devices({{5, 6}, {6, 5}}), Stack{}) << "a veth pair in one namespace";
    EXPECT_EQ(lower_devices({{5, 6}, {6, 5}, {7, 5}, {8, 6}}), (Stack{{7, 5}, {8, 6}})) << "stacked on its ends";
    EXPECT_EQ(lower_devices({{2, 0}, {9, 2, true}}), Stack{}) << "a peer elsewhere that has a number of ours";
    EXPECT_EQ(lower_devices({{1, 1}}), Stack{}) << "itself";
}

}  // namespace
}  // namespace sgbpf
