// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The clsact hook, forced: what a kernel before 6.6 does, and what others may have put there.
#include "attach_fixture.hpp"

namespace sgbpf::test {
namespace {

class ClsactAttach : public AttachFixture {
protected:
    AttachRequest forced(const std::string& name, std::uint32_t slot = 1) {
        return request(name, slot, HookChoice::kClsact);
    }
};

TEST_F(ClsactAttach, JudgesBothDirections) {
    add_veth("web0", "guest0");
    const Attachment made = attached(forced("web0"));
    EXPECT_EQ(made.hook, "clsact");
    EXPECT_EQ(made.position, (std::array<unsigned, 2>{1, 1}));
    EXPECT_EQ(made.programs, (std::array<unsigned, 2>{1, 1}));
    EXPECT_TRUE(at(made.device, Hook::kIngress).empty());
    send_frame("guest0");
    EXPECT_EQ(not_ready(1), (Counts{0, 1}));
    send_frame("web0");
    EXPECT_EQ(not_ready(1), (Counts{1, 1}));
    const auto all = by_id();
    ASSERT_EQ(all.size(), 1U);
    EXPECT_EQ(all.at(id(1)).hook, "clsact");
    EXPECT_EQ(all.at(id(1)).problem, "");
    EXPECT_EQ(all.at(id(1)).interface_slot, 1U);
}

TEST_F(ClsactAttach, AttachingAgainChangesNothingAndKeepsItsHook) {
    add_tap("tap0");
    const Attachment made = attached(forced("tap0"));
    const auto before = filters_at(made.device, Hook::kIngress);
    attached(forced("tap0"));
    EXPECT_EQ(attached(request("tap0")).hook, "clsact");
    ASSERT_EQ(filters_at(made.device, Hook::kIngress).size(), 1U);
    EXPECT_EQ(filters_at(made.device, Hook::kIngress)[0].program_id, before[0].program_id);
    const Error error = refused(request("tap0", 1, HookChoice::kTcx));
    EXPECT_EQ(error.code, ErrorCode::kRefused);
    EXPECT_NE(error.message.find("attached by clsact"), std::string::npos) << error.message;
}

TEST_F(ClsactAttach, LeavesFiltersAndQdiscOfOthers) {
    add_veth("web0", "guest0");
    shell("tc qdisc add dev web0 clsact; tc filter add dev web0 ingress pref 10 protocol all u32 match u32 0 0");
    const Attachment made = attached(forced("web0"));
    EXPECT_EQ(made.position[SG_OUT], 1U);
    EXPECT_GT(made.programs[SG_OUT], 1U);
    EXPECT_TRUE(made.foreign_before.empty());
    ASSERT_TRUE(datapath_->detach(made));
    EXPECT_TRUE(by_id().empty());
    EXPECT_TRUE(filters_at(made.device, Hook::kEgress).empty());
    EXPECT_TRUE(shell_succeeds("tc filter show dev web0 ingress | grep 'pref 10 u32'"));
    send_frame("guest0");
    EXPECT_EQ(not_ready(1), (Counts{0, 0}));
}

TEST_F(ClsactAttach, TakesAnEmptyQdiscWithIt) {
    add_veth("web0", "guest0");
    const Attachment made = attached(forced("web0"));
    EXPECT_TRUE(shell_succeeds("tc qdisc show dev web0 | grep clsact"));
    ASSERT_TRUE(datapath_->detach(made));
    EXPECT_FALSE(shell_succeeds("tc qdisc show dev web0 | grep clsact"));
}

TEST_F(ClsactAttach, RefusesAFilterInFront) {
    add_veth("web0", "guest0");
    shell("tc qdisc add dev web0 clsact; tc filter add dev web0 egress pref 1 protocol all u32 match u32 0 0");
    const Error error = refused(forced("web0"));
    EXPECT_EQ(error.code, ErrorCode::kRefused);
    EXPECT_NE(error.message.find("web0: the tc filter u32 (pref 1) runs in front of sgbpf at the egress hook"),
              std::string::npos)
        << error.message;
    EXPECT_TRUE(filters_at(device(*datapath_, "web0"), Hook::kIngress).empty());
    EXPECT_TRUE(by_id().empty());
}

TEST_F(ClsactAttach, RefusesATcxProgramInFront) {
    add_veth("web0", "guest0");
    const Fd program = foreign_program("foreign_tcx");
    const auto link = tcx_attach_first(program.get(), device(*datapath_, "web0").ifindex, Hook::kIngress);
    ASSERT_TRUE(link);
    const Error error = refused(forced("web0"));
    EXPECT_EQ(error.code, ErrorCode::kRefused);
    EXPECT_NE(error.message.find("the tcx program foreign_tcx runs in front"), std::string::npos) << error.message;
    EXPECT_FALSE(shell_succeeds("tc qdisc show dev web0 | grep clsact"));
}

TEST_F(ClsactAttach, SaysThatAnIngressQdiscIsInTheWay) {
    add_veth("web0", "guest0");
    shell("tc qdisc add dev web0 ingress");
    const Error error = refused(forced("web0"));
    EXPECT_EQ(error.code, ErrorCode::kRefused);
    EXPECT_NE(error.message.find("web0: the device has an `ingress` qdisc"), std::string::npos) << error.message;
    EXPECT_TRUE(by_id().empty());
    EXPECT_TRUE(shell_succeeds("tc qdisc show dev web0 | grep ingress"));
    // tcx does not mind.
    EXPECT_EQ(attached(request("web0")).hook, "tcx");
}

TEST_F(ClsactAttach, TellsWhoseProgramsCameInFrontLater) {
    add_veth("web0", "guest0");
    const Attachment made = attached(forced("web0"));
    const Fd program = foreign_program("late_tcx");
    const auto link = tcx_attach_first(program.get(), made.device.ifindex, Hook::kIngress);
    ASSERT_TRUE(link);
    const Attachment seen = by_id()[id(1)];
    EXPECT_EQ(seen.position, (std::array<unsigned, 2>{1, 2}));
    EXPECT_EQ(seen.foreign_before, std::vector<std::string>{"late_tcx"});
}

TEST_F(ClsactAttach, KnowsThatADeviceWentOrCameAnew) {
    shell("ip link add web0 index 50 type veth peer name guest0");
    const Attachment made = attached(forced("web0"));
    shell("ip link del web0");
    EXPECT_EQ(by_id()[id(1)].problem, "the device is gone");
    EXPECT_EQ(by_id()[id(1)].device.ifindex, 0);
    shell("ip link add other0 index 50 type veth peer name otherg0");
    EXPECT_NE(by_id()[id(1)].problem.find("no program is attached"), std::string::npos);
    attached(forced("other0", 2));
    const auto all = by_id();
    ASSERT_EQ(all.size(), 1U);
    EXPECT_EQ(all.at(id(2)).problem, "");
    ASSERT_TRUE(datapath_->detach(made));
    EXPECT_EQ(by_id().at(id(2)).problem, "");
}

TEST_F(ClsactAttach, SaysThatADeviceWithTcxCannotChangeItsHookInPlace) {
    add_veth("web0", "guest0");
    attached(request("web0"));
    const Error error = refused(forced("web0"));
    EXPECT_EQ(error.code, ErrorCode::kRefused);
    EXPECT_NE(error.message.find("attached by tcx"), std::string::npos) << error.message;
    EXPECT_EQ(by_id()[id(1)].hook, "tcx");
}

}  // namespace
}  // namespace sgbpf::test
