// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "cli/app.hpp"

#include <algorithm>
#include <ostream>
#include <span>
#include <sstream>

#include "base/strings.hpp"
#include "cli/context.hpp"
#include "cli/output.hpp"
#include "cli/version.hpp"

namespace sgbpf::cli {

namespace {

constexpr const char* kFooter =
    "Examples:\n"
    "  sgbpf check s.yaml              what is wrong with it, what it needs\n"
    "  sgbpf diff s.yaml               what apply would change\n"
    "  sgbpf apply s.yaml              all of it or nothing\n"
    "  sgbpf status                    is everything filtered that should be?\n"
    "  sgbpf show rules web0           what admits, with counters\n"
    "  sgbpf why web0 db0 tcp 3306     can it, and which rule decides\n"
    "  sgbpf replay test.jsonl         does the policy do what the test says?\n"
    "  sgbpf detach web0               its device then passes ALL traffic\n"
    "\n"
    "Exit codes: 0 fine; 1 differs, denied, unhealthy; 2 bad input; 3 refused; 4 kernel or privilege.\n"
    "Environment: SGBPF_STATE_DIR, SGBPF_BPFFS, SGBPF_HOST_CONFIG, SGBPF_HOOK as the options; options win.";

void add_global_options(CLI::App& app, Context& context) {
    GlobalOptions& options = context.options;
    const auto from_environment = [&context](const char* name) -> std::string {
        const char* value = context.env.getenv ? context.env.getenv(name) : nullptr;
        return value == nullptr ? "" : value;
    };
    options.state_dir = from_environment("SGBPF_STATE_DIR");
    options.bpffs = from_environment("SGBPF_BPFFS");
    options.host_config = from_environment("SGBPF_HOST_CONFIG");
    options.hook = from_environment("SGBPF_HOOK");
    app.add_option("--state-dir", options.state_dir, "Where ids and the applied state live (/var/lib/sgbpf)");
    app.add_option("--bpffs", options.bpffs, "Where the BPF file system is mounted (/sys/fs/bpf)");
    app.add_option("--host-config", options.host_config, "Host settings (/etc/sgbpf/host.yaml)");
    app.add_option("--hook", options.hook, "auto, tcx or clsact; role host also native or generic (XDP)");
    app.add_flag("--json", options.json, "Machine-readable output on stdout");
}

// CLI11 knows that a word is wrong, not which one was meant.
std::string words_of(const CLI::ParseError& error, const CLI::App& app, std::span<const char* const> arguments) {
    std::string words = error.what();
    if (const auto end = words.find_last_not_of(" \n"); end != std::string::npos) {
        words.erase(end + 1);
    }
    std::vector<std::string> verbs;
    for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
        verbs.push_back(command->get_name());
    }
    for (const char* argument : arguments.subspan(std::min<std::size_t>(1, arguments.size()))) {
        const std::string word = argument;
        if (word.empty() || word[0] == '-') {
            continue;
        }
        if (std::find(verbs.begin(), verbs.end(), word) == verbs.end()) {
            return "no command " + printable(word) + did_you_mean(word, verbs);
        }
        break;
    }
    return words;
}

}  // namespace

int run(int argc, const char* const* argv, Environment& environment) {
    Context context(environment);
    CLI::App app("Security groups for the virtual NICs of this host, enforced in the kernel by BPF.", "sgbpf");
    app.set_version_flag("--version", std::string("sgbpf ") + kVersion);
    app.require_subcommand(1);
    app.fallthrough();
    app.footer(kFooter);
    add_global_options(app, context);
    add_check_commands(app, context);
    add_apply_commands(app, context);
    add_attach_commands(app, context);
    add_status_commands(app, context);
    add_monitor_commands(app, context);
    add_show_commands(app, context);
    add_flows_commands(app, context);
    add_why_commands(app, context);
    add_replay_commands(app, context);
    // Callbacks run after everything is parsed and checked here.
    app.parse_complete_callback([&context] {
        const std::string& hook = context.options.hook;
        if (!hook.empty() && std::find(kHookNames.begin(), kHookNames.end(), hook) == kHookNames.end()) {
            throw CLI::ValidationError("--hook " + printable(hook) + ": auto, native, generic, tcx or clsact");
        }
    });
    try {
        // The arrow of a packet is a word; CLI11 would take it for an option.
        std::vector<const char*> words(argv, argv + argc);
        std::replace_if(words.begin(), words.end(), [](std::string_view word) { return word == "->"; }, ">");
        app.parse(argc, words.data());
    } catch (const CLI::Success& success) {  // --help, --version
        std::ostringstream text;
        app.exit(success, text, text);
        context.data(text.str());
    } catch (const CLI::ParseError& error) {
        const std::span<const char* const> arguments(argv, static_cast<std::size_t>(argc));
        context.fail(kExitBadInput, words_of(error, app, arguments) + "; sgbpf --help");
    }
    environment.out.flush();
    return context.exit;
}

}  // namespace sgbpf::cli
