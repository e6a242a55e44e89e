// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The image as bytes, for the cache in the state directory; deserialise.cpp reads in the same order.
#include <unordered_map>

#include "image/cache_bytes.hpp"
#include "image/image.hpp"

namespace sgbpf {
namespace {

using cache::Out;

void write_peer(Out& out, const Peer& peer) {
    out.pod(static_cast<std::uint8_t>(peer.index()));
    if (const auto* prefix = std::get_if<Prefix>(&peer)) {
        out.pod(*prefix);
    } else if (const auto* list = std::get_if<PrefixListRef>(&peer)) {
        out.text(list->name);
    } else {
        out.text(std::get<GroupRef>(peer).key);
    }
}

void write_rules(Out& out, const GroupRules& group) {
    out.text(group.group);
    out.pod(group.direction);
    out.pod(static_cast<std::uint64_t>(group.rules.size()));
    for (const CompiledRule& rule : group.rules) {
        out.pod(rule.id);
        out.pod(rule.slot);
        out.pod(rule.protocol);
        out.pod(rule.ports);
        write_peer(out, rule.peer);
    }
}

void write_block(Out& out, const ClassBlock& block) {
    out.pods(block.classes);
    out.pods(block.ref_runs);
    out.pods(block.rules);
    out.pod(static_cast<std::uint64_t>(block.intervals.size()));
    for (const auto& run : block.intervals) {
        out.pod(run->first);
    }
}

// Rules of groups by position in the file: policies name them by it, so that sharing survives.
class ImageWriter {
public:
    explicit ImageWriter(const MapImage& image) : image_(image) {}

    std::vector<std::byte> write() {
        write_intervals();
        write_groups();
        write_interfaces();
        write_policies();
        write_sets();
        write_rest();
        return std::move(out_.bytes);
    }

private:
    void write_intervals() {
        out_.pod(static_cast<std::uint64_t>(image_.intervals.by_content.size()));
        image_.intervals.by_content.for_each([&](const auto&, const IntervalRuns::Entry& entry) {
            out_.pod(entry.run->first);
            out_.pod(entry.blocks);
            out_.pods(entry.run->intervals);
        });
    }

    void write_groups() {
        // A policy may hold rules that no group of the image has any more: none today, but cheap to allow.
        std::vector<const GroupRules*> all;
        const auto add = [&](const std::shared_ptr<const GroupRules>& rules) {
            if (position_.emplace(rules.get(), static_cast<std::uint32_t>(all.size())).second) {
                all.push_back(rules.get());
            }
        };
        for (const auto& group : image_.groups) {
            add(group->rules[SG_IN]);
            add(group->rules[SG_OUT]);
        }
        for (std::size_t i = 0; i < image_.policies.size(); ++i) {
            if (image_.policies[i].policy != nullptr) {
                for (const auto& rules : image_.policies[i].policy->groups) {
                    add(rules);
                }
            }
        }
        out_.pod(static_cast<std::uint64_t>(all.size()));
        for (const GroupRules* rules : all) {
            write_rules(out_, *rules);
        }
        out_.pod(static_cast<std::uint64_t>(image_.groups.size()));
        for (const auto& group : image_.groups) {
            out_.text(group->key);
            out_.pod(position_.at(group->rules[SG_IN].get()));
            out_.pod(position_.at(group->rules[SG_OUT].get()));
        }
    }

    void write_interfaces() {
        std::vector<const InterfaceImage*> all;
        for (std::size_t slot = 0; slot < image_.interfaces.size(); ++slot) {
            if (image_.interfaces[slot] != nullptr) {
                all.push_back(image_.interfaces[slot].get());
            }
        }
        out_.pod(static_cast<std::uint64_t>(all.size()));
        for (const InterfaceImage* interface : all) {
            out_.text(interface->name);
            out_.pod(interface->id);
            out_.pod(interface->slot);
            out_.pod(interface->copy);
            out_.pod(interface->config);
            out_.pods(interface->locals);
            out_.pods(interface->tracked_peers);
        }
    }

    void write_policies() {
        std::vector<std::uint32_t> slots;
        for (std::uint32_t slot = 0; slot < image_.policy_slots.size(); ++slot) {
            if (image_.policy_slots[slot].policy != 0) {
                slots.push_back(slot);
            }
        }
        out_.pod(static_cast<std::uint64_t>(slots.size()));
        for (const std::uint32_t slot : slots) {
            const PolicySlot& entry = image_.policy_slots[slot];
            out_.pod(slot);
            out_.pod(entry.policy);
            out_.pod(static_cast<std::uint8_t>(entry.key != nullptr));
            if (entry.key != nullptr) {
                out_.text(entry.key->vpc);
                out_.texts(entry.key->groups);
                out_.pod(entry.key->direction);
            }
        }
        std::vector<const PolicyEntry*> policies;
        for (std::size_t i = 0; i < image_.policies.size(); ++i) {
            if (image_.policies[i].policy != nullptr) {
                policies.push_back(&image_.policies[i]);
            }
        }
        out_.pod(static_cast<std::uint64_t>(policies.size()));
        for (const PolicyEntry* entry : policies) {
            write_policy(*entry->policy, *entry->rows);
        }
    }

    void write_policy(const PolicyImage& policy, const PolicyRows& rows) {
        out_.pod(policy.number);
        out_.pod(policy.record);
        out_.pods(policy.cidr4);
        out_.pods(policy.cidr6);
        write_block(out_, policy.block);
        out_.pod(static_cast<std::uint64_t>(policy.groups.size()));
        for (const auto& rules : policy.groups) {
            out_.pod(position_.at(rules.get()));
        }
        out_.texts(policy.list_refs);
        out_.texts(policy.group_refs);
        out_.pods(rows.rows);
        out_.pod(static_cast<std::uint64_t>(rows.classes.size()));
        for (const auto& subset : rows.classes) {
            out_.pods(subset->refs);
            write_block(out_, subset->block);
        }
    }

    void write_sets() {
        for (const auto& family : image_.sets) {
            for (const auto& table : family->tables) {
                out_.pods(table->rows);
            }
            out_.pod(static_cast<std::uint64_t>(family->sets.size()));
            for (const SetContent& set : family->sets) {
                out_.pod(set.number);
                out_.texts(set.names);
            }
        }
        for (const auto& table : image_.services) {
            out_.pods(table->rows);
        }
        out_.pod(static_cast<std::uint64_t>(image_.lists.size()));
        for (const auto& list : image_.lists) {
            out_.text(list->name);
            out_.pod(list->family);
            out_.pods(list->given);
            out_.pods(list->sorted);
        }
    }

    void write_rest() {
        std::vector<sg_rule> rules;
        for (std::size_t slot = 0; slot < image_.rules.records.size(); ++slot) {
            rules.push_back(image_.rules.records[slot]);
        }
        out_.pods(rules);
        out_.pod(static_cast<std::uint64_t>(image_.vpcs.size()));
        for (const auto& [name, number] : image_.vpcs) {
            out_.text(name);
            out_.pod(number);
        }
        out_.pods(image_.retired_interfaces);
        for (const NumberPool* pool :
             {&image_.interface_pool, &image_.policy_slot_pool, &image_.policy_pool, &image_.class_pool,
              &image_.interval_pool, &image_.ref_pool, &image_.set_pool, &image_.vpc_pool}) {
            out_.pool(*pool);
        }
        out_.pod(image_.sum.lanes());
    }

    const MapImage& image_;
    Out out_;
    std::unordered_map<const GroupRules*, std::uint32_t> position_;
};

}  // namespace

std::vector<std::byte> serialise(const MapImage& image) {
    const std::vector<std::byte> body = ImageWriter(image).write();
    Out out;
    out.pod(cache::kMagic);
    out.pod(cache::kFormat);
    out.pod(std::uint32_t{SG_ABI_VERSION});
    out.pod(cache::checksum(body));
    out.bytes.insert(out.bytes.end(), body.begin(), body.end());
    return std::move(out.bytes);
}

}  // namespace sgbpf
