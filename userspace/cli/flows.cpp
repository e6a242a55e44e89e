// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// show flows, flows flush.
#include <fmt/format.h>

#include "base/strings.hpp"
#include "cli/context.hpp"
#include "cli/flow_json.hpp"
#include "cli/output.hpp"
#include "cli/report.hpp"
#include "cli/selection.hpp"

namespace sgbpf::cli {

namespace {

constexpr int kMost = 1'000'000'000;

struct Arguments {
    std::string interface;
    std::string group;
    std::string peer;
    std::string protocol;
    std::string state;
    std::string rule;
    std::size_t limit = 1000;
    std::uint64_t seconds = 10;
};

bool read_query(Context& context, const Arguments& arguments, FlowQuery& query) {
    query.interface = arguments.interface;
    query.group = arguments.group;
    query.state = arguments.state;
    query.rule = arguments.rule;
    query.limit = arguments.limit;
    query.seconds = arguments.seconds;
    return read_peer(context, arguments.peer, query.peer) && read_protocol(context, arguments.protocol, query.protocol);
}

}  // namespace

Json flow_json(const FlowRow& row) {
    return {{"Interface", row.interface},
            {"Protocol", row.protocol},
            {"Local", row.local},
            {"Remote", row.remote},
            {"OpenedBy", row.opened_out ? "local" : "remote"},
            {"State", row.state},
            {"Detail", row.detail},
            {"AgeSeconds", row.age_s},
            {"IdleSeconds", row.idle_s},
            {"SecondsLeft", row.left_s},
            {"Tracked", true},
            {"Reason", row.tracked},
            {"Tier", row.tier},
            {"Adopted", row.adopted},
            {"SequenceKnown", row.windows_known},
            {"SecurityGroupRuleId", row.rule},
            {"Packets", {{"FromOpener", row.packets[0]}, {"ToOpener", row.packets[1]}}},
            {"Bytes", {{"FromOpener", row.bytes[0]}, {"ToOpener", row.bytes[1]}}}};
}

namespace {

void show(Context& context, const Arguments& arguments) {
    FlowQuery query;
    if (!read_query(context, arguments, query)) {
        return;
    }
    Engine* engine = context.engine(Needs::kRead);
    if (engine == nullptr) {
        return;
    }
    auto report = engine->show_flows(query);
    if (!report) {
        context.fail(report.error());
        return;
    }
    if (context.options.json) {
        Json list = Json::array();
        for (const FlowRow& row : report->flows) {
            list.push_back(flow_json(row));
        }
        context.json({{"Flows", list}, {"Matching", report->matching}, {"PercentLookedAt", report->looked_at}});
        return;
    }
    Table table({{"INTERFACE"},
                 {"PROTO"},
                 {"DIR"},
                 {"OPENER"},
                 {"TARGET"},
                 {"STATE"},
                 {"AGE", Align::kRight},
                 {"LEFT", Align::kRight},
                 {"RULE"},
                 {"WHY"}});
    for (const FlowRow& row : report->flows) {
        table.add({row.interface, row.protocol, row.opened_out ? "out" : "in", row.opened_out ? row.local : row.remote,
                   row.opened_out ? row.remote : row.local,
                   row.detail.empty() ? row.state : row.state + " " + row.detail, duration(row.age_s),
                   duration(row.left_s), row.rule, row.tracked});
    }
    context.data(table.to_string());
    if (report->matching > report->flows.size()) {
        context.words(fmt::format("{} of {} flows shown; --limit 0 shows all", report->flows.size(), report->matching));
    }
    if (report->looked_at < 100) {
        context.words(fmt::format("the time was over after {} % of the table; --seconds 0 looks at all of it",
                                  report->looked_at));
    }
}

void flush(Context& context, const Arguments& arguments, bool all, bool reset) {
    FlowQuery query;
    if (!read_query(context, arguments, query)) {
        return;
    }
    const bool names_some =
        !query.interface.empty() || !query.group.empty() || !query.rule.empty() || query.peer || query.protocol;
    if (!all && !names_some) {
        context.fail(kExitBadInput,
                     "which flows? name --interface, --group, --peer, --protocol or --rule, or say --all");
        return;
    }
    Engine* engine = context.engine(Needs::kChange);
    if (engine == nullptr) {
        return;
    }
    if (context.env.hold_interrupts) {
        context.env.hold_interrupts();
    }
    auto removed = engine->flush_flows(query, reset);
    if (!removed) {
        context.fail(removed.error());
        return;
    }
    if (context.options.json) {
        context.json({{"Removed", removed->flows}, {"Resets", resets_json(*removed)}});
    } else {
        context.data("removed " + counted(removed->flows, "flow") + resets_text(*removed) + "\n");
    }
}

void add_selection(CLI::App& command, Arguments& arguments) {
    command.add_option("--interface", arguments.interface, "Name in the state file");
    command.add_option("--group", arguments.group, "Of every interface that carries this group");
    command.add_option("--peer", arguments.peer, "Address or prefix of the remote end");
    command.add_option("--protocol", arguments.protocol, "tcp, udp, icmp, icmpv6 or a number");
    command.add_option("--rule", arguments.rule, "Admitted by this rule (sgr-...)");
}

}  // namespace

void add_show_flows(CLI::App& show_command, Context& context) {
    auto arguments = std::make_shared<Arguments>();
    CLI::App* command = show_command.add_subcommand("flows", "Live tracked flows, and why they are tracked");
    add_selection(*command, *arguments);
    command->add_option("--state", arguments->state, "established, syn-sent, udp-stream ...");
    command->add_option("--limit", arguments->limit, "At most so many (1000); 0 = all")->check(CLI::Range(0, kMost));
    command->add_option("--seconds", arguments->seconds, "Look at most that long (10); 0 = to the end")
        ->check(CLI::Range(0, kMost));
    command->footer(
        "Example:\n  sgbpf show flows --interface web0 --state established --limit 20\n\nUntracked flows have no "
        "entry: every packet of theirs is judged by the rules.");
    command->callback([&context, arguments] { show(context, *arguments); });
}

void add_flows_commands(CLI::App& app, Context& context) {
    auto arguments = std::make_shared<Arguments>();
    auto all = std::make_shared<bool>(false);
    auto reset = std::make_shared<bool>(false);
    CLI::App* flows = app.add_subcommand("flows", "Change the table of tracked flows");
    flows->require_subcommand(1);
    CLI::App* command =
        flows->add_subcommand("flush", "Forget tracked flows: their next packet is judged by the rules");
    add_selection(*command, *arguments);
    command->add_flag("--all", *all, "Every flow of the host");
    command->add_flag("--reset", *reset, "Send RST to both ends of TCP flows first");
    command->footer(
        "Examples:\n  sgbpf flows flush --interface web0 --peer 192.0.2.0/24\n  sgbpf flows flush --group db --reset");
    command->callback([&context, arguments, all, reset] { flush(context, *arguments, *all, *reset); });
}

}  // namespace sgbpf::cli
