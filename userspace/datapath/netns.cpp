// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "datapath/netns.hpp"

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/stat.h>

#include "datapath/features.hpp"

namespace sgbpf {

namespace {

constexpr const char* kSelf = "/proc/thread-self/ns/net";

std::optional<std::uint64_t> inode_of(const std::string& path) {
    struct stat status{};
    if (::stat(path.c_str(), &status) != 0) {
        return std::nullopt;
    }
    return status.st_ino;
}

// A namespace without a name is called as /proc/PID/ns/net does: "net:[4026531840]". Never by the empty
// name, which is the caller's own: devices of both would be taken for one another.
std::string nameless(std::uint64_t inode) {
    return fmt::format("net:[{}]", inode);
}

std::optional<std::uint64_t> inode_in_name(std::string_view name) {
    std::uint64_t inode = 0;
    constexpr std::string_view kBegin = "net:[";
    if (!name.starts_with(kBegin) || !name.ends_with(']')) {
        return std::nullopt;
    }
    const std::string_view digits = name.substr(kBegin.size(), name.size() - kBegin.size() - 1);
    const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), inode);
    return failed == std::errc() && end == digits.data() + digits.size() ? std::optional(inode) : std::nullopt;
}

}  // namespace

Result<Netns> netns_by_name(const std::string& name, const std::string& netns_dir) {
    if (const auto inode = inode_in_name(name)) {
        if (auto found = netns_by_inode(*inode, netns_dir)) {
            return std::move(*found);
        }
        return unexpected(
            make_error(ErrorCode::kNotFound, "no process lives in network namespace " + name + " any more", ENOENT));
    }
    Netns netns{name, name.empty() ? std::string(kSelf) : netns_dir + "/" + name, 0};
    const auto inode = inode_of(netns.path);
    if (!inode) {
        const int failed = errno;
        if (!name.empty() && failed == ENOENT) {
            return unexpected(make_error(ErrorCode::kNotFound,
                                         fmt::format("network namespace {} does not exist in {}", name, netns_dir),
                                         failed));
        }
        return unexpected(kernel_error("look at " + netns.path, failed));
    }
    netns.inode = *inode;
    return netns;
}

std::optional<Netns> netns_by_inode(std::uint64_t inode, const std::string& netns_dir) {
    if (inode_of(kSelf) == inode) {
        return Netns{"", kSelf, inode};
    }
    std::error_code failed;
    for (std::filesystem::directory_iterator entry(netns_dir, failed), end; !failed && entry != end;
         entry.increment(failed)) {
        if (inode_of(entry->path().string()) == inode) {
            return Netns{entry->path().filename().string(), entry->path().string(), inode};
        }
    }
    failed.clear();
    for (std::filesystem::directory_iterator entry("/proc", failed), end; !failed && entry != end;
         entry.increment(failed)) {
        const std::string pid = entry->path().filename().string();
        if (pid.find_first_not_of("0123456789") != std::string::npos) {
            continue;
        }
        const std::string path = entry->path().string() + "/ns/net";
        if (inode_of(path) == inode) {
            return Netns{nameless(inode), path, inode};
        }
    }
    return std::nullopt;
}

Result<NetnsGuard> NetnsGuard::enter(const Netns& netns) {
    if (inode_of(kSelf) == netns.inode) {
        return NetnsGuard(Fd());
    }
    Fd home(::open(kSelf, O_RDONLY | O_CLOEXEC));
    if (!home.valid()) {
        return unexpected(kernel_error(std::string("open ") + kSelf, errno));
    }
    const Fd target(::open(netns.path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!target.valid()) {
        return unexpected(kernel_error("open network namespace " + netns.path, errno));
    }
    if (::setns(target.get(), CLONE_NEWNET) != 0) {
        return unexpected(kernel_error("enter network namespace " + netns.path, errno));
    }
    return NetnsGuard(std::move(home));
}

NetnsGuard::~NetnsGuard() {
    // Going on in a namespace the caller does not expect would change the wrong devices.
    if (home_.valid() && ::setns(home_.get(), CLONE_NEWNET) != 0) {
        std::fputs("sgbpf: cannot return to the network namespace it came from\n", stderr);
        std::abort();
    }
}

}  // namespace sgbpf
