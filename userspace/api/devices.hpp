// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Which device belongs to which interface, now. Reads only.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <sgbpf/result.hpp>
#include <sgbpf/state.hpp>

#include "datapath/datapath.hpp"

namespace sgbpf {

// Every field of `match` that is set agrees. `match.netns` is the caller's business: he asked there.
bool matches(const DeviceMatch& match, const Device& device);

struct DeviceSearch {
    std::map<std::string, Device> found;         // by interface name
    std::map<std::string, std::string> waiting;  // by interface name: "no device tap-web0"
    std::vector<Error> problems;                 // several devices, one device twice, device of a wrong kind
};

// Looks in the namespaces that the interfaces name; a namespace that does not exist makes its
// interfaces wait. Cost: one dump of the devices per namespace, then interfaces x devices comparisons of
// names at worst.
Result<DeviceSearch> find_devices(Datapath& datapath, const std::map<std::string, Interface>& interfaces);

bool same_device(const Device& a, const Device& b);  // by namespace and ifindex
std::string adopting_words(std::uint32_t seconds);   // ", adopting existing connections for 60 s"; 0: empty
std::string device_words(const Device& device);      // "tap-web0", "eth0 in netns blue"

}  // namespace sgbpf
