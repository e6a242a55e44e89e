// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Network devices of the calling thread's namespace, as rtnetlink describes them.
#pragma once

#include <string>
#include <vector>

#include <sgbpf/result.hpp>

#include "datapath/datapath.hpp"

namespace sgbpf {

// All devices; `netns` is only copied into them.
Result<std::vector<Device>> list_devices(const std::string& netns);

// One device. Error kNotFound: no device has this number.
Result<Device> device_by_ifindex(int ifindex, const std::string& netns);

// See Datapath::devices_between.
Result<std::vector<int>> find_devices_between(const Address& local, const Address& peer);

}  // namespace sgbpf
