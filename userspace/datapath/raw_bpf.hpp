// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// bpf(2) calls that libbpf 1.1 has no function for (tcx, Linux 6.6), and object information as plain
// structs. Kernel numbers newer than Debian 12's headers are here and nowhere else.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <sgbpf/result.hpp>

#include "base/fd.hpp"

namespace sgbpf {

// The kernel's view of a device, not the workload's: ingress = frames that enter the host through it.
enum class Hook : std::uint8_t { kIngress = 0, kEgress = 1 };

struct ProgramInfo {
    std::uint32_t id = 0;
    std::string name;
    std::string tag;  // hash of the instructions, 16 hex
    std::vector<std::uint32_t> map_ids;
};
Result<ProgramInfo> program_info(int program_fd);
Result<ProgramInfo> program_info_by_id(std::uint32_t id);
Result<Fd> program_by_id(std::uint32_t id);

struct LinkInfo {
    std::uint32_t id = 0;
    std::uint32_t type = 0;
    std::uint32_t program_id = 0;
    std::uint32_t ifindex = 0;  // 0: the device is gone, the link is an empty shell
};
Result<LinkInfo> link_info(int link_fd);  // of a tcx or XDP link
bool is_xdp(const LinkInfo& link);

struct HookProgram {
    std::uint32_t program_id = 0;
    std::uint32_t link_id = 0;  // 0 = attached without a link
};
// Programs at a tcx hook, in the order in which they run. Error kUnsupported: no tcx in this kernel.
Result<std::vector<HookProgram>> tcx_programs(int ifindex, Hook hook);

// Attaches in front of all others at the hook. The attachment lives as long as the descriptor or a pin.
Result<Fd> tcx_attach_first(int program_fd, int ifindex, Hook hook);

// The same for a device's XDP hook, which takes one program: the link is the only one, or an error.
Result<Fd> xdp_attach(int program_fd, int ifindex, bool native);

// Swaps the program of a live link; no packet passes between the two. Error when the link does not
// run `old_program_fd`.
Result<void> replace_program(int link_fd, int new_program_fd, int old_program_fd);

}  // namespace sgbpf
