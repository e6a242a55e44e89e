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
    RefusedKind{"bridge", "a bridge carries the traffic of all its ports; attach to the port of the guest"},
    RefusedKind{"openvswitch",
                "an Open vSwitch bridge carries the traffic of all its ports; attach to the guest's port"},
    RefusedKind{"bond", "a bond carries the traffic of the whole host; attach to the device of the guest"},
    RefusedKind{"team", "a team carries the traffic of the whole host; attach to the device of the guest"},
    RefusedKind{"vlan", "a VLAN device is the host's own end of a network; attach to the device of the guest"},
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

Unexpected refuse(const Device& device, std::string_view why) {
    return unexpected(make_error(ErrorCode::kUnsupported,
                                 fmt::format("{} cannot be filtered as a workload's interface: {}", device.name, why)));
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
                  "the device of the guest");
}

}  // namespace sgbpf
