// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The one place where error signs are turned into Error: system calls leave a positive errno,
// libbpf returns it negative.
#pragma once

#include <string>

#include <sgbpf/error.hpp>

namespace sgbpf {

// `what` names the action and object ("open /var/lib/sgbpf/lock"); the reason and, where known, what
// helps are appended. EPERM and EACCES become kPermission, ENOENT and ENODEV kNotFound, ENOSPC,
// ENOMEM and E2BIG kExhausted, EEXIST kExists, EOPNOTSUPP kUnsupported, everything else kSystem.
Error errno_error(const std::string& what, int positive_errno);
Error libbpf_error(const std::string& what, int negative_errno);

}  // namespace sgbpf
