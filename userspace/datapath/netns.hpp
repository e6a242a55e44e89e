// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Network namespaces: by name, by inode, and being inside one for a while.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <sgbpf/result.hpp>

#include "base/fd.hpp"

namespace sgbpf {

struct Netns {
    std::string name;  // under the directory of names; empty = the caller's, or nameless
    std::string path;  // something setns(2) accepts
    std::uint64_t inode = 0;
};

// `name` empty = the calling thread's namespace; "net:[INODE]" = one without a name, as netns_by_inode
// calls it. Error kNotFound: no such name.
Result<Netns> netns_by_name(const std::string& name, const std::string& netns_dir);

// The namespace with this inode: the caller's, a named one, or one a process lives in. Empty when there
// is none of these: the namespace is gone (or kept alive by a descriptor alone, which nobody can attach
// through). Cost: reads /proc when no name fits.
std::optional<Netns> netns_by_inode(std::uint64_t inode, const std::string& netns_dir);

// The calling thread is in the namespace from enter() to destruction. Does not change what is mounted:
// /sys/class/net still shows the caller's devices, so devices are read by netlink.
class NetnsGuard {
public:
    static Result<NetnsGuard> enter(const Netns& netns);
    NetnsGuard(NetnsGuard&&) noexcept = default;
    NetnsGuard& operator=(NetnsGuard&&) = delete;
    NetnsGuard(const NetnsGuard&) = delete;
    NetnsGuard& operator=(const NetnsGuard&) = delete;
    ~NetnsGuard();

private:
    explicit NetnsGuard(Fd home) : home_(std::move(home)) {}
    Fd home_;  // empty: was there already
};

}  // namespace sgbpf
