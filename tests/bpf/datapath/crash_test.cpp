// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A process of ours dies before each of its writes in turn (pins, links, renames, netlink requests); the
// next one must find a state that it can finish or remove. See the crash points in datapath/pins.cpp.
#include <csignal>
#include <filesystem>
#include <functional>

#include <linux/bpf.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attach_fixture.hpp"
#include "datapath/devices.hpp"

namespace sgbpf::test {
namespace {

bool is_write(const __ptrace_syscall_info& call) {
    switch (call.entry.nr) {
        case SYS_rename:
        case SYS_mkdir:
        case SYS_unlink:
        case SYS_unlinkat:
        case SYS_rmdir:
        case SYS_sendto:
            return true;
        case SYS_bpf:
            switch (call.entry.args[0]) {
                case BPF_MAP_UPDATE_ELEM:
                case BPF_OBJ_PIN:
                case BPF_LINK_CREATE:
                case BPF_LINK_UPDATE:
                case BPF_LINK_DETACH:
                    return true;
                default:
                    return false;
            }
        default:
            return false;
    }
}

enum class Ending { kKilled, kSucceeded, kFailed };

// Runs `body` in a child and kills it just before its write number `last` (from 1), if it gets so far.
Ending run_until_write(unsigned last, const std::function<bool()>& body, unsigned* count = nullptr) {
    const pid_t child = ::fork();
    if (child == 0) {
        ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        ::raise(SIGSTOP);
        ::_exit(body() ? 0 : 1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    ::ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
    unsigned writes = 0;
    for (;;) {
        ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
        ::waitpid(child, &status, 0);
        if (WIFEXITED(status)) {
            if (count != nullptr) {
                *count = writes;
            }
            return WEXITSTATUS(status) == 0 ? Ending::kSucceeded : Ending::kFailed;
        }
        if (!WIFSTOPPED(status)) {
            return Ending::kFailed;
        }
        if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
            continue;
        }
        __ptrace_syscall_info call{};
        ::ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof(call), &call);
        if (call.op == PTRACE_SYSCALL_INFO_ENTRY && is_write(call) && ++writes == last) {
            ::kill(child, SIGKILL);
            ::waitpid(child, &status, 0);
            return Ending::kKilled;
        }
    }
}

class Crash : public AttachFixture {
protected:
    void SetUp() override {
        AttachFixture::SetUp();
        add_veth("web0", "guest0");
        request_ = request("web0", 1);
        ASSERT_TRUE(datapath_->remove_all());
        datapath_.reset();
    }

    // What a command does that starts from nothing.
    [[nodiscard]] std::string create_and_attach() const {
        auto datapath = make_kernel_datapath(options());
        auto opened = datapath->open(small_capacities(), true);
        if (!opened) {
            return opened.error().message;
        }
        sg_interface interface{};
        interface.live = 1;
        std::memcpy(&interface.id[0], id(1).data(), id(1).size());
        EditList edits;
        edits.put<MapId::kInterfaces>(1, interface);
        const auto written = datapath->write(edits, 0, edits.size());
        const auto attached = datapath->attach(request_);
        return !written ? written.error().message : !attached ? attached.error().message : attached->problem;
    }
    [[nodiscard]] bool detach_and_remove() const {
        auto datapath = make_kernel_datapath(options());
        if (!datapath->open(small_capacities(), false)) {
            return false;
        }
        auto found = datapath->attachments();
        return found && found->size() == 1 && datapath->detach(found->front()) && datapath->remove_all();
    }
    void expect_nothing_left() {
        ASSERT_TRUE(make_kernel_datapath(options())->remove_all());
        EXPECT_FALSE(std::filesystem::exists(bpffs() + "/sgbpf"));
        for (const Hook hook : {Hook::kIngress, Hook::kEgress}) {
            EXPECT_TRUE(at(request_.device, hook).empty());
            EXPECT_TRUE(filters_at(request_.device, hook).empty());
        }
        const auto now = device_by_ifindex(request_.device.ifindex, {});
        ASSERT_TRUE(now);
        EXPECT_TRUE(now->xdp.empty());
    }
    // How many writes it takes to make the tree, before anything is attached.
    unsigned writes_of_creation() {
        unsigned writes = 0;
        const auto create = [this] {
            return make_kernel_datapath(options())->open(small_capacities(), true).has_value();
        };
        EXPECT_EQ(run_until_write(0, create, &writes), Ending::kSucceeded);
        EXPECT_GT(writes, kMaps.size());
        EXPECT_TRUE(make_kernel_datapath(options())->remove_all());
        return writes;
    }
    // Kills create_and_attach() at every write from `first` on; each time the next run must get through.
    void crash_while_attaching(HookChoice hook, unsigned first) {
        request_.hook = hook;
        for (unsigned last = first;; ++last) {
            SCOPED_TRACE(fmt::format("died before write {}", last));
            const Ending ending = run_until_write(last, [this] { return create_and_attach().empty(); });
            ASSERT_NE(ending, Ending::kFailed);
            datapath_ = make_kernel_datapath(options());
            const auto opened = datapath_->open(small_capacities(), false);
            if (opened) {
                EXPECT_TRUE(datapath_->attachments());
            } else {
                EXPECT_EQ(opened.error().code, ErrorCode::kNotFound) << opened.error().message;
            }
            ASSERT_EQ(create_and_attach(), "");
            ASSERT_TRUE(datapath_->open(small_capacities(), false));
            EXPECT_EQ(by_id()[id(1)].problem, "");
            send_frame("guest0");
            EXPECT_EQ(not_ready(1), request_.role == Role::kHost ? (Counts{1, 0}) : (Counts{0, 1}));
            expect_nothing_left();
            if (ending == Ending::kSucceeded) {
                EXPECT_GT(last, first + 5);  // bindings, programs and links at least
                return;
            }
        }
    }

    AttachRequest request_;
};

TEST_F(Crash, WhileAttachingByTcxIsFinishedByTheNextRun) {
    crash_while_attaching(HookChoice::kTcx, 1);
}

TEST_F(Crash, WhileAttachingByClsactIsFinishedByTheNextRun) {
    crash_while_attaching(HookChoice::kClsact, writes_of_creation());
}

TEST_F(Crash, WhileAttachingTheHostsNicIsFinishedByTheNextRun) {
    request_.role = Role::kHost;
    crash_while_attaching(HookChoice::kGeneric, writes_of_creation());
}

TEST_F(Crash, WhileRemovingIsFinishedByTheNextRun) {
    for (const HookChoice hook : {HookChoice::kTcx, HookChoice::kGeneric, HookChoice::kClsact}) {
        request_.hook = hook;
        request_.role = hook == HookChoice::kGeneric ? Role::kHost : Role::kWorkload;
        for (unsigned last = 1;; ++last) {
            SCOPED_TRACE(fmt::format("died before write {}", last));
            ASSERT_EQ(create_and_attach(), "");
            const Ending ending = run_until_write(last, [this] { return detach_and_remove(); });
            ASSERT_NE(ending, Ending::kFailed);
            auto datapath = make_kernel_datapath(options());
            if (datapath->open(small_capacities(), false)) {
                EXPECT_TRUE(datapath->attachments());
            }
            expect_nothing_left();
            if (ending == Ending::kSucceeded) {
                EXPECT_GT(last, kMaps.size());
                break;
            }
            if (hook != HookChoice::kTcx && last == 12) {
                break;  // the rest is the tree, as before
            }
        }
    }
}

}  // namespace
}  // namespace sgbpf::test
