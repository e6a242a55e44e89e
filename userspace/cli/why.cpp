// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// why: what would happen to a packet, and can one interface reach another.
#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/strings.hpp"
#include "cli/context.hpp"
#include "cli/flow_json.hpp"
#include "cli/output.hpp"
#include "cli/rule_json.hpp"
#include "model/text.hpp"
#include "replay/capture.hpp"

namespace sgbpf::cli {

namespace {

struct Arguments {
    std::string interface;
    std::vector<std::string> words;  // a direction and a packet, or another interface and a service
    std::string frame;
    std::string capture;
    std::size_t number = 1;  // of the packet in it
    std::string family;
};

// --- In words ------------------------------------------------------------------------------------

std::string rule_words(const RuleRow& row, const std::string& more) {
    return fmt::format("{} ({}, {}{}{})", row.rule.id, row.group, rule_text(row.rule, row.direction),
                       more.empty() ? "" : ": ", more);
}

std::string named_rule(const WhyReport& report) {
    if (!report.rule) {
        return report.rule_id + " (which is gone since)";
    }
    return rule_words(*report.rule, report.entry.empty() ? report.member : "entry " + report.entry);
}

std::string tracking_words(const WhyReport& report) {
    if (report.tracking.empty()) {
        return "";
    }
    if (report.tracking != "tracked") {
        return fmt::format("; {}: {}", report.tracking == "not-tracked" ? "not tracked" : "would be tracked",
                           report.tracking_why);
    }
    if (!report.flow) {
        return "; its entry has just ended";
    }
    const FlowRow& flow = *report.flow;
    return fmt::format("; {} flow{}{}, opened by {} {} ago, idle {}, {} left", flow.state,
                       flow.detail.empty() ? "" : " ", flow.detail, flow.opened_out ? flow.local : flow.remote,
                       duration(flow.age_s), duration(flow.idle_s), duration(flow.left_s));
}

std::string verdict_words(const WhyReport& report) {
    std::string text;
    if (!report.passes) {
        text = fmt::format("DROP {}: {}", report.reason, report.detail);
        if (report.nearest) {
            text += "; nearest: " + rule_words(report.nearest->rule, report.nearest->difference);
        }
    } else if (report.rule_id.empty()) {
        text = fmt::format("PASS {}: {}", report.reason, report.sentence);
    } else {
        text = fmt::format("PASS {}rule {}", report.reason == "rule" ? "" : report.reason + " by ", named_rule(report));
    }
    return fmt::format("{}{}; generation {}", text, tracking_words(report), report.generation);
}

// Of all paths: once where they are the same.
std::string replies_words(const ReachReport& report) {
    std::set<std::string> different;
    std::vector<std::string> texts;
    for (const ReachReport::Path& path : report.paths) {
        if (!path.replies.empty()) {
            different.insert(path.replies);
            texts.push_back(fmt::format("{} {}", family_text(path.family), path.replies));
        }
    }
    return different.empty()       ? ""
           : different.size() == 1 ? "; replies: " + *different.begin()
                                   : fmt::format("; replies: {}", fmt::join(texts, ", "));
}

std::string refused_at(const ReachReport::Path& path) {
    if (path.out.passes && path.in.passes) {
        return "replies are refused";
    }
    if (!path.out.passes && !path.in.passes) {
        return fmt::format("refused at {} and at {}", path.out.interface, path.in.interface);
    }
    return "refused at " + (path.out.passes ? path.in : path.out).interface;
}

std::string reach_words(const ReachReport& report, const Arguments& arguments, const std::string& service) {
    std::vector<std::string> good;
    std::vector<std::string> bad;
    for (const ReachReport::Path& path : report.paths) {
        const std::string family(family_text(path.family));
        if (path.reaches) {
            good.push_back(family);
        } else {
            bad.push_back(fmt::format("{} {}", family, refused_at(path)));
        }
    }
    const std::string what = fmt::format("{} {} {} on {}", arguments.interface,
                                         good.empty() ? "does not reach" : "reaches", arguments.words[0], service);
    return fmt::format("{}: {}{}{}{}{}; {}",
                       bad.empty()    ? "yes"
                       : good.empty() ? "no"
                                      : "partly",
                       what, good.empty() ? "" : fmt::format(" ({})", fmt::join(good, ", ")), bad.empty() ? "" : ": ",
                       fmt::join(bad, ", "), replies_words(report), report.relation);
}

void say_notes(Context& context, const WhyReport& report) {
    for (const std::string& note : report.notes) {
        context.words("note: " + note);
    }
}

// --- As JSON -------------------------------------------------------------------------------------

Json why_json(const WhyReport& report) {
    Json json = {{"Interface", report.interface},   {"Direction", direction_text(report.direction)},
                 {"Packet", report.packet},         {"Verdict", report.passes ? "pass" : "drop"},
                 {"Reason", report.reason},         {"Sentence", report.sentence},
                 {"Generation", report.generation}, {"Notes", report.notes}};
    const auto add = [&](const char* key, const std::string& value) {
        if (!value.empty()) {
            json[key] = value;
        }
    };
    add("Detail", report.detail);
    add("SecurityGroupRuleId", report.rule_id);
    add("FoundIn", report.stage);
    add("PrefixListEntry", report.entry);
    add("Member", report.member);
    if (report.rule) {
        json["Rule"] = rule_json(*report.rule);
    }
    if (!report.tracking.empty()) {
        json["Tracking"] = {{"State", report.tracking}, {"Why", report.tracking_why}};
    }
    if (report.flow) {
        json["Flow"] = flow_json(*report.flow);
    }
    if (report.nearest) {
        json["Nearest"] = {{"Rule", rule_json(report.nearest->rule)},
                           {"Differs", report.nearest->differs},
                           {"Words", report.nearest->difference}};
    }
    return json;
}

Json reach_json(const ReachReport& report) {
    Json paths = Json::array();
    for (const ReachReport::Path& path : report.paths) {
        paths.push_back({{"Family", family_text(path.family)},
                         {"Reaches", path.reaches},
                         {"Out", why_json(path.out)},
                         {"In", why_json(path.in)},
                         {"Replies", path.replies}});
    }
    return {{"Reaches", report.reaches()}, {"Relation", report.relation}, {"Paths", paths}};
}

// --- What is asked -------------------------------------------------------------------------------

// "52 54 00", "52:54:00" and "525400" alike.
bool read_frame(Context& context, const std::string& text, std::vector<std::byte>& frame) {
    std::string digits;
    for (const char c : text) {
        if (c != ' ' && c != ':' && c != '\n' && c != '\t') {
            digits += c;
        }
    }
    const auto bad =
        std::find_if_not(digits.begin(), digits.end(), [](unsigned char c) { return std::isxdigit(c) != 0; });
    if (bad != digits.end() || digits.size() % 2 != 0 || digits.empty()) {
        context.fail(kExitBadInput,
                     bad != digits.end()
                         ? fmt::format("--frame: \"{}\" is no hexadecimal digit", harmless(std::string(1, *bad)))
                         : fmt::format("--frame: {} are not whole bytes", counted(digits.size(), "digit")));
        return false;
    }
    for (std::size_t i = 0; i < digits.size(); i += 2) {
        frame.push_back(static_cast<std::byte>(std::stoul(digits.substr(i, 2), nullptr, 16)));
    }
    return true;
}

// The packet of a capture, counted from 1 as Wireshark does.
bool read_capture(Context& context, const std::string& path, std::size_t number, WhyQuest& quest) {
    auto capture = Capture::open(path);
    if (!capture) {
        context.fail(capture.error());
        return false;
    }
    CapturedPacket packet;
    for (std::size_t read = 0; read < number; ++read) {
        const auto more = capture->next(packet);
        if (!more) {
            context.fail(more.error());
            return false;
        }
        if (!*more) {
            context.fail(kExitBadInput,
                         fmt::format("--packet {}: {} has {}", number, harmless(path), counted(read, "packet")));
            return false;
        }
    }
    quest.frame.assign(packet.frame.begin(), packet.frame.end());
    quest.length = packet.wire_length;
    quest.has_source_mac = packet.source_mac_known;
    return true;
}

// `tcp A -> B` without quotes reaches us as `tcp A -`, and standard output is a file named B.
bool shell_took_arrow(const std::vector<std::string>& words) {
    return !words.empty() && words.back() == "-";
}

// A packet may be written without its arrow: `tcp A B`.
std::string packet_text(const std::vector<std::string>& words) {
    std::string text = fmt::format("{}", fmt::join(words, " "));
    if (text.find('>') == std::string::npos && words.size() >= 3) {
        std::vector<std::string> with_arrow = words;
        with_arrow.insert(with_arrow.begin() + 2, "->");
        text = fmt::format("{}", fmt::join(with_arrow, " "));
    }
    return text;
}

void packet_at_interface(Context& context, const Arguments& arguments) {
    WhyQuest quest;
    quest.interface = arguments.interface;
    quest.direction = arguments.words[0] == "in" ? SG_IN : SG_OUT;
    const std::vector<std::string> packet(arguments.words.begin() + 1, arguments.words.end());
    if (!arguments.family.empty()) {
        context.fail(kExitBadInput, "--family is for two interfaces; a packet has its family");
        return;
    }
    if (shell_took_arrow(packet)) {
        context.fail(
            kExitBadInput,
            "the shell took \">\" for itself and the destination for a file's name: quote the packet, or leave "
            "the arrow out");
        return;
    }
    const int given =
        (packet.empty() ? 0 : 1) + (arguments.frame.empty() ? 0 : 1) + (arguments.capture.empty() ? 0 : 1);
    if (given != 1) {
        context.fail(kExitBadInput, given == 0 ? "which packet? write for instance \"tcp 192.0.2.7:40000 -> "
                                                 "10.0.1.10:443\", or give --frame or --pcap"
                                               : "a packet in words, --frame or --pcap: one of them");
        return;
    }
    if ((!arguments.frame.empty() && !read_frame(context, arguments.frame, quest.frame)) ||
        (!arguments.capture.empty() && !read_capture(context, arguments.capture, arguments.number, quest))) {
        return;
    }
    quest.packet = packet.empty() ? "" : packet_text(packet);
    Engine* engine = context.engine(Needs::kRead);
    if (engine == nullptr) {
        return;
    }
    auto report = engine->why(quest);
    if (!report) {
        context.fail(report.error());
        return;
    }
    if (context.options.json) {
        context.json(why_json(*report));
    } else {
        context.data(verdict_words(*report) + "\n");
        say_notes(context, *report);
    }
    context.exit = report->passes ? kExitFine : kExitDiffers;
}

void between_interfaces(Context& context, const Arguments& arguments) {
    ReachQuest quest;
    quest.from = arguments.interface;
    quest.to = arguments.words[0];
    quest.service = fmt::format("{}", fmt::join(arguments.words.begin() + 1, arguments.words.end(), " "));
    if (!arguments.frame.empty() || !arguments.capture.empty()) {
        context.fail(kExitBadInput,
                     "--frame and --pcap need a direction: sgbpf why " + arguments.interface + " in --frame HEX");
        return;
    }
    if (!arguments.family.empty() && arguments.family != "ipv4" && arguments.family != "ipv6") {
        context.fail(kExitBadInput, "--family " + harmless(arguments.family) + ": ipv4 or ipv6");
        return;
    }
    if (!arguments.family.empty()) {
        quest.family = arguments.family == "ipv6" ? Family::kIpv6 : Family::kIpv4;
    }
    if (quest.service.empty()) {
        context.fail(kExitBadInput,
                     fmt::format("{} is neither a direction (in, out) nor followed by a service, as in \"sgbpf why {} "
                                 "{} tcp 3306\"",
                                 harmless(quest.to), harmless(quest.from), harmless(quest.to)));
        return;
    }
    Engine* engine = context.engine(Needs::kRead);
    if (engine == nullptr) {
        return;
    }
    auto report = engine->reach(quest);
    if (!report) {
        context.fail(report.error());
        return;
    }
    if (context.options.json) {
        context.json(reach_json(*report));
    } else {
        for (const ReachReport::Path& path : report->paths) {
            for (const WhyReport* end : {&path.out, &path.in}) {
                context.data(fmt::format("{} {} {}: {}\n", end->interface, direction_text(end->direction), end->packet,
                                         verdict_words(*end)));
            }
        }
        context.data(reach_words(*report, arguments, quest.service) + "\n");
        say_notes(context, report->paths[0].out);
        say_notes(context, report->paths[0].in);
    }
    context.exit = report->reaches() ? kExitFine : kExitDiffers;
}

void why(Context& context, const Arguments& arguments) {
    // Also where an interface has such a name.
    if (arguments.words[0] == "in" || arguments.words[0] == "out") {
        packet_at_interface(context, arguments);
    } else {
        between_interfaces(context, arguments);
    }
}

}  // namespace

void add_why_commands(CLI::App& app, Context& context) {
    auto arguments = std::make_shared<Arguments>();
    CLI::App* command = app.add_subcommand("why", "What would happen to a packet, and why; nothing changes");
    command->add_option("interface", arguments->interface, "Name in the state file")->required();
    command
        ->add_option("question", arguments->words,
                     "in or out and a packet; or another interface and a service: can the first reach it?")
        ->required();
    command->add_option("--frame", arguments->frame, "A captured frame, in hexadecimal, from the Ethernet header on");
    command->add_option("--pcap", arguments->capture, "A capture, pcap or pcapng");
    command->add_option("--packet", arguments->number, "Which packet of the capture; the first is 1")
        ->check(CLI::PositiveNumber);
    command->add_option("--family", arguments->family, "ipv4 or ipv6: for two interfaces; default is what both have");
    command->footer(
        "Examples:\n"
        "  sgbpf why web0 in 'tcp 192.0.2.7:40000 -> 10.0.1.10:443'\n"
        "  sgbpf why web0 out udp 10.0.1.10:50000 192.0.2.9:53       the arrow may be left out\n"
        "  sgbpf why web0 in 'tcp 192.0.2.7:40000 -> 10.0.1.10:443 A'  flags; a SYN is asked about without them\n"
        "  sgbpf why web0 in 'icmp 192.0.2.7 -> 10.0.1.10 echo-request'\n"
        "  sgbpf why web0 in --frame 525400123456...\n"
        "  sgbpf why web0 out --pcap web0.pcapng --packet 12\n"
        "  sgbpf why web0 db0 tcp 3306\n"
        "\n"
        "The real program is asked, on the live maps. Exit code 0: it passes; 1: it is dropped.");
    command->callback([&context, arguments] { why(context, *arguments); });
}

}  // namespace sgbpf::cli
