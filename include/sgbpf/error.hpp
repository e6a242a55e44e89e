// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What went wrong, in words for the person and in a code for the caller's branches.
#pragma once

#include <string>
#include <utility>

namespace sgbpf {

enum class ErrorCode {
    kInvalid,      // bad input: exit 2
    kNotFound,     // a named thing does not exist: exit 2
    kExists,       // it exists already: exit 2
    kRefused,      // a guard, a lock or a missing confirmation: exit 3
    kExhausted,    // does not fit into a map, a quota, a disk: exit 3
    kPermission,   // lacks a privilege: exit 4
    kUnsupported,  // the kernel or device cannot do it: exit 4
    kCorrupt,      // a file or map of ours does not make sense: exit 4
    kSystem,       // a system call failed: exit 4
};

struct Error {
    ErrorCode code = ErrorCode::kSystem;
    int sys_errno = 0;    // positive errno, 0 if none
    std::string message;  // one sentence: object, place, reason, what helps
    std::string detail;   // more lines (verifier log), may be empty
};

inline Error make_error(ErrorCode code, std::string message, int sys_errno = 0, std::string detail = {}) {
    return Error{code, sys_errno, std::move(message), std::move(detail)};
}

}  // namespace sgbpf
