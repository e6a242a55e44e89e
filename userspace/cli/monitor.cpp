// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// monitor: verdicts as they happen.
#include <ostream>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "base/strings.hpp"
#include "cli/context.hpp"
#include "cli/output.hpp"
#include "cli/selection.hpp"
#include "model/text.hpp"

namespace sgbpf::cli {

namespace {

constexpr int kMost = 1'000'000'000;

struct Arguments {
    MonitorQuery query;
    std::string direction;
    std::string peer;
    std::string protocol;
    std::string port;
};

std::string clock_text(std::chrono::system_clock::time_point time) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
    const auto fraction = std::chrono::duration_cast<std::chrono::milliseconds>(time - seconds);
    return fmt::format("{:%H:%M:%S}.{:03}", fmt::localtime(std::chrono::system_clock::to_time_t(seconds)),
                       fraction.count());
}

// "12:00:01.123 web0 in DROP no-rule tcp 192.0.2.7:4444 > 10.0.1.10:22 S gen 42"
std::string event_text(const EventRow& row) {
    std::string text = fmt::format("{} {} {} {} {}", clock_text(row.time), row.interface, direction_text(row.direction),
                                   row.drop ? "DROP" : "PASS", row.reason);
    if (!row.rule.empty()) {
        text += row.reason == "rule" ? " " + row.rule : " by " + row.rule;
    }
    return fmt::format("{} {} gen {}\n", text, row.packet, row.generation);
}

Json event_json(const EventRow& row) {
    const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(row.time.time_since_epoch()).count();
    return {{"Time", static_cast<double>(micros) / 1e6},
            {"Interface", row.interface},
            {"Direction", direction_text(row.direction)},
            {"Verdict", row.drop ? "drop" : "pass"},
            {"Reason", row.reason},
            {"SecurityGroupRuleId", row.rule.empty() ? Json(nullptr) : Json(row.rule)},
            {"Packet", row.packet},
            {"Bytes", row.length},
            {"Generation", row.generation}};
}

bool read_filters(Context& context, Arguments& arguments) {
    MonitorQuery& query = arguments.query;
    if (!arguments.direction.empty() && arguments.direction != "in" && arguments.direction != "out") {
        context.fail(kExitBadInput, "--direction " + printable(arguments.direction) + ": in or out");
        return false;
    }
    if (!arguments.direction.empty()) {
        query.direction = arguments.direction == "in" ? SG_IN : SG_OUT;
    }
    if (!arguments.port.empty()) {
        const auto port = parse_decimal(arguments.port);
        if (!port || *port > 0xffff) {
            context.fail(kExitBadInput, "--port " + printable(arguments.port) + ": a number from 0 to 65535");
            return false;
        }
        query.port = static_cast<std::uint16_t>(*port);
    }
    return read_peer(context, arguments.peer, query.peer) && read_protocol(context, arguments.protocol, query.protocol);
}

void monitor(Context& context, Arguments arguments) {
    if (!read_filters(context, arguments)) {
        return;
    }
    Engine* engine = context.engine(Needs::kRead);
    if (engine == nullptr) {
        return;
    }
    auto interrupted = [&context] { return context.env.interrupted && context.env.interrupted(); };
    interrupted();  // from here on an interrupt ends it with the last line
    bool said = false;
    auto report = engine->monitor(arguments.query, [&](const EventRow* row, std::uint64_t lost) {
        if (row != nullptr) {
            context.data(context.options.json ? event_json(*row).dump() + "\n" : event_text(*row));
        } else {
            if (!std::exchange(said, true)) {
                context.words("listening; end it with Ctrl-C");
            }
            context.env.out.flush();
            if (lost != 0) {
                context.words(fmt::format("lost {}", counted(lost, "event")));
            }
        }
        return static_cast<bool>(context.env.out) && !interrupted();
    });
    if (!report) {
        context.fail(report.error());
        return;
    }
    context.words(fmt::format("shown {}, lost {}", report->shown, report->lost));
}

}  // namespace

void add_monitor_commands(CLI::App& app, Context& context) {
    auto arguments = std::make_shared<Arguments>();
    MonitorQuery& query = arguments->query;
    CLI::App* command = app.add_subcommand("monitor", "Show verdicts as they happen, with the rules that made them");
    command->add_option("--interface", query.interface, "Only of this one");
    command->add_flag("--drops", query.drops, "Only what is dropped");
    command->add_flag("--all", query.packets, "Also every packet of tracked flows");
    command->add_option("--direction", arguments->direction, "in or out");
    command->add_option("--peer", arguments->peer, "Address or prefix of the other end");
    command->add_option("--protocol", arguments->protocol, "tcp, udp, icmp, icmpv6 or a number");
    command->add_option("--port", arguments->port, "Of either end");
    command->add_option("--reason", query.reason, "For instance no-rule");
    command->add_option("--count", query.count, "End after that many")->check(CLI::Range(0, kMost));
    command->add_option("--seconds", query.seconds, "End after that time")->check(CLI::Range(0, kMost));
    command->footer(
        "Examples:\n  sgbpf monitor --drops\n  sgbpf monitor --interface web0 --protocol tcp --port 443\n\nAt most 32768 "
        "events a second and CPU are written; the rest, and what is not read in time, is counted as lost.");
    command->callback([&context, arguments] { monitor(context, *arguments); });
}

}  // namespace sgbpf::cli
