// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "base/errno.hpp"

#include <cerrno>
#include <cstdlib>
#include <system_error>

namespace sgbpf {

namespace {

ErrorCode code_of(int number) {
    switch (number) {
        case EPERM:
        case EACCES:
            return ErrorCode::kPermission;
        case ENOENT:
        case ENODEV:
        case ENXIO:
            return ErrorCode::kNotFound;
        case ENOSPC:
        case ENOMEM:
        case E2BIG:
        case EDQUOT:
            return ErrorCode::kExhausted;
        case EEXIST:
            return ErrorCode::kExists;
        case EOPNOTSUPP:
        case ENOSYS:
            return ErrorCode::kUnsupported;
        default:
            return ErrorCode::kSystem;
    }
}

}  // namespace

Error errno_error(const std::string& what, int positive_errno) {
    std::string message = what + ": " + std::generic_category().message(positive_errno);
    const ErrorCode code = code_of(positive_errno);
    if (code == ErrorCode::kPermission) {
        message += "; run as root";
    }
    return make_error(code, std::move(message), positive_errno);
}

Error libbpf_error(const std::string& what, int negative_errno) {
    return errno_error(what, std::abs(negative_errno));
}

}  // namespace sgbpf
