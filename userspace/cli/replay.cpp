// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// replay: packets of a scenario or a capture through the real programs, on maps of their own. Needs
// privilege to load programs, and nothing else of the host: no state directory, no lock, no bpffs.
#include <iterator>

#include <fmt/format.h>

#include "base/strings.hpp"
#include "cli/context.hpp"
#include "cli/output.hpp"
#include "frame/describe.hpp"
#include "frame/names.hpp"
#include "model/parse.hpp"
#include "model/text.hpp"
#include "replay/run.hpp"

namespace sgbpf::cli {

namespace {

struct Arguments {
    std::vector<std::string> files;
    std::string interface;
    std::string direction = "auto";
    std::string captured_at = "auto";
    std::string program = "tc";
    bool quiet = false;
};

std::string_view verdict_text(bool passed) {
    return passed ? "PASS" : "DROP";
}

// The flow's state after the packet, or why there is none.
std::string_view flow_text(const ReplayVerdict& verdict) {
    if (verdict.flow_state != SG_FLOW_FREE) {
        return flow_state_name(verdict.flow_state);
    }
    return verdict.tracking == SG_TRACKING_NONE ? "-" : "untracked";
}

// Prints packets as they are judged; in large pieces, for captures have many.
class Printer {
public:
    Printer(Context& context, const Arguments& arguments, bool scenario)
        : context_(context), quiet_(arguments.quiet), scenario_(scenario) {}
    Printer(const Printer&) = delete;
    Printer& operator=(const Printer&) = delete;
    ~Printer() { flush(); }

    void print(const ReplayedPacket& packet) {
        if (quiet_ && packet.failure.empty()) {
            return;
        }
        if (context_.options.json) {
            as_json(packet);
        } else {
            as_text(packet);
        }
        constexpr std::size_t kPieceBytes = 64 * 1024;
        if (text_.size() >= kPieceBytes) {
            flush();
        }
    }

    void flush() {
        context_.data({text_.data(), text_.size()});
        text_.clear();
    }

private:
    void as_text(const ReplayedPacket& packet) {
        const auto out = std::back_inserter(text_);
        const ReplayVerdict& verdict = packet.verdict;
        for (std::string_view rest = packet.notes; !rest.empty();) {
            const auto end = rest.find('\n');
            fmt::format_to(out, "# {}\n", harmless(rest.substr(0, end)));
            rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
        }
        if (scenario_) {
            fmt::format_to(out, "{:>4}  {:>9.3f}", packet.number, static_cast<double>(packet.since_start_ns) / 1e9);
        } else {
            fmt::format_to(out, "{:>13.6f}", static_cast<double>(packet.since_start_ns) / 1e9);
        }
        fmt::format_to(out, "  {:<6} {:<3}  {}  {:<11}  ", harmless(packet.interface), direction_text(packet.direction),
                       verdict_text(verdict.passed), reason_words(verdict.reason).name);
        const std::string rule =
            verdict.rule != nullptr ? fmt::format("{} ({})", verdict.rule->id, harmless(verdict.rule->group)) : "-";
        fmt::format_to(out, "{:<27}  {:<12}  {}\n", rule, flow_text(verdict),
                       describe(packet.frame, packet.direction, packet.wire_length));
        if (!packet.failure.empty()) {
            fmt::format_to(out, "      FAILED: {}\n", packet.failure);
        }
    }

    void as_json(const ReplayedPacket& packet) {
        const ReplayVerdict& verdict = packet.verdict;
        Json row;
        row[scenario_ ? "Line" : "Number"] = packet.number;
        if (scenario_) {
            row["TimeMs"] = packet.time_ns / 1'000'000;
        } else {
            row["TimeNs"] = packet.time_ns;
        }
        row["Interface"] = packet.interface;
        row["Direction"] = direction_text(packet.direction);
        row["Verdict"] = verdict.passed ? "pass" : "drop";
        row["Reason"] = reason_words(verdict.reason).name;
        row["RuleId"] = verdict.rule != nullptr ? Json(verdict.rule->id) : Json();
        row["Group"] = verdict.rule != nullptr ? Json(verdict.rule->group) : Json();
        row["FlowState"] = verdict.flow_state != SG_FLOW_FREE ? Json(flow_state_name(verdict.flow_state)) : Json();
        row["Packet"] = describe(packet.frame, packet.direction, packet.wire_length);
        row["Length"] = packet.wire_length;
        if (!packet.failure.empty()) {
            row["Failure"] = packet.failure;
        }
        line(row);
    }

    void line(const Json& row) {
        const std::string text = row.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
        text_.append(text.data(), text.data() + text.size());
    }

    Context& context_;
    bool quiet_;
    bool scenario_;
    fmt::memory_buffer text_;
};

void print_json_summary(Context& context, const ReplaySummary& summary, bool scenario) {
    Json reasons = Json::array();
    for (const unsigned direction : {SG_IN, SG_OUT}) {
        for (std::uint32_t reason = 0; reason < SG_REASON_MAX; ++reason) {
            if (const std::uint64_t packets = summary.packets[direction][reason]; packets != 0) {
                reasons.push_back({{"Direction", direction_text(direction)},
                                   {"Reason", reason_words(reason).name},
                                   {"Packets", packets}});
            }
        }
    }
    Json object = {{"Passed", summary.passed}, {"Dropped", summary.dropped}, {"Reasons", reasons}};
    if (scenario) {
        object["Ok"] = summary.as_expected;
        object["Failed"] = summary.failures.size();
        object["WithoutExpectation"] = summary.without_expectation;
        object["Failures"] = summary.failures;
    } else {
        object["NotJudged"] = {{"TooShort", summary.too_short}, {"UnknownDirection", summary.unknown_direction}};
        object["BackInTime"] = summary.back_in_time;
    }
    context.data(Json{{"Summary", object}}.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

void print_summary(Context& context, const ReplaySummary& summary) {
    Table table({{"DIR"}, {"VERDICT"}, {"REASON"}, {"PACKETS", Align::kRight}, {"MEANS"}});
    for (const unsigned direction : {SG_IN, SG_OUT}) {
        for (std::uint32_t reason = 0; reason < SG_REASON_MAX; ++reason) {
            const ReasonWords& words = reason_words(reason);
            if (const std::uint64_t packets = summary.packets[direction][reason]; packets != 0) {
                table.add({std::string(direction_text(direction)), words.verdict == SG_PASS ? "pass" : "drop",
                           std::string(words.name), std::to_string(packets), std::string(words.sentence)});
            }
        }
    }
    context.data(fmt::format("{}: {} passed, {} dropped\n", counted(summary.passed + summary.dropped, "packet"),
                             summary.passed, summary.dropped));
    if (!table.empty()) {
        context.data(table.to_string());
    }
}

void print_expectations(Context& context, const ReplaySummary& summary) {
    std::string text = fmt::format("ok {}, failed {}", summary.as_expected, summary.failures.size());
    if (summary.without_expectation != 0) {
        text += fmt::format(", {} without an expectation", summary.without_expectation);
    }
    const bool one = summary.failures.size() == 1;
    for (const std::string& failure : summary.failures) {
        text += (one ? ": " : "\n  ") + harmless(failure);
    }
    context.data(text + "\n");
}

// What a person must know of a capture before believing the rest.
void say_notes(Context& context, const ReplaySummary& summary) {
    if (summary.captured_at) {
        context.words(*summary.captured_at == CapturedAt::kTap
                          ? "captured at the tap: received is out, sent is in; --captured-at guest for the other way"
                          : "captured in the guest: received is in, sent is out; --captured-at tap for the other way");
    }
    if (summary.too_short != 0) {
        context.words(
            fmt::format("not judged: {} shorter than an Ethernet header", counted(summary.too_short, "frame")));
    }
    if (summary.unknown_direction != 0) {
        context.words(
            fmt::format("not judged: {} that neither comes from nor goes to the interface, as far as the file "
                        "tells; --direction in or out for all",
                        counted(summary.unknown_direction, "packet")));
    }
    if (summary.back_in_time != 0) {
        context.words(
            fmt::format("{} older than the one before, judged at its time", counted(summary.back_in_time, "packet")));
    }
}

void finish(Context& context, Printer& printer, const Result<ReplaySummary>& summary, bool scenario) {
    printer.flush();
    if (!summary) {
        context.fail(summary.error());
        return;
    }
    if (context.options.json) {
        print_json_summary(context, *summary, scenario);
    } else {
        print_summary(context, *summary);
        if (scenario) {
            print_expectations(context, *summary);
        }
    }
    say_notes(context, *summary);
    if (!summary->failures.empty()) {
        context.exit = kExitDiffers;
    }
    if (!summary->broken.empty()) {
        context.fail(kExitBadInput, summary->broken + "; the packets before were judged");
    }
}

// Null after saying why: loads the programs.
std::unique_ptr<Replayer> make_replayer(Context& context, const Arguments& arguments) {
    // The answers are the same on every machine: the host's own settings count only when they are named.
    HostConfig settings;
    if (!context.options.host_config.empty()) {
        const HostConfig* host = context.host_settings();
        if (host == nullptr) {
            return nullptr;
        }
        settings = *host;
    }
    if (!context.env.lacks_privilege.empty()) {
        context.fail(kExitKernel, context.env.lacks_privilege);
        return nullptr;
    }
    auto replayer = Replayer::make({.capacities = settings.capacities,
                                    .programs = arguments.program == "xdp" ? ObjectKind::kXdp : ObjectKind::kTc,
                                    .host = settings.policy});
    if (!replayer) {
        context.fail(replayer.error());
        return nullptr;
    }
    return std::move(*replayer);
}

void replay_scenario(Context& context, const Arguments& arguments) {
    const auto scenario = read_scenario(arguments.files[0]);
    if (!scenario) {
        context.fail(scenario.error());
        return;
    }
    for (const std::string& warning : scenario->warnings) {
        context.words(warning);
    }
    const auto replayer = make_replayer(context, arguments);
    if (replayer == nullptr) {
        return;
    }
    Printer printer(context, arguments, true);
    finish(context, printer, run_scenario(*scenario, *replayer, [&](const auto& packet) { printer.print(packet); }),
           true);
}

// The state of a file, or null after saying what is wrong with it.
std::optional<State> read_state(Context& context, const std::string& file) {
    auto parsed = parse_state_file(file);
    if (!parsed) {
        context.fail(parsed.error());
        return std::nullopt;
    }
    for (const Diagnostic& warning : parsed->warnings) {
        context.words(warning.to_string());
    }
    if (parsed->ok()) {
        return std::move(parsed->state);
    }
    for (const Diagnostic& error : parsed->errors) {
        context.words(error.to_string());
    }
    context.words(counted(parsed->errors.size(), "error") + "; nothing was judged");
    context.exit = kExitBadInput;
    return std::nullopt;
}

// The interface named, or the only one there is.
bool choose_interface(Context& context, const State& state, std::string& name) {
    std::vector<std::string> names;
    for (const auto& [one, interface] : state.interfaces) {
        names.push_back(one);
    }
    if (name.empty() && names.size() == 1) {
        name = names[0];
    }
    if (state.interfaces.count(name) != 0) {
        return true;
    }
    context.fail(kExitBadInput, name.empty() ? "a capture is judged at one interface: --interface " + join(names, "|")
                                             : fmt::format("no interface {} in the state{}", harmless(name),
                                                           did_you_mean(name, names)));
    return false;
}

void replay_capture(Context& context, const Arguments& arguments) {
    auto state = read_state(context, arguments.files[0]);
    if (!state) {
        return;
    }
    CaptureOptions options;
    options.interface = arguments.interface;
    if (!choose_interface(context, *state, options.interface)) {
        return;
    }
    if (arguments.direction != "auto") {
        options.direction = arguments.direction == "out" ? SG_OUT : SG_IN;
    }
    if (arguments.captured_at != "auto") {
        options.captured_at = arguments.captured_at == "tap" ? CapturedAt::kTap : CapturedAt::kGuest;
    }
    if (arguments.files[1] == "-") {
        context.fail(kExitBadInput, "a capture is read more than once: give a file, not standard input");
        return;
    }
    // A file that is no capture is said before the programs are loaded.
    if (const auto capture = Capture::open(arguments.files[1]); !capture) {
        context.fail(capture.error());
        return;
    }
    const auto replayer = make_replayer(context, arguments);
    if (replayer == nullptr) {
        return;
    }
    if (const auto applied = replayer->apply(std::move(*state)); !applied) {
        context.fail(applied.error());
        return;
    }
    Printer printer(context, arguments, false);
    finish(context, printer,
           run_capture(arguments.files[1], options, *replayer, [&](const auto& packet) { printer.print(packet); }),
           false);
}

void replay(Context& context, const Arguments& arguments) {
    if (arguments.files.size() == 2) {
        replay_capture(context, arguments);
        return;
    }
    if (!arguments.interface.empty() || arguments.direction != "auto" || arguments.captured_at != "auto") {
        context.fail(kExitBadInput, "--interface, --direction and --captured-at are for captures: "
                                    "sgbpf replay STATE CAPTURE; a scenario says them for each packet");
        return;
    }
    replay_scenario(context, arguments);
}

}  // namespace

void add_replay_commands(CLI::App& app, Context& context) {
    auto arguments = std::make_shared<Arguments>();
    CLI::App* command = app.add_subcommand(
        "replay", "Run packets through the real programs on maps of their own. Exit 1: not as the scenario expects");
    command->add_option("files", arguments->files, "A scenario (JSON lines), or a state file and a capture")
        ->required()
        ->expected(1, 2);
    command->add_option("--interface", arguments->interface, "Where a capture is judged");
    command->add_option("--direction", arguments->direction, "Of a capture's packets: auto, in or out")
        ->check(CLI::IsMember({"auto", "in", "out"}));
    command->add_option("--captured-at", arguments->captured_at, "How its flags are meant: auto, guest or tap")
        ->check(CLI::IsMember({"auto", "guest", "tap"}));
    command->add_option("--program", arguments->program, "Which programs judge: tc or xdp")
        ->check(CLI::IsMember({"tc", "xdp"}));
    command->add_flag("--quiet", arguments->quiet, "Only what fails, and the summary");
    command->footer("Examples:\n  sgbpf replay policy-test.jsonl\n"
                    "  sgbpf replay s.yaml capture.pcapng --interface web0 --json | jq 'select(.Verdict == \"drop\")'");
    command->callback([&context, arguments] { replay(context, *arguments); });
}

}  // namespace sgbpf::cli
