// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "base/file.hpp"

#include "base/errno.hpp"
#include "base/fd.hpp"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

namespace sgbpf {

namespace {

Error too_large(const std::string& name, std::size_t max_bytes) {
    return make_error(ErrorCode::kInvalid, fmt::format("read {}: larger than {} MiB, which is the limit for one file",
                                                       name, max_bytes >> 20));
}

Error is_directory(const std::string& name) {
    return make_error(ErrorCode::kInvalid, fmt::format("read {}: it is a directory; name a file", name), EISDIR);
}

// All of `bytes`, over short writes and signals.
Result<void> write_all(int fd, std::string_view bytes, const std::string& what) {
    while (!bytes.empty()) {
        const ssize_t written = ::write(fd, bytes.data(), bytes.size());
        if (written < 0) {
            if (errno == EINTR) {
                continue;
            }
            return unexpected(errno_error(what, errno));
        }
        bytes.remove_prefix(static_cast<std::size_t>(written));
    }
    return {};
}

// Unlinks its path unless released.
class TemporaryFile {
public:
    explicit TemporaryFile(std::string path) : path_(std::move(path)) {}
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;
    ~TemporaryFile() {
        if (!path_.empty()) {
            ::unlink(path_.c_str());
        }
    }
    void release() { path_.clear(); }

private:
    std::string path_;
};

}  // namespace

Result<std::string> read_all(int fd, const std::string& name, std::size_t max_bytes) {
    struct stat status = {};
    if (::fstat(fd, &status) != 0) {
        return unexpected(errno_error("read " + name, errno));
    }
    if (S_ISDIR(status.st_mode)) {
        return unexpected(is_directory(name));
    }
    std::string bytes;
    if (S_ISREG(status.st_mode)) {
        if (static_cast<std::uint64_t>(status.st_size) > max_bytes) {
            return unexpected(too_large(name, max_bytes));
        }
        bytes.reserve(static_cast<std::size_t>(status.st_size) + 1);
    }
    std::size_t used = 0;
    for (;;) {
        const std::size_t room = std::min(max_bytes + 1 - used, std::max<std::size_t>(65536, bytes.capacity() - used));
        bytes.resize(used + room);
        const ssize_t got = ::read(fd, bytes.data() + used, room);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return unexpected(errno_error("read " + name, errno));
        }
        used += static_cast<std::size_t>(got);
        if (used > max_bytes) {
            return unexpected(too_large(name, max_bytes));
        }
        if (got == 0) {
            bytes.resize(used);
            return bytes;
        }
    }
}

Result<std::string> read_file(const std::string& path, std::size_t max_bytes) {
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid()) {
        return unexpected(errno == EISDIR ? is_directory(path) : errno_error("read " + path, errno));
    }
    return read_all(fd.get(), path, max_bytes);
}

Result<void> write_file_atomically(const std::string& path, std::string_view bytes, mode_t mode) {
    const std::string what = "write " + path;
    const std::string temporary = fmt::format("{}.{}.tmp", path, ::getpid());
    Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode));
    if (!fd.valid()) {
        return unexpected(errno_error(what, errno));
    }
    TemporaryFile guard(temporary);
    if (auto written = write_all(fd.get(), bytes, what); !written) {
        return written;
    }
    if (::fsync(fd.get()) != 0) {
        return unexpected(errno_error(what, errno));
    }
    // close(2) may report a delayed ENOSPC (NFS), so it is checked before the rename.
    if (::close(fd.release()) != 0) {
        return unexpected(errno_error(what, errno));
    }
    if (::rename(temporary.c_str(), path.c_str()) != 0) {
        return unexpected(errno_error(what, errno));
    }
    guard.release();
    const auto slash = path.rfind('/');
    const std::string directory = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
    const Fd directory_fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory_fd.valid() || ::fsync(directory_fd.get()) != 0) {
        return unexpected(errno_error("sync directory " + directory, errno));
    }
    return {};
}

Result<void> append_line(const std::string& path, std::string_view line, mode_t mode) {
    const std::string what = "append to " + path;
    const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, mode));
    if (!fd.valid()) {
        return unexpected(errno_error(what, errno));
    }
    struct stat before = {};
    if (::fstat(fd.get(), &before) != 0) {
        return unexpected(errno_error(what, errno));
    }
    std::string bytes(line);
    bytes += '\n';
    if (auto written = write_all(fd.get(), bytes, what); !written) {
        // Half a line would be glued to the next one; if even this fails there is nothing more to do.
        [[maybe_unused]] const int cut = ::ftruncate(fd.get(), before.st_size);
        return written;
    }
    // A pipe or /dev/full-like sink cannot be synced, which is no loss.
    if (::fsync(fd.get()) != 0 && errno != EINVAL && errno != EROFS) {
        return unexpected(errno_error(what, errno));
    }
    return {};
}

}  // namespace sgbpf
