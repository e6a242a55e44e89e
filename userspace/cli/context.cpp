// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "cli/context.hpp"

#include <algorithm>
#include <istream>
#include <ostream>

#include "cli/output.hpp"

namespace sgbpf::cli {

bool Context::load_host_config() {
    if (host_) {
        return true;
    }
    const bool named = !options.host_config.empty();
    auto loaded = sgbpf::load_host_config(named ? options.host_config : kHostConfigPath, named);
    if (!loaded) {
        fail(loaded.error());
        return false;
    }
    host_ = std::move(*loaded);
    if (!options.state_dir.empty()) {
        host_->state_dir = options.state_dir;
    }
    if (!options.bpffs.empty()) {
        host_->bpffs = options.bpffs;
    }
    if (!options.hook.empty()) {
        host_->hook = options.hook;
    }
    return true;
}

Engine* Context::make(bool with_kernel, bool create_store) {
    if (with_kernel) {
        datapath_ = env.make_datapath(host_->bpffs);
    }
    auto opened = Store::open(host_->state_dir, create_store);
    if (opened) {
        store_ = std::move(*opened);
    } else if (create_store || opened.error().code != ErrorCode::kNotFound) {
        if (with_kernel) {
            fail(opened.error());
            return nullptr;
        }
        words("warning: " + opened.error().message);
    }
    engine_ = std::make_unique<Engine>(datapath_.get(), store_ ? &*store_ : nullptr, *host_, env.ids,
                                       [this](LogLevel level, const std::string& text) {
                                           if (level != LogLevel::kDebug) {
                                               words((level == LogLevel::kWarning ? "warning: " : "") + text);
                                           }
                                       });
    return engine_.get();
}

const HostConfig* Context::host_settings() {
    // `check` on any machine: a host configuration it may not read is not its business.
    auto loaded = options.host_config.empty() ? sgbpf::load_host_config(kHostConfigPath, false)
                                              : sgbpf::load_host_config(options.host_config, true);
    if (!loaded && loaded.error().code != ErrorCode::kPermission) {
        fail(loaded.error());
        return nullptr;
    }
    host_ = loaded ? std::move(*loaded) : HostConfig{};
    return &*host_;
}

Engine* Context::engine(Needs needs) {
    if (needs == Needs::kNothing) {
        if (host_settings() == nullptr) {
            return nullptr;
        }
        engine_ = std::make_unique<Engine>(nullptr, nullptr, *host_, env.ids, nullptr);
        return engine_.get();
    }
    if (!env.lacks_privilege.empty()) {
        fail(kExitKernel, env.lacks_privilege);
        return nullptr;
    }
    return load_host_config() ? make(true, needs == Needs::kChange) : nullptr;
}

Engine* Context::engine_without_kernel() {
    return load_host_config() ? make(false, false) : nullptr;
}

std::optional<OperatorSession> Context::session() {
    const char* text = env.getenv ? env.getenv("SSH_CONNECTION") : nullptr;
    if (text == nullptr || *text == '\0') {
        return std::nullopt;
    }
    auto parsed = OperatorSession::parse(text);
    if (!parsed) {
        words("warning: " + parsed.error().message + "; your session is not guarded");
        return std::nullopt;
    }
    return *parsed;
}

HookChoice Context::hook() const {
    const std::string& name = host_ ? host_->hook : options.hook;
    const auto* const found = std::find(kHookNames.begin(), kHookNames.end(), name);
    return found == kHookNames.end() ? HookChoice::kAuto : static_cast<HookChoice>(found - kHookNames.begin());
}

void Context::data(std::string_view text) {
    env.out << text;
}

void Context::json(const Json& value) {
    // Names may hold any bytes the state file allows; never throw over them here.
    env.out << value.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
}

void Context::words(std::string_view line) {
    // What was said on stdout comes first where both are the same terminal.
    env.out.flush();
    env.err << harmless(line) << '\n';
}

void Context::fail(const Error& error) {
    // Where all problems are lines of the detail, the first of them is the message.
    if (!error.detail.starts_with(error.message + "\n") && error.detail != error.message) {
        words("sgbpf: " + error.message);
    }
    if (!error.detail.empty()) {
        env.err << error.detail << (error.detail.back() == '\n' ? "" : "\n");
    }
    exit = exit_code(error.code);
}

void Context::fail(ExitCode code, std::string_view line) {
    words("sgbpf: " + std::string(line));
    exit = code;
}

bool Context::ask(std::string_view question, std::string_view expected_answer) {
    if (!env.in_is_terminal) {
        return false;
    }
    env.out.flush();
    env.err << harmless(question) << ' ' << std::flush;
    std::string answer;
    std::getline(env.in, answer);
    while (!answer.empty() && (answer.back() == '\r' || answer.back() == ' ')) {
        answer.pop_back();
    }
    return answer == expected_answer;
}

}  // namespace sgbpf::cli
