// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "base/ancestors.hpp"

#include <unistd.h>

#include <fstream>
#include <sstream>

namespace sgbpf {

namespace {

constexpr int kMostAncestors = 64;

std::string read_all(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

// "pid (command) state ppid ..." (proc(5)); the command may hold blanks and parentheses. 0: none.
int parent_of(int pid) {
    const std::string stat = read_all("/proc/" + std::to_string(pid) + "/stat");
    const auto end = stat.rfind(')');
    if (end == std::string::npos) {
        return 0;
    }
    std::istringstream fields(stat.substr(end + 1));
    char state = 0;
    int parent = 0;
    fields >> state >> parent;
    return fields ? parent : 0;
}

}  // namespace

std::optional<std::string> ancestor_variable(const std::string& name) {
    int pid = ::getppid();
    for (int i = 0; i < kMostAncestors && pid > 1; ++i, pid = parent_of(pid)) {
        std::istringstream variables(read_all("/proc/" + std::to_string(pid) + "/environ"));
        for (std::string one; std::getline(variables, one, '\0');) {
            if (one.starts_with(name + "=")) {
                return one.substr(name.size() + 1);
            }
        }
    }
    return std::nullopt;
}

}  // namespace sgbpf
