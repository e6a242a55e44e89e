// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What this machine offers: bpffs, privilege, tcx; and the words when it does not.
#pragma once

#include <string>

#include <sgbpf/result.hpp>

namespace sgbpf {

// A failed kernel call as an Error; EPERM says which privilege is missing. Errno is positive.
Error kernel_error(const std::string& what, int positive_errno);

// Fine when `path` is a bpffs. With `mount_default`, /sys/fs/bpf is mounted when it exists and is not one;
// any other path is the user's choice and is only judged. Error: kUnsupported.
Result<void> require_bpffs(const std::string& path, bool mount_default);
bool is_bpffs(const std::string& path);

// "6.1.0-18-amd64", for sentences.
std::string kernel_release();

// Refuses a kernel older than 6.1, the oldest that the programs load on (ARCHITECTURE.md, "Kernel floor").
// `release` as uname says it; one that does not begin with two numbers is let through. Error: kUnsupported.
Result<void> require_kernel(const std::string& release);

}  // namespace sgbpf
