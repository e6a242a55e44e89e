// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// apply: makes the kernel enforce a state file, as one commit.
#include <algorithm>

#include <fmt/format.h>

#include "base/strings.hpp"
#include "cli/context.hpp"
#include "cli/output.hpp"
#include "cli/report.hpp"
#include "model/tracking.hpp"
#include "store/store.hpp"

namespace sgbpf::cli {

namespace {

constexpr std::size_t kPlanLines = 40;
constexpr std::size_t kWaitingLines = 10;
constexpr std::uint64_t kConfirmLeast = 5;  // seconds: enough to type it
constexpr std::uint64_t kConfirmMost = 86400;

struct Arguments {
    std::string file;
    bool require_devices = false;
    bool yes = false;
    bool prune = false;
    std::optional<std::string> confirm;
    std::string revoke;
    bool reset = false;
    std::uint32_t adopt = 0;
    bool force = false;
};

Json apply_json(const ApplyReport& report) {
    Json attached = Json::array();
    for (const AttachedDevice& device : report.attached) {
        attached.push_back(attached_json(device));
    }
    return {
        {"Committed", report.committed},
        {"Generation", report.generation},
        {"UndoneAt", report.undone_at.empty() ? Json(nullptr) : Json(report.undone_at)},
        {"MapWrites", report.writes},
        {"FlowsEnded", report.ended.flows},
        {"Resets", resets_json(report.ended)},
        {"Milliseconds",
         {{"Parse", report.timing.parse_ms}, {"Engine", report.timing.engine_ms}, {"Grace", report.timing.grace_ms}}},
        {"Attached", attached},
        {"AttachErrors", report.attach_errors},
        {"Notes", report.notes},
        {"Plan", plan_json(report.plan)}};
}

void say(Context& context, const ApplyReport& report) {
    for (const std::string& note : report.plan.notes) {
        context.words(note);
    }
    if (!report.undone_at.empty()) {
        context.data(fmt::format("generation {} active: {}, {}; rolls back at {} unless: sgbpf confirm\n",
                                 report.generation, counted(report.writes, "write"),
                                 milliseconds(report.timing.engine_ms), report.undone_at));
    } else if (report.committed) {
        context.data(fmt::format("applied generation {}: {}, {} (parse {}, grace {})\n", report.generation,
                                 counted(report.writes, "write"), milliseconds(report.timing.engine_ms),
                                 milliseconds(report.timing.parse_ms), milliseconds(report.timing.grace_ms)));
    } else {
        context.data("no changes\n");
    }
    if (report.ended.flows != 0 || report.ended.resets) {
        context.data(fmt::format("ended {} of rules that are gone{}\n", counted(report.ended.flows, "flow"),
                                 resets_text(report.ended)));
    }
    for (const AttachedDevice& device : report.attached) {
        context.data(attached_text(device) + "\n");
        if (const std::string ladder = ladder_text(device); !ladder.empty()) {
            context.words(ladder);
        }
    }
    const std::size_t shown = std::min(report.plan.waiting.size(), kWaitingLines);
    for (std::size_t i = 0; i < shown; ++i) {
        context.words("waiting: " + report.plan.waiting[i]);
    }
    if (shown < report.plan.waiting.size()) {
        context.words(
            fmt::format("waiting: ... and {} more; `sgbpf status` names them", report.plan.waiting.size() - shown));
    }
    for (const std::string& note : report.notes) {
        context.words(note);
    }
    for (const std::string& error : report.attach_errors) {
        context.words("sgbpf: " + error);
    }
}

void apply(Context& context, const Arguments& arguments) {
    Engine* engine = context.engine(Needs::kChange);
    if (engine == nullptr) {
        return;
    }
    ApplyOptions options;
    options.require_devices = arguments.require_devices;
    options.allow_leaving = arguments.yes || arguments.prune;
    options.hook = context.hook();
    if (!arguments.force) {
        options.session = context.session();
    }
    if (arguments.confirm) {
        const auto seconds = parse_decimal(*arguments.confirm);
        if (!seconds || *seconds < kConfirmLeast || *seconds > kConfirmMost) {
            context.fail(kExitBadInput, fmt::format("--confirm {}: seconds from {} to {}",
                                                    printable(*arguments.confirm), kConfirmLeast, kConfirmMost));
            return;
        }
        options.confirm_seconds = static_cast<std::uint32_t>(*seconds);
    }
    if (!arguments.revoke.empty()) {
        const auto at = std::find(kRevocationNames.begin(), kRevocationNames.end(), arguments.revoke);
        options.revoke = static_cast<Revocation>(at - kRevocationNames.begin());
    }
    options.reset = arguments.reset;
    options.adopt_seconds = arguments.adopt;
    options.who = caller_text();
    options.command = "apply " + arguments.file;
    if (context.env.in_is_terminal) {
        options.ask_leaving = [&](const Plan& plan) {
            for (const std::string& left : plan.leaving) {
                context.words(left);
            }
            return context.ask("go on? type yes:", "yes");
        };
    }
    options.before_write = [&](const Plan& plan) {
        if (!context.options.json) {
            context.data(plan_text(plan, kPlanLines));
            context.env.out.flush();
        }
        if (context.env.hold_interrupts) {
            context.env.hold_interrupts();
        }
    };
    auto report = engine->apply(arguments.file, options);
    if (!report) {
        context.fail(report.error());
        return;
    }
    if (!context.options.json && !say_input(context, report->plan.input)) {
        return;
    }
    if (!report->plan.input.errors.empty()) {
        context.json({{"Errors", report->plan.input.errors}, {"Warnings", report->plan.input.warnings}});
        context.exit = kExitBadInput;
        return;
    }
    if (context.options.json) {
        context.json(apply_json(*report));
    } else {
        say(context, *report);
    }
    if (!report->attach_errors.empty()) {
        context.exit = kExitKernel;
    }
}

void confirm(Context& context, bool undo) {
    Engine* engine = context.engine(Needs::kChange);
    if (engine == nullptr) {
        return;
    }
    if (context.env.hold_interrupts) {
        context.env.hold_interrupts();
    }
    auto report = engine->confirm(undo);
    if (!report) {
        context.fail(report.error());
        return;
    }
    if (context.options.json) {
        context.json(
            {{"Generation", report->generation}, {"RolledBack", report->rolled_back}, {"Notes", report->notes}});
    } else {
        for (const std::string& note : report->notes) {
            context.words(note);
        }
        context.data(report->rolled_back
                         ? fmt::format("the rules from before are in force, as generation {}\n", report->generation)
                         : fmt::format("generation {} is confirmed and stays\n", report->generation));
    }
    if (report->rolled_back && !undo) {
        context.fail(kExitDiffers, "too late: the time for the confirmation was over");
    }
}

}  // namespace

void add_apply_commands(CLI::App& app, Context& context) {
    auto arguments = std::make_shared<Arguments>();
    CLI::App* command = app.add_subcommand("apply", "Make the kernel enforce a state file, all of it or nothing");
    command->add_option("file", arguments->file, "State file, - for standard input")->required();
    command->add_flag("--require-devices", arguments->require_devices, "Refuse when a device is absent");
    command->add_flag("--prune", arguments->prune,
                      "Interfaces may leave the file: their devices then drop all traffic but ARP, ND and DHCP until "
                      "`sgbpf detach`");
    command->add_flag("-y,--yes", arguments->yes, "The same as --prune, without a question");
    command->add_option(
        "--confirm", arguments->confirm,
        "Seconds (5 to 86400) after which the kernel goes back by itself, also if this host cannot be reached any "
        "more, unless `sgbpf confirm` comes first");
    command
        ->add_option("--revoke", arguments->revoke,
                     "Flows of rules that are gone: keep, recheck (at their next packet) or kill (now); for every "
                     "interface, whatever it says (SG-5.21)")
        ->check(CLI::IsMember(std::vector<std::string>(kRevocationNames.begin(), kRevocationNames.end())));
    command->add_flag("--reset", arguments->reset, "Send RST to both ends of TCP flows that are killed");
    command->add_option("--adopt", arguments->adopt, kAdoptWords)->check(CLI::Range(1U, kAdoptMost));
    command->add_flag("--force", arguments->force, "Also if it cuts the SSH session that you work over");
    command->footer(
        "Examples:\n  sgbpf apply s.yaml\n  sgbpf apply s.yaml --confirm 60\n"
        "  sgbpf apply s.yaml --prune\n  sgbpf apply s.yaml --revoke kill --reset\n\nA device that is absent waits and is attached by the next apply or "
        "`sgbpf attach`.");
    command->callback([&context, arguments] { apply(context, *arguments); });

    auto undo = std::make_shared<bool>(false);
    CLI::App* confirm_command = app.add_subcommand("confirm", "Keep what `apply --confirm` made active");
    confirm_command->add_flag("--undo", *undo, "Go back at once instead");
    confirm_command->footer(
        "Examples:\n  sgbpf apply s.yaml --confirm 60\n  sgbpf confirm         # from a new connection\n"
        "  sgbpf confirm --undo");
    confirm_command->callback([&context, undo] { confirm(context, *undo); });
}

}  // namespace sgbpf::cli
