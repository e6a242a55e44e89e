// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Namespaces without a name: found through /proc, and never taken for the caller's own.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "datapath/netns.hpp"

namespace sgbpf::test {
namespace {

TEST(Netns, WithoutANameIsCalledByItsInode) {
    int ready[2];
    int stop[2];
    ASSERT_EQ(pipe2(ready, O_CLOEXEC), 0);
    ASSERT_EQ(pipe2(stop, O_CLOEXEC), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        close(stop[1]);
        char byte = unshare(CLONE_NEWNET) == 0 ? 'y' : 'n';
        if (write(ready[1], &byte, 1) != 1 || read(stop[0], &byte, 1) != 0) {
            _exit(1);
        }
        _exit(0);
    }
    close(stop[0]);
    char byte = 0;
    ASSERT_EQ(read(ready[0], &byte, 1), 1);
    ASSERT_EQ(byte, 'y') << "unshare needs root";

    struct stat status{};
    ASSERT_EQ(stat(("/proc/" + std::to_string(child) + "/ns/net").c_str(), &status), 0);
    const std::string name = "net:[" + std::to_string(status.st_ino) + "]";
    const auto found = netns_by_inode(status.st_ino, "/run/netns");
    ASSERT_TRUE(found);
    EXPECT_EQ(found->name, name);
    const auto again = netns_by_name(name, "/run/netns");
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(again->inode, status.st_ino);
    EXPECT_NE(netns_by_name("", "/run/netns")->inode, status.st_ino);

    close(stop[1]);
    int exit_status = 0;
    ASSERT_EQ(waitpid(child, &exit_status, 0), child);
    EXPECT_EQ(exit_status, 0);
    const auto gone = netns_by_name(name, "/run/netns");
    ASSERT_FALSE(gone);
    EXPECT_EQ(gone.error().code, ErrorCode::kNotFound);
    close(ready[0]);
    close(ready[1]);
}

}  // namespace
}  // namespace sgbpf::test
