// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Exit codes of `sgbpf`, and the one place where an error becomes one. They are documented and
// scripted against: never change their meaning.
#pragma once

#include <sgbpf/error.hpp>

namespace sgbpf::cli {

enum ExitCode : int {
    kExitFine = 0,
    kExitDiffers = 1,   // differs, denied, unhealthy
    kExitBadInput = 2,  // file, name or option
    kExitRefused = 3,   // guard, capacity, lock, confirmation
    kExitKernel = 4,    // kernel or privilege
};

// No default: a new code must choose.
constexpr ExitCode exit_code(ErrorCode code) {
    switch (code) {
        case ErrorCode::kInvalid:
        case ErrorCode::kNotFound:
        case ErrorCode::kExists:
            return kExitBadInput;
        case ErrorCode::kRefused:
        case ErrorCode::kExhausted:
            return kExitRefused;
        case ErrorCode::kPermission:
        case ErrorCode::kUnsupported:
        case ErrorCode::kCorrupt:
        case ErrorCode::kSystem:
            return kExitKernel;
    }
    return kExitKernel;
}

}  // namespace sgbpf::cli
