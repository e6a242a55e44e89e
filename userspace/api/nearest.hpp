// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The rule that comes nearest to admitting a packet that none admits. Pure; the verdict is never made here.
//
// Candidates are the rules of the interface's groups in the packet's direction. A rule and a packet are
// compared in three dimensions: protocol, port (or ICMP type), peer. The order, nearest first:
//   1  fewest dimensions that differ
//   2  the same protocol before another one
//   3  fewest ports between the packet's and the rule's (ICMP: another code before another type)
//   4  fewest bits by which the rule's prefix would have to be shorter; of a list its best entry, of a group
//      its best member; another family or nothing at all comes last
//   5  lowest id
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <sgbpf/state.hpp>

#include "frame/describe.hpp"

namespace sgbpf {

// What the rules are asked about a packet (bpf/policy_match.h, sg_set_question).
struct RuleQuestion {
    Protocol protocol = 0;
    std::optional<std::uint16_t> value;  // destination port, or ICMP type << 8 | code; a later fragment has none
    bool behind_ah = false;              // rules about protocol 51 may admit it, too (SG-2.12)
    bool is_fragment = false;            // a later one
    Address peer;
};
RuleQuestion question_of(const PacketFields& packet);

struct RuleDistance {
    bool protocol = false;  // differs
    bool port = false;
    bool peer = false;
    std::uint32_t ports = 0;
    std::uint32_t bits = 0;
    [[nodiscard]] unsigned dimensions() const { return (protocol ? 1u : 0u) + (port ? 1u : 0u) + (peer ? 1u : 0u); }
};
// All zero: the rule admits it.
RuleDistance distance(const State& state, const Interface& interface, const Rule& rule, const RuleQuestion& question);

struct NearRule {
    const Group* group = nullptr;
    const Rule* rule = nullptr;
    RuleDistance distance;
};
// nullopt: the interface has no rule in that direction.
std::optional<NearRule> nearest_rule(const State& state, const Interface& interface, unsigned direction,
                                     const RuleQuestion& question);

// "protocol", "port", "type", "peer", "family": for machines.
std::vector<std::string> differences(const NearRule& near, const RuleQuestion& question);
// "another port", "another protocol and another peer", "a fragment has no port", "group db has no member here".
std::string difference_text(const State& state, const Interface& interface, const NearRule& near,
                            const RuleQuestion& question);

// The longest entry of the list that holds the address; nullptr = none.
const PrefixListEntry* entry_of(const PrefixList& list, const Address& address);
// The interface that carries the group, is seen from `viewer`'s VPC (SG-4.17) and has the address; nullptr = none.
const Interface* member_of(const State& state, const Interface& viewer, const std::string& group,
                           const Address& address);
// Is there an active peering of the two, or are they one (SG-4.17)?
bool vpcs_meet(const State& state, const std::string& a, const std::string& b);

}  // namespace sgbpf
