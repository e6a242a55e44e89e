// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Written by hand rather than by an emitter: the quoting is the point. Plain text is left unquoted only if
// every reader, YAML 1.1 and 1.2, takes it for the same text.
#include "model/yaml_out.hpp"

#include "base/strings.hpp"
#include "model/protocols.hpp"
#include "model/text.hpp"
#include "model/tracking.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace sgbpf {

namespace {

bool is_plain(std::string_view text) {
    // YAML 1.1's words for booleans, null and its special floats, in lower case.
    static constexpr std::array<std::string_view, 11> kWords = {"y",    "n",     "yes",  "no",  "on", "off",
                                                                "true", "false", "null", "nan", "inf"};
    const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
    // A letter first excludes numbers, dates and every indicator; inside, only what never ends or splits a scalar.
    const bool safe =
        !text.empty() && letter(text[0]) && text.back() != ' ' && std::all_of(text.begin(), text.end(), [&](char c) {
            return letter(c) || (c >= '0' && c <= '9') ||
                   std::string_view(" ._-/()+=;!$*@&").find(c) != std::string_view::npos;
        });
    return safe && std::find(kWords.begin(), kWords.end(), to_lower(text)) == kWords.end();
}

std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (byte < 0x20 || byte == 0x7f) {
            out += fmt::format("\\x{:02x}", byte);
        } else {
            out += c;
        }
    }
    return out + '"';
}

std::string scalar(std::string_view text) {
    return is_plain(text) ? std::string(text) : quoted(text);
}

std::string prefix_scalar(const std::string& text) {
    return text.find(':') == std::string::npos ? text : quoted(text);
}

template <typename List, typename Text> std::string flow_list(const List& list, const Text& text) {
    std::vector<std::string> parts;
    for (const auto& element : list) {
        parts.push_back(text(element));
    }
    return fmt::format("[{}]", fmt::join(parts, ", "));
}

std::string flow_map(const std::map<std::string, std::string>& map) {
    std::vector<std::string> parts;
    for (const auto& [key, value] : map) {
        parts.push_back(fmt::format("{}: {}", scalar(key), scalar(value)));
    }
    return fmt::format("{{{}}}", fmt::join(parts, ", "));
}

class Writer {
public:
    explicit Writer(const State& state) : state_(state) {
        for (const auto& [key, group] : state.groups) {
            ++uses_of_name_[group.name];
        }
    }

    std::string write() {
        out_ = "schema: sgbpf/v1\n";
        section("vpcs", state_.vpcs, true, [&](const Vpc& vpc) { write_vpc(vpc); });
        section("peerings", state_.peerings, false, [&](const Peering& peering) { write_peering(peering); });
        section("prefix_lists", state_.prefix_lists, false, [&](const PrefixList& list) { write_list(list); });
        if (!state_.groups.empty()) {
            out_ += "groups:\n";
            for (const auto& [key, group] : state_.groups) {
                line(1, scalar(name_in_file(group)) + ":");
                write_group(group);
            }
        }
        section("interfaces", state_.interfaces, false,
                [&](const Interface& interface) { write_interface(interface); });
        return std::move(out_);
    }

private:
    void line(int level, std::string_view text) {
        out_.append(static_cast<std::size_t>(level) * 2, ' ');
        out_ += text;
        out_ += '\n';
    }
    void field(int level, std::string_view key, std::string_view value) {
        line(level, fmt::format("{}: {}", key, value));
    }
    void id_field(const std::string& id) {
        if (!id.empty()) {
            field(2, "id", id);
        }
    }

    template <typename Map, typename Write>
    void section(std::string_view name, const Map& objects, bool always, const Write& write) {
        if (objects.empty()) {
            out_ += always ? fmt::format("{}: {{}}\n", name) : "";
            return;
        }
        out_ += fmt::format("{}:\n", name);
        for (const auto& [key, object] : objects) {
            line(1, scalar(key) + ":");
            write(object);
        }
    }

    // The key by which the parser finds this group again: its name where that is clear.
    std::string name_in_file(const Group& group) const {
        const std::size_t slash = group.name.find('/');
        const bool like_key = slash != std::string::npos && state_.vpcs.contains(group.name.substr(0, slash));
        return uses_of_name_.at(group.name) == 1 && !like_key ? group.name : group.key;
    }

    // How a rule of `from` names the group `key`: what the parser tries first is the own VPC.
    std::string reference(const std::string& key, const std::string& vpc, const std::string& self_key) const {
        if (key == self_key) {
            return "self";
        }
        const Group& group = state_.groups.at(key);
        return group.vpc == vpc && group.name != "self" ? group.name : key;
    }

    void write_vpc(const Vpc& vpc) {
        field(2, "cidrs", flow_list(vpc.cidrs, [](const Prefix& p) { return prefix_scalar(p.to_string()); }));
        id_field(vpc.id);
    }

    void write_peering(const Peering& peering) {
        field(2, "vpcs", flow_list(peering.vpcs, [](const std::string& vpc) { return scalar(vpc); }));
        field(2, "status", peering.status);
        id_field(peering.id);
    }

    void write_list(const PrefixList& list) {
        field(2, "family", family_text(list.family));
        field(2, "max_entries", std::to_string(list.max_entries));
        id_field(list.id);
        if (list.entries.empty()) {
            field(2, "entries", "[]");
            return;
        }
        line(2, "entries:");
        for (const PrefixListEntry& entry : list.entries) {
            const std::string prefix = prefix_scalar(entry.prefix.to_string());
            line(3, entry.description.empty()
                        ? fmt::format("- {}", prefix)
                        : fmt::format("- {{cidr: {}, description: {}}}", prefix, scalar(entry.description)));
        }
    }

    void write_group(const Group& group) {
        field(2, "vpc", scalar(group.vpc));
        field(2, "description", scalar(group.description));
        id_field(group.id);
        if (!group.owner.empty()) {
            field(2, "owner", quoted(group.owner));
        }
        if (!group.tags.empty()) {
            field(2, "tags", flow_map(group.tags));
        }
        static constexpr std::string_view kKeys[SG_DIRECTIONS] = {"inbound", "outbound"};
        for (std::size_t direction = 0; direction < SG_DIRECTIONS; ++direction) {
            if (group.rules[direction].empty()) {
                field(2, kKeys[direction], "[]");
                continue;
            }
            line(2, fmt::format("{}:", kKeys[direction]));
            for (const Rule& rule : group.rules[direction]) {
                line(3, rule_line(rule, group));
            }
        }
    }

    std::string rule_line(const Rule& rule, const Group& group) const {
        std::string text = fmt::format("- {{protocol: {}", protocol_text(rule.protocol));
        if (has_ports(rule.protocol)) {
            text += ", port: " + ports_text(rule);
        } else if (is_icmp(rule.protocol)) {
            const std::string_view name = icmp_name(rule.protocol, rule.icmp);
            text += rule.icmp == IcmpSelector{} ? ", icmp: all"
                    : !name.empty()             ? fmt::format(", icmp: {}", name)
                                    : fmt::format(", icmp: {{type: {}, code: {}}}", rule.icmp.type, rule.icmp.code);
        }
        if (const auto* prefix = std::get_if<Prefix>(&rule.peer)) {
            text += ", cidr: " + prefix_scalar(prefix->to_string());
        } else if (const auto* list = std::get_if<PrefixListRef>(&rule.peer)) {
            text += ", prefix_list: " + scalar(list->name);
        } else {
            text += ", group: " + scalar(reference(std::get<GroupRef>(rule.peer).key, group.vpc, group.key));
        }
        if (!rule.description.empty()) {
            text += ", description: " + scalar(rule.description);
        }
        if (!rule.tags.empty()) {
            text += ", tags: " + flow_map(rule.tags);
        }
        if (!rule.id.empty()) {
            text += ", id: " + rule.id;
        }
        return text + "}";
    }

    void write_interface(const Interface& interface) {
        const auto address = [](const Prefix& prefix) {
            // A bare address is the host prefix; /0 has no shorter form.
            return prefix_scalar(address_text(prefix));
        };
        field(2, "vpc", scalar(interface.vpc));
        field(2, "role", role_text(interface.role));
        const DeviceMatch& match = interface.match;
        std::map<std::string, std::string> fields;
        const std::pair<const char*, std::string> parts[] = {{"device", match.device},
                                                             {"mac", match.mac ? match.mac->to_string() : ""},
                                                             {"alias", match.alias},
                                                             {"netns", match.netns}};
        for (const auto& [key, value] : parts) {
            if (!value.empty()) {
                fields.emplace(key, value);
            }
        }
        field(2, "match", flow_map(fields));
        if (interface.mac) {
            field(2, "mac", quoted(interface.mac->to_string()));
        }
        field(2, "addresses", flow_list(interface.addresses, address));
        if (!interface.allowed_addresses.empty()) {
            field(2, "allowed_addresses", flow_list(interface.allowed_addresses, address));
        }
        field(2, "groups", flow_list(interface.groups, [&](const std::string& key) {
                  return scalar(reference(key, interface.vpc, {}));
              }));
        if (!interface.source_dest_check) {
            field(2, "source_dest_check", "false");
        }
        if (interface.timeouts != Timeouts{}) {
            field(2, "timeouts",
                  fmt::format("{{tcp_established: {}, udp: {}, udp_stream: {}}}", interface.timeouts.tcp_established,
                              interface.timeouts.udp, interface.timeouts.udp_stream));
        }
        if (interface.tracking != TrackingOptions{}) {
            std::vector<std::string> words;
            for (const auto& [key, word] : tracking_words(interface.tracking)) {
                // `off` is a truth value to readers of YAML 1.1.
                words.push_back(fmt::format("{}: {}", key, word == "off" ? quoted(word) : word));
            }
            field(2, "tracking", fmt::format("{{{}}}", fmt::join(words, ", ")));
        }
        id_field(interface.id);
    }

    const State& state_;
    std::map<std::string_view, std::size_t> uses_of_name_;
    std::string out_;
};

}  // namespace

std::string to_yaml(const State& state) {
    return Writer(state).write();
}

}  // namespace sgbpf
