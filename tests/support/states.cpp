// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tests/support/states.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace sgbpf::test {
namespace {

std::string numbered(const std::string& prefix, std::uint64_t number) {
    char digits[18];
    std::snprintf(digits, sizeof(digits), "%017llx", static_cast<unsigned long long>(number));
    return prefix + digits;
}

}  // namespace

Prefix prefix(std::string_view text) {
    auto parsed = Prefix::parse(text);
    if (!parsed) {
        std::fprintf(stderr, "%s\n", parsed.error().message.c_str());
        std::abort();
    }
    return parsed->prefix;
}

Address address(std::string_view text) {
    auto parsed = Address::parse(text);
    if (!parsed) {
        std::fprintf(stderr, "%s\n", parsed.error().message.c_str());
        std::abort();
    }
    return *parsed;
}

Peer list_peer(std::string name) {
    return PrefixListRef{std::move(name)};
}

Peer group_peer(std::string key) {
    return GroupRef{std::move(key)};
}

std::string StateBuilder::next_id(const std::string& prefix) {
    return numbered(prefix, ++ids_);
}

StateBuilder& StateBuilder::vpc(const std::string& name) {
    state.vpcs[name] = Vpc{name, next_id("vpc-"), {}};
    return *this;
}

StateBuilder& StateBuilder::peering(const std::string& a, const std::string& b, const std::string& status) {
    state.peerings[a + "-" + b] = Peering{a + "-" + b, next_id("pcx-"), {a, b}, status};
    return *this;
}

StateBuilder& StateBuilder::list(const std::string& name, const std::vector<std::string>& prefixes) {
    PrefixList list;
    list.name = name;
    list.id = next_id("pl-");
    list.max_entries = 100;
    for (const std::string& text : prefixes) {
        list.entries.push_back({prefix(text), ""});
        list.family = list.entries.back().prefix.address.family;
    }
    state.prefix_lists[name] = std::move(list);
    return *this;
}

StateBuilder& StateBuilder::group(const std::string& key) {
    Group group;
    group.key = key;
    group.id = next_id("sg-");
    group.vpc = key.substr(0, key.find('/'));
    group.name = key.substr(key.find('/') + 1);
    state.groups[key] = std::move(group);
    return *this;
}

std::string StateBuilder::rule(const std::string& group, std::uint32_t direction, Protocol protocol, PortRange ports,
                               Peer peer) {
    Rule rule;
    rule.id = next_id("sgr-");
    rule.protocol = protocol;
    rule.ports = ports;
    rule.peer = std::move(peer);
    state.groups.at(group).rules[direction].push_back(rule);
    return rule.id;
}

std::string StateBuilder::icmp_rule(const std::string& group, std::uint32_t direction, Protocol protocol, int type,
                                    int code, Peer peer) {
    const std::string id = rule(group, direction, protocol, {}, std::move(peer));
    state.groups.at(group).rules[direction].back().icmp = {type, code};
    return id;
}

StateBuilder& StateBuilder::interface(const std::string& name, const std::string& vpc,
                                      const std::vector<std::string>& addresses, std::vector<std::string> groups) {
    Interface interface;
    interface.name = name;
    interface.id = next_id("eni-");
    interface.vpc = vpc;
    for (const std::string& text : addresses) {
        interface.addresses.push_back(prefix(text));
    }
    std::sort(groups.begin(), groups.end());
    interface.groups = std::move(groups);
    state.interfaces[name] = std::move(interface);
    return *this;
}

namespace {

// Prefixes that nest, touch and cross the bands of prefix lists.
constexpr const char* kPrefixes4[] = {"0.0.0.0/0",   "0.0.0.0/1",    "10.0.0.0/7",   "10.0.0.0/8",  "10.0.0.0/9",
                                      "10.0.0.0/16", "10.0.0.0/24",  "10.0.0.0/28",  "10.0.0.1/32", "10.0.0.2/31",
                                      "10.0.0.2/32", "10.0.0.16/28", "10.128.0.0/9", "192.0.2.0/24"};
constexpr const char* kPrefixes6[] = {"::/0",
                                      "2000::/3",
                                      "2001::/19",
                                      "2001::/20",
                                      "2001:db8::/32",
                                      "2001:db8::/64",
                                      "2001:db8::/120",
                                      "2001:db8::1/128",
                                      "2001:db8::2/127",
                                      "2001:db8::2/128",
                                      "2001:db8:0:1::/64",
                                      "::ffff:10.0.0.0/104"};
constexpr const char* kAddresses[] = {"10.0.0.1/32",  "10.0.0.2/32",     "10.0.0.3/32",        "10.0.0.16/28",
                                      "10.0.0.17/32", "2001:db8::1/128", "2001:db8::2/128",    "2001:db8::/120",
                                      "10.0.0.4/32",  "10.0.0.0/30",     "2001:db8:0:1::1/128"};
constexpr const char* kVpcs[] = {"a", "b", "c"};
constexpr const char* kGroups[] = {"one", "two", "three"};
constexpr const char* kLists[] = {"lists-a4", "lists-b4", "lists-c4", "lists-a6", "lists-b6"};
constexpr std::uint16_t kPorts[] = {0, 1, 22, 79, 80, 81, 443, 1023, 1024, 65534, 65535};
constexpr int kProtocols[] = {kTcp, kUdp, kIcmp, kIcmpv6, 50, 132, 0, 255};

template <typename T, std::size_t n> constexpr std::uint32_t count_of(const T (&)[n]) {
    return n;
}

}  // namespace

Prefix RandomStates::any_prefix(std::optional<Family> family) {
    const bool v4 = family ? *family == Family::kIpv4 : chance(55);
    return v4 ? prefix(kPrefixes4[pick(count_of(kPrefixes4))]) : prefix(kPrefixes6[pick(count_of(kPrefixes6))]);
}

Address RandomStates::address_near(const Prefix& near) {
    Address address = near.address;
    const unsigned bits = address_bits(address.family);
    // First, last, or just outside.
    const std::uint32_t where = pick(4);
    if (where == 1) {
        for (unsigned bit = near.length; bit < bits; ++bit) {
            address.bytes[bit / 8] = static_cast<std::uint8_t>(address.bytes[bit / 8] | 0x80U >> (bit % 8));
        }
    } else if (where == 2 && near.length > 0) {
        const unsigned bit = near.length - 1U;
        address.bytes[bit / 8] = static_cast<std::uint8_t>(address.bytes[bit / 8] ^ 0x80U >> (bit % 8));
    } else if (where == 3 && near.length < bits) {
        address.bytes[bits / 8 - 1] = static_cast<std::uint8_t>(address.bytes[bits / 8 - 1] ^ (1U + pick(3)));
    }
    return address;
}

Rule RandomStates::any_rule(const State& state) {
    Rule rule;
    rule.id = numbered("sgr-", ++ids_ * 7919 % 100003);  // not in order of age
    rule.protocol = chance(15) ? kAllProtocols : kProtocols[pick(count_of(kProtocols))];
    if (rule.protocol == kTcp || rule.protocol == kUdp) {
        rule.ports = {kPorts[pick(count_of(kPorts))], kPorts[pick(count_of(kPorts))]};
        if (rule.ports.first > rule.ports.last) {
            std::swap(rule.ports.first, rule.ports.last);
        }
        if (chance(25)) {
            rule.ports = {0, 65535};
        }
    } else if (rule.protocol == kIcmp || rule.protocol == kIcmpv6) {
        rule.icmp.type = static_cast<int>(pick(4)) * 3 - 1;
        rule.icmp.code = rule.icmp.type < 0 ? -1 : static_cast<int>(pick(3)) - 1;
    }
    const std::uint32_t kind = pick(10);
    if (kind < 4) {
        rule.peer = any_prefix();
    } else if (kind < 7) {
        rule.peer = PrefixListRef{std::next(state.prefix_lists.begin(), pick(count_of(kLists)))->first};
    } else {
        rule.peer = GroupRef{std::next(state.groups.begin(), pick(count_of(kVpcs) * count_of(kGroups)))->first};
    }
    return rule;
}

Interface RandomStates::any_interface(const State&, std::uint32_t number) {
    Interface interface;
    interface.name = "if" + std::to_string(number);
    interface.id = numbered("eni-", number);
    interface.vpc = kVpcs[pick(count_of(kVpcs))];
    for (std::uint32_t i = 1 + pick(3); i > 0; --i) {
        interface.addresses.push_back(prefix(kAddresses[pick(count_of(kAddresses))]));
    }
    if (chance(30)) {
        interface.allowed_addresses.push_back(any_prefix());
    }
    interface.source_dest_check = chance(70);
    for (const char* name : kGroups) {
        if (chance(50)) {
            interface.groups.push_back(interface.vpc + "/" + name);
        }
    }
    if (interface.groups.empty()) {
        interface.groups.push_back(interface.vpc + "/one");
    }
    std::sort(interface.groups.begin(), interface.groups.end());
    return interface;
}

State RandomStates::make() {
    State state;
    for (const char* vpc : kVpcs) {
        state.vpcs[vpc] = Vpc{vpc, "", {}};
        for (const char* name : kGroups) {
            Group group;
            group.key = std::string(vpc) + "/" + name;
            group.vpc = vpc;
            group.name = name;
            state.groups[group.key] = group;
        }
    }
    state.peerings["a-b"] = Peering{"a-b", "", {"a", "b"}, chance(70) ? "active" : "deleted"};
    state.peerings["b-c"] = Peering{"b-c", "", {"c", "b"}, chance(50) ? "active" : "pending-acceptance"};
    for (const char* name : kLists) {
        PrefixList list;
        list.name = name;
        list.family = list.name.back() == '4' ? Family::kIpv4 : Family::kIpv6;
        for (std::uint32_t i = pick(5); i > 0; --i) {
            list.entries.push_back({any_prefix(list.family), ""});
        }
        state.prefix_lists[name] = std::move(list);
    }
    for (auto& [key, group] : state.groups) {
        for (auto& rules : group.rules) {
            for (std::uint32_t i = pick(4); i > 0; --i) {
                rules.push_back(any_rule(state));
            }
        }
    }
    for (std::uint32_t i = 0; i < 4; ++i) {
        Interface interface = any_interface(state, i);
        state.interfaces[interface.name] = std::move(interface);
    }
    return state;
}

void RandomStates::change_once(State& state) {
    auto& group = std::next(state.groups.begin(), pick(static_cast<std::uint32_t>(state.groups.size())))->second;
    std::vector<Rule>& rules = group.rules[pick(2)];
    PrefixList& list = std::next(state.prefix_lists.begin(), pick(count_of(kLists)))->second;
    switch (pick(9)) {
        case 0:
            rules.push_back(any_rule(state));
            break;
        case 1:
            if (!rules.empty()) {
                rules.erase(rules.begin() + pick(static_cast<std::uint32_t>(rules.size())));
            }
            break;
        case 2:  // SG-2.39: a rule changes and keeps its id
            if (!rules.empty()) {
                Rule& rule = rules[pick(static_cast<std::uint32_t>(rules.size()))];
                const std::string id = rule.id;
                rule = any_rule(state);
                rule.id = id;
            }
            break;
        case 3:
            list.entries.push_back({any_prefix(list.family), ""});
            break;
        case 4:
            if (!list.entries.empty()) {
                list.entries.erase(list.entries.begin() + pick(static_cast<std::uint32_t>(list.entries.size())));
            }
            break;
        case 5: {
            Interface interface = any_interface(state, pick(6));
            state.interfaces[interface.name] = std::move(interface);
            break;
        }
        case 6:
            if (state.interfaces.size() > 1) {
                state.interfaces.erase(
                    std::next(state.interfaces.begin(), pick(static_cast<std::uint32_t>(state.interfaces.size()))));
            }
            break;
        case 7: {
            Peering& peering = std::next(state.peerings.begin(), pick(2))->second;
            peering.status = peering.status == "active" ? "deleted" : "active";
            break;
        }
        default: {
            Interface& interface =
                std::next(state.interfaces.begin(), pick(static_cast<std::uint32_t>(state.interfaces.size())))->second;
            if (chance(50)) {
                interface.timeouts.udp = 30 + pick(31);
            } else {
                interface.addresses.push_back(prefix(kAddresses[pick(count_of(kAddresses))]));
            }
            break;
        }
    }
}

void RandomStates::change(State& state) {
    for (std::uint32_t i = 1 + pick(4); i > 0; --i) {
        change_once(state);
    }
}

std::vector<NewFlow> RandomStates::flows(const State& a, const State& b, std::size_t count) {
    std::vector<std::string> interfaces;
    std::vector<Prefix> locals;
    std::vector<Prefix> peers;
    for (const State* state : {&a, &b}) {
        for (const auto& [name, interface] : state->interfaces) {
            interfaces.push_back(name);
            locals.insert(locals.end(), interface.addresses.begin(), interface.addresses.end());
        }
    }
    for (const char* text : kPrefixes4) {
        peers.push_back(prefix(text));
    }
    for (const char* text : kPrefixes6) {
        peers.push_back(prefix(text));
    }
    peers.insert(peers.end(), locals.begin(), locals.end());
    std::vector<NewFlow> flows;
    while (flows.size() < count) {
        NewFlow flow;
        flow.interface = interfaces[pick(static_cast<std::uint32_t>(interfaces.size()))];
        flow.direction = pick(2);
        flow.peer = address_near(peers[pick(static_cast<std::uint32_t>(peers.size()))]);
        const Prefix& local = locals[pick(static_cast<std::uint32_t>(locals.size()))];
        if (local.address.family != flow.peer.family) {
            continue;
        }
        flow.local = chance(80) ? local.address : address_near(local);
        flow.protocol = kProtocols[pick(count_of(kProtocols))];
        const bool v4 = flow.peer.family == Family::kIpv4;
        if ((flow.protocol == kIcmp && !v4) || (flow.protocol == kIcmpv6 && v4)) {
            continue;
        }
        if (flow.protocol == kTcp || flow.protocol == kUdp) {
            flow.value = kPorts[pick(count_of(kPorts))];
        } else if (flow.protocol == kIcmp || flow.protocol == kIcmpv6) {
            flow.value = static_cast<std::uint16_t>(pick(10) << 8 | pick(3));
        }
        if (chance(8)) {
            flow.value.reset();
        }
        flows.push_back(std::move(flow));
    }
    return flows;
}

}  // namespace sgbpf::test
