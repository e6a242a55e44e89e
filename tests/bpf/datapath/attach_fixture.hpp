// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What the tests of attaching share: interfaces in the maps, requests, a look at hooks past the datapath.
#pragma once

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "datapath/clsact.hpp"
#include "datapath/raw_bpf.hpp"
#include "support/kernel_fixture.hpp"

namespace sgbpf::test {

class AttachFixture : public KernelTest {
protected:
    void SetUp() override {
        KernelTest::SetUp();
        // Otherwise the kernel's own neighbour discovery would be counted among the test's frames.
        shell("echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6");
        datapath_ = loaded();
        EditList edits;
        for (std::uint32_t slot = 1; slot <= 3; ++slot) {
            sg_interface interface{};
            interface.live = 1;
            std::memcpy(&interface.id[0], id(slot).data(), id(slot).size());
            edits.put<MapId::kInterfaces>(slot, interface);
        }
        ASSERT_TRUE(datapath_->write(edits, 0, edits.size()));
    }

    static std::string id(std::uint32_t slot) { return fmt::format("eni-0000000000000000{}", slot); }

    AttachRequest request(const std::string& name, std::uint32_t slot = 1, HookChoice hook = HookChoice::kAuto,
                          const std::string& netns = {}) {
        return AttachRequest{device(*datapath_, name, netns), slot, id(slot), hook};
    }
    AttachRequest host_request(const std::string& name, std::uint32_t slot = 1, HookChoice hook = HookChoice::kAuto) {
        AttachRequest wanted = request(name, slot, hook);
        wanted.role = Role::kHost;
        return wanted;
    }
    Attachment attached(const AttachRequest& wanted) {
        auto made = datapath_->attach(wanted);
        if (!made) {
            ADD_FAILURE() << made.error().message << "\n" << made.error().detail;
            return {};
        }
        EXPECT_EQ(made->problem, "");
        return *made;
    }
    Error refused(const AttachRequest& wanted) {
        auto made = datapath_->attach(wanted);
        if (made) {
            ADD_FAILURE() << "attached";
            return {};
        }
        return made.error();
    }
    std::map<std::string, Attachment> by_id() {
        std::map<std::string, Attachment> all;
        auto found = datapath_->attachments();
        if (!found) {
            ADD_FAILURE() << found.error().message;
            return all;
        }
        for (Attachment& one : *found) {
            EXPECT_TRUE(all.emplace(one.interface_id, one).second) << one.interface_id << " twice";
        }
        return all;
    }
    std::vector<HookProgram> at(const Device& where, Hook hook) {
        auto found = tcx_programs(where.ifindex, hook);
        return found ? *found : std::vector<HookProgram>();
    }
    std::vector<TcFilter> filters_at(const Device& where, Hook hook) {
        auto found = tc_filters(where.ifindex, hook);
        return found ? *found : std::vector<TcFilter>();
    }
    // Frames that were judged for this reason: [in, out].
    std::array<std::uint64_t, 2> by_reason(std::uint32_t slot, sg_reason reason) {
        auto counters = datapath_->read_counters(slot);
        EXPECT_TRUE(counters);
        return {counters->packets[SG_IN][reason], counters->packets[SG_OUT][reason]};
    }
    // Dropped for want of rules: none are loaded in these tests.
    std::array<std::uint64_t, 2> not_ready(std::uint32_t slot) { return by_reason(slot, SG_REASON_NOT_READY); }

    std::unique_ptr<Datapath> datapath_;
};

using Counts = std::array<std::uint64_t, 2>;

}  // namespace sgbpf::test
