// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Files and directories of bpffs: the plain part of pins.hpp, without any meaning of names.
#include <algorithm>
#include <cerrno>
#include <filesystem>

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "datapath/features.hpp"
#include "datapath/pins.hpp"

namespace sgbpf {

Result<void> pin(int fd, const std::string& path) {
    if (bpf_obj_pin(fd, path.c_str()) != 0) {
        return unexpected(kernel_error("pin " + path, errno));
    }
    return {};
}

Error missing_pin(const std::string& path) {
    return make_error(ErrorCode::kCorrupt,
                      fmt::format("the pin {} is missing: someone removed it; `sgbpf remove-all` and then `sgbpf apply "
                                  "FILE` make all pins anew, devices pass all traffic in between",
                                  path),
                      ENOENT);
}

Result<Fd> open_pin(const std::string& path) {
    Fd fd(bpf_obj_get(path.c_str()));
    if (!fd.valid()) {
        return unexpected(kernel_error("open the pin " + path, errno));
    }
    return fd;
}

bool path_exists(const std::string& path) {
    struct stat status{};
    return ::lstat(path.c_str(), &status) == 0;
}

Result<void> make_directory(const std::string& path) {
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
        return unexpected(kernel_error("create directory " + path, errno));
    }
    return {};
}

Result<void> rename_path(const std::string& from, const std::string& to) {
    if (::rename(from.c_str(), to.c_str()) != 0) {
        return unexpected(kernel_error(fmt::format("rename {} to {}", from, to), errno));
    }
    return {};
}

Result<std::vector<std::string>> directory_names(const std::string& path) {
    std::vector<std::string> names;
    std::error_code failed;
    for (std::filesystem::directory_iterator entry(path, failed), end; !failed && entry != end;
         entry.increment(failed)) {
        names.push_back(entry->path().filename().string());
    }
    if (failed && failed.value() != ENOENT) {
        return unexpected(kernel_error("list " + path, failed.value()));
    }
    std::sort(names.begin(), names.end());
    return names;
}

Result<void> remove_directory_tree(const std::string& path) {
    std::error_code failed;
    std::filesystem::remove_all(path, failed);
    if (failed) {
        return unexpected(kernel_error("remove " + path, failed.value()));
    }
    return {};
}

}  // namespace sgbpf
