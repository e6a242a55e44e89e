// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Role host: what arrives at the device is inbound, judged at XDP or the ingress hook; what leaves is outbound.
#include <chrono>
#include <filesystem>
#include <set>
#include <thread>

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attach_fixture.hpp"
#include "datapath/devices.hpp"

namespace sgbpf::test {
namespace {

class HostAttach : public AttachFixture {
protected:
    // The programs at the device's XDP hook, now.
    static std::vector<XdpProgram> xdp_at(const Device& where) {
        auto now = device_by_ifindex(where.ifindex, {});
        return now ? now->xdp : std::vector<XdpProgram>();
    }
    // Frames of XDP take their turn in a soft interrupt: waits for what must be counted.
    Counts counted(std::uint32_t slot, Counts wanted) {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
        while (not_ready(slot) != wanted && std::chrono::steady_clock::now() < deadline) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        return not_ready(slot);
    }
    // Hears IPv4 that a device receives, after XDP and the ingress hook: only what passed them.
    static Fd receiver(const std::string& name) {
        Fd socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
        sockaddr_ll address{};
        address.sll_family = AF_PACKET;
        address.sll_ifindex = static_cast<int>(::if_nametoindex(name.c_str()));
        address.sll_protocol = htons(ETH_P_IP);
        EXPECT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
        return socket;
    }
    static bool receives(const Fd& socket, int milliseconds = 5000) {
        pollfd wait{.fd = socket.get(), .events = POLLIN, .revents = 0};
        std::array<std::byte, 64> frame;
        sockaddr_ll from{};
        while (::poll(&wait, 1, milliseconds) == 1) {
            socklen_t size = sizeof(from);
            ::recvfrom(socket.get(), frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
            if (from.sll_pkttype != PACKET_OUTGOING) {
                return true;
            }
        }
        return false;
    }
};

struct Way {
    HookChoice choice;
    const char* hook;
    std::size_t xdp;      // programs of ours at XDP
    std::size_t ingress;  // at tcx ingress
    std::size_t filters;  // at clsact ingress
};
constexpr Way kWays[] = {{HookChoice::kNative, "xdp native + tcx", 1, 0, 0},
                         {HookChoice::kGeneric, "xdp generic + tcx", 1, 0, 0},
                         {HookChoice::kTcx, "tcx", 0, 1, 0},
                         {HookChoice::kClsact, "clsact", 0, 0, 1}};

TEST_F(HostAttach, JudgesWhatArrivesAsInboundAndWhatLeavesAsOutboundAtEveryHook) {
    std::uint64_t in = 0;
    std::uint64_t out = 0;
    for (const Way& way : kWays) {
        SCOPED_TRACE(way.hook);
        add_veth("eth0", "wire0");
        const Attachment made = attached(host_request("eth0", 1, way.choice));
        EXPECT_EQ(made.hook, way.hook);
        EXPECT_EQ(made.role, Role::kHost);
        EXPECT_EQ(made.position, (std::array<unsigned, 2>{1, 1}));
        EXPECT_TRUE(made.ladder.empty());
        EXPECT_EQ(made.foreign_xdp, "");
        EXPECT_EQ(xdp_at(made.device).size(), way.xdp);
        EXPECT_EQ(at(made.device, Hook::kIngress).size(), way.ingress);
        EXPECT_EQ(filters_at(made.device, Hook::kIngress).size(), way.filters);
        send_frame("wire0");
        EXPECT_EQ(counted(1, Counts{in + 1, out}), (Counts{in + 1, out}));
        send_frame("eth0");
        send_frame("eth0");
        EXPECT_EQ(counted(1, Counts{in + 1, out + 2}), (Counts{in + 1, out + 2}));
        in += 1;
        out += 2;

        const Attachment seen = by_id()[id(1)];
        EXPECT_EQ(seen.hook, way.hook);
        EXPECT_EQ(seen.role, Role::kHost);
        EXPECT_EQ(seen.problem, "");
        EXPECT_EQ(attached(host_request("eth0")).hook, way.hook) << "attaching again must leave it where it is";

        ASSERT_TRUE(datapath_->detach(seen));
        EXPECT_TRUE(xdp_at(made.device).empty());
        EXPECT_TRUE(at(made.device, Hook::kIngress).empty());
        EXPECT_TRUE(at(made.device, Hook::kEgress).empty());
        EXPECT_TRUE(filters_at(made.device, Hook::kIngress).empty());
        EXPECT_TRUE(by_id().empty());
        send_frame("wire0");
        EXPECT_EQ(not_ready(1), (Counts{in, out}));
        shell("ip link del eth0");
    }
}

// What an unconfirmed apply attached: once its generation is gone, what no rule admits passes, and is counted.
TEST_F(HostAttach, LetsPassWhatARolledBackApplyAttached) {
    Counts passed{};
    for (const Way& way : kWays) {
        SCOPED_TRACE(way.hook);
        add_veth("eth0", "wire0");
        AttachRequest rolled_back = host_request("eth0", 1, way.choice);
        rolled_back.since = datapath_->control()->generation + 1;
        const Attachment made = attached(rolled_back);
        EXPECT_EQ(made.hook, way.hook);
        const Fd host = receiver("eth0");
        const Fd wire = receiver("wire0");
        const Counts dropped = not_ready(1);
        send_frame("wire0");
        EXPECT_TRUE(receives(host));
        send_frame("eth0");
        EXPECT_TRUE(receives(wire));
        passed = {passed[SG_IN] + 1, passed[SG_OUT] + 1};
        EXPECT_EQ(by_reason(1, SG_REASON_ROLLED_BACK), passed);
        EXPECT_EQ(not_ready(1), dropped);

        attached(host_request("eth0", 1, way.choice));  // by an apply that stays
        send_frame("wire0");
        send_frame("eth0");
        EXPECT_EQ(counted(1, Counts{dropped[SG_IN] + 1, dropped[SG_OUT] + 1}),
                  (Counts{dropped[SG_IN] + 1, dropped[SG_OUT] + 1}));
        EXPECT_FALSE(receives(host, 0));
        EXPECT_FALSE(receives(wire, 0));
        ASSERT_TRUE(datapath_->detach(by_id()[id(1)]));
        shell("ip link del eth0");
    }
}

TEST_F(HostAttach, TakesTcxAtAVethUnlessAskedOtherwise) {
    add_veth("eth0", "wire0");
    const Attachment made = attached(host_request("eth0"));
    EXPECT_EQ(made.hook, "tcx");
    EXPECT_TRUE(made.ladder.empty());
    const Error error = refused(host_request("eth0", 1, HookChoice::kNative));
    EXPECT_EQ(error.code, ErrorCode::kRefused);
    EXPECT_NE(error.message.find("is attached by tcx; detach it before attaching by xdp native"), std::string::npos)
        << error.message;
}

TEST_F(HostAttach, FiltersWhatABridgeWithAnAddressReceivesButNoPortOfIt) {
    add_veth("port0", "wire0");
    // Frames for its own MAC go up; to that of another they would be forwarded.
    shell("ip link add br0 address 02:00:00:00:00:02 type bridge mcast_snooping 0; ip link set br0 up; "
          "ip link set port0 master br0");
    const Attachment made = attached(host_request("br0", 1, HookChoice::kGeneric));
    EXPECT_EQ(made.hook, "xdp generic + tcx");
    EXPECT_TRUE(made.ladder.empty());
    send_frame("wire0");
    EXPECT_EQ(counted(1, Counts{1, 0}), (Counts{1, 0}));
    send_frame("br0");
    EXPECT_EQ(counted(1, Counts{1, 1}), (Counts{1, 1}));
    const Error error = refused(host_request("port0", 2));
    EXPECT_EQ(error.code, ErrorCode::kUnsupported);
    EXPECT_NE(error.message.find("it is a port of a bridge"), std::string::npos) << error.message;
}

TEST_F(HostAttach, FiltersAMacvlanTheRightWayRound) {
    add_veth("eth0", "wire0");
    shell("ip link add link eth0 name mv0 address 02:00:00:00:00:02 type macvlan mode bridge; ip link set mv0 up");
    const Attachment made = attached(host_request("mv0"));
    send_frame("wire0");
    EXPECT_EQ(counted(1, Counts{1, 0}), (Counts{1, 0})) << made.hook;
    send_frame("mv0");
    EXPECT_EQ(counted(1, Counts{1, 1}), (Counts{1, 1})) << made.hook;
}

TEST_F(HostAttach, TellsWhichHooksWereRefusedAndWhoHasThem) {
    shell("ip link add br0 type bridge; ip link set br0 up");
    const Fd program = foreign_xdp_program("balancer");
    const auto link = xdp_attach(program.get(), device(*datapath_, "br0").ifindex, false);
    ASSERT_TRUE(link) << link.error().message;
    const Attachment made = attached(host_request("br0"));
    EXPECT_EQ(made.hook, "tcx");
    ASSERT_EQ(made.ladder.size(), 1U);
    EXPECT_EQ(made.ladder[0], "xdp generic refused (Device or resource busy: the XDP program balancer is there)");
    EXPECT_EQ(made.foreign_xdp, "balancer");
    EXPECT_TRUE(made.foreign_before.empty());
    EXPECT_EQ(by_id()[id(1)].foreign_xdp, "balancer");
}

TEST_F(HostAttach, FailsWhenTheHookAskedForByNameIsRefused) {
    shell("ip link add br0 type bridge; ip link set br0 up");
    const Error error = refused(host_request("br0", 1, HookChoice::kNative));
    EXPECT_NE(error.message.find("br0: attach to XDP (native)"), std::string::npos) << error.message;
    EXPECT_EQ(error.sys_errno, EOPNOTSUPP);
    EXPECT_TRUE(by_id().empty());
    EXPECT_TRUE(xdp_at(device(*datapath_, "br0")).empty());
}

// XDP first: it takes only one program, and is free when the second direction fails.
TEST_F(HostAttach, TakesBackOneDirectionWhenTheOtherFails) {
    add_veth("eth0", "wire0");
    const Device eth0 = device(*datapath_, "eth0");
    std::vector<Fd> links;
    for (int i = 0; i < 64; ++i) {  // all the places of the hook (BPF_MPROG_MAX)
        const Fd program = foreign_program("crowd");
        auto link = tcx_attach_first(program.get(), eth0.ifindex, Hook::kEgress);
        if (!link) {
            break;
        }
        links.push_back(std::move(*link));
    }
    const Error error = refused(host_request("eth0", 1, HookChoice::kGeneric));
    EXPECT_NE(error.message.find("tcx egress"), std::string::npos) << error.message;
    EXPECT_TRUE(xdp_at(eth0).empty());
    EXPECT_TRUE(by_id().empty());
}

TEST_F(HostAttach, FiltersOnWhenTheProcessThatMadeItEnded) {
    add_veth("eth0", "wire0");
    const pid_t child = ::fork();
    if (child == 0) {
        auto datapath = make_kernel_datapath(options());
        const bool opened = datapath->open(small_capacities(), false).has_value();
        ::_exit(opened && datapath->attach(host_request("eth0", 1, HookChoice::kGeneric)) ? 0 : 1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_EQ(status, 0);
    const Attachment seen = by_id()[id(1)];
    EXPECT_EQ(seen.problem, "");
    EXPECT_EQ(seen.hook, "xdp generic + tcx");
    EXPECT_EQ(seen.role, Role::kHost);
    send_frame("wire0");
    EXPECT_EQ(counted(1, Counts{1, 0}), (Counts{1, 0}));
}

TEST_F(HostAttach, StaysAttachedInItsRoleWhenItsInterfaceLeaves) {
    for (const HookChoice hook : {HookChoice::kGeneric, HookChoice::kClsact}) {
        SCOPED_TRACE(static_cast<int>(hook));
        add_veth("eth0", "wire0");
        const Attachment made = attached(host_request("eth0", 1, hook));
        const Counts before = not_ready(0);
        ASSERT_TRUE(datapath_->unbind(made));
        auto all = datapath_->attachments();
        ASSERT_TRUE(all);
        ASSERT_EQ(all->size(), 1U);
        const Attachment left = all->front();
        EXPECT_EQ(left.interface_slot, 0U);
        EXPECT_EQ(left.role, Role::kHost);
        EXPECT_EQ(left.hook, made.hook);
        EXPECT_EQ(left.problem, "");
        send_frame("wire0");
        send_frame("eth0");
        EXPECT_EQ(counted(0, Counts{before[0] + 1, before[1] + 1}), (Counts{before[0] + 1, before[1] + 1}));

        EXPECT_NE(refused(request("eth0", 2)).message.find("is attached in role host"), std::string::npos);
        EXPECT_EQ(attached(host_request("eth0", 2)).hook, made.hook);
        ASSERT_TRUE(datapath_->detach(by_id()[id(2)]));
        EXPECT_TRUE(xdp_at(made.device).empty());
        EXPECT_TRUE(filters_at(made.device, Hook::kEgress).empty());
        shell("ip link del eth0");
    }
}

TEST_F(HostAttach, LeavesADeviceWhoseInterfaceLeftAsItWasWhenItRefuses) {
    add_veth("eth0", "wire0");
    ASSERT_TRUE(datapath_->unbind(attached(host_request("eth0", 1, HookChoice::kGeneric))));
    const auto pins = [this] {
        std::set<std::string> names;
        for (const auto& entry : std::filesystem::recursive_directory_iterator(bpffs() + "/sgbpf")) {
            names.insert(entry.path());
        }
        return names;
    };
    const auto before = pins();
    EXPECT_NE(refused(host_request("eth0", 2, HookChoice::kNative)).message.find("is attached by xdp generic"),
              std::string::npos);
    EXPECT_EQ(pins(), before);
    EXPECT_EQ(attached(host_request("eth0", 2)).hook, "xdp generic + tcx");
    EXPECT_EQ(by_id().size(), 1U);
    EXPECT_EQ(by_id()[id(2)].problem, "");
    send_frame("wire0");
    EXPECT_EQ(counted(2, Counts{1, 0}), (Counts{1, 0}));
}

TEST_F(HostAttach, KeepsItsRoleWhileItIsAttached) {
    add_veth("eth0", "wire0");
    add_veth("web0", "guest0");
    for (const HookChoice hook : {HookChoice::kAuto, HookChoice::kClsact}) {
        const Attachment host = attached(host_request("eth0", 1, hook));
        const Attachment web = attached(request("web0", 2, hook));
        EXPECT_EQ(refused(request("eth0", 1)).message,
                  "eth0 is attached in role host; detach it before it is attached in role workload");
        EXPECT_EQ(refused(host_request("web0", 2)).message,
                  "web0 is attached in role workload; detach it before it is attached in role host");
        EXPECT_EQ(by_id()[id(1)].problem, "");
        EXPECT_EQ(by_id()[id(2)].problem, "");
        ASSERT_TRUE(datapath_->detach(host));
        ASSERT_TRUE(datapath_->detach(web));
        EXPECT_EQ(attached(request("eth0", 1, hook)).role, Role::kWorkload);
        ASSERT_TRUE(datapath_->detach(by_id()[id(1)]));
    }
}

TEST_F(HostAttach, StandsBesideAWorkloadOnTheSameMaps) {
    add_veth("eth0", "wire0");
    add_veth("web0", "guest0");
    attached(host_request("eth0", 1, HookChoice::kGeneric));
    attached(request("web0", 2));
    send_frame("wire0");
    send_frame("guest0");
    EXPECT_EQ(counted(1, Counts{1, 0}), (Counts{1, 0}));
    EXPECT_EQ(counted(2, Counts{0, 1}), (Counts{0, 1}));
    EXPECT_EQ(by_id()[id(1)].role, Role::kHost);
    EXPECT_EQ(by_id()[id(2)].role, Role::kWorkload);
}

TEST_F(HostAttach, FinishesWhatACrashLeftHalfDone) {
    add_veth("eth0", "wire0");
    const Attachment made = attached(host_request("eth0", 1, HookChoice::kGeneric));
    const auto kept = xdp_at(made.device);
    shell(fmt::format("rm {}/sgbpf/v3/ns-*/links/{}_out", bpffs(), id(1)));
    EXPECT_EQ(by_id()[id(1)].problem, "outbound rules are not attached");
    EXPECT_EQ(attached(host_request("eth0")).hook, "xdp generic + tcx");
    EXPECT_EQ(xdp_at(made.device)[0].program_id, kept[0].program_id);
}

TEST_F(HostAttach, SeesThatItsDeviceIsGone) {
    add_veth("eth0", "wire0");
    attached(host_request("eth0", 1, HookChoice::kGeneric));
    shell("ip link del eth0");
    EXPECT_EQ(by_id()[id(1)].problem, "the device is gone");
    add_veth("eth0", "wire0");
    EXPECT_EQ(attached(host_request("eth0", 1, HookChoice::kGeneric)).problem, "");
    EXPECT_EQ(by_id().size(), 1U);
}

TEST_F(HostAttach, IsRemovedWithEverythingElse) {
    add_veth("eth0", "wire0");
    add_veth("eth1", "wire1");
    const Attachment one = attached(host_request("eth0", 1, HookChoice::kGeneric));
    const Attachment two = attached(host_request("eth1", 2, HookChoice::kClsact));
    ASSERT_TRUE(datapath_->remove_all());
    EXPECT_TRUE(xdp_at(one.device).empty());
    EXPECT_TRUE(at(one.device, Hook::kEgress).empty());
    EXPECT_TRUE(filters_at(two.device, Hook::kIngress).empty());
    EXPECT_TRUE(filters_at(two.device, Hook::kEgress).empty());
    EXPECT_FALSE(std::filesystem::exists(bpffs() + "/sgbpf"));
}

}  // namespace
}  // namespace sgbpf::test
