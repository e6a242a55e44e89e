// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// why and reach: one packet at one interface, and a connection judged at both its ends.
#include <algorithm>
#include <span>

#include <fmt/format.h>

#include "api/ask.hpp"
#include "base/strings.hpp"
#include "model/text.hpp"

namespace sgbpf {

namespace {

constexpr std::uint8_t kSynAck = 0x12;

Result<Question> question_of(const Engine::Parts& parts, const HostState& host, const WhyQuest& quest) {
    auto interface = parts.interface_named(host, quest.interface);
    if (!interface) {
        return unexpected(interface.error());
    }
    Question question{*interface, quest.direction, quest.frame, quest.length};
    if (!quest.has_source_mac && quest.direction == SG_OUT && (*interface)->mac && quest.frame.size() >= 12) {
        const auto mac = std::as_bytes(std::span((*interface)->mac->bytes));
        std::copy(mac.begin(), mac.end(), question.frame.begin() + 6);
    }
    if (!quest.packet.empty()) {
        auto packet = parse_packet(quest.packet);
        if (!packet) {
            return unexpected(packet.error());
        }
        question.frame = frame_of(**interface, quest.direction, *packet);
    }
    return question;
}

// --- From one interface to another -------------------------------------------------------------------------

const Address* address_of(const Interface& interface, Family family) {
    const auto at = std::find_if(interface.addresses.begin(), interface.addresses.end(),
                                 [&](const Prefix& prefix) { return prefix.family() == family; });
    return at == interface.addresses.end() ? nullptr : &at->address;
}

// The packet that asks for the service: "tcp 3306" -> "tcp 10.0.1.10 -> 10.0.2.20:3306".
Result<PacketSpec> opening_packet(const std::string& service, const Address& from, const Address& to) {
    std::string protocol = to_lower(service.substr(0, service.find(' ')));
    std::string rest = service.find(' ') == std::string::npos ? "" : service.substr(service.find(' ') + 1);
    const bool ports = protocol == "tcp" || protocol == "udp" || protocol == "6" || protocol == "17";
    if (ports) {
        const auto port = parse_decimal(rest);
        if (!port || *port > 65535) {
            return unexpected(make_error(ErrorCode::kInvalid,
                                         fmt::format("{} {}: a port from 0 to 65535 comes after the protocol, as in "
                                                     "\"tcp 3306\"",
                                                     printable(protocol), printable(rest))));
        }
        return parse_packet(fmt::format("{} {} -> {}", protocol, from.to_string(),
                                        endpoint_text(to, static_cast<std::uint16_t>(*port))));
    }
    if (protocol == "icmp" && from.family == Family::kIpv6) {
        protocol = "icmpv6";
    }
    return parse_packet(fmt::format("{} {} -> {} {}", protocol, from.to_string(), to.to_string(), rest));
}

PacketSpec reply_to(const PacketSpec& packet) {
    PacketSpec reply = packet;
    std::swap(reply.source, reply.destination);
    std::swap(reply.source_port, reply.destination_port);
    reply.tcp_flags = packet.tcp_flags == 0 ? 0 : kSynAck;
    if (packet.has_icmp()) {  // SG-5.5
        reply.icmp_type = packet.protocol == kIcmpv6 ? static_cast<std::uint8_t>(packet.icmp_type + 1)
                          : packet.icmp_type == 8    ? std::uint8_t{0}
                                                     : static_cast<std::uint8_t>(packet.icmp_type + 1);
    }
    return reply;
}

std::string relation_of(const State& state, const Interface& from, const Interface& to) {
    if (from.vpc == to.vpc) {
        return fmt::format("both are in VPC {}", from.vpc);
    }
    std::string others;
    for (const auto& [name, peering] : state.peerings) {
        const auto& [first, second] = peering.vpcs;
        if ((first == from.vpc && second == to.vpc) || (first == to.vpc && second == from.vpc)) {
            if (peering.status == "active") {
                return fmt::format("VPC {} and VPC {} are peered by {}", from.vpc, to.vpc, name);
            }
            others += fmt::format("{}{} is {}", others.empty() ? " (" : ", ", name, peering.status);
        }
    }
    return fmt::format("VPC {} and VPC {} are not peered{}: group rules do not hold between them, addresses alone were "
                       "judged",
                       from.vpc, to.vpc, others.empty() ? "" : others + ")");
}

// Of one end: "" = refused there.
std::string replies_at(const WhyReport& end, const WhyReport& reply) {
    if (end.tracking == "tracked" || end.tracking == "would-be-tracked") {
        return "tracked at " + end.interface;
    }
    return reply.passes && !reply.rule_id.empty() ? fmt::format("by rule {} at {}", reply.rule_id, end.interface) : "";
}

void judge_replies(ReachReport::Path& path, const WhyReport& reply_out, const WhyReport& reply_in) {
    if (!path.out.passes || !path.in.passes) {
        return;
    }
    const std::string leaving = replies_at(path.in, reply_out);
    const std::string entering = replies_at(path.out, reply_in);
    path.reaches = !leaving.empty() && !entering.empty();
    if (!path.reaches) {
        path.replies = fmt::format("refused at {}", leaving.empty() ? path.in.interface : path.out.interface);
    } else if (leaving.starts_with("tracked") && entering.starts_with("tracked")) {
        path.replies = "tracked at both ends";
    } else {
        path.replies = leaving + ", " + entering;
    }
}

constexpr std::size_t kQuestionsPerPath = 4;  // the packet at both ends, then a reply at both ends

Result<std::vector<Question>> reach_questions(const Engine::Parts& parts, const HostState& host,
                                              const ReachQuest& quest, std::vector<Family>& families) {
    auto from = parts.interface_named(host, quest.from);
    auto to = parts.interface_named(host, quest.to);
    if (!from || !to) {
        return unexpected(from ? to.error() : from.error());
    }
    if (*from == *to) {
        return unexpected(make_error(
            ErrorCode::kInvalid,
            fmt::format("{} to itself: what a guest sends to its own address never comes here (SG-4.10)", quest.from)));
    }
    families.clear();
    std::vector<Question> questions;
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
        const Address* source = address_of(**from, family);
        const Address* destination = address_of(**to, family);
        if (source == nullptr || destination == nullptr || (quest.family && *quest.family != family)) {
            continue;
        }
        auto packet = opening_packet(quest.service, *source, *destination);
        if (!packet) {
            return unexpected(packet.error());
        }
        const PacketSpec reply = reply_to(*packet);
        families.push_back(family);
        questions.push_back({*from, SG_OUT, frame_of(**from, SG_OUT, *packet), 0});
        questions.push_back({*to, SG_IN, frame_of(**to, SG_IN, *packet), 0});
        questions.push_back({*to, SG_OUT, frame_of(**to, SG_OUT, reply), 0});
        questions.push_back({*from, SG_IN, frame_of(**from, SG_IN, reply), 0});
    }
    if (questions.empty()) {
        return unexpected(
            make_error(ErrorCode::kInvalid,
                       quest.family ? fmt::format("{} and {} do not both have an {} address", quest.from, quest.to,
                                                  family_text(*quest.family))
                                    : fmt::format("{} and {} have no address family in common", quest.from, quest.to)));
    }
    return questions;
}

}  // namespace

Result<WhyReport> Engine::why(const WhyQuest& quest) {
    auto answers = ask(*parts_, [&](const HostState& host) -> Result<std::vector<Question>> {
        auto question = question_of(*parts_, host, quest);
        if (!question) {
            return unexpected(question.error());
        }
        return std::vector<Question>{std::move(*question)};
    });
    return answers ? report_of(*parts_, *answers, 0) : Result<WhyReport>(unexpected(answers.error()));
}

Result<ReachReport> Engine::reach(const ReachQuest& quest) {
    std::vector<Family> families;
    auto answers = ask(*parts_, [&](const HostState& host) { return reach_questions(*parts_, host, quest, families); });
    if (!answers) {
        return unexpected(answers.error());
    }
    ReachReport report;
    report.relation =
        relation_of(answers->host.applied->state, *answers->questions[0].interface, *answers->questions[1].interface);
    for (std::size_t i = 0; i < families.size(); ++i) {
        std::vector<WhyReport> ends;
        for (std::size_t j = 0; j < kQuestionsPerPath; ++j) {
            auto end = report_of(*parts_, *answers, i * kQuestionsPerPath + j);
            if (!end) {
                return unexpected(end.error());
            }
            ends.push_back(std::move(*end));
        }
        ReachReport::Path path;
        path.family = families[i];
        path.out = std::move(ends[0]);
        path.in = std::move(ends[1]);
        judge_replies(path, ends[2], ends[3]);
        report.paths.push_back(std::move(path));
    }
    return report;
}

bool ReachReport::reaches() const {
    return std::all_of(paths.begin(), paths.end(), [](const Path& path) { return path.reaches; });
}

}  // namespace sgbpf
