// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Which devices can be filtered in which role. Pure.
#pragma once

#include <map>
#include <vector>

#include <sgbpf/result.hpp>

#include "datapath/datapath.hpp"

namespace sgbpf {

// Allowed: a tap, a veth, and the representor of a virtual function or subfunction, all Ethernet: what
// leaves the host through them goes to one workload, and what comes in was sent by it. Every other kind is
// refused (kUnsupported) with a sentence that says what would go wrong.
Result<void> check_workload_device(const Device& device);

// Allowed: a NIC of the machine itself, or what stands for one: physical, veth, tap, bond, team, bridge, VLAN
// sub-interface, macvlan, all Ethernet. What comes in through them is for this machine, or is routed by it.
// A port of a bridge or a bond is refused (kUnsupported), as is every other kind.
Result<void> check_host_device(const Device& device);

Result<void> check_device(Role role, const Device& device);

// What rtnetlink tells of a device's IFLA_LINK.
struct DeviceLink {
    int ifindex = 0;
    int link = 0;            // 0: none
    bool elsewhere = false;  // `link` is a number of another namespace
};

// Device -> the one that it is stacked on and that carries its frames (VLAN, macvlan).
std::map<int, int> lower_devices(const std::vector<DeviceLink>& links);

}  // namespace sgbpf
