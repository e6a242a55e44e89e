// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// States by hand and by chance, and the flows to try on them. For tests of everything between State and
// maps.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <sgbpf/state.hpp>

#include "tests/support/evaluate.hpp"

namespace sgbpf::test {

Prefix prefix(std::string_view text);  // "10.0.0.0/8"; a test that misspells one ends
Address address(std::string_view text);
Peer list_peer(std::string name);
Peer group_peer(std::string key);

// Ids are counted up, so that equal steps give equal states.
class StateBuilder {
public:
    State state;

    StateBuilder& vpc(const std::string& name);
    StateBuilder& peering(const std::string& a, const std::string& b, const std::string& status = "active");
    StateBuilder& list(const std::string& name, const std::vector<std::string>& prefixes);
    StateBuilder& group(const std::string& key);  // "vpc/name"
    // Returns the id.
    std::string rule(const std::string& group, std::uint32_t direction, Protocol protocol, PortRange ports, Peer peer);
    std::string icmp_rule(const std::string& group, std::uint32_t direction, Protocol protocol, int type, int code,
                          Peer peer);
    StateBuilder& interface(const std::string& name, const std::string& vpc, const std::vector<std::string>& addresses,
                            std::vector<std::string> groups);
    Interface& at(const std::string& interface) { return state.interfaces.at(interface); }

private:
    std::string next_id(const std::string& prefix);
    std::uint64_t ids_ = 0;
};

// A small state from a small universe, in which prefixes nest, VPCs overlap and rules collide often.
class RandomStates {
public:
    explicit RandomStates(std::uint32_t seed) : random_(seed) {}

    State make();
    // A few changes of the kinds an operator makes, some of them undone or contradictory.
    void change(State& state);
    // New flows near the edges of what the states say.
    std::vector<NewFlow> flows(const State& a, const State& b, std::size_t count);

private:
    std::uint32_t pick(std::uint32_t count) {
        return std::uniform_int_distribution<std::uint32_t>(0, count - 1)(random_);
    }
    bool chance(std::uint32_t percent) { return pick(100) < percent; }
    Prefix any_prefix(std::optional<Family> family = std::nullopt);
    Address address_near(const Prefix& prefix);
    Rule any_rule(const State& state);
    Interface any_interface(const State& state, std::uint32_t number);
    void change_once(State& state);

    std::mt19937 random_;
    std::uint64_t ids_ = 0;
};

}  // namespace sgbpf::test
