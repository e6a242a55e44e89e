// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The ladder, row by row: by role, direction, kind of device and what was asked for.
#include "datapath/hook_choice.hpp"

#include <gtest/gtest.h>

namespace sgbpf {
namespace {

using enum HookKind;

struct Row {
    const char* name;
    Role role;
    sg_direction direction;
    const char* kind;
    HookChoice choice;
    std::vector<HookKind> wanted;  // empty: refused
};

std::vector<Row> rows() {
    return {
        {"workload in", Role::kWorkload, SG_IN, "tun", HookChoice::kAuto, {kTcx, kClsact}},
        {"workload out", Role::kWorkload, SG_OUT, "veth", HookChoice::kAuto, {kTcx, kClsact}},
        {"workload, tcx asked", Role::kWorkload, SG_OUT, "veth", HookChoice::kTcx, {kTcx}},
        {"workload, clsact asked", Role::kWorkload, SG_IN, "veth", HookChoice::kClsact, {kClsact}},
        {"workload, native asked", Role::kWorkload, SG_OUT, "veth", HookChoice::kNative, {kTcx, kClsact}},
        {"workload, generic asked", Role::kWorkload, SG_IN, "veth", HookChoice::kGeneric, {kTcx, kClsact}},
        {"host NIC in", Role::kHost, SG_IN, "", HookChoice::kAuto, {kNative, kGeneric, kTcx, kClsact}},
        {"host NIC out", Role::kHost, SG_OUT, "", HookChoice::kAuto, {kTcx, kClsact}},
        {"host veth", Role::kHost, SG_IN, "veth", HookChoice::kAuto, {kTcx, kClsact}},
        {"host tap", Role::kHost, SG_IN, "tun", HookChoice::kAuto, {kTcx, kClsact}},
        {"host bond", Role::kHost, SG_IN, "bond", HookChoice::kAuto, {kGeneric, kTcx, kClsact}},
        {"host bridge", Role::kHost, SG_IN, "bridge", HookChoice::kAuto, {kGeneric, kTcx, kClsact}},
        {"host VLAN", Role::kHost, SG_IN, "vlan", HookChoice::kAuto, {kGeneric, kTcx, kClsact}},
        {"native asked", Role::kHost, SG_IN, "veth", HookChoice::kNative, {kNative}},
        {"native asked, out", Role::kHost, SG_OUT, "veth", HookChoice::kNative, {kTcx, kClsact}},
        {"generic asked", Role::kHost, SG_IN, "bond", HookChoice::kGeneric, {kGeneric}},
        {"generic asked, out", Role::kHost, SG_OUT, "bond", HookChoice::kGeneric, {kTcx, kClsact}},
        {"native asked of a bond", Role::kHost, SG_IN, "bond", HookChoice::kNative, {}},
        {"native asked of a team", Role::kHost, SG_OUT, "team", HookChoice::kNative, {}},
        {"tcx asked", Role::kHost, SG_IN, "", HookChoice::kTcx, {kTcx}},
        {"clsact asked", Role::kHost, SG_IN, "", HookChoice::kClsact, {kClsact}},
        {"clsact asked, out", Role::kHost, SG_OUT, "", HookChoice::kClsact, {kClsact}},
    };
}

TEST(HookLadder, IsThatOfTheRow) {
    for (const Row& row : rows()) {
        SCOPED_TRACE(row.name);
        Device device;
        device.name = "dev0";
        device.kind = row.kind;
        const auto ladder = hook_ladder(row.role, row.direction, device, row.choice);
        if (!row.wanted.empty()) {
            ASSERT_TRUE(ladder);
            EXPECT_EQ(*ladder, row.wanted);
            continue;
        }
        ASSERT_FALSE(ladder);
        EXPECT_EQ(ladder.error().code, ErrorCode::kRefused);
        EXPECT_TRUE(ladder.error().message.starts_with("dev0 cannot be attached by XDP native"))
            << ladder.error().message;
    }
}

}  // namespace
}  // namespace sgbpf
