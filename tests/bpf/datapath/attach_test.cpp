// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Attaching by tcx: in front, in the right direction, once, and only to a device that may be filtered.
#include "attach_fixture.hpp"

namespace sgbpf::test {
namespace {

class TcxAttach : public AttachFixture {};

// SG-13.3: attached without a complete rule set drops everything but the exempt list; the direction in
// which a frame is counted shows at which hook which program sits.
TEST_F(TcxAttach, JudgesWhatAVethsGuestSendsAsOutboundAndReceivesAsInbound) {
    add_veth("web0", "guest0");
    const Attachment made = attached(request("web0"));
    EXPECT_EQ(made.hook, "tcx");
    EXPECT_EQ(made.interface_id, id(1));
    EXPECT_EQ(made.interface_slot, 1U);
    EXPECT_EQ(made.position, (std::array<unsigned, 2>{1, 1}));
    EXPECT_EQ(made.programs, (std::array<unsigned, 2>{1, 1}));
    EXPECT_TRUE(made.foreign_before.empty());
    EXPECT_EQ(not_ready(1), (Counts{0, 0}));
    send_frame("guest0");
    EXPECT_EQ(not_ready(1), (Counts{0, 1}));
    send_frame("web0");
    send_frame("web0");
    EXPECT_EQ(not_ready(1), (Counts{2, 1}));
}

TEST_F(TcxAttach, WorksOnATap) {
    add_tap("tap0");
    const Attachment made = attached(request("tap0"));
    EXPECT_EQ(made.hook, "tcx");
    EXPECT_EQ(made.device.kind, "tun");
    EXPECT_EQ(at(made.device, Hook::kIngress).size(), 1U);
    EXPECT_EQ(at(made.device, Hook::kEgress).size(), 1U);
}

TEST_F(TcxAttach, GoesInFrontOfProgramsOfOthers) {
    add_veth("web0", "guest0");
    const Device web0 = device(*datapath_, "web0");
    const Fd program = foreign_program("foreign_in");
    const auto link = tcx_attach_first(program.get(), web0.ifindex, Hook::kIngress);
    ASSERT_TRUE(link);
    const Attachment made = attached(request("web0"));
    EXPECT_EQ(made.position, (std::array<unsigned, 2>{1, 1}));
    EXPECT_EQ(made.programs[SG_OUT], 2U);
    EXPECT_TRUE(made.foreign_before.empty());
    EXPECT_EQ(program_info_by_id(at(web0, Hook::kIngress)[0].program_id)->name, "sg_tc_out");
    EXPECT_EQ(program_info_by_id(at(web0, Hook::kEgress)[0].program_id)->name, "sg_tc_in");
}

TEST_F(TcxAttach, TellsWhoseProgramCameInFrontLater) {
    add_veth("web0", "guest0");
    const Attachment made = attached(request("web0"));
    const Fd program = foreign_program("intruder");
    const auto link = tcx_attach_first(program.get(), made.device.ifindex, Hook::kEgress);
    ASSERT_TRUE(link);
    const Attachment seen = by_id()[id(1)];
    EXPECT_EQ(seen.position, (std::array<unsigned, 2>{2, 1}));
    EXPECT_EQ(seen.programs, (std::array<unsigned, 2>{2, 1}));
    EXPECT_EQ(seen.foreign_before, std::vector<std::string>{"intruder"});
}

TEST_F(TcxAttach, AttachingAgainChangesNothing) {
    add_veth("web0", "guest0");
    const Attachment made = attached(request("web0"));
    const auto before_in = at(made.device, Hook::kEgress);
    const auto before_out = at(made.device, Hook::kIngress);
    attached(request("web0"));
    ASSERT_EQ(at(made.device, Hook::kEgress).size(), 1U);
    EXPECT_EQ(at(made.device, Hook::kEgress)[0].link_id, before_in[0].link_id);
    EXPECT_EQ(at(made.device, Hook::kIngress)[0].link_id, before_out[0].link_id);
}

TEST_F(TcxAttach, FinishesWhatACrashLeftHalfDone) {
    add_veth("web0", "guest0");
    const Attachment made = attached(request("web0"));
    const auto kept = at(made.device, Hook::kIngress);
    shell(fmt::format("rm {}/sgbpf/v3/ns-*/links/{}_in", bpffs(), id(1)));
    EXPECT_EQ(by_id()[id(1)].problem, "inbound rules are not attached");
    attached(request("web0"));
    EXPECT_EQ(at(made.device, Hook::kIngress)[0].link_id, kept[0].link_id);
    EXPECT_EQ(at(made.device, Hook::kEgress).size(), 1U);
    EXPECT_EQ(by_id()[id(1)].problem, "");
}

TEST_F(TcxAttach, RefusesADeviceOfAnotherInterface) {
    add_veth("web0", "guest0");
    attached(request("web0", 1));
    const Error error = refused(request("web0", 2));
    EXPECT_EQ(error.code, ErrorCode::kRefused);
    EXPECT_EQ(error.message, "web0 is attached for interface " + id(1) + "; detach that first");
    EXPECT_EQ(by_id().size(), 1U);
    EXPECT_EQ(by_id()[id(1)].problem, "");
}

TEST_F(TcxAttach, RefusesAnInterfaceThatIsAtAnotherDevice) {
    add_veth("web0", "guest0");
    add_veth("web1", "guest1");
    const Attachment made = attached(request("web0", 1));
    const Error error = refused(request("web1", 1));
    EXPECT_EQ(error.code, ErrorCode::kRefused);
    EXPECT_NE(error.message.find(fmt::format("another device (ifindex {})", made.device.ifindex)), std::string::npos)
        << error.message;
    EXPECT_TRUE(at(device(*datapath_, "web1"), Hook::kIngress).empty());
}

TEST_F(TcxAttach, RefusesAnIfindexBeyondTheMap) {
    shell("ip link add far0 index 300 type veth peer name far1");
    const Error error = refused(request("far0"));
    EXPECT_EQ(error.code, ErrorCode::kExhausted);
    EXPECT_NE(error.message.find("far0 has ifindex 300, the map of devices holds 256"), std::string::npos)
        << error.message;
}

TEST_F(TcxAttach, RefusesDevicesThatCannotBeFiltered) {
    shell("ip link add br0 type bridge; ip tuntap add dev tun0 mode tun");
    add_veth("web0", "guest0");
    EXPECT_NE(refused(request("br0")).message.find("a bridge carries"), std::string::npos);
    EXPECT_NE(refused(request("tun0")).message.find("make it a tap"), std::string::npos);
    EXPECT_NE(refused(request("lo")).message.find("loopback"), std::string::npos);
    // A macvtap needs its module; where it is missing the table of device_rules has the test.
    AttachRequest gone = request("web0");
    gone.device.name = "web9";
    EXPECT_EQ(refused(gone).code, ErrorCode::kNotFound);
    gone.device.ifindex = 250;
    EXPECT_EQ(refused(gone).code, ErrorCode::kNotFound);
    EXPECT_TRUE(by_id().empty());
}

// XDP sees what arrives at the device, which is what the workload sends. Not filtering it would be worse.
TEST_F(TcxAttach, TakesTcxForAWorkloadWhereXdpWasAskedForAndSaysWhy) {
    add_veth("web0", "guest0");
    for (const HookChoice hook : {HookChoice::kNative, HookChoice::kGeneric}) {
        const Attachment made = attached(request("web0", 1, hook));
        EXPECT_EQ(made.hook, "tcx");
        ASSERT_EQ(made.ladder.size(), 1U);
        EXPECT_NE(made.ladder[0].find("refused (it judges what arrives at a device"), std::string::npos);
        ASSERT_TRUE(datapath_->detach(made));
    }
}

TEST_F(TcxAttach, SeesBridgePortsAndAliases) {
    add_veth("web0", "guest0");
    shell("ip link add br0 type bridge; ip link set web0 master br0; ip link set web0 alias guest-7");
    const Device web0 = device(*datapath_, "web0");
    EXPECT_EQ(web0.kind, "veth");
    EXPECT_EQ(web0.master_kind, "bridge");
    EXPECT_EQ(web0.alias, "guest-7");
    EXPECT_EQ(web0.hardware_type, 1U);
    EXPECT_NE(web0.mac, MacAddress{});
    EXPECT_TRUE(device(*datapath_, "lo").is_loopback);
    EXPECT_EQ(attached(request("web0")).device.master_kind, "bridge");
}

TEST_F(TcxAttach, SaysSoWhenANamespaceHasNoSuchName) {
    const auto devices = datapath_->devices("nowhere");
    ASSERT_FALSE(devices);
    EXPECT_EQ(devices.error().code, ErrorCode::kNotFound);
    EXPECT_NE(devices.error().message.find("network namespace nowhere does not exist"), std::string::npos);
}

}  // namespace
}  // namespace sgbpf::test
