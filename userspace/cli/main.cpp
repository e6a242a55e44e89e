// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The real world for run(): streams, signals, privilege, the kernel.
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>

#include "base/ancestors.hpp"
#include "cli/app.hpp"
#include "cli/exit_code.hpp"
#include "datapath/kernel_datapath.hpp"

namespace {

// linux/capability.h. CAP_SYS_ADMIN enters network namespaces and mounts bpffs.
constexpr unsigned kCapNetAdmin = 12;
constexpr unsigned kCapSysAdmin = 21;
constexpr unsigned kCapBpf = 39;

std::string lacking_privilege() {
    std::ifstream status("/proc/self/status");
    std::string word;
    std::uint64_t effective = 0;
    while (status >> word) {
        if (word == "CapEff:") {
            status >> std::hex >> effective;
            break;
        }
    }
    const auto has = [effective](unsigned capability) { return ((effective >> capability) & 1) != 0; };
    if (has(kCapNetAdmin) && has(kCapSysAdmin) && has(kCapBpf)) {
        return "";
    }
    return "this needs privilege: run it as root (CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN); nothing changed";
}

// A commit takes milliseconds; killed in it, the next run would have to repair. So an interrupt waits.
void hold_interrupts() {
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGINT);
    sigaddset(&held, SIGTERM);
    sigaddset(&held, SIGHUP);
    sigprocmask(SIG_BLOCK, &held, nullptr);
}

volatile std::sig_atomic_t g_interrupted = 0;

bool interrupted() {
    static const bool installed = [] {
        for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
            std::signal(signal, [](int) { g_interrupted = 1; });
        }
        return true;
    }();
    return installed && g_interrupted != 0;
}

// sudo takes SSH_CONNECTION from our environment; the guard of that session must not be blind for it.
const char* own_or_inherited(const char* name) {
    const char* own = std::getenv(name);
    if ((own != nullptr && *own != '\0') || std::string_view(name) != "SSH_CONNECTION") {
        return own;
    }
    static const std::optional<std::string> inherited = sgbpf::ancestor_variable(name);
    return inherited ? inherited->c_str() : nullptr;
}

}  // namespace

int main(int argc, char** argv) {
    // `sgbpf show flows | head` must not kill an apply in the middle of its words, either.
    std::signal(SIGPIPE, SIG_IGN);
    std::ios::sync_with_stdio(false);
    sgbpf::RandomIds ids;
    sgbpf::cli::Environment environment{
        std::cout,
        std::cerr,
        std::cin,
        ::isatty(STDIN_FILENO) == 1 && ::isatty(STDERR_FILENO) == 1,
        lacking_privilege(),
        [](const std::string& bpffs) {
            sgbpf::KernelOptions options;
            options.bpffs = bpffs;
            return sgbpf::make_kernel_datapath(options);
        },
        own_or_inherited,
        ids,
        hold_interrupts,
        interrupted,
    };
    errno = 0;
    const int code = sgbpf::cli::run(argc, argv, environment);
    std::cout.flush();
    if (!std::cout && errno != EPIPE && code == sgbpf::cli::kExitFine) {
        std::cerr << "sgbpf: the output could not be written\n";
        return sgbpf::cli::kExitKernel;
    }
    return code;
}
