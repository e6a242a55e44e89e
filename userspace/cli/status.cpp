// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// status: one look at whether this host enforces what it should. Exit 1 if not.
#include <algorithm>

#include <fmt/format.h>

#include "cli/context.hpp"
#include "cli/output.hpp"

namespace sgbpf::cli {

namespace {

Json status_json(const StatusReport& report) {
    Json interfaces = Json::array();
    for (const InterfaceStatus& row : report.interfaces) {
        interfaces.push_back({{"Interface", row.interface},
                              {"Device", row.device},
                              {"Role", row.role},
                              {"Hook", row.hook},
                              {"Generation", row.generation},
                              {"State", row.state},
                              {"Flows", row.flows},
                              {"Drops", row.drops}});
    }
    Json conditions = Json::array();
    for (const Condition& condition : report.conditions) {
        conditions.push_back({{"Name", condition.name}, {"Unhealthy", condition.unhealthy}, {"Text", condition.text}});
    }
    return {{"Healthy", report.healthy()}, {"Generation", report.generation}, {"Digest", report.digest},
            {"Interfaces", interfaces},    {"Waiting", report.waiting},       {"Conditions", conditions}};
}

void status(Context& context) {
    Engine* engine = context.engine(Needs::kRead);
    if (engine == nullptr) {
        return;
    }
    auto report = engine->status();
    if (!report) {
        context.fail(report.error());
        return;
    }
    context.exit = report->healthy() ? kExitFine : kExitDiffers;
    if (context.options.json) {
        context.json(status_json(*report));
        return;
    }
    if (report->empty && report->conditions.empty()) {
        context.data("nothing is applied on this host; sgbpf apply FILE\n");
        return;
    }
    // DROPS is the total since the interface was created: a rate would need two reads and a wait.
    Table table({{"INTERFACE"},
                 {"DEVICE"},
                 {"ROLE"},
                 {"HOOK"},
                 {"GEN", Align::kRight},
                 {"STATE"},
                 {"FLOWS", Align::kRight},
                 {"DROPS", Align::kRight}});
    for (const InterfaceStatus& row : report->interfaces) {
        table.add({row.interface, row.device, row.role, row.hook,
                   row.generation == 0 ? "" : std::to_string(row.generation), row.state, std::to_string(row.flows),
                   std::to_string(row.drops)});
    }
    if (!table.empty() || !report->empty) {
        context.data(table.to_string());
    }
    if (!report->waiting.empty()) {
        constexpr std::size_t kShown = 5;
        std::vector<std::string> shown(report->waiting.begin(),
                                       report->waiting.begin() +
                                           static_cast<std::ptrdiff_t>(std::min(kShown, report->waiting.size())));
        context.data(fmt::format("{} waiting ({}{})\n", report->waiting.size(), harmless(join(shown, ", ")),
                                 report->waiting.size() > kShown ? ", ..." : ""));
    }
    for (const Condition& condition : report->conditions) {
        context.data(fmt::format("{}: {}\n", condition.unhealthy ? "UNHEALTHY" : "note", harmless(condition.text)));
    }
}

}  // namespace

void add_status_commands(CLI::App& app, Context& context) {
    CLI::App* command = app.add_subcommand("status", "Is everything filtered that should be? Exit 1 if not");
    command->footer("Examples:\n  sgbpf status\n  sgbpf status --json\n\nDROPS counts packets since the interface was "
                    "first applied, both directions.");
    command->callback([&context] { status(context); });
}

}  // namespace sgbpf::cli
