// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// show: what the kernel enforces now. One noun per function.
#include <fmt/format.h>

#include "base/strings.hpp"
#include "cli/context.hpp"
#include "cli/output.hpp"
#include "cli/rule_json.hpp"
#include "model/text.hpp"

namespace sgbpf::cli {

namespace {

std::string rule_ports(const Rule& rule) {
    const std::string ports = ports_text(rule);
    return ports.empty() ? "all" : ports;
}

void rules(Context& context, Engine& engine, const std::string& interface) {
    auto rows = engine.show_rules(interface);
    if (!rows) {
        context.fail(rows.error());
        return;
    }
    if (context.options.json) {
        Json list = Json::array();
        for (const RuleRow& row : *rows) {
            list.push_back(rule_json(row));
        }
        context.json({{"SecurityGroupRules", list}});
        return;
    }
    // No LAST column: the kernel keeps no time per rule.
    Table table({{"DIR"},
                 {"PROTO"},
                 {"PORT"},
                 {"PEER"},
                 {"RULE"},
                 {"GROUP"},
                 {"PACKETS", Align::kRight},
                 {"BYTES", Align::kRight}});
    for (const RuleRow& row : *rows) {
        table.add({std::string(direction_text(row.direction)), protocol_text(row.rule.protocol), rule_ports(row.rule),
                   row.peer, row.rule.id, row.group, std::to_string(row.packets), std::to_string(row.bytes)});
    }
    context.data(table.to_string());
}

void maps(Context& context, Engine& engine) {
    auto rows = engine.show_maps();
    if (!rows) {
        context.fail(rows.error());
        return;
    }
    if (context.options.json) {
        Json list = Json::array();
        for (const MapRow& row : *rows) {
            list.push_back({{"Map", row.name}, {"Used", row.used}, {"Limit", row.limit}, {"Bytes", row.bytes}});
        }
        context.json({{"Maps", list}});
        return;
    }
    Table table({{"MAP"},
                 {"USED", Align::kRight},
                 {"LIMIT", Align::kRight},
                 {"USE", Align::kRight},
                 {"MEMORY", Align::kRight}});
    for (const MapRow& row : *rows) {
        table.add({row.name, std::to_string(row.used), std::to_string(row.limit),
                   row.limit == 0
                       ? ""
                       : fmt::format("{:.1f}%", 100.0 * static_cast<double>(row.used) / static_cast<double>(row.limit)),
                   bytes(row.bytes)});
    }
    context.data(table.to_string());
}

// Names of SG-5.48 are kept for tools that know them.
Json allowance_json(const AllowanceReport& allowance) {
    return {{"conntrack_allowance_available", allowance.available},
            {"conntrack_allowance_exceeded", allowance.exceeded},
            {"linklocal_allowance_exceeded", allowance.linklocal_exceeded},
            {"Flows", allowance.flows},
            {"MaxFlows", allowance.max_flows},
            {"Opening", allowance.opening},
            {"MaxOpening", allowance.max_opening},
            {"Reserved", allowance.reserved},
            {"Recycled", allowance.recycled},
            {"Adopted", allowance.adopted}};
}

void counters(Context& context, Engine& engine, const std::string& interface) {
    auto reports = engine.show_counters(interface);
    if (!reports) {
        context.fail(reports.error());
        return;
    }
    if (context.options.json) {
        Json list = Json::array();
        for (const CountersReport& report : *reports) {
            Json reasons = Json::array();
            for (const CounterRow& row : report.rows) {
                reasons.push_back({{"Direction", direction_text(row.direction)},
                                   {"Verdict", row.drop ? "drop" : "pass"},
                                   {"Reason", row.reason},
                                   {"Packets", row.packets}});
            }
            Json bytes_json = Json::object();
            for (const unsigned direction : {SG_IN, SG_OUT}) {
                bytes_json[std::string(direction_text(direction))] = {{"Passed", report.bytes[direction][SG_PASS]},
                                                                      {"Dropped", report.bytes[direction][SG_DROP]}};
            }
            Json one = {{"Interface", report.interface}, {"Reasons", reasons}, {"Bytes", bytes_json}};
            if (report.allowance) {
                one["Allowance"] = allowance_json(*report.allowance);
            }
            list.push_back(std::move(one));
        }
        context.json({{"Counters", list}});
        return;
    }
    Table table({{"INTERFACE"}, {"DIR"}, {"VERDICT"}, {"REASON"}, {"PACKETS", Align::kRight}, {"MEANS"}});
    for (const CountersReport& report : *reports) {
        for (const CounterRow& row : report.rows) {
            table.add({report.interface, std::string(direction_text(row.direction)), row.drop ? "drop" : "pass",
                       row.reason, std::to_string(row.packets), row.sentence});
        }
    }
    context.data(table.to_string());
    Table allowances({{"INTERFACE"},
                      {"FLOWS", Align::kRight},
                      {"OF", Align::kRight},
                      {"OPENING", Align::kRight},
                      {"OF", Align::kRight},
                      {"RESERVED", Align::kRight},
                      {"AVAILABLE", Align::kRight},
                      {"EXCEEDED", Align::kRight},
                      {"RECYCLED", Align::kRight},
                      {"ADOPTED", Align::kRight}});
    for (const CountersReport& report : *reports) {
        if (const auto& a = report.allowance) {
            allowances.add({report.interface, std::to_string(a->flows), std::to_string(a->max_flows),
                            std::to_string(a->opening), std::to_string(a->max_opening), std::to_string(a->reserved),
                            std::to_string(a->available), std::to_string(a->exceeded), std::to_string(a->recycled),
                            std::to_string(a->adopted)});
        }
    }
    if (!allowances.empty()) {
        context.data(allowances.to_string());
    }
}

void policies(Context& context, Engine& engine, const std::string& interface) {
    auto rows = engine.show_policies(interface);
    if (!rows) {
        context.fail(rows.error());
        return;
    }
    if (context.options.json) {
        Json list = Json::array();
        for (const PolicyRow& row : *rows) {
            list.push_back({{"Interface", row.interface},
                            {"Direction", direction_text(row.direction)},
                            {"Slot", row.slot},
                            {"Policy", row.policy},
                            {"Groups", row.groups},
                            {"Rules", row.rules}});
        }
        context.json({{"Policies", list}});
        return;
    }
    Table table({{"INTERFACE"},
                 {"DIR"},
                 {"SLOT", Align::kRight},
                 {"POLICY", Align::kRight},
                 {"RULES", Align::kRight},
                 {"GROUPS"}});
    for (const PolicyRow& row : *rows) {
        table.add({row.interface, std::string(direction_text(row.direction)), std::to_string(row.slot),
                   std::to_string(row.policy), std::to_string(row.rules), join(row.groups, ",")});
    }
    context.data(table.to_string());
}

std::string addresses(const std::vector<Prefix>& prefixes) {
    std::vector<std::string> words;
    for (const Prefix& prefix : prefixes) {
        words.push_back(address_text(prefix));
    }
    return join(words, ",");
}

void interfaces(Context& context, Engine& engine) {
    auto state = engine.applied_state();
    if (!state) {
        context.fail(state.error());
        return;
    }
    if (context.options.json) {
        Json list = Json::array();
        for (const auto& [name, interface] : state->interfaces) {
            list.push_back(interface_json(*state, interface));
        }
        context.json({{"NetworkInterfaces", list}});
        return;
    }
    Table table({{"INTERFACE"}, {"ID"}, {"VPC"}, {"ROLE"}, {"MATCH"}, {"ADDRESSES"}, {"GROUPS"}, {"CHECK"}});
    for (const auto& [name, interface] : state->interfaces) {
        table.add({name, interface.id, interface.vpc, std::string(role_text(interface.role)),
                   match_text(interface.match), addresses(interface.addresses), join(interface.groups, ","),
                   interface.source_dest_check ? "on" : "off"});
    }
    context.data(table.to_string());
}

void groups(Context& context, Engine& engine) {
    auto state = engine.applied_state();
    if (!state) {
        context.fail(state.error());
        return;
    }
    std::map<std::string, std::size_t> members;
    for (const auto& [name, interface] : state->interfaces) {
        for (const std::string& key : interface.groups) {
            ++members[key];
        }
    }
    if (context.options.json) {
        Json list = Json::array();
        for (const auto& [key, group] : state->groups) {
            list.push_back(group_json(*state, group, members[key]));
        }
        context.json({{"SecurityGroups", list}});
        return;
    }
    Table table({{"GROUP"},
                 {"ID"},
                 {"VPC"},
                 {"IN", Align::kRight},
                 {"OUT", Align::kRight},
                 {"MEMBERS", Align::kRight},
                 {"DESCRIPTION"}});
    for (const auto& [key, group] : state->groups) {
        table.add({group.name, group.id, group.vpc, std::to_string(group.rules[SG_IN].size()),
                   std::to_string(group.rules[SG_OUT].size()), std::to_string(members[key]), group.description});
    }
    context.data(table.to_string());
}

void prefix_lists(Context& context, Engine& engine) {
    auto state = engine.applied_state();
    if (!state) {
        context.fail(state.error());
        return;
    }
    if (context.options.json) {
        Json list = Json::array();
        for (const auto& [name, prefix_list] : state->prefix_lists) {
            list.push_back(prefix_list_json(prefix_list));
        }
        context.json({{"PrefixLists", list}});
        return;
    }
    Table table({{"PREFIX-LIST"}, {"ID"}, {"FAMILY"}, {"ENTRIES", Align::kRight}, {"MAX", Align::kRight}});
    for (const auto& [name, list] : state->prefix_lists) {
        table.add({name, list.id, std::string(family_text(list.family)), std::to_string(list.entries.size()),
                   std::to_string(list.max_entries)});
    }
    context.data(table.to_string());
}

}  // namespace

void add_show_commands(CLI::App& app, Context& context) {
    CLI::App* show = app.add_subcommand("show", "What the kernel enforces now");
    show->require_subcommand(1);
    show->footer(
        "Examples:\n  sgbpf show rules web0\n  sgbpf show flows --interface web0 --state established --limit 20\n"
        "  sgbpf show counters web0 --json");
    auto name = std::make_shared<std::string>();
    const auto noun = [&](const char* word, const char* words, bool takes_interface, auto function) {
        CLI::App* command = show->add_subcommand(word, words);
        if (takes_interface) {
            command->add_option("interface", *name, "Name in the state file; none = all");
        }
        command->callback([&context, name, function] {
            if (Engine* engine = context.engine(Needs::kRead); engine != nullptr) {
                function(context, *engine, *name);
            }
        });
    };
    noun("rules", "Rules of an interface's groups, with what they admitted", true, rules);
    noun("counters", "Packets by direction and reason", true, counters);
    noun("policies", "Which policy an interface has in each direction", true, policies);
    noun("maps", "Use, limit and memory of every map", false,
         [](Context& c, Engine& e, const std::string&) { maps(c, e); });
    noun("interfaces", "Interfaces of the applied state", false,
         [](Context& c, Engine& e, const std::string&) { interfaces(c, e); });
    noun("groups", "Groups of the applied state", false,
         [](Context& c, Engine& e, const std::string&) { groups(c, e); });
    noun("prefix-lists", "Prefix lists of the applied state", false,
         [](Context& c, Engine& e, const std::string&) { prefix_lists(c, e); });
    add_show_flows(*show, context);
}

}  // namespace sgbpf::cli
