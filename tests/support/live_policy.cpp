// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "support/live_policy.hpp"

namespace sgbpf::test {

Result<std::unique_ptr<LivePolicy>> LivePolicy::make(const State& state, const Capacities& capacities,
                                                     TestPrograms::Mode mode, const HostPolicy& host) {
    auto programs = TestPrograms::load(capacities, mode);
    if (!programs) {
        return unexpected(std::move(programs).error());
    }
    std::unique_ptr<LivePolicy> policy(new LivePolicy);
    policy->capacities_ = capacities;
    policy->host_ = host;
    policy->programs_ = std::move(*programs);
    if (auto committed = policy->commit(state); !committed) {
        return unexpected(std::move(committed).error());
    }
    return policy;
}

Result<CommitPlan> LivePolicy::plan(const State& state) const {
    auto next = compile({state, image_, capacities_, nullptr, 0, &host_});
    if (!next) {
        return unexpected(std::move(next).error());
    }
    return plan_commit(image_, *next, generation_);
}

Result<CommitStats> LivePolicy::commit(const State& state, const CommitHooks* hooks) {
    auto next = compile({state, image_, capacities_, nullptr, 0, &host_});
    if (!next) {
        return unexpected(std::move(next).error());
    }
    const CommitPlan plan = plan_commit(image_, *next, generation_);
    auto stats = run_commit(programs_->sandbox(), plan, hooks);
    if (stats) {
        state_ = state;
        image_ = std::move(*next);
        generation_ = plan.to;
    }
    return stats;
}

Result<void> LivePolicy::recover() {
    auto image = repair(programs_->sandbox());
    if (!image) {
        return unexpected(std::move(image).error());
    }
    auto control = programs_->sandbox().control();
    if (!control) {
        return unexpected(std::move(control).error());
    }
    image_ = std::move(*image);
    generation_ = control->generation;
    return {};
}

PacketResult LivePolicy::judge(unsigned direction, const std::string& interface, const std::vector<std::uint8_t>& frame,
                               std::uint64_t now_ms, bool vlan_tag) {
    return programs_->run(direction, slot(interface), frame, now_ms, vlan_tag);
}

std::uint32_t LivePolicy::slot(const std::string& interface) const {
    const auto found = state_.interfaces.find(interface);
    return found == state_.interfaces.end() ? 0 : image_.interface_slot(found->second.id).value_or(0);
}

std::string LivePolicy::rule_id(const PacketResult& result) const {
    return std::string(image_.rule_id(result.rule));
}

Result<std::uint64_t> LivePolicy::flush_all() {
    return programs_->sandbox().flush_flows({});
}

}  // namespace sgbpf::test
