// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A place where tests may pin, attach and make devices: the test process has its own mount and network
// namespaces, with its own /run and bpffs. The kernel takes all of it away when the process ends, however
// it ends. Needs root.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.hpp"
#include "datapath/kernel_datapath.hpp"

namespace sgbpf::test {

// main() of such a test program: enters the namespaces, then runs the tests.
int kernel_test_main(int argc, char** argv);

class KernelTest : public ::testing::Test {
protected:
    void SetUp() override;     // a fresh network namespace and an empty bpffs
    void TearDown() override;  // removes what was pinned

    [[nodiscard]] const std::string& bpffs() const { return bpffs_; }
    [[nodiscard]] KernelOptions options() const;
    // A datapath with its maps created. Fails the test otherwise.
    std::unique_ptr<Datapath> loaded(const Capacities& capacities = small_capacities());
    static Capacities small_capacities();  // fast to create

    // Runs a shell command in the test's namespaces; fails the test unless it succeeds.
    static void shell(const std::string& command);
    static bool shell_succeeds(const std::string& command);

    // Devices, in the test's namespace. The peer of a veth goes to `peer_netns` when that is set.
    static void add_veth(const std::string& name, const std::string& peer, const std::string& peer_netns = {});
    static void add_tap(const std::string& name);
    static void add_netns(const std::string& name);
    static Device device(Datapath& datapath, const std::string& name, const std::string& netns = {});

    // Sends one IPv4 UDP frame out of a device of the test's namespace, as a packet socket does.
    static void send_frame(const std::string& device_name);

private:
    std::string bpffs_;
};

// A program of someone else: passes everything on. `name` is what listings show.
Fd foreign_program(const std::string& name);
Fd foreign_xdp_program(const std::string& name);  // the same for XDP

}  // namespace sgbpf::test
