// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "support/kernel_fixture.hpp"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <fmt/format.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace sgbpf::test {

namespace {

[[noreturn]] void give_up(const char* what) {
    std::fprintf(stderr, "kernel tests: %s: %s (they need root)\n", what, std::strerror(errno));
    std::exit(2);
}

void enter_namespaces() {
    if (::unshare(CLONE_NEWNS | CLONE_NEWNET) != 0) {
        give_up("make namespaces");
    }
    if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
        give_up("make mounts private");
    }
    // An own /run: `ip netns` keeps its names there.
    if (::mount("sgbpf-test", "/run", "tmpfs", 0, "mode=0755") != 0 || ::mkdir("/run/netns", 0755) != 0) {
        give_up("mount an own /run");
    }
}

}  // namespace

int kernel_test_main(int argc, char** argv) {
    ::testing::InitGoogleTest(&argc, argv);
    // Listing the tests, as the build does, needs no privilege.
    if (!GTEST_FLAG_GET(list_tests)) {
        enter_namespaces();
    }
    return RUN_ALL_TESTS();
}

void KernelTest::SetUp() {
    static int number = 0;
    if (::unshare(CLONE_NEWNET) != 0) {
        give_up("make a network namespace");
    }
    bpffs_ = fmt::format("/run/bpf{}", ++number);
    if (::mkdir(bpffs_.c_str(), 0755) != 0 || ::mount("bpf", bpffs_.c_str(), "bpf", 0, nullptr) != 0) {
        give_up("mount a BPF file system");
    }
}

void KernelTest::TearDown() {
    if (::umount2(bpffs_.c_str(), MNT_DETACH) != 0) {
        ADD_FAILURE() << "unmount " << bpffs_ << ": " << std::strerror(errno);
    }
    shell("for name in $(ls /run/netns); do ip netns del $name; done");
}

KernelOptions KernelTest::options() const {
    KernelOptions options;
    options.bpffs = bpffs_;
    options.netns_dir = "/run/netns";
    return options;
}

std::unique_ptr<Datapath> KernelTest::loaded(const Capacities& capacities) {
    auto datapath = make_kernel_datapath(options());
    auto opened = datapath->open(capacities, true);
    if (!opened) {
        ADD_FAILURE() << opened.error().message << "\n" << opened.error().detail;
    }
    return datapath;
}

Capacities KernelTest::small_capacities() {
    Capacities capacities;
    capacities.interfaces = 64;
    capacities.policy_slots = 128;
    capacities.policies = 256;
    capacities.prefixes = 4096;
    capacities.list_prefixes = 4096;
    capacities.members = 4096;
    capacities.local_prefixes = 1024;
    capacities.set_classes = 4096;
    capacities.classes = 2048;
    capacities.intervals = 4096;
    capacities.rule_refs = 8192;
    capacities.rules = 1024;
    capacities.flows = 1024;
    capacities.ifindexes = 256;
    return capacities;
}

namespace {

// Debian's dash by name: a busybox sh, as in the guests of tests/vm, takes its own `ip` for any other.
int run_shell(const std::string& command) {
    const pid_t child = ::fork();
    if (child == 0) {
        ::execlp("dash", "dash", "-c", command.c_str(), nullptr);
        ::_exit(127);
    }
    int status = 0;
    return child > 0 && ::waitpid(child, &status, 0) == child ? status : -1;
}

}  // namespace

bool KernelTest::shell_succeeds(const std::string& command) {
    return run_shell("( " + command + " ) >/dev/null 2>&1") == 0;
}

void KernelTest::shell(const std::string& command) {
    ASSERT_EQ(run_shell(command), 0) << command;
}

void KernelTest::add_netns(const std::string& name) {
    shell("ip netns add " + name);
}

void KernelTest::add_veth(const std::string& name, const std::string& peer, const std::string& peer_netns) {
    const std::string where = peer_netns.empty() ? "" : " netns " + peer_netns;
    shell(fmt::format("ip link add {} type veth peer name {}{}", name, peer, where));
    shell(fmt::format("ip link set {} up", name));
    shell(peer_netns.empty() ? fmt::format("ip link set {} up", peer)
                             : fmt::format("nsenter --net=/run/netns/{} ip link set {} up", peer_netns, peer));
}

void KernelTest::add_tap(const std::string& name) {
    shell(fmt::format("ip tuntap add dev {} mode tap && ip link set {} up", name, name));
}

Device KernelTest::device(Datapath& datapath, const std::string& name, const std::string& netns) {
    auto devices = datapath.devices(netns);
    if (devices) {
        for (const Device& found : *devices) {
            if (found.name == name) {
                return found;
            }
        }
    }
    ADD_FAILURE() << "no device " << name;
    return {};
}

void KernelTest::send_frame(const std::string& device_name) {
    // Ethernet, IPv4 192.0.2.1 -> 192.0.2.2 (RFC 5737), UDP 4242 -> 53, no payload. A bridge may look at the
    // checksum of the IP header.
    const std::array<std::uint8_t, 42> frame = {
        0x02, 0,    0, 0,  0, 2, 0x02, 0, 0,  0,  0,    1,    0x08, 0x00,                      // Ethernet
        0x45, 0,    0, 28, 0, 0, 0,    0, 64, 17, 0xf6, 0xcd, 192,  0,    2, 1, 192, 0, 2, 2,  // IPv4
        0x10, 0x92, 0, 53, 0, 8, 0,    0};                                                     // UDP
    const Fd socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
    ASSERT_TRUE(socket.valid()) << std::strerror(errno);
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_ifindex = static_cast<int>(::if_nametoindex(device_name.c_str()));
    address.sll_protocol = htons(ETH_P_IP);
    // A packet that a program at the egress hook drops is reported as sent, or as ENOBUFS.
    const auto sent = ::sendto(socket.get(), frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&address),
                               sizeof(address));
    ASSERT_TRUE(sent >= 0 || errno == ENOBUFS) << std::strerror(errno);
}

namespace {

// r0 = code; exit
Fd constant_program(bpf_prog_type type, const std::string& name, int code) {
    const std::array<bpf_insn, 2> text = {bpf_insn{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, code},
                                          bpf_insn{BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
    bpf_prog_load_opts options{};
    options.sz = sizeof(options);
    // As libbpf says for xdp sections; a link takes programs of one kind only.
    options.expected_attach_type = type == BPF_PROG_TYPE_XDP ? BPF_XDP : BPF_CGROUP_INET_INGRESS;
    Fd program(bpf_prog_load(type, name.c_str(), "GPL", text.data(), text.size(), &options));
    if (!program.valid()) {
        ADD_FAILURE() << "load a foreign program: " << std::strerror(errno);
    }
    return program;
}

}  // namespace

Fd foreign_program(const std::string& name) {
    return constant_program(BPF_PROG_TYPE_SCHED_CLS, name, -1);  // next program
}

Fd foreign_xdp_program(const std::string& name) {
    return constant_program(BPF_PROG_TYPE_XDP, name, XDP_PASS);
}

}  // namespace sgbpf::test
