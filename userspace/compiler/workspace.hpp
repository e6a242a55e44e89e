// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The image under construction and the numbers it hands out. Numbers that `previous` uses are never
// handed out again: during the commit old and new stand in the maps side by side. What is no longer
// used is collected and given back at the end.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_set>
#include <vector>

#include "compiler/compile.hpp"
#include "image/image.hpp"

namespace sgbpf {

class Workspace {
public:
    explicit Workspace(const CompileInput& input)
        : input_(input), next(input.previous),
          next_rule_slot_(static_cast<std::uint32_t>(std::max<std::size_t>(next.rules.records.size(), 1))) {}

    [[nodiscard]] const MapImage& previous() const { return input_.previous; }
    [[nodiscard]] const State& state() const { return input_.state; }
    [[nodiscard]] const Capacities& capacities() const { return input_.capacities; }
    [[nodiscard]] const HostPolicy& host() const { return input_.host != nullptr ? *input_.host : defaults_; }

    // --- Intervals: the host's one copy of this content.
    std::shared_ptr<const IntervalRun> intern(std::span<const sg_interval> intervals);
    void use(const IntervalRun& run);  // by one more class block

    // --- Rules
    // Slot of the rule with this id; a new one if it never had one. Marks it live.
    std::uint32_t rule_slot(const FixedId& id);
    // The rules of these groups are not what they were; those that rule_slot() was not asked for are retired.
    void retire_rules_of(std::shared_ptr<const GroupRules> old) { changed_groups_.push_back(std::move(old)); }
    void retire_unnamed_rules() { retire_unnamed_ = true; }

    // --- Class blocks
    void release(const ClassBlock& block);

    // A policy whose classes do not fit anyway need not be built to the end.
    void count_refs(std::uint64_t count) { refs_taken_ += count; }
    [[nodiscard]] bool too_many_refs() const { return refs_taken_ > capacities().rule_refs; }

    // Retires rules and gives numbers back; call once, last. Pools of small things (interfaces, slots,
    // policies, sets, VPCs) are counted anew from the image.
    void finish();

    // Highest element ends while old and new stand side by side; valid before finish().
    [[nodiscard]] std::uint64_t rule_slots_wanted() const { return next_rule_slot_; }

private:
    const CompileInput& input_;
    const HostPolicy defaults_;

public:
    MapImage next;

private:
    void retire_rules();
    void count_small_pools();

    std::uint32_t next_rule_slot_;
    std::size_t next_reusable_ = 0;
    std::unordered_set<std::uint32_t> live_now_;  // slots that rule_slot() returned
    std::vector<std::shared_ptr<const GroupRules>> changed_groups_;
    bool retire_unnamed_ = false;
    std::uint64_t refs_taken_ = 0;
    std::vector<NumberPool::Range> free_classes_;
    std::vector<NumberPool::Range> free_refs_;
    std::vector<NumberPool::Range> free_intervals_;
    std::vector<std::shared_ptr<const IntervalRun>> released_runs_;
    std::vector<std::uint32_t> packed_;  // scratch
};

}  // namespace sgbpf
