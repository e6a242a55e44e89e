// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The rules of a group: what they select, whom they name, and what deserves a warning (section 2).
#include "base/strings.hpp"
#include "model/ids.hpp"
#include "model/protocols.hpp"
#include "model/state_reader.hpp"
#include "model/text.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace sgbpf {

void StateReader::read_rules(const YamlNode& node, const Path& path, const Group& group, std::vector<Rule>& rules,
                             unsigned direction) {
    const auto* elements = list_elements({node, path}, "rules", report_);
    if (elements == nullptr) {
        return;
    }
    struct Origin {
        std::size_t element;
        Place place;
    };
    std::vector<Origin> origins;  // of rules[i]
    for (std::size_t i = 0; i < elements->size(); ++i) {
        const YamlNode& element = (*elements)[i];
        const Path here = path[i];
        Fields fields(element, here,
                      {"type", "protocol", "port", "icmp", "cidr", "prefix_list", "group", "description", "tags", "id"},
                      report_);
        if (!fields.valid()) {
            continue;
        }
        Rule rule;
        if (const YamlNode* description = fields.find("description")) {
            const Path text_path = here / "description";
            rule.description = read_description({*description, text_path}, true, report_).value_or("");
        }
        if (const YamlNode* tags = fields.find("tags")) {
            read_tags(*tags, here / "tags", rule.tags);
        }
        read_object_id(fields, "sgr-", here, rule.id);
        const bool selected = read_selector(fields, {element, here}, rule);
        std::vector<PlacedPeer> peers = read_peers(fields, {element, here}, group);
        if (peers.size() > 1 && !rule.id.empty()) {
            report_.error(element.place, here,
                          fmt::format("has one id and {} peers; each peer is a rule of its own", peers.size()));
        }
        if (!selected) {
            continue;
        }
        for (PlacedPeer& peer : peers) {  // SG-2.4: one rule per peer
            rule.peer = std::move(peer.peer);
            warn_about_rule(rule, {element, here}, fields.find("type") != nullptr, direction);
            rules.push_back(rule);
            origins.push_back({i, peer.place});
        }
    }

    // SG-2.33, SG-2.35; judged on canonical values, so after everything else.
    std::vector<std::size_t> order(rules.size());
    for (std::size_t i = 0; i < order.size(); ++i) {
        order[i] = i;
    }
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        return rule_less(rules[a], rules[b]) || (!rule_less(rules[b], rules[a]) && a < b);
    });
    for (std::size_t i = 1; i < order.size(); ++i) {
        if (!same_rule(rules[order[i - 1]], rules[order[i]])) {
            continue;
        }
        const Origin& first = origins[order[i - 1]];
        const Origin& again = origins[order[i]];
        const Path here = path[again.element];
        report_.error(again.place, here,
                      fmt::format("\"{}\" is there already, as {} on line {}", rule_text(rules[order[i]], direction),
                                  path[first.element].to_string(), first.place.line + 1));
    }
}

// Protocol, ports, ICMP type and code. False if something is wrong with them.
bool StateReader::read_selector(const Fields& fields, Site site, Rule& rule) {
    const YamlNode* protocol = fields.find("protocol");
    if (const YamlNode* type = fields.find("type")) {
        return read_type(fields, {*type, site.path}, site.path / "type", rule);
    }
    if (protocol == nullptr && (fields.misspelt("protocol") || fields.misspelt("type"))) {
        return false;
    }
    if (protocol == nullptr) {
        report_.error(site.node.place, site.path,
                      "key protocol (or type) is missing; write protocol: all for every one");
        return false;
    }
    const Path protocol_path = site.path / "protocol";
    const auto text = read_text({*protocol, protocol_path}, "a protocol", report_);
    if (!text) {
        return false;
    }
    const auto number = parse_protocol(*text);
    if (!number) {
        report_.error(protocol->place, protocol_path, number.error().message);
        return false;
    }
    rule.protocol = *number;
    const YamlNode* port = fields.find("port");
    const Path port_path = site.path / "port";
    if (port != nullptr && !has_ports(rule.protocol)) {  // SG-2.11, SG-2.18
        report_.warning(port->place, port_path,
                        fmt::format("ignored: protocol {} has no ports here{}", protocol_text(rule.protocol),
                                    is_icmp(rule.protocol) ? "; use icmp: for type and code" : ""));
    }
    bool good = true;
    if (has_ports(rule.protocol) && port == nullptr) {  // SG-2.14
        if (fields.misspelt("port")) {
            return false;
        }
        report_.error(
            site.node.place, site.path,
            fmt::format("key port is missing; protocol {} needs one, 0-65535 for all", protocol_text(rule.protocol)));
        good = false;
    } else if (has_ports(rule.protocol)) {
        if (port->kind == YamlNode::Kind::kList) {
            report_.error(port->place, port_path, "a rule has one port or one range; write a rule for each");
            return false;
        }
        const auto port_text = read_text({*port, port_path}, "a port or FIRST-LAST", report_);
        const auto range = port_text ? parse_ports(*port_text) : Result<PortRange>(PortRange{});
        good = port_text.has_value() && range.has_value();
        if (!range) {
            report_.error(port->place, port_path, range.error().message);
        } else {
            rule.ports = *range;
        }
    }
    return read_icmp(fields, site, rule) && good;
}

bool StateReader::read_type(const Fields& fields, Site site, const Path& path, Rule& rule) {
    bool good = true;
    for (const std::string_view key : {"protocol", "port", "icmp"}) {
        if (const YamlNode* other = fields.find(key)) {
            report_.error(other->place, site.path / key,
                          fmt::format("type says protocol and port already; remove {} or type", key));
            good = false;
        }
    }
    const auto name = read_text({site.node, path}, "a rule type such as ssh", report_);
    if (!name) {
        return false;
    }
    const RuleType* type = rule_type(*name);
    if (type == nullptr) {
        const std::vector<std::string> names = rule_type_names();
        report_.error(site.node.place, path,
                      to_lower(*name) == "dns"
                          ? std::string("\"dns\" is two types: write one rule with dns-udp and one with dns-tcp")
                          : fmt::format("\"{}\" is no rule type{}; or write protocol and port", printable(*name),
                                        did_you_mean(*name, names)));
        return false;
    }
    rule.protocol = type->protocol;
    rule.ports = type->ports;
    return good;
}

bool StateReader::read_icmp(const Fields& fields, Site site, Rule& rule) {
    const YamlNode* node = fields.find("icmp");
    if (!is_icmp(rule.protocol)) {
        if (node != nullptr) {
            report_.error(node->place, site.path / "icmp",
                          fmt::format("belongs to protocol icmp or icmpv6, not {}", protocol_text(rule.protocol)));
        }
        return node == nullptr;
    }
    if (node == nullptr) {
        if (rule.protocol == kIcmpv6 || fields.misspelt("icmp")) {  // SG-2.21
            return rule.protocol == kIcmpv6;
        }
        report_.error(site.node.place, site.path, "key icmp is missing; write icmp: echo-request, or icmp: all");
        return false;
    }
    const Path path = site.path / "icmp";
    if (node->kind != YamlNode::Kind::kMap) {
        const auto name = read_text({*node, path}, "the name of an ICMP type or {type: 8, code: -1}", report_);
        if (!name) {
            return false;
        }
        if (*name == "all" || *name == "-1") {
            return true;
        }
        if (const auto selector = icmp_by_name(rule.protocol, *name)) {
            rule.icmp = *selector;
            return true;
        }
        const std::vector<std::string> names = icmp_names(rule.protocol);
        const bool number = parse_decimal(*name).has_value();
        report_.error(node->place, path,
                      number ? fmt::format("write {{type: {}, code: -1}}, or a name", *name)
                             : fmt::format("\"{}\" is no {} type{}; or write {{type: NUMBER, code: NUMBER}}",
                                           printable(*name), protocol_text(rule.protocol), did_you_mean(*name, names)));
        return false;
    }
    Fields numbers(*node, path, {"type", "code"}, report_);
    const auto read = [&](std::string_view key, int& value) {
        const YamlNode* number = numbers.require(key, "; -1 means any");
        if (number == nullptr) {
            return false;
        }
        const Path here = path / key;
        if (number->kind == YamlNode::Kind::kScalar && number->text == "-1" && !number->quoted) {
            value = -1;
            return true;
        }
        const auto read_value = read_number({*number, here}, 0, 255, "(-1 means any)", report_);
        value = static_cast<int>(read_value.value_or(0));
        return read_value.has_value();
    };
    const bool type_read = read("type", rule.icmp.type);
    const bool code_read = read("code", rule.icmp.code);
    if (type_read && code_read && rule.icmp.type == -1 && rule.icmp.code != -1) {  // SG-2.20
        report_.warning(node->place, path, "type -1 means any type, so the code is read as -1");
        rule.icmp.code = -1;
    }
    return type_read && code_read;
}

// The peers of one entry; empty (reported) if they cannot be read.
std::vector<StateReader::PlacedPeer> StateReader::read_peers(const Fields& fields, Site site, const Group& group) {
    std::vector<PlacedPeer> peers;
    const YamlNode* cidr = fields.find("cidr");
    const YamlNode* list = fields.find("prefix_list");
    const YamlNode* peer_group = fields.find("group");
    const int given = (cidr != nullptr ? 1 : 0) + (list != nullptr ? 1 : 0) + (peer_group != nullptr ? 1 : 0);
    const bool misspelt = fields.misspelt("cidr") || fields.misspelt("prefix_list") || fields.misspelt("group");
    if (given > 1 || (given == 0 && !misspelt)) {  // SG-2.5
        report_.error(site.node.place, site.path,
                      given == 0 ? "names no peer; write one of cidr, prefix_list, group"
                                 : "names more than one kind of peer; write one of cidr, prefix_list, group");
    }
    if (cidr != nullptr && cidr->kind == YamlNode::Kind::kList) {
        const Path path = site.path / "cidr";
        if (cidr->children.empty()) {
            report_.error(cidr->place, path, "names no peer; write at least one CIDR");
        }
        for (std::size_t i = 0; i < cidr->children.size(); ++i) {
            const Path here = path[i];
            if (const auto prefix = read_prefix({cidr->children[i], here}, report_)) {
                peers.push_back({*prefix, cidr->children[i].place});
            }
        }
    } else if (cidr != nullptr) {
        const Path path = site.path / "cidr";
        if (const auto prefix = read_prefix({*cidr, path}, report_)) {
            peers.push_back({*prefix, cidr->place});
        }
    }
    if (list != nullptr) {
        const Path path = site.path / "prefix_list";
        const auto name = read_text({*list, path}, "the name of a prefix list", report_);
        if (name && state.prefix_lists.contains(std::string(*name))) {
            peers.push_back({PrefixListRef{std::string(*name)}, list->place});
        } else if (name && !broken_lists_.contains(std::string(*name))) {  // SG-2.31
            report_.error(list->place, path,
                          fmt::format("there is no prefix list {}{}", printable(*name),
                                      did_you_mean(*name, keys_of(state.prefix_lists))));
        }
    }
    if (peer_group != nullptr) {
        const Path path = site.path / "group";
        if (auto key = read_group_name({*peer_group, path}, group.vpc, group.key, true)) {
            peers.push_back({GroupRef{std::move(*key)}, peer_group->place});
        }
    }
    return given == 1 ? std::move(peers) : std::vector<PlacedPeer>();
}

std::optional<std::string> StateReader::read_group_name(Site site, const std::string& vpc, const std::string& self_key,
                                                        bool other_vpcs) {
    const auto name = read_text(site, "the name of a group", report_);
    if (!name) {
        return std::nullopt;
    }
    if (*name == "self" && !self_key.empty()) {
        return self_key;
    }
    if (std::string own = group_key(vpc, *name); state.groups.contains(own)) {
        return own;
    }
    const std::string key(*name);
    if (broken_groups_.contains(key) || broken_vpcs_.contains(key.substr(0, key.find('/')))) {
        return std::nullopt;
    }
    if (const auto found = state.groups.find(key); found != state.groups.end()) {
        const std::string& other = found->second.vpc;
        if (other == vpc) {
            return key;
        }
        if (!other_vpcs) {  // SG-1.28
            report_.error(site.node.place, site.path,
                          fmt::format("group {} is in VPC {}; an interface of VPC {} takes only groups of its own VPC",
                                      key, other, vpc));
            return std::nullopt;
        }
        const Peering* peering = peering_between(vpc, other);
        if (peering == nullptr) {  // SG-2.25
            report_.error(site.node.place, site.path,
                          fmt::format("group {} is in VPC {}, which is not peered with VPC {}", key, other, vpc));
            return std::nullopt;
        }
        if (peering->status != "active") {  // SG-4.26
            report_.warning(site.node.place, site.path,
                            fmt::format("peering {} is {}, so this rule matches nothing (a stale rule)", peering->name,
                                        peering->status));
        }
        return key;
    }
    std::vector<std::string> candidates;
    std::string elsewhere;
    for (const auto& [other_key, group] : state.groups) {
        if (group.vpc == vpc) {
            candidates.push_back(group.name);
        } else if (group.name == *name) {
            elsewhere = other_key;
        } else if (other_vpcs && peering_between(vpc, group.vpc) != nullptr) {
            candidates.push_back(other_key);
        }
    }
    report_.error(site.node.place, site.path,
                  fmt::format("there is no group {} in VPC {}{}", printable(*name), vpc,
                              elsewhere.empty() ? did_you_mean(*name, candidates)
                                                : fmt::format("; VPC {} has one: {}",
                                                              elsewhere.substr(0, elsewhere.find('/')), elsewhere)));
    return std::nullopt;
}

void StateReader::warn_about_rule(const Rule& rule, Site site, bool from_type, unsigned direction) {
    const auto* prefix = std::get_if<Prefix>(&rule.peer);
    if (prefix == nullptr) {
        return;
    }
    // SG-14.2
    const bool remote_login =
        rule.protocol == kTcp && (rule.ports == PortRange{22, 22} || rule.ports == PortRange{3389, 3389});
    if (from_type && remote_login && prefix->is_any() && direction == SG_IN) {
        report_.warning(site.node.place, site.path,
                        fmt::format("{} is open to the world (LINT-{})", rule.ports.first == 22 ? "SSH" : "RDP",
                                    rule.ports.first == 22 ? 1 : 2));
    }
    // SG-2.13
    if ((rule.protocol == kIcmp && prefix->family() == Family::kIpv6) ||
        (rule.protocol == kIcmpv6 && prefix->family() == Family::kIpv4)) {
        report_.warning(site.node.place, site.path,
                        fmt::format("protocol {} never comes from {}; the rule matches nothing",
                                    protocol_text(rule.protocol), prefix->to_string()));
    }
}

}  // namespace sgbpf
