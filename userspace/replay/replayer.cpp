// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "replay/replayer.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "api/commit.hpp"
#include "base/strings.hpp"
#include "compiler/compile.hpp"
#include "image/plan.hpp"
#include "model/text.hpp"

namespace sgbpf {

namespace {

// The clock starts here: ticks of 0 would stand for "never".
constexpr std::uint64_t kStartMs = 1'000'000;
// Ticks are 32 bits of milliseconds, ages are told up to half of that, 24 days: no flow may stay unswept for
// longer. The longest idle timer is five days (SG-5.29).
constexpr std::uint64_t kMaxUnsweptMs = std::uint64_t{6} * 24 * 3600 * 1000;

}  // namespace

Replayer::Replayer(const Options& options, std::unique_ptr<Sandbox> sandbox)
    : capacities_(options.capacities), host_(options.host), sandbox_(std::move(sandbox)), now_ms_(kStartMs),
      swept_until_ms_(kStartMs), full_pass_ms_(kStartMs) {}

Result<std::unique_ptr<Replayer>> Replayer::make(const Options& options) {
    auto sandbox = Sandbox::load({.capacities = options.capacities, .kind = options.programs});
    if (!sandbox) {
        return unexpected(std::move(sandbox).error());
    }
    return std::unique_ptr<Replayer>(new Replayer(options, std::move(*sandbox)));
}

Result<void> Replayer::apply(State state) {
    assign_ids(state, state_ ? &*state_ : nullptr, ids_);
    auto next = compile({state, image_, capacities_, nullptr, 0, &host_});
    if (!next) {
        return unexpected(std::move(next).error());
    }
    const CommitPlan plan = plan_commit(image_, *next, generation_);
    if (plan.edits() != 0) {
        if (auto done = run_commit(*sandbox_, plan); !done) {
            return unexpected(done.error());
        }
        generation_ = plan.to;
    }
    // An interface that left takes its flows with it; its slot may be another's next.
    for (const std::uint32_t slot : next->retired_interfaces) {
        FlowFilter what;
        what.interface_slot = slot;
        if (auto flushed = sandbox_->flush_flows(what); !flushed) {
            return unexpected(flushed.error());
        }
    }
    next->retired_interfaces.clear();
    image_ = std::move(*next);
    slots_.clear();
    scarce_ = capacities_.flows - 1;
    for (const auto& [name, interface] : state.interfaces) {
        slots_[name] = image_.interface_slot(interface.id).value_or(0);
        if (const InterfaceImage* image = image_.interface_at(slots_[name])) {
            scarce_ = std::min({scarce_, image->config.max_flows, image->config.max_opening});
        }
    }
    for (const auto& [key, group] : state.groups) {
        for (const unsigned direction : {SG_IN, SG_OUT}) {
            for (const Rule& rule : group.rules[direction]) {
                rules_[rule.id] = {rule.id, group.name, rule_text(rule, direction)};
            }
        }
    }
    state_ = std::move(state);
    return {};
}

Result<void> Replayer::sweep(std::uint64_t now_ms, std::uint64_t slices) {
    for (std::uint64_t i = 0; i < slices; ++i) {
        if (auto swept = sandbox_->sweep(now_ms); !swept) {
            return swept;
        }
    }
    return {};
}

// The live sweeper looks at SG_SWEEP_RECORDS records each SG_SWEEP_MS. Expired means absent to every lookup, so
// all that a replay can see of it is whether an entry is free when one is wanted. So its slices are owed, and run
// when entries may be scarce or ages may wrap: a capture of a year costs one pass in six days, not a billion ticks.
Result<void> Replayer::advance(std::uint64_t time_ms) {
    const std::uint64_t before = now_ms_;
    now_ms_ = std::max(now_ms_, kStartMs + time_ms);
    const std::uint64_t whole_pass = (capacities_.flows + SG_SWEEP_RECORDS - 1) / SG_SWEEP_RECORDS;
    if (now_ms_ - full_pass_ms_ > kMaxUnsweptMs) {
        // After a long gap: at a moment when every flow is over, and still young enough to be seen as such.
        auto swept = sweep(std::min(before + kMaxUnsweptMs, now_ms_), whole_pass);
        full_pass_ms_ = swept_until_ms_ = now_ms_;
        return swept;
    }
    const std::uint64_t owed = std::min((now_ms_ - swept_until_ms_) / SG_SWEEP_MS, whole_pass);
    if (owed == 0 || opened_ < scarce_) {
        return {};
    }
    swept_until_ms_ = now_ms_;
    if (auto swept = sweep(now_ms_, owed); !swept) {
        return swept;
    }
    if (owed < whole_pass) {
        return {};
    }
    full_pass_ms_ = now_ms_;
    auto flows = sandbox_->read_flows({.limit = 1});
    if (!flows) {
        return unexpected(flows.error());
    }
    opened_ = flows->live;
    return {};
}

Result<ReplayVerdict> Replayer::judge(const Packet& packet) {
    const auto slot = slots_.find(packet.interface);
    if (slot == slots_.end()) {
        return unexpected(
            make_error(ErrorCode::kNotFound, fmt::format("no interface {} is applied", printable(packet.interface))));
    }
    if (auto advanced = advance(packet.time_ms); !advanced) {
        return unexpected(advanced.error());
    }
    const auto judged = sandbox_->judge({.direction = packet.direction,
                                         .interface_slot = slot->second,
                                         .frame = packet.frame,
                                         .now_ms = now_ms_,
                                         .length = packet.wire_length});
    if (!judged) {
        return unexpected(judged.error());
    }
    const sg_outcome& outcome = judged->outcome;
    ReplayVerdict verdict{.passed = judged->passed,
                          .reason = outcome.reason,
                          .rule = nullptr,
                          .tracking = outcome.tracking,
                          .flow_state = SG_FLOW_FREE,
                          .generation = outcome.generation};
    opened_ += outcome.tracking == SG_TRACKING_OPENED ? 1 : 0;
    if (const auto flow = sandbox_->flow_at(outcome.flow_slot)) {
        verdict.flow_state = SG_WORD_STATE(flow->word);
    }
    if (outcome.rule != 0) {
        if (const auto rule = rules_.find(image_.rule_id(outcome.rule)); rule != rules_.end()) {
            verdict.rule = &rule->second;
        }
    }
    return verdict;
}

}  // namespace sgbpf
