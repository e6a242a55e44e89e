// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Rules -> classes: which ports a set of rules admits, and which rule each port is attributed to.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "compiler/workspace.hpp"
#include "image/image.hpp"

namespace sgbpf {

// A piece of port space and the rule that admits it.
struct Segment {
    sg_interval ports{};
    std::uint32_t rule = 0;  // slot
};
struct Claim {
    std::uint16_t first = 0;
    std::uint16_t last = 0;
    std::uint32_t rule = 0;
};
// Splits overlapping claims so that each number belongs to the first claim that covers it. Sorted,
// disjoint; neighbours of one rule are joined. O(n log n).
std::vector<Segment> attribute(std::span<const Claim> claims);

// Builds the classes of one block. Rules are named by rank: their position in the order of rule ids.
class BlockBuilder {
public:
    BlockBuilder(Workspace& workspace, std::span<const CompiledRule* const> by_rank)
        : workspace_(workspace), by_rank_(by_rank) {}

    // Number of the class of these rules (ranks, ascending); 0 for no rule. Equal contents: equal numbers.
    std::uint32_t class_of(std::span<const std::uint32_t> ranks);
    ClassBlock finish();

private:
    struct ClassHash {
        std::size_t operator()(const std::array<std::uint32_t, 16>& words) const noexcept;
    };
    sg_ports ports_of(std::span<const Segment> segments);
    std::uint32_t first_ref(const std::vector<std::uint32_t>& rules);

    Workspace& workspace_;
    std::span<const CompiledRule* const> by_rank_;
    ClassBlock block_;
    std::unordered_map<std::array<std::uint32_t, 16>, std::uint32_t, ClassHash> by_content_;
    std::unordered_map<std::vector<std::uint32_t>, std::uint32_t, IntervalContentHash> refs_;
    std::unordered_map<std::uint32_t, std::shared_ptr<const IntervalRun>> runs_;
    // Scratch, and shortcuts for the usual case: a class of one rule.
    std::array<std::vector<Claim>, SG_KINDS> claims_;
    std::vector<sg_interval> intervals_;
    std::vector<std::uint32_t> rules_;
};

// The sg_kind and numbers that a rule claims in each kind it speaks about. "-1" claims all of all kinds.
void claim(const CompiledRule& rule, std::array<std::vector<Claim>, SG_KINDS>& claims);
// The canonical numbers of a rule of the state: ports, or type<<8|code, or everything.
sg_interval canonical_ports(const Rule& rule);

}  // namespace sgbpf
