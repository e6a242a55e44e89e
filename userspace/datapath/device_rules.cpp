// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "datapath/device_rules.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>
#include <linux/if_arp.h>

namespace sgbpf {

namespace {

struct RefusedKind {
    std::string_view kind;
    std::string_view why;
};

// IFLA_INFO_KIND (drivers/net, rtnl_link_ops.kind) -> why not. Kinds that are missing here are refused
// with a general sentence.
constexpr std::array kRefusedKinds = {
    RefusedKind{"macvtap",
                "a macvtap shows the guest's packets as egress: inbound and outbound rules would be swapped; "
                "give the guest a tap"},
    RefusedKind{"macvlan",
                "a macvlan shows its owner's packets as egress: inbound and outbound rules would be swapped; "
                "use a veth pair"},
    RefusedKind{"ipvtap", "an ipvtap shows the guest's packets as egress: inbound and outbound rules would be swapped; "
                          "give the guest a tap"},
    RefusedKind{"ipvlan", "an ipvlan shows its owner's packets as egress: inbound and outbound rules would be swapped; "
                          "use a veth pair"},
    RefusedKind{"bridge",
                "a bridge carries the traffic of all its ports; attach to the port of the guest, or take role "
                "host for the machine's own address on the bridge"},
    RefusedKind{"openvswitch",
                "an Open vSwitch bridge carries the traffic of all its ports; attach to the guest's port"},
    RefusedKind{"bond", "a bond carries the traffic of the whole host; attach to the device of the guest, or take role "
                        "host for the machine itself"},
    RefusedKind{"team", "a team carries the traffic of the whole host; attach to the device of the guest, or take role "
                        "host for the machine itself"},
    RefusedKind{"vlan", "a VLAN device is the host's own end of a network; attach to the device of the guest, or take "
                        "role host for the machine itself"},
    RefusedKind{"vxlan", "a tunnel carries the traffic of many guests; attach to the device of the guest"},
    RefusedKind{"geneve", "a tunnel carries the traffic of many guests; attach to the device of the guest"},
    RefusedKind{"gre", "a tunnel carries the traffic of many guests; attach to the device of the guest"},
    RefusedKind{"gretap", "a tunnel carries the traffic of many guests; attach to the device of the guest"},
    RefusedKind{"ip6gretap", "a tunnel carries the traffic of many guests; attach to the device of the guest"},
    RefusedKind{"wireguard", "a WireGuard device carries bare IP without Ethernet and ends in this host"},
    RefusedKind{"ifb", "an ifb sees packets of other devices, redirected; attach to the device of the guest"},
    RefusedKind{"dummy", "nothing is behind a dummy device"},
    RefusedKind{"vrf", "a VRF carries the traffic of all its devices; attach to the device of the guest"},
    RefusedKind{"netkit",
                "a netkit device runs its programs in the guest's direction order, which is not supported yet; "
                "use a veth pair"},
};

constexpr std::array<std::string_view, 8> kHostKinds = {"", "veth", "tun", "bond", "team", "bridge", "vlan", "macvlan"};

constexpr std::array kRefusedHostKinds = {
    RefusedKind{"macvtap", "a macvtap is the NIC of a guest, who reads its packets from a file"},
    RefusedKind{"ipvtap", "an ipvtap is the NIC of a guest, who reads its packets from a file"},
    RefusedKind{"wireguard", "a WireGuard device carries bare IP without Ethernet"},
    RefusedKind{"vrf", "a VRF carries the traffic of all its devices; attach to each of them"},
};

Unexpected refuse(const Device& device, std::string_view why) {
    return unexpected(make_error(ErrorCode::kUnsupported,
                                 fmt::format("{} cannot be filtered as a workload's interface: {}", device.name, why)));
}

Unexpected refuse_host(const Device& device, std::string_view why) {
    return unexpected(make_error(ErrorCode::kUnsupported,
                                 fmt::format("{} cannot be filtered as the host's interface: {}", device.name, why)));
}

}  // namespace

Result<void> check_workload_device(const Device& device) {
    if (device.is_loopback) {
        return refuse(device, "it is the loopback device, whose two ends are the host itself");
    }
    if (device.kind == "tun") {
        if (device.hardware_type != ARPHRD_ETHER) {
            return refuse(device, "it is a tun without Ethernet headers; make it a tap");
        }
        return {};
    }
    const auto* refused = std::find_if(kRefusedKinds.begin(), kRefusedKinds.end(),
                                       [&device](const RefusedKind& row) { return row.kind == device.kind; });
    if (refused != kRefusedKinds.end()) {
        return refuse(device, refused->why);
    }
    if (device.hardware_type != ARPHRD_ETHER) {
        return refuse(device, fmt::format("it carries no Ethernet frames (hardware type {})", device.hardware_type));
    }
    if (device.kind == "veth" || device.is_representor) {
        return {};
    }
    if (!device.kind.empty()) {
        return refuse(device,
                      fmt::format("its kind, {}, is not known to have one workload behind it; known are tap, veth "
                                  "and representors",
                                  device.kind));
    }
    if (device.master_kind == "bridge" || device.master_kind == "openvswitch") {
        return refuse(device,
                      fmt::format("it is a physical NIC and a port of a {}: the rules would judge every guest's "
                                  "traffic; attach to the device of the guest",
                                  device.master_kind));
    }
    return refuse(device,
                  "it is a physical NIC: inbound and outbound would be the network's, not a workload's; attach to "
                  "the device of the guest, or take role host for the machine itself");
}

Result<void> check_host_device(const Device& device) {
    if (device.is_loopback) {
        return refuse_host(device, "it is the loopback device, whose two ends are the host itself");
    }
    if (device.is_representor) {
        return refuse_host(device, "it is the representor of a guest's function; take role workload");
    }
    if (device.master_kind == "bond" || device.master_kind == "team") {
        return refuse_host(device, fmt::format("it is a port of a {0}, which has the host's address; attach to the {0}",
                                               device.master_kind));
    }
    // Of a VRF the device keeps its own address and traffic.
    if (!device.master_kind.empty() && device.master_kind != "vrf") {
        return refuse_host(
            device, fmt::format("it is a port of {}: the rules would judge every guest's traffic; attach "
                                "to the device that has the host's address",
                                device.master_kind == "openvswitch" ? "an Open vSwitch" : "a " + device.master_kind));
    }
    if (device.kind == "tun" && device.hardware_type != ARPHRD_ETHER) {
        return refuse_host(device, "it is a tun without Ethernet headers; make it a tap");
    }
    const auto* refused = std::find_if(kRefusedHostKinds.begin(), kRefusedHostKinds.end(),
                                       [&device](const RefusedKind& row) { return row.kind == device.kind; });
    if (refused != kRefusedHostKinds.end()) {
        return refuse_host(device, refused->why);
    }
    if (std::find(kHostKinds.begin(), kHostKinds.end(), device.kind) == kHostKinds.end()) {
        return refuse_host(device, fmt::format("its kind, {}, is not one of those known to work: physical NIC, veth, "
                                               "tap, bond, team, bridge, vlan, macvlan",
                                               device.kind));
    }
    if (device.hardware_type != ARPHRD_ETHER) {
        return refuse_host(device,
                           fmt::format("it carries no Ethernet frames (hardware type {})", device.hardware_type));
    }
    return {};
}

Result<void> check_device(Role role, const Device& device) {
    return role == Role::kHost ? check_host_device(device) : check_workload_device(device);
}

std::map<int, int> lower_devices(const std::vector<DeviceLink>& links) {
    std::map<int, int> named;
    for (const DeviceLink& one : links) {
        if (one.link != 0 && !one.elsewhere && one.link != one.ifindex) {
            named.emplace(one.ifindex, one.link);
        }
    }
    // Two ends of a veth pair in one namespace name each other: that is no stack.
    std::map<int, int> lower;
    for (const auto& [ifindex, link] : named) {
        const auto back = named.find(link);
        if (back == named.end() || back->second != ifindex) {
            lower.emplace(ifindex, link);
        }
    }
    return lower;
}

}  // namespace sgbpf
