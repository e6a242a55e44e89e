// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Small States in a few words, for tests that are about packets and commits rather than about files.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <sgbpf/state.hpp>

namespace sgbpf::test {

class StateBuilder {
public:
    StateBuilder& vpc(const std::string& name,
                      const std::vector<std::string>& cidrs = {"10.0.0.0/16", "2001:db8:a::/56"}) {
        Vpc& vpc = state_.vpcs[name];
        vpc.name = name;
        vpc.id = id("vpc-");
        for (const std::string& cidr : cidrs) {
            vpc.cidrs.push_back(prefix(cidr));
        }
        return *this;
    }
    StateBuilder& list(const std::string& name, const std::vector<std::string>& entries) {
        PrefixList& list = state_.prefix_lists[name];
        list.name = name;
        list.id = id("pl-");
        list.max_entries = 1000;
        for (const std::string& entry : entries) {
            list.entries.push_back({prefix(entry), ""});
        }
        list.family = list.entries.empty() ? Family::kIpv4 : list.entries.front().prefix.family();
        return *this;
    }
    // `key` is "vpc/name".
    StateBuilder& group(const std::string& key) {
        Group& group = state_.groups[key];
        group.key = key;
        group.id = id("sg-");
        group.vpc = key.substr(0, key.find('/'));
        group.name = key.substr(key.find('/') + 1);
        group.description = group.name;
        return *this;
    }
    // `peer`: a CIDR, "list:NAME" or "group:KEY". For icmp, first and last are type and code.
    StateBuilder& allow(const std::string& group, unsigned direction, Protocol protocol, int first, int last,
                        const std::string& peer, const std::string& rule_id = {}) {
        Rule rule;
        rule.id = rule_id.empty() ? id("sgr-") : rule_id;
        rule.protocol = protocol;
        if (protocol == kTcp || protocol == kUdp) {
            rule.ports = {static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(last)};
        } else if (protocol == kIcmp || protocol == kIcmpv6) {
            rule.icmp = {first, last};
        }
        if (peer.starts_with("list:")) {
            rule.peer = PrefixListRef{peer.substr(5)};
        } else if (peer.starts_with("group:")) {
            rule.peer = GroupRef{peer.substr(6)};
        } else {
            rule.peer = prefix(peer);
        }
        state_.groups.at(group).rules[direction].push_back(rule);
        return *this;
    }
    StateBuilder& interface(const std::string& name, const std::vector<std::string>& groups,
                            const std::vector<std::string>& addresses, const std::string& mac = {}) {
        Interface& interface = state_.interfaces[name];
        interface.name = name;
        interface.id = id("eni-");
        interface.vpc = groups.front().substr(0, groups.front().find('/'));
        interface.groups = groups;
        for (const std::string& address : addresses) {
            interface.addresses.push_back(
                prefix(address.find('/') != std::string::npos
                           ? address
                           : address + (address.find(':') == std::string::npos ? "/32" : "/128")));
        }
        if (!mac.empty()) {
            interface.mac = *MacAddress::parse(mac);
        }
        return *this;
    }
    State& state() { return state_; }
    operator State() const { return state_; }  // NOLINT(google-explicit-constructor): reads as a state

    static Prefix prefix(const std::string& text) {
        auto parsed = Prefix::parse(text);
        if (!parsed) {
            std::fprintf(stderr, "state builder: %s\n", parsed.error().message.c_str());
            std::abort();
        }
        return parsed->prefix;
    }

private:
    std::string id(const char* kind) {
        char text[32];
        std::snprintf(text, sizeof(text), "%s%017x", kind, ++next_id_);
        return text;
    }
    State state_;
    unsigned next_id_ = 0;
};

}  // namespace sgbpf::test
