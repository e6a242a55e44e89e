// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The clsact hook, for kernels without tcx (before 6.6) and when forced. Ours is the filter at preference
// 1, handle 1. A filter outlives its process and needs no pin; it ends with the device.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <sgbpf/result.hpp>

#include "datapath/raw_bpf.hpp"

namespace sgbpf {

struct TcFilter {
    std::uint32_t preference = 0;
    std::uint32_t handle = 0;
    std::string kind;              // "bpf", "u32" ...
    std::uint32_t program_id = 0;  // of kind bpf
    std::string name;              // of the program, or the kind
};
// Filters of chain 0, in the order in which they are asked. Empty when there is no clsact.
Result<std::vector<TcFilter>> tc_filters(int ifindex, Hook hook);

// Makes the clsact qdisc unless it is there. Error kRefused: an `ingress` qdisc is in its place.
Result<void> clsact_ensure(int ifindex);
// Attaches as our filter; with `replace`, swaps the program of our filter without a gap.
Result<void> clsact_attach(int ifindex, Hook hook, int program_fd, bool replace);
// Removes our filter; fine when it is not there.
Result<void> clsact_detach(int ifindex, Hook hook);
// Removes the qdisc when no filter is left in either direction: others' filters would go with it.
Result<void> clsact_remove_if_empty(int ifindex);

inline constexpr std::uint32_t kOurPreference = 1;
inline constexpr std::uint32_t kOurHandle = 1;

}  // namespace sgbpf
