// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// attach, detach, remove-all: which devices are filtered at all. What makes a device pass everything
// is asked for by name.
#include <fmt/format.h>

#include "base/strings.hpp"
#include "cli/context.hpp"
#include "cli/output.hpp"
#include "cli/report.hpp"

namespace sgbpf::cli {

namespace {

void hold(Context& context) {
    if (context.env.hold_interrupts) {
        context.env.hold_interrupts();
    }
}

void attach(Context& context, const std::string& interface, std::uint32_t adopt_seconds, bool force) {
    Engine* engine = context.engine(Needs::kChange);
    if (engine == nullptr) {
        return;
    }
    hold(context);
    auto report = engine->attach(interface, context.hook(), force ? std::nullopt : context.session(), adopt_seconds);
    if (!report) {
        context.fail(report.error());
        return;
    }
    context.exit = report->errors.empty() ? kExitFine : kExitKernel;
    if (context.options.json) {
        Json attached = Json::array();
        for (const AttachedDevice& device : report->attached) {
            attached.push_back(attached_json(device));
        }
        context.json({{"Attached", attached}, {"Waiting", report->waiting}, {"Errors", report->errors}});
    } else {
        for (const AttachedDevice& device : report->attached) {
            context.data(attached_text(device) + "\n");
            if (const std::string ladder = ladder_text(device); !ladder.empty()) {
                context.words(ladder);
            }
        }
        for (const std::string& waiting : report->waiting) {
            context.words("waiting: " + waiting);
        }
        for (const std::string& error : report->errors) {
            context.words("sgbpf: " + error);
        }
    }
    if (report->errors.empty() && !interface.empty() && report->attached.empty()) {
        context.exit = kExitDiffers;  // named, but there is nothing to attach yet
    }
}

void say_detached(Context& context, const std::vector<DetachReport>& reports) {
    if (context.options.json) {
        Json list = Json::array();
        for (const DetachReport& report : reports) {
            list.push_back(
                {{"Interface", report.interface}, {"Device", report.device}, {"Quarantined", report.quarantined}});
        }
        context.json({{"Detached", list}});
        return;
    }
    for (const DetachReport& report : reports) {
        context.data(report.quarantined
                         ? fmt::format("{} stays attached and drops ALL traffic; `sgbpf attach {}` filters it again\n",
                                       report.device, report.interface)
                         : fmt::format("{} passes ALL traffic now\n", report.device));
    }
}

void detach(Context& context, const std::string& name, bool quarantine, bool yes, bool force) {
    Engine* engine = context.engine(Needs::kChange);
    if (engine == nullptr) {
        return;
    }
    auto preview = engine->detach_preview(name);
    if (!preview) {
        context.fail(preview.error());
        return;
    }
    if (!quarantine && !yes) {
        for (const DetachReport& report : *preview) {
            if (!context.env.in_is_terminal) {
                context.fail(kExitRefused, report.device + " would pass ALL traffic; say --yes if that is meant, or "
                                                           "--quarantine to drop all; nothing changed");
                return;
            }
            // The name is asked for without the words around it ("eth0 in netns blue").
            const std::string typed = report.device.substr(0, report.device.find(' '));
            if (!context.ask(report.device + " will pass ALL traffic; type its name:", typed)) {
                context.fail(kExitRefused, "not confirmed; nothing changed");
                return;
            }
        }
    }
    hold(context);
    auto done = engine->detach(name, quarantine, force ? std::nullopt : context.session());
    if (!done) {
        context.fail(done.error());
        return;
    }
    say_detached(context, *done);
}

void remove_all(Context& context, bool yes) {
    Engine* engine = context.engine(Needs::kChange);
    if (engine == nullptr) {
        return;
    }
    if (!yes) {
        if (!context.env.in_is_terminal) {
            context.fail(kExitRefused,
                         "every device would pass ALL traffic; say --yes if that is meant; nothing changed");
            return;
        }
        if (!context.ask("every device will pass ALL traffic and all flows are forgotten; type remove-all:",
                         "remove-all")) {
            context.fail(kExitRefused, "not confirmed; nothing changed");
            return;
        }
    }
    hold(context);
    auto devices = engine->remove_all();
    if (!devices) {
        context.fail(devices.error());
        return;
    }
    if (context.options.json) {
        context.json({{"Detached", *devices}});
        return;
    }
    for (const std::string& device : *devices) {
        context.data(device + " passes ALL traffic now\n");
    }
    context.data(fmt::format("removed: {}, all maps and programs\n", counted(devices->size(), "attachment")));
}

}  // namespace

void add_attach_commands(CLI::App& app, Context& context) {
    struct Arguments {
        std::string name;
        bool quarantine = false;
        bool yes = false;
        bool force = false;
        std::uint32_t adopt = 0;
    };
    constexpr const char* kForce = "Also if it cuts the SSH session that you work over";
    auto arguments = std::make_shared<Arguments>();
    CLI::App* attach_command = app.add_subcommand("attach", "Filter the device of an interface, or of all interfaces");
    attach_command->add_option("interface", arguments->name, "Name in the state file; none = all");
    attach_command->add_option("--adopt", arguments->adopt, kAdoptWords)->check(CLI::Range(1U, kAdoptMost));
    attach_command->add_flag("--force", arguments->force, kForce);
    attach_command->footer("Examples:\n  sgbpf attach web0\n  sgbpf attach\n  sgbpf attach web0 --adopt 60");
    attach_command->callback(
        [&context, arguments] { attach(context, arguments->name, arguments->adopt, arguments->force); });

    CLI::App* detach_command = app.add_subcommand("detach", "Stop filtering a device: it then passes ALL traffic");
    detach_command->add_option("name", arguments->name, "Interface or device")->required();
    detach_command->add_flag("--quarantine", arguments->quarantine,
                             "Stay attached and drop ALL traffic instead, ARP, ND and DHCP included");
    detach_command->add_flag("-y,--yes", arguments->yes, "Do not ask");
    detach_command->add_flag("--force", arguments->force, kForce);
    detach_command->footer("Examples:\n  sgbpf detach web0\n  sgbpf detach tap-web0 --yes\n"
                           "  sgbpf detach web0 --quarantine");
    detach_command->callback([&context, arguments] {
        detach(context, arguments->name, arguments->quarantine, arguments->yes, arguments->force);
    });

    CLI::App* remove_command =
        app.add_subcommand("remove-all", "Detach every device and remove everything of sgbpf from the kernel");
    remove_command->add_flag("-y,--yes", arguments->yes, "Do not ask");
    remove_command->footer("Example:\n  sgbpf remove-all --yes\n\nThe state directory keeps the ids and the journal.");
    remove_command->callback([&context, arguments] { remove_all(context, arguments->yes); });
}

}  // namespace sgbpf::cli
