// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "api/transition.hpp"

#include <algorithm>
#include <set>

#include "api/commit.hpp"
#include "compiler/compile.hpp"

namespace sgbpf {

namespace {

// Slots of removed rules that no flow names any more. Reads all flows: only when slots run out.
Result<std::vector<std::uint32_t>> reusable_rule_slots(Datapath& datapath, const MapImage& image,
                                                       const Capacities& capacities) {
    constexpr std::uint64_t kAlmostFullPercent = 80;  // early enough for the largest change in one commit
    if (std::uint64_t{image.rules.records.size()} * 100 < kAlmostFullPercent * capacities.rules) {
        return std::vector<std::uint32_t>{};
    }
    std::vector<std::uint32_t> retired = image.retired_rule_slots();
    auto flows = datapath.read_flows({});
    if (!flows) {
        return unexpected(flows.error());
    }
    std::set<std::uint32_t> named;
    for (const sg_flow& flow : flows->flows) {
        named.insert(flow.rule);
    }
    std::erase_if(retired, [&](std::uint32_t slot) { return named.count(slot) != 0; });
    return retired;
}

// Ids are not part of what changes() compares, quarantines neither. Precondition: it found nothing.
bool same_ids(const State& a, const State& b) {
    const auto same = [](const auto& left, const auto& right) {
        return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                          [](const auto& x, const auto& y) { return x.second.id == y.second.id; });
    };
    const auto same_rules = [](const auto& left, const auto& right) {
        for (const unsigned direction : {SG_IN, SG_OUT}) {
            std::set<std::string_view> ids;
            for (const Rule& rule : left.second.rules[direction]) {
                ids.insert(rule.id);
            }
            for (const Rule& rule : right.second.rules[direction]) {
                if (ids.count(rule.id) == 0) {
                    return false;
                }
            }
        }
        return true;
    };
    return same(a.vpcs, b.vpcs) && same(a.peerings, b.peerings) && same(a.prefix_lists, b.prefix_lists) &&
           same(a.groups, b.groups) && same(a.interfaces, b.interfaces) &&
           std::equal(a.groups.begin(), a.groups.end(), b.groups.begin(), b.groups.end(), same_rules) &&
           std::equal(a.interfaces.begin(), a.interfaces.end(), b.interfaces.begin(), b.interfaces.end(),
                      [](const auto& x, const auto& y) { return x.second.quarantine == y.second.quarantine; });
}

// An interrupted run may have left flows of interfaces that are gone; their slots may be given away next.
Result<void> flush_unused_slots(const Engine::Parts& parts, const MapImage& image) {
    auto flows = parts.datapath->read_flows({});
    if (!flows) {
        return unexpected(flows.error());
    }
    std::set<std::uint32_t> unused;
    for (const sg_flow& flow : flows->flows) {
        if (image.interface_at(flow.key.interface_slot) == nullptr) {
            unused.insert(flow.key.interface_slot);
        }
    }
    for (const std::uint32_t slot : unused) {
        if (auto flushed = parts.flush_slot(slot); !flushed) {
            return unexpected(flushed.error());
        }
    }
    return {};
}

void save_cache(const Engine::Parts& parts, const MapImage& image, bool staged) {
    const std::vector<std::byte> bytes = serialise(image);
    const auto saved =
        parts.store->save_image_cache({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, staged);
    if (!saved) {
        parts.debug("image cache: " + saved.error().message);
    }
}

Applied record_of(const Transition& transition, const HostPolicy& host, const std::string& source, bool unconfirmed) {
    const bool writes = transition.writes() != 0 || unconfirmed;
    Applied applied;
    applied.state = transition.desired;
    applied.generation = writes ? transition.commit.to : transition.host.control.generation;
    applied.digest_hex = to_hex(writes ? transition.commit.digest : transition.host.control.digest);
    applied.applied_by = caller_text();
    applied.applied_at = utc_text(std::chrono::system_clock::now());
    applied.source = source;
    applied.host_words = host_policy_words(host);
    return applied;
}

}  // namespace

Result<Transition> plan_transition(const Engine::Parts& parts, HostState host, State desired,
                                   const TransitionOptions& options) {
    Transition work;
    work.host = std::move(host);
    work.desired = std::move(desired);
    const State* applied = work.host.applied ? &work.host.applied->state : nullptr;
    assign_ids(work.desired, applied, parts.ids);
    // The kernel may enforce something else than applied.json says (host rebooted): then all of the file is new.
    static const State kNothing;
    work.changes = changes(work.host.kernel_empty || applied == nullptr ? kNothing : *applied, work.desired);
    work.same_state = work.host.applied_is_current && work.changes.empty() && same_ids(*applied, work.desired) &&
                      work.host.applied->host_words == host_policy_words(parts.host.policy);
    if (work.same_state && !options.revoke_always) {
        // Even if the image had to be read back and lost its names: what it enforces is right.
        work.next = work.host.image;
        work.slots = interface_slots(work.next);
        if (options.reversible) {
            work.commit = plan_commit(work.host.image, work.next, work.host.control.generation, true);
        }
        return work;
    }
    Capacities capacities = parts.host.capacities;
    std::vector<std::uint32_t> reusable;
    if (!work.host.kernel_empty) {
        auto real = parts.datapath->capacities();
        if (!real) {
            return unexpected(real.error());
        }
        capacities = *real;
        auto slots = reusable_rule_slots(*parts.datapath, work.host.image, capacities);
        if (!slots) {
            return unexpected(slots.error());
        }
        reusable = std::move(*slots);
    }
    auto next = compile({work.desired, work.host.image, capacities, &reusable, work.host.control.generation + 1,
                         &parts.host.policy, options.revoke, options.revoke_always});
    if (!next) {
        Error error = next.error();
        error.message += "; nothing changed";
        if (error.code == ErrorCode::kExhausted && !work.host.kernel_empty && !(capacities == parts.host.capacities)) {
            error.message +=
                "; the loaded maps keep the sizes they were made with, until `sgbpf remove-all` and a new apply";
        }
        return unexpected(std::move(error));
    }
    work.next = std::move(*next);
    work.commit = plan_commit(work.host.image, work.next, work.host.control.generation, options.reversible);
    work.slots = interface_slots(work.next);
    return work;
}

std::vector<std::string> touched_interfaces(const Transition& transition) {
    std::vector<std::string> names;
    const MapImage& before = transition.host.image;
    const MapImage& after = transition.next;
    for (const auto& [name, interface] : transition.desired.interfaces) {
        const auto slot = transition.slots.find(interface.id);
        if (slot == transition.slots.end()) {
            continue;
        }
        const InterfaceImage* now = after.interface_at(slot->second);
        const InterfaceImage* then = before.interface_at(slot->second);
        bool differs = then == nullptr || !(then->sum == now->sum);
        for (unsigned direction = 0; !differs && direction < SG_DIRECTIONS; ++direction) {
            const std::uint32_t policy_slot = now->config.policy_slot[direction];
            differs = policy_slot >= before.policy_slots.size() ||
                      before.policy_slots[policy_slot].policy != after.policy_slots[policy_slot].policy;
        }
        if (differs) {
            names.push_back(name);
        }
    }
    return names;
}

Result<CommitOutcome> carry_out(const Engine::Parts& parts, Transition& transition, const std::string& source,
                                std::uint32_t confirm_seconds, const std::function<void()>& before_cleanup) {
    CommitOutcome outcome;
    const CommitHooks hooks{.before_edit = {}, .before_cleanup = before_cleanup};
    const bool unconfirmed = confirm_seconds != 0;
    const Applied applied = record_of(transition, parts.host.policy, source, unconfirmed);
    if (auto staged = parts.store->stage_applied(applied); !staged) {
        Error error = staged.error();
        error.message += "; nothing changed";
        return unexpected(std::move(error));
    }
    if (transition.host.kernel_empty) {
        if (auto opened = parts.datapath->open(parts.host.capacities, true); !opened) {
            parts.store->drop_staged();
            return unexpected(opened.error());
        }
    } else if (transition.host.from_kernel) {
        if (auto flushed = flush_unused_slots(parts, transition.host.image); !flushed) {
            parts.store->drop_staged();
            return unexpected(flushed.error());
        }
    }
    if (unconfirmed) {
        save_cache(parts, transition.next, true);
    }
    if (transition.writes() != 0 || unconfirmed) {
        const auto stats = unconfirmed ? run_unconfirmed_commit(*parts.datapath, transition.commit, confirm_seconds)
                                       : run_commit(*parts.datapath, transition.commit, &hooks);
        const auto control = parts.datapath->control();
        if (!stats && (unconfirmed || !(control && control->generation == transition.commit.to))) {
            Error error = stats.error();
            error.message += "; the rules in force are those from before, the next apply repairs the rest";
            return unexpected(std::move(error));
        }
        if (stats) {
            outcome.writes = stats->writes;
            outcome.undone_at = stats->undone_at;
            outcome.engine_ms = static_cast<double>(stats->engine_us) / 1000;
            outcome.grace_ms = static_cast<double>(stats->grace_us + stats->cleanup_us) / 1000;
        } else {
            outcome.notes.push_back("the new rules are in force; cleaning up failed and is left to the next apply: " +
                                    stats.error().message);
        }
        if (control) {
            transition.host.control = *control;
        }
    }
    if (unconfirmed) {
        return outcome;
    }
    // The change is made; what fails from here on is a note.
    if (auto promoted = parts.store->promote_staged(); !promoted) {
        outcome.notes.push_back("warning: the applied state is not saved yet, the next apply does it: " +
                                promoted.error().message);
    }
    return outcome;
}

void finish(const Engine::Parts& parts, Transition& transition, std::vector<std::string>* notes) {
    for (const std::uint32_t slot : transition.next.retired_interfaces) {
        if (const auto flushed = parts.flush_slot(slot); !flushed) {
            notes->push_back("warning: flows of an interface that left are not forgotten yet: " +
                             flushed.error().message);
            return;  // without a cache, the next run reads the maps and tries again
        }
    }
    transition.next.retired_interfaces.clear();
    save_cache(parts, transition.next, false);
}

void finish_confirmed(const Engine::Parts& parts, const HostState& host, std::vector<std::string>* notes) {
    if (const auto flushed = flush_unused_slots(parts, host.image); !flushed) {
        notes->push_back("warning: flows of an interface that left are not forgotten yet: " + flushed.error().message);
        return;
    }
    save_cache(parts, host.image, false);
    parts.store->drop_staged();
}

}  // namespace sgbpf
