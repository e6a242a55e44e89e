// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <arpa/inet.h>

#include <algorithm>
#include <map>

#include "image/encode.hpp"
#include "image/image.hpp"

namespace sgbpf {
namespace {

std::string text(const Prefix& prefix) {
    char buffer[INET6_ADDRSTRLEN] = {};
    inet_ntop(prefix.address.family == Family::kIpv4 ? AF_INET : AF_INET6, prefix.address.bytes.data(), buffer,
              sizeof(buffer));
    return std::string(buffer) + "/" + std::to_string(prefix.length);
}

std::string join(const std::vector<std::string>& words, const char* separator = " ") {
    std::string joined;
    for (const std::string& word : words) {
        joined += (joined.empty() ? "" : separator) + word;
    }
    return joined;
}

std::string range(const sg_interval& interval) {
    return interval.first == interval.last ? std::to_string(interval.first)
                                           : std::to_string(interval.first) + "-" + std::to_string(interval.last);
}

constexpr std::array kKindNames = {"tcp", "udp", "icmp", "icmpv6", "protocol"};

class Writer {
public:
    explicit Writer(const MapImage& image) : image_(image) {
        image.intervals.by_content.for_each(
            [&](const auto&, const IntervalRuns::Entry& entry) { runs_.emplace(entry.run->first, entry.run.get()); });
    }

    std::string write() {
        interfaces();
        policy_slots();
        policies();
        sets("list sets", kListSets);
        table("lists", kListSets);
        sets("group sets", kGroupSets);
        table("members", kGroupSets);
        services();
        rules();
        return std::move(out_);
    }

private:
    void line(int depth, const std::string& words) {
        out_ += std::string(static_cast<std::size_t>(depth) * 2, ' ') + words + "\n";
    }

    void interfaces() {
        line(0, "interfaces");
        for (std::size_t slot = 0; slot < image_.interfaces.size(); ++slot) {
            const InterfaceImage* interface = image_.interfaces[slot].get();
            if (interface == nullptr) {
                continue;
            }
            const sg_interface_config& config = interface->config;
            std::string flags;
            flags += (config.flags & SG_IF_READY) != 0 ? " ready" : "";
            flags += (config.flags & SG_IF_SOURCE_CHECK) != 0 ? " source-check" : "";
            flags += (config.flags & SG_IF_QUARANTINE) != 0 ? " quarantine" : "";
            flags += (config.flags & SG_IF_HOST) != 0 ? " host" : "";
            flags += (config.flags & SG_IF_STRICT) != 0 ? " strict" : "";
            flags += (config.flags & SG_IF_ALWAYS_TRACK) != 0 ? " always-track" : "";
            flags += (config.flags & SG_IF_SERVICES) != 0 ? " services" : "";
            flags += (config.flags & SG_IF_TRACK_PEERS) != 0 ? " tracked-peers" : "";
            if ((config.flags & SG_IF_MAC) != 0) {
                char mac[18];
                std::snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", config.mac[0], config.mac[1],
                              config.mac[2], config.mac[3], config.mac[4], config.mac[5]);
                flags += std::string(" mac ") + mac;
            }
            line(1, std::to_string(slot) + " " + interface->name + " " + std::string(id_text(interface->id)) + flags);
            line(2, "vpc " + std::to_string(config.vpc) + ", policy slots in " +
                        std::to_string(config.policy_slot[SG_IN]) + " out " +
                        std::to_string(config.policy_slot[SG_OUT]) + ", timeouts " +
                        std::to_string(config.tcp_established) + "/" + std::to_string(config.udp) + "/" +
                        std::to_string(config.udp_stream) + ", epoch " + std::to_string(config.epoch) + ", copy " +
                        std::to_string(interface->copy));
            line(2, "flows " + std::to_string(config.max_flows) + ", opening " + std::to_string(config.max_opening) +
                        ", reserved " + std::to_string(config.reserved) + ", recycle " +
                        std::to_string(config.opening_recycle) + ", recheck " + std::to_string(config.recheck_since) +
                        ", kill " + std::to_string(config.kill_since));
            for (const Prefix& prefix : interface->locals) {
                line(2, "local " + text(prefix));
            }
            for (const Prefix& prefix : interface->tracked_peers) {
                line(2, "always tracks " + text(prefix));
            }
            line(2, "unfiltered: " + std::to_string(config.exempt_rate) + " a second");
        }
    }

    void policy_slots() {
        line(0, "policy slots");
        for (std::size_t slot = 0; slot < image_.policy_slots.size(); ++slot) {
            const PolicySlot& entry = image_.policy_slots[slot];
            if (entry.policy != 0) {
                line(1, std::to_string(slot) + " -> " + std::to_string(entry.policy) +
                            (entry.key == nullptr ? ""
                                                  : ": " + entry.key->vpc + " [" + join(entry.key->groups) + "] " +
                                                        (entry.key->direction == SG_IN ? "in" : "out")));
            }
        }
    }

    // Rule ids rather than slots: they are what a reader knows.
    std::string ports(const ClassBlock& block, const sg_ports& ports) const {
        const auto run = runs_.find(ports.first_interval);
        const auto refs = std::find_if(block.ref_runs.begin(), block.ref_runs.end(), [&](const auto& candidate) {
            return candidate.first == ports.first_rule && candidate.count == ports.intervals;
        });
        if (run == runs_.end() || refs == block.ref_runs.end()) {
            return " (broken)";
        }
        std::string words;
        for (std::uint32_t i = 0; i < ports.intervals; ++i) {
            words += " " + range(run->second->intervals[i]) + "=" +
                     std::string(image_.rule_id(block.rules[refs->begin + i]));
        }
        return words;
    }

    void block(const ClassBlock& block) {
        for (const ClassBlock::NumberedClass& numbered : block.classes) {
            line(2, "class " + std::to_string(numbered.number));
            for (std::size_t kind = 0; kind < SG_KINDS; ++kind) {
                if (numbered.content.kind[kind].intervals != 0) {
                    line(3, kKindNames[kind] + ports(block, numbered.content.kind[kind]));
                }
            }
        }
    }

    void policies() {
        line(0, "policies");
        for (std::size_t number = 0; number < image_.policies.size(); ++number) {
            const PolicyEntry& entry = image_.policies[number];
            if (entry.policy == nullptr) {
                continue;
            }
            const sg_policy& record = entry.policy->record;
            std::string words = std::to_string(number) + " vpc " + std::to_string(record.vpc);
            constexpr std::array kTables = {"cidr4", "cidr6", "list4", "list6", "groups"};
            constexpr std::array kOpen = {"tcp4", "udp4", "tcp6", "udp6"};
            for (std::size_t bit = 0; bit < kTables.size(); ++bit) {
                words += (record.tables >> bit & 1) != 0 ? std::string(" ") + kTables[bit] : "";
            }
            for (std::size_t bit = 0; bit < kOpen.size(); ++bit) {
                words += (record.open >> bit & 1) != 0 ? std::string(" open-") + kOpen[bit] : "";
            }
            line(1, words);
            for (std::size_t family = 0; family < SG_FAMILIES; ++family) {
                if (record.any_class[family] != 0) {
                    line(2, (family == SG_IPV4 ? "any4 -> " : "any6 -> ") + std::to_string(record.any_class[family]));
                }
            }
            for (const auto& row : entry.policy->cidr4) {
                line(2, "cidr " + text(prefix_of(row.key)) + " -> " + std::to_string(row.class_number));
            }
            for (const auto& row : entry.policy->cidr6) {
                line(2, "cidr " + text(prefix_of(row.key)) + " -> " + std::to_string(row.class_number));
            }
            for (const PolicyRows::Row& row : entry.rows->rows) {
                line(2, "set " + std::to_string(row.set) + " -> " + std::to_string(row.class_number));
            }
            block(entry.policy->block);
            for (const auto& subset : entry.rows->classes) {
                block(subset->block);
            }
        }
    }

    void sets(const char* title, SetKind kind) {
        line(0, title);
        for (const SetContent& set : image_.sets[kind]->sets) {
            line(1, std::to_string(set.number) + ": " + join(set.names));
        }
    }

    void table(const char* title, SetKind kind) {
        line(0, title);
        for (const auto& of_family : image_.sets[kind]->tables) {
            for (const SetRow& row : of_family->rows) {
                const std::string scope = kind == kListSets ? (row.scope == SG_BAND_SHORT ? "short" : "long")
                                                            : "vpc " + std::to_string(row.scope);
                line(1, scope + " " + text(row.prefix) + " -> " + std::to_string(row.value));
            }
        }
    }

    void services() {
        line(0, "services");
        constexpr std::array kProtocols = {"tcp", "udp", "icmp", "all"};
        for (const auto& of_family : image_.services) {
            for (const SetRow& row : of_family->rows) {
                const std::string ways = std::string((row.value & SG_SERVICE_WAY(SG_IN)) != 0 ? " in" : "") +
                                         ((row.value & SG_SERVICE_WAY(SG_OUT)) != 0 ? " out" : "");
                line(1, "vpc " + std::to_string(row.scope >> 16 & SG_MAX_SERVICE_VPCS) + " " +
                            kProtocols[row.scope >> 29 & 3] + " " + std::to_string(row.scope & 0xffff) + " " +
                            text(row.prefix) + " ->" + ways);
            }
        }
    }

    void rules() {
        line(0, "rules");
        for (std::size_t slot = 1; slot < image_.rules.records.size(); ++slot) {
            const sg_rule& rule = image_.rules.records[slot];
            line(1, std::to_string(slot) + " " + std::string(id_text(rule.id)) + (rule.live != 0 ? "" : " retired") +
                        (rule.incarnation != 0 ? " incarnation " + std::to_string(rule.incarnation) : ""));
        }
    }

    const MapImage& image_;
    std::map<std::uint32_t, const IntervalRun*> runs_;
    std::string out_;
};

}  // namespace

std::string to_text(const MapImage& image) {
    return Writer(image).write();
}

}  // namespace sgbpf
