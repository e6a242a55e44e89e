// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The order of compilation: rules, then policies, then who is in which set, then what policies grant to
// sets, then interfaces. Each step reuses what the previous image has for the same input.
#include "compiler/compile.hpp"

#include <algorithm>
#include <cstring>
#include <set>

#include "compiler/limits.hpp"
#include "compiler/policy.hpp"
#include "compiler/resolve.hpp"
#include "compiler/services.hpp"
#include "compiler/tracking.hpp"
#include "compiler/workspace.hpp"
#include "image/encode.hpp"

namespace sgbpf {
namespace {

struct PolicyKeyHash {
    std::size_t operator()(const PolicyKey& key) const noexcept {
        std::size_t hash = std::hash<std::string>{}(key.vpc) + key.direction;
        for (const std::string& group : key.groups) {
            hash = hash * 0x9e3779b97f4a7c15 + std::hash<std::string>{}(group);
        }
        return hash;
    }
};
using SlotIndex = std::unordered_map<PolicyKey, std::uint32_t, PolicyKeyHash>;

SlotIndex index_slots(const MapImage& image) {
    SlotIndex index;
    for (std::size_t slot = 0; slot < image.policy_slots.size(); ++slot) {
        const PolicySlot& entry = image.policy_slots[slot];
        if (entry.policy != 0 && entry.key != nullptr) {
            index.emplace(*entry.key, static_cast<std::uint32_t>(slot));
        }
    }
    return index;
}

void sort_unique(std::vector<Prefix>& prefixes) {
    std::sort(prefixes.begin(), prefixes.end());
    prefixes.erase(std::unique(prefixes.begin(), prefixes.end()), prefixes.end());
}

std::uint32_t list_tables(const State& state, const std::vector<std::string>& names) {
    std::uint32_t tables = 0;
    for (const std::string& name : names) {
        const auto list = state.prefix_lists.find(name);
        if (list != state.prefix_lists.end()) {
            tables |= list->second.family == Family::kIpv4 ? SG_TABLE_LIST4 : SG_TABLE_LIST6;
        }
    }
    return tables;
}

class Compiler {
public:
    explicit Compiler(const CompileInput& input)
        : input_(input), workspace_(input), known_slots_(index_slots(input.previous)) {}

    Result<MapImage> run() {
        if (auto problem = tracking_does_not_fit(input_.state, workspace_.host().tracking, input_.capacities)) {
            return unexpected(std::move(*problem));
        }
        if (Result<void> groups = resolve_groups(workspace_); !groups) {
            return unexpected(std::move(groups).error());
        }
        number_vpcs(workspace_);
        if (Result<void> services = resolve_services(workspace_); !services) {
            return unexpected(std::move(services).error());
        }
        compile_policies();
        if (workspace_.too_many_refs()) {
            return unexpected(does_not_fit_at_all(workspace_));
        }
        release_policies();
        resolve_sets();
        compile_all_rows();
        if (workspace_.too_many_refs()) {
            return unexpected(does_not_fit_at_all(workspace_));
        }
        number_interfaces();
        if (std::optional<Error> problem = does_not_fit(workspace_)) {
            return unexpected(std::move(*problem));
        }
        workspace_.finish();
        return std::move(workspace_.next);
    }

private:
    MapImage& next() { return workspace_.next; }

    // Policy slots and policies for what interfaces carry.
    void compile_policies() {
        for (const auto& [name, interface] : input_.state.interfaces) {
            for (std::uint32_t direction = 0; direction < SG_DIRECTIONS && !workspace_.too_many_refs(); ++direction) {
                PolicyKey key{interface.vpc, interface.groups, direction};
                if (!slots_.contains(key)) {
                    compile_policy_of(std::move(key));
                }
            }
        }
    }

    void compile_policy_of(PolicyKey key) {
        std::vector<std::shared_ptr<const GroupRules>> groups;
        for (const std::string& group : key.groups) {
            groups.push_back(find_group(next(), group)->rules[key.direction]);
        }
        const std::uint32_t vpc = next().vpcs.at(key.vpc);
        PolicySlot entry;
        const auto known = known_slots_.find(key);
        std::uint32_t slot = 0;
        if (known != known_slots_.end()) {
            slot = known->second;
            entry = input_.previous.policy_slots[slot];
            const PolicyImage& policy = *input_.previous.policies[entry.policy].policy;
            const std::uint32_t lists = policy.record.tables & (SG_TABLE_LIST4 | SG_TABLE_LIST6);
            if (policy.groups == groups && policy.record.vpc == vpc &&
                lists == list_tables(input_.state, policy.list_refs)) {
                slots_.emplace(std::move(key), slot);
                kept_policies_.insert(entry.policy);
                return;
            }
        } else {
            slot = next().policy_slot_pool.take();
            entry.key = std::make_shared<const PolicyKey>(key);
        }
        const auto policy = compile_policy(workspace_, vpc, std::move(groups));
        entry.policy = policy->number;
        next().policies.set(policy->number, PolicyEntry{policy, nullptr});
        next().policy_slots.set(slot, std::move(entry));
        kept_policies_.insert(policy->number);
        slots_.emplace(std::move(key), slot);
    }

    // Policies and slots that no interface uses any more. Their classes are free once the commit is done.
    void release_policies() {
        std::unordered_set<std::uint32_t> kept_slots;
        for (const auto& [key, slot] : slots_) {
            kept_slots.insert(slot);
        }
        for (std::uint32_t slot = 0; slot < next().policy_slots.size(); ++slot) {
            if (next().policy_slots[slot].policy != 0 && !kept_slots.contains(slot)) {
                next().policy_slots.set(slot, {});
            }
        }
        for (std::uint32_t number = 0; number < next().policies.size(); ++number) {
            const PolicyEntry entry = next().policies[number];
            if (entry.policy == nullptr || kept_policies_.contains(number)) {
                continue;
            }
            workspace_.release(entry.policy->block);
            for (const auto& subset : entry.rows->classes) {
                workspace_.release(subset->block);
            }
            next().policies.set(number, {});
        }
    }

    void resolve_sets() {
        std::set<std::string> lists;
        GroupRefs group_refs;
        for (const auto& [key, slot] : slots_) {
            const PolicyImage& policy = *next().policies[next().policy_slots[slot].policy].policy;
            lists.insert(policy.list_refs.begin(), policy.list_refs.end());
            std::vector<std::string>& refs = group_refs[key.vpc];
            refs.insert(refs.end(), policy.group_refs.begin(), policy.group_refs.end());
        }
        resolve_lists(workspace_, {lists.begin(), lists.end()});
        resolve_members(workspace_, group_refs);
    }

    void compile_all_rows() {
        const bool sets_changed = next().sets != input_.previous.sets;
        std::optional<SetIndex> lists;
        std::unordered_map<std::uint32_t, SetIndex> groups;
        for (std::uint32_t number = 0; number < next().policies.size() && !workspace_.too_many_refs(); ++number) {
            const PolicyEntry& entry = next().policies[number];
            if (entry.policy == nullptr || (entry.rows != nullptr && !sets_changed)) {
                continue;
            }
            if (!lists) {
                lists = index_lists(next());
                groups = index_groups(next());
            }
            auto rows = compile_rows(workspace_, *entry.policy, *lists, groups[entry.policy->record.vpc], entry.rows);
            if (rows != entry.rows) {
                next().policies.set(number, PolicyEntry{entry.policy, std::move(rows)});
            }
        }
    }

    void number_interfaces() {
        std::unordered_map<FixedId, std::uint32_t, IdHash> known;
        for (std::uint32_t slot = 0; slot < input_.previous.interfaces.size(); ++slot) {
            if (const auto& interface = input_.previous.interfaces[slot]) {
                known.emplace(interface->id, slot);
            }
        }
        for (const auto& [name, interface] : input_.state.interfaces) {
            const FixedId id = fixed_id(interface.id);
            const auto found = known.find(id);
            if (found == known.end()) {
                const std::uint32_t slot = next().interface_pool.take();
                next().interfaces.set(slot, compile_interface(interface, slot, nullptr));
                continue;
            }
            const auto& before = input_.previous.interfaces[found->second];
            if (auto after = compile_interface(interface, found->second, before); after != before) {
                next().interfaces.set(found->second, std::move(after));
            }
            known.erase(found);
        }
        next().retired_interfaces.clear();
        for (const auto& [id, slot] : known) {
            next().interfaces.set(slot, nullptr);
            next().retired_interfaces.push_back(slot);
        }
        std::sort(next().retired_interfaces.begin(), next().retired_interfaces.end());
    }

    std::shared_ptr<const InterfaceImage> compile_interface(const Interface& interface, std::uint32_t slot,
                                                            const std::shared_ptr<const InterfaceImage>& before) {
        InterfaceImage image;
        image.name = interface.name;
        image.id = fixed_id(interface.id);
        image.slot = slot;
        image.locals = interface.addresses;
        image.locals.insert(image.locals.end(), interface.allowed_addresses.begin(), interface.allowed_addresses.end());
        sort_unique(image.locals);

        sg_interface_config& config = image.config;
        config.flags = SG_IF_READY;
        config.flags |= interface.source_dest_check ? SG_IF_SOURCE_CHECK : 0;
        config.flags |= interface.mac ? SG_IF_MAC : 0;
        config.flags |= interface.quarantine ? SG_IF_QUARANTINE : 0;
        config.flags |= interface.role == Role::kHost ? SG_IF_HOST : 0;
        const Tracking tracking = tracking_of(interface.tracking, workspace_.host().tracking, input_.capacities);
        image.tracked_peers = *tracking.always_track_peers;
        sort_unique(image.tracked_peers);
        config.flags |= tracking.strict ? SG_IF_STRICT : 0;
        config.flags |= tracking.always_track ? SG_IF_ALWAYS_TRACK : 0;
        config.flags |= tracking.related_icmp ? 0 : SG_IF_UNRELATED;
        config.max_flows = tracking.max_flows;
        config.max_opening = tracking.max_opening;
        config.reserved = tracking.reserved;
        config.opening_recycle = static_cast<std::uint16_t>(tracking.opening_recycle);
        for (std::uint32_t direction = 0; direction < SG_DIRECTIONS; ++direction) {
            config.policy_slot[direction] = slots_.at(PolicyKey{interface.vpc, interface.groups, direction});
        }
        config.vpc = next().vpcs.at(interface.vpc);
        config.flags |= has_services(next(), config.vpc) ? SG_IF_SERVICES : 0;
        config.flags |= image.tracked_peers.empty() ? 0 : SG_IF_TRACK_PEERS;
        config.exempt_rate = workspace_.host().exempt_rate;
        config.tcp_established = interface.timeouts.tcp_established;
        config.udp = interface.timeouts.udp;
        config.udp_stream = interface.timeouts.udp_stream;
        if (interface.mac) {
            std::memcpy(config.mac, interface.mac->bytes.data(), sizeof(config.mac));
        }
        if (before == nullptr) {
            config.epoch = 1;
            image.copy = 1;  // copy 0 of an unused record is all zero: "not ready" until the flip
        } else {
            const bool checked_anew = image.locals != before->locals || ((config.flags ^ before->config.flags) &
                                                                         (SG_IF_SOURCE_CHECK | SG_IF_STRICT)) != 0;
            // The generation, where it is known: also after a commit that was undone no number comes twice.
            const auto fresh = std::max(before->config.epoch + 1, static_cast<std::uint32_t>(input_.generation));
            const Revocation revocation = input_.revoke.value_or(tracking.revocation);
            const bool revokes =
                revocation != Revocation::kKeep && (input_.revoke_always || admits_differently(config, before->config));
            config.epoch = checked_anew || revokes ? fresh : before->config.epoch;
            // kill is recheck, and more: what a list or a group no longer admits ends with its next packet.
            config.recheck_since = revokes ? fresh : before->config.recheck_since;
            config.kill_since = revokes && revocation == Revocation::kKill ? fresh : before->config.kill_since;
            const bool same_config = std::memcmp(&config, &before->config, sizeof(config)) == 0;
            if (same_config && image.name == before->name && image.tracked_peers == before->tracked_peers) {
                return before;
            }
            image.copy = same_config ? before->copy : 1 - before->copy;
        }
        image.sum = sum_of(image);
        return std::make_shared<const InterfaceImage>(std::move(image));
    }

    // Whether a flow that was admitted under `before` may not be under `config`: other policies, or policies that
    // ask lists or groups whose members changed. Errs on the side of yes.
    bool admits_differently(const sg_interface_config& config, const sg_interface_config& before) {
        const MapImage& previous = input_.previous;
        for (unsigned direction = 0; direction < SG_DIRECTIONS; ++direction) {
            const std::uint32_t was = before.policy_slot[direction];
            const std::uint32_t number = next().policy_slots[config.policy_slot[direction]].policy;
            if (was >= previous.policy_slots.size() || previous.policy_slots[was].policy != number) {
                return true;
            }
            const PolicyImage& policy = *next().policies[number].policy;
            const auto changed = [&](SetKind kind) { return next().sets[kind] != previous.sets[kind]; };
            if ((!policy.list_refs.empty() && changed(kListSets)) ||
                (!policy.group_refs.empty() && changed(kGroupSets))) {
                return true;
            }
        }
        return false;
    }

    const CompileInput& input_;
    Workspace workspace_;
    SlotIndex known_slots_;
    SlotIndex slots_;  // in use by the new state
    std::unordered_set<std::uint32_t> kept_policies_;
};

}  // namespace

Result<MapImage> compile(const CompileInput& input) {
    return Compiler(input).run();
}

}  // namespace sgbpf
