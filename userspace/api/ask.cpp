// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "api/ask.hpp"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "api/devices.hpp"
#include "api/nearest.hpp"
#include "api/why_words.hpp"
#include "frame/build.hpp"
#include "frame/describe.hpp"
#include "frame/names.hpp"

namespace sgbpf {

namespace {

constexpr int kTries = 3;  // while commits go on
constexpr MacAddress kSomeMac{{0x02, 0, 0, 0, 0, 1}};

const Attachment* attachment_at(const HostState& host, const Interface& interface) {
    const auto at = std::find_if(host.attachments.begin(), host.attachments.end(), [&](const Attachment& attachment) {
        return attachment.interface_id == interface.id && attachment.device.ifindex != 0;
    });
    return at == host.attachments.end() ? nullptr : &*at;
}

// Role host judges what comes in by XDP where the device can.
bool judged_by_xdp(const HostState& host, const Interface& interface, unsigned direction) {
    const Attachment* attachment = attachment_at(host, interface);
    return direction == SG_IN && attachment != nullptr && attachment->hook.find("xdp") != std::string::npos;
}

void note_attachment(const Engine::Parts& parts, const HostState& host, const Interface& interface,
                     std::vector<std::string>& notes) {
    const std::string& name = interface.name;
    const Attachment* attachment = attachment_at(host, interface);
    if (attachment == nullptr) {
        std::string why = "nothing is filtered there";
        if (const auto devices = find_devices(*parts.datapath, {{name, interface}})) {
            if (const auto waiting = devices->waiting.find(name); waiting != devices->waiting.end()) {
                why = waiting->second;
            } else if (const auto device = devices->found.find(name); device != devices->found.end()) {
                why = fmt::format("{} passes ALL traffic; `sgbpf attach {}`", device_words(device->second), name);
            }
        }
        notes.push_back(fmt::format("{} is not attached, this is what its rules say: {}", name, why));
        return;
    }
    const std::string device = device_words(attachment->device);
    const auto slots = interface_slots(host.image);
    const auto slot = slots.find(interface.id);
    if (attachment->since > host.control.generation) {
        notes.push_back(
            fmt::format("{} was attached by an apply that was undone: it passes everything, as before it", device));
    } else if (!attachment->problem.empty()) {
        notes.push_back(fmt::format("{}: {}; `sgbpf attach {}`", device, attachment->problem, name));
    } else if (slot != slots.end() && attachment->interface_slot != slot->second) {
        notes.push_back(fmt::format("{} is attached but not bound to {}: it drops all but ARP, ND and DHCP; `sgbpf "
                                    "attach {}`",
                                    device, name, name));
    }
    std::vector<std::string> foreign = attachment->foreign_before;
    if (!attachment->foreign_xdp.empty()) {
        foreign.push_back(attachment->foreign_xdp);
    }
    if (!foreign.empty()) {
        notes.push_back(fmt::format("program {} of somebody else sees packets at {} before ours and may decide first",
                                    fmt::join(foreign, ", "), device));
    }
}

std::vector<std::string> notes_of(const Engine::Parts& parts, const Answers& answers, const Interface& interface) {
    const HostState& host = answers.host;
    std::vector<std::string> notes;
    note_attachment(parts, host, interface, notes);
    if (!answers.settled) {
        notes.emplace_back(
            "the rules changed while this was asked; ask again for rules and reasons that fit the verdict");
    } else if (!host.applied_is_current) {
        notes.emplace_back("what is enforced is not what the record of the last apply says: rules and reasons may be "
                           "those of another state; apply again");
    }
    if (host.interrupted) {
        notes.push_back(fmt::format("a commit is running or was interrupted: generation {} is still in force",
                                    host.control.generation));
    }
    return notes;
}

Result<void> add_rule(const Engine::Parts& parts, const HostState& host, std::uint32_t slot, WhyReport& report) {
    report.rule_id = host.image.rule_id(slot);
    const State& state = host.applied->state;
    for (const auto& [key, group] : state.groups) {
        for (const unsigned direction : {SG_IN, SG_OUT}) {
            for (const Rule& rule : group.rules[direction]) {
                if (rule.id != report.rule_id) {
                    continue;
                }
                report.rule = rule_row(state, group, direction, rule);
                auto counters = parts.datapath->read_rule_counters({slot});
                if (!counters) {
                    return unexpected(counters.error());
                }
                report.rule->packets = counters->at(0).packets;
                report.rule->bytes = counters->at(0).bytes;
                return {};
            }
        }
    }
    return {};
}

// By what the peer belongs to the rule: the entry of its list, the member of its group.
void add_peer(const State& state, const Interface& interface, const Address& peer, unsigned stage, WhyReport& report) {
    if (!report.rule) {
        return;
    }
    const Peer& of = report.rule->rule.peer;
    if (const auto* list = std::get_if<PrefixListRef>(&of); list != nullptr && stage == SG_STAGE_LIST) {
        const auto at = state.prefix_lists.find(list->name);
        const PrefixListEntry* entry = at == state.prefix_lists.end() ? nullptr : entry_of(at->second, peer);
        report.entry = entry == nullptr ? "" : entry->prefix.to_string();
    } else if (const auto* group = std::get_if<GroupRef>(&of); group != nullptr && stage == SG_STAGE_GROUP) {
        const Interface* member = member_of(state, interface, group->key, peer);
        report.member = member == nullptr ? "" : member->name;
    }
}

Result<void> add_flow(const Engine::Parts& parts, const HostState& host, const sg_flow_key& key, std::uint32_t slot,
                      WhyReport& report) {
    FlowFilter filter;
    filter.flow_slot = slot;
    auto snapshot = parts.datapath->read_flows(filter);
    if (!snapshot) {
        return unexpected(snapshot.error());
    }
    // The record may be another flow's by now.
    if (snapshot->flows.size() == 1 && std::memcmp(&snapshot->flows[0].key, &key, sizeof(key)) == 0) {
        report.flow = flow_row(snapshot->flows[0], *snapshot, host.image);
        report.flow->interface = report.interface;
        report.tracking_why = report.flow->tracked;
    }
    return {};
}

}  // namespace

std::vector<std::byte> frame_of(const Interface& interface, unsigned direction, const PacketSpec& packet) {
    const MacAddress own = interface.mac.value_or(kSomeMac);
    const MacAddress other{{0x02, 0, 0, 0, 0, 2}};
    return direction == SG_OUT ? build_frame(packet, own, other) : build_frame(packet, other, own);
}

Result<Answers> ask(const Engine::Parts& parts, const QuestionsOf& questions_of) {
    for (int tries = 1;; ++tries) {
        auto host = parts.load_loaded();
        if (!host) {
            return unexpected(host.error());
        }
        if (!host->applied) {
            return unexpected(
                make_error(ErrorCode::kNotFound, "the record of what was applied is missing; apply again"));
        }
        Answers answers;
        answers.host = std::move(*host);
        Result<std::vector<Question>> questions = questions_of(answers.host);
        if (!questions) {
            return unexpected(questions.error());
        }
        answers.questions = std::move(*questions);
        const auto slots = interface_slots(answers.host.image);
        std::vector<DryRun> runs;
        for (const Question& question : answers.questions) {
            const auto slot = slots.find(question.interface->id);
            if (slot == slots.end()) {
                return unexpected(
                    make_error(ErrorCode::kNotFound, question.interface->name + " is not loaded; apply again"));
            }
            runs.push_back({question.direction, slot->second, question.frame, question.length,
                            judged_by_xdp(answers.host, *question.interface, question.direction)});
        }
        auto judged = parts.datapath->dry_run(runs);
        if (!judged) {
            return unexpected(judged.error());
        }
        answers.judged = std::move(*judged);
        answers.settled = std::all_of(answers.judged.begin(), answers.judged.end(), [&](const Judged& one) {
            return one.outcome.generation == answers.host.control.generation;
        });
        if (answers.settled || tries == kTries) {
            return answers;
        }
    }
}

Result<WhyReport> report_of(const Engine::Parts& parts, const Answers& answers, std::size_t index) {
    const Question& question = answers.questions[index];
    const sg_outcome& outcome = answers.judged[index].outcome;
    const State& state = answers.host.applied->state;
    const Interface& interface = *question.interface;
    WhyContext why{state, interface, fields_of(question.frame, question.direction, question.length)};
    const ReasonWords& words = reason_words(outcome.reason);
    WhyReport report;
    report.interface = interface.name;
    report.direction = question.direction;
    report.packet = describe(question.frame, question.direction, question.length);
    report.passes = answers.judged[index].passed;
    report.reason = words.name;
    report.sentence = words.sentence;
    report.generation = outcome.generation;
    report.stage = stage_name(outcome.stage);
    report.tracking = tracking_name(outcome.tracking);
    report.tracking_why = tracking_words(why, outcome);
    report.notes = notes_of(parts, answers, interface);
    if (outcome.rule != 0) {
        if (auto added = add_rule(parts, answers.host, outcome.rule, report); !added) {
            return unexpected(added.error());
        }
        add_peer(state, interface, key_address(why.packet.key.remote, why.packet.key.family), outcome.stage, report);
    }
    if (outcome.tracking == SG_TRACKING_FLOW) {
        why.packet.key.interface_slot =
            static_cast<__u16>(interface_slots(answers.host.image).find(interface.id)->second);
        if (auto added = add_flow(parts, answers.host, why.packet.key, outcome.flow_slot, report); !added) {
            return unexpected(added.error());
        }
    }
    const bool no_rule = outcome.reason == SG_REASON_NO_RULE || outcome.reason == SG_REASON_FRAGMENT_ALONE;
    if (!report.passes) {
        report.detail = no_rule ? admits_words(why) : drop_words(why, outcome.reason);
    }
    if (no_rule) {
        const RuleQuestion asked = question_of(why.packet);
        const auto near = nearest_rule(state, interface, question.direction, asked);
        if (near && near->distance.dimensions() != 0) {
            report.nearest = NearestRule{rule_row(state, *near->group, question.direction, *near->rule),
                                         differences(*near, asked), difference_text(state, interface, *near, asked)};
        }
    }
    return report;
}

}  // namespace sgbpf
