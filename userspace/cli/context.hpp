// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What every command needs: the options common to all, the engine made from them, and where to put
// data, words and the exit code.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <sgbpf/engine.hpp>

#include "cli/app.hpp"
#include "cli/exit_code.hpp"
#include "model/host_config.hpp"
#include "store/store.hpp"

namespace sgbpf::cli {

using Json = nlohmann::ordered_json;

struct GlobalOptions {
    std::string state_dir;
    std::string bpffs;
    std::string host_config;
    std::string hook;  // auto | tcx | clsact
    bool json = false;
};

// What a command is going to do; decides which refusals come first.
enum class Needs {
    kNothing,  // no privilege, no kernel, no state directory
    kRead,     // kernel and state directory, for reading
    kChange,   // the same, for writing
};

class Context {
public:
    explicit Context(Environment& environment) : env(environment) {}

    Environment& env;
    GlobalOptions options;
    int exit = kExitFine;

    // Null after reporting why; the exit code is set then.
    Engine* engine(Needs needs);
    // For `diff` without privilege: reads the state directory if it can, never the kernel.
    Engine* engine_without_kernel();
    [[nodiscard]] HookChoice hook() const;
    // Host settings where they can be read, else the defaults: for what does not touch this host. Null after
    // reporting what is wrong with them.
    const HostConfig* host_settings();
    // The SSH connection that the caller works over, if any; what cannot be read counts as none, with a word.
    std::optional<OperatorSession> session();

    void data(std::string_view text);   // to stdout, as it is
    void json(const Json& value);       // to stdout, indented
    void words(std::string_view line);  // to stderr, with a newline
    void fail(const Error& error);      // says it and sets the exit code
    void fail(ExitCode code, std::string_view line);
    // Asks on the terminal; false without one.
    bool ask(std::string_view question, std::string_view expected_answer);

private:
    bool load_host_config();
    Engine* make(bool with_kernel, bool create_store);

    std::optional<HostConfig> host_;
    std::optional<Store> store_;
    std::unique_ptr<Datapath> datapath_;
    std::unique_ptr<Engine> engine_;
};

// One per command group; each adds its verbs with their callbacks.
void add_check_commands(CLI::App& app, Context& context);    // check, diff
void add_apply_commands(CLI::App& app, Context& context);    // apply, confirm
void add_attach_commands(CLI::App& app, Context& context);   // attach, detach, remove-all
void add_status_commands(CLI::App& app, Context& context);   // status
void add_monitor_commands(CLI::App& app, Context& context);  // monitor
void add_show_commands(CLI::App& app, Context& context);     // show ...
void add_flows_commands(CLI::App& app, Context& context);    // flows flush
void add_why_commands(CLI::App& app, Context& context);      // why
void add_replay_commands(CLI::App& app, Context& context);   // replay
void add_show_flows(CLI::App& show, Context& context);       // show flows

}  // namespace sgbpf::cli
