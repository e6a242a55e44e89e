// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "datapath/features.hpp"

#include <cerrno>
#include <cstdio>

#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

#include "base/errno.hpp"

namespace sgbpf {

namespace {

constexpr const char* kDefaultBpffs = "/sys/fs/bpf";

}  // namespace

Error kernel_error(const std::string& what, int positive_errno) {
    if (positive_errno == EPERM || positive_errno == EACCES) {
        return make_error(ErrorCode::kPermission, what + ": not permitted; needs root or CAP_BPF+CAP_NET_ADMIN",
                          positive_errno);
    }
    return errno_error(what, positive_errno);
}

bool is_bpffs(const std::string& path) {
    struct statfs status{};
    // The cast answers that f_type is signed and the magic number unsigned.
    return ::statfs(path.c_str(), &status) == 0 && static_cast<unsigned long>(status.f_type) == BPF_FS_MAGIC;
}

Result<void> require_bpffs(const std::string& path, bool mount_default) {
    if (is_bpffs(path)) {
        return {};
    }
    struct statfs status{};
    const int failed = ::statfs(path.c_str(), &status) == 0 ? 0 : errno;
    if (failed == EACCES || failed == EPERM) {
        return unexpected(kernel_error("look at " + path, failed));
    }
    int mount_failed = 0;
    if (mount_default && failed == 0 && path == kDefaultBpffs) {
        if (::mount("bpf", kDefaultBpffs, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") == 0) {
            return {};
        }
        mount_failed = errno;
        if (mount_failed == EPERM || mount_failed == EACCES) {
            return unexpected(kernel_error("mount a BPF file system on /sys/fs/bpf", mount_failed));
        }
    }
    return unexpected(make_error(
        ErrorCode::kUnsupported,
        fmt::format("{} {}; mount one with `mount -t bpf bpf /sys/fs/bpf`, or name its place with --bpffs", path,
                    failed == ENOENT ? "does not exist, a BPF file system is needed there"
                                     : "is not a BPF file system"),
        mount_failed != 0 ? mount_failed : failed));
}

std::string kernel_release() {
    utsname name{};
    return ::uname(&name) == 0 ? name.release : "unknown";
}

Result<void> require_kernel(const std::string& release) {
    constexpr int kMajor = 6;
    constexpr int kMinor = 1;
    int major = 0;
    int minor = 0;
    if (std::sscanf(release.c_str(), "%d.%d", &major, &minor) != 2) {
        return {};
    }
    if (major > kMajor || (major == kMajor && minor >= kMinor)) {
        return {};
    }
    return unexpected(
        make_error(ErrorCode::kUnsupported,
                   fmt::format("this kernel, {}, is older than {}.{}, the oldest that sgbpf runs on (Debian "
                               "12 has it); nothing changed",
                               release, kMajor, kMinor)));
}

}  // namespace sgbpf
