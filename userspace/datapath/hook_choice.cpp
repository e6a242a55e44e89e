// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "datapath/hook_choice.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace sgbpf {

namespace {

// What the driver does to a device whose frames it makes of its ports': it runs the program there.
bool runs_native_at_its_ports(const Device& device) {
    return device.kind == "bond" || device.kind == "team";
}

// Native XDP on veth and tap costs what they are good at, large packets: bulk TCP drops to a quarter.
bool prefers_tcx(const Device& device) {
    return device.kind == "veth" || device.kind == "tun";
}

}  // namespace

std::string_view hook_text(HookKind kind) {
    static constexpr std::array<std::string_view, 4> kTexts = {"xdp native", "xdp generic", "tcx", "clsact"};
    return kTexts[static_cast<std::size_t>(kind)];
}

Result<std::vector<HookKind>> hook_ladder(Role role, sg_direction direction, const Device& device, HookChoice choice) {
    using enum HookKind;
    const bool by_xdp = choice == HookChoice::kNative || choice == HookChoice::kGeneric;
    if (choice == HookChoice::kNative && role == Role::kHost && runs_native_at_its_ports(device)) {
        return unexpected(
            make_error(ErrorCode::kRefused,
                       fmt::format("{} cannot be attached by XDP native: it would run at the ports of the {}, "
                                   "where the rules of {} are not known; take generic",
                                   device.name, device.kind, device.name)));
    }
    if (choice == HookChoice::kTcx || choice == HookChoice::kClsact) {
        return std::vector{choice == HookChoice::kTcx ? kTcx : kClsact};
    }
    if (role == Role::kWorkload || direction == SG_OUT) {
        return std::vector{kTcx, kClsact};
    }
    if (by_xdp) {
        return std::vector{choice == HookChoice::kNative ? kNative : kGeneric};
    }
    if (prefers_tcx(device)) {
        return std::vector{kTcx, kClsact};
    }
    if (device.kind.empty()) {
        return std::vector{kNative, kGeneric, kTcx, kClsact};
    }
    return std::vector{kGeneric, kTcx, kClsact};
}

}  // namespace sgbpf
