// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What stays attached, and what does not: processes end, devices vanish, namespaces go.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <thread>

#include <bpf/bpf.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attach_fixture.hpp"

namespace sgbpf::test {
namespace {

class Attachments : public AttachFixture {
protected:
    [[nodiscard]] std::size_t instances() const {
        std::size_t count = 0;
        for (const auto& entry : std::filesystem::directory_iterator(bpffs() + "/sgbpf/v3")) {
            count += entry.path().filename().string().starts_with("ns-") ? 1 : 0;
        }
        return count;
    }
};

TEST_F(Attachments, FilterOnWhenTheProcessThatMadeThemEnded) {
    add_veth("web0", "guest0");
    const pid_t child = ::fork();
    if (child == 0) {
        auto datapath = make_kernel_datapath(options());
        const bool opened = datapath->open(small_capacities(), false).has_value();
        ::_exit(opened && datapath->attach(request("web0")) ? 0 : 1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_EQ(status, 0);
    const Attachment seen = by_id()[id(1)];
    EXPECT_EQ(seen.problem, "");
    EXPECT_EQ(seen.device.name, "web0");
    EXPECT_EQ(seen.hook, "tcx");
    send_frame("guest0");
    EXPECT_EQ(not_ready(1), (Counts{0, 1}));
}

TEST_F(Attachments, DetachingLeavesProgramsOfOthers) {
    add_veth("web0", "guest0");
    const Attachment made = attached(request("web0"));
    const Fd program = foreign_program("foreign");
    const auto link = tcx_attach_first(program.get(), made.device.ifindex, Hook::kIngress);
    ASSERT_TRUE(link);
    ASSERT_TRUE(datapath_->detach(made));
    EXPECT_TRUE(by_id().empty());
    EXPECT_EQ(at(made.device, Hook::kIngress).size(), 1U);
    EXPECT_TRUE(at(made.device, Hook::kEgress).empty());
    send_frame("guest0");
    EXPECT_EQ(not_ready(1), (Counts{0, 0}));
    EXPECT_TRUE(datapath_->detach(made));
    attached(request("web0", 2));
}

// A tap re-created under the same number is a new device: what was bound there says nothing about it.
TEST_F(Attachments, AReusedIfindexIsNotTheOldDevice) {
    shell("ip link add old0 index 50 type veth peer name oldg0");
    attached(request("old0", 1));
    shell("ip link del old0; ip link add new0 index 50 type veth peer name newg0");
    Attachment old = by_id()[id(1)];
    EXPECT_EQ(old.device.ifindex, 0);
    EXPECT_EQ(old.problem, "the device is gone");
    EXPECT_EQ(old.interface_slot, 1U);

    shell("ip link set new0 up; ip link set newg0 up");
    const Attachment fresh = attached(request("new0", 2));
    EXPECT_EQ(fresh.device.ifindex, 50);
    send_frame("newg0");
    EXPECT_EQ(not_ready(2), (Counts{0, 1}));

    ASSERT_TRUE(datapath_->detach(old));
    const auto all = by_id();
    ASSERT_EQ(all.size(), 1U);
    EXPECT_EQ(all.at(id(2)).problem, "");
    send_frame("newg0");
    EXPECT_EQ(not_ready(2), (Counts{0, 2}));
}

// The first interface gets another device: what it was bound to once is another interface's now.
TEST_F(Attachments, AnInterfaceThatMovesOnLeavesAReusedIfindexAlone) {
    shell("ip link add old0 index 50 type veth peer name oldg0");
    attached(request("old0", 1));
    shell("ip link del old0; ip link add new0 index 50 type veth peer name newg0");
    shell("ip link set new0 up; ip link set newg0 up");
    attached(request("new0", 2));
    add_veth("web0", "guest0");
    attached(request("web0", 1));
    EXPECT_EQ(by_id()[id(1)].problem, "");
    EXPECT_EQ(by_id()[id(2)].problem, "");
    send_frame("newg0");
    EXPECT_EQ(not_ready(2), (Counts{0, 1}));
}

TEST_F(Attachments, AReturningDeviceIsAttachedAnew) {
    shell("ip link add web0 index 50 type veth peer name guest0");
    attached(request("web0"));
    shell("ip link del web0; ip link add web0 index 60 type veth peer name guest0; ip link set web0 up");
    shell("ip link set guest0 up");
    const Attachment again = attached(request("web0"));
    EXPECT_EQ(again.device.ifindex, 60);
    EXPECT_EQ(by_id().size(), 1U);
    EXPECT_EQ(by_id()[id(1)].problem, "");
    // Same number as well.
    shell("ip link del web0; ip link add web0 index 60 type veth peer name guest0");
    EXPECT_EQ(by_id()[id(1)].device.ifindex, 0);
    attached(request("web0"));
    EXPECT_EQ(by_id()[id(1)].problem, "");
}

TEST_F(Attachments, EveryNamespaceHasItsOwnBindings) {
    add_netns("blue");
    shell("ip link add here0 index 70 type veth peer name hg0");
    shell("ip link add there0 index 70 netns blue type veth peer name tg0");
    shell("ip link set here0 up; ip link set hg0 up");
    attached(request("here0", 1));
    const Attachment there = attached(request("there0", 2, HookChoice::kAuto, "blue"));
    EXPECT_EQ(there.device.netns, "blue");
    EXPECT_EQ(instances(), 2U);
    auto all = by_id();
    EXPECT_EQ(all[id(1)].device.netns, "");
    EXPECT_EQ(all[id(1)].device.name, "here0");
    EXPECT_EQ(all[id(2)].device.netns, "blue");
    EXPECT_EQ(all[id(2)].device.name, "there0");
    EXPECT_EQ(all[id(2)].problem, "");
    send_frame("hg0");
    EXPECT_EQ(not_ready(1), (Counts{0, 1}));
    EXPECT_EQ(not_ready(2), (Counts{0, 0}));
    // The interface of the other namespace is taken.
    EXPECT_EQ(refused(request("here0", 2)).code, ErrorCode::kRefused);
    ASSERT_TRUE(datapath_->detach(there));
    EXPECT_EQ(by_id().size(), 1U);
}

TEST_F(Attachments, AVanishedNamespaceIsCleanedUpByTheNextAttach) {
    add_netns("blue");
    shell("ip link add there0 netns blue type veth peer name tg0");
    const Attachment there = attached(request("there0", 2, HookChoice::kAuto, "blue"));
    shell("ip netns del blue");
    Attachment seen;
    // The kernel takes a namespace apart in its own time.
    for (int i = 0; i < 100000 && seen.problem != "the device is gone"; ++i) {
        seen = by_id()[id(2)];
    }
    EXPECT_EQ(seen.problem, "the device is gone");
    ASSERT_TRUE(datapath_->detach(there));
    add_veth("web0", "guest0");
    attached(request("web0", 2));
    EXPECT_EQ(instances(), 1U);
    EXPECT_EQ(by_id().size(), 1U);
}

// An interface leaves the state while its device stays: never a moment without a program.
TEST_F(Attachments, AnUnboundDeviceStaysAttachedUntilItsInterfaceReturns) {
    add_veth("web0", "guest0");
    add_veth("web1", "guest1");
    const Attachment made = attached(request("web0", 1));
    const auto link = at(made.device, Hook::kIngress);
    ASSERT_TRUE(datapath_->unbind(made));
    auto all = by_id();
    ASSERT_EQ(all.size(), 1U);
    const Attachment left = all.begin()->second;
    EXPECT_EQ(left.interface_slot, 0U);
    EXPECT_EQ(left.problem, "");
    EXPECT_EQ(left.device.name, "web0");
    send_frame("guest0");
    EXPECT_EQ(not_ready(1), (Counts{0, 0}));
    EXPECT_EQ(not_ready(0), (Counts{0, 1}));
    // The interface may go elsewhere, the device get another interface.
    attached(request("web1", 1));
    attached(request("web0", 2));
    EXPECT_EQ(at(made.device, Hook::kIngress)[0].link_id, link[0].link_id);
    EXPECT_EQ(by_id().size(), 2U);
    ASSERT_TRUE(datapath_->unbind(by_id()[id(2)]));
    shell("ip link del web0");
    all = by_id();
    ASSERT_EQ(all.size(), 2U);
    const auto gone = std::find_if(all.begin(), all.end(), [](const auto& one) { return one.first != id(1); })->second;
    EXPECT_EQ(gone.problem, "the device is gone");
    ASSERT_TRUE(datapath_->detach(gone));
    EXPECT_EQ(by_id().size(), 1U);
}

TEST_F(Attachments, AClsactDeviceCanBeLeftAndTakenBack) {
    add_veth("web0", "guest0");
    const Attachment made = attached(request("web0", 1, HookChoice::kClsact));
    ASSERT_TRUE(datapath_->unbind(made));
    ASSERT_EQ(by_id().size(), 1U);
    EXPECT_EQ(by_id().begin()->second.problem, "");
    send_frame("guest0");
    EXPECT_EQ(not_ready(0), (Counts{0, 1}));
    attached(request("web0", 1));
    ASSERT_TRUE(datapath_->unbind(by_id()[id(1)]));
    ASSERT_TRUE(datapath_->detach(by_id().begin()->second));
    EXPECT_TRUE(by_id().empty());
    EXPECT_TRUE(filters_at(made.device, Hook::kIngress).empty());
}

TEST_F(Attachments, ABindingWithoutAProgramIsTold) {
    add_veth("web0", "guest0");
    attached(request("web0"));
    shell(fmt::format("rm {}/sgbpf/v3/ns-*/links/*", bpffs()));
    const Attachment seen = by_id()[id(1)];
    EXPECT_EQ(seen.device.name, "web0");
    EXPECT_NE(seen.problem.find("no program is attached"), std::string::npos) << seen.problem;
    // Nothing in force: another interface may have the device. The kernel lets go of unpinned links from
    // a work queue, and refuses the same program twice until then.
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (std::chrono::steady_clock::now() < deadline &&
           !(at(seen.device, Hook::kIngress).empty() && at(seen.device, Hook::kEgress).empty())) {
        std::this_thread::yield();
    }
    attached(request("web0", 2));
}

TEST_F(Attachments, RemovingAllLeavesNothingOfOurs) {
    add_netns("blue");
    add_veth("web0", "guest0");
    add_veth("web1", "guest1");
    shell("ip link add there0 netns blue type veth peer name tg0");
    const Attachment one = attached(request("web0", 1));
    const Attachment two = attached(request("web1", 2, HookChoice::kClsact));
    attached(request("there0", 3, HookChoice::kClsact, "blue"));
    // While someone looks at a link, unpinning it would not end it.
    const Fd looked_at(bpf_link_get_fd_by_id(at(one.device, Hook::kEgress)[0].link_id));
    ASSERT_TRUE(looked_at.valid());
    ASSERT_TRUE(datapath_->remove_all());
    EXPECT_FALSE(std::filesystem::exists(bpffs() + "/sgbpf"));
    for (const Hook hook : {Hook::kIngress, Hook::kEgress}) {
        EXPECT_TRUE(at(one.device, hook).empty());
        EXPECT_TRUE(filters_at(two.device, hook).empty());
    }
    EXPECT_FALSE(shell_succeeds("tc qdisc show dev web1 | grep clsact"));
    EXPECT_FALSE(shell_succeeds("nsenter --net=/run/netns/blue tc qdisc show dev there0 | grep clsact"));
}

}  // namespace
}  // namespace sgbpf::test
