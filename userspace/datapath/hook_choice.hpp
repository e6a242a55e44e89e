// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Which hooks to try at a device, in which order. Pure.
#pragma once

#include <string_view>
#include <vector>

#include <sgbpf/result.hpp>

#include "datapath/datapath.hpp"

namespace sgbpf {

enum class HookKind : std::uint8_t { kNative, kGeneric, kTcx, kClsact };

std::string_view hook_text(HookKind kind);  // "xdp native", "xdp generic", "tcx", "clsact"

constexpr bool is_xdp(HookKind kind) {
    return kind == HookKind::kNative || kind == HookKind::kGeneric;
}

// The ladder of one direction, best first; never empty. A hook that was asked for by name is the only rung,
// but XDP is asked for role host's inbound rules only: everything else goes by itself.
// Error kRefused: native XDP would run at other devices than this one.
Result<std::vector<HookKind>> hook_ladder(Role role, sg_direction direction, const Device& device, HookChoice choice);

}  // namespace sgbpf
