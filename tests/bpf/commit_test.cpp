// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// No packet sees a mixture (architecture, section 6): a commit is stopped after each of its edits, on
// the real programs, and every probe must be answered by the old or by the new state as a whole. Then
// the maps are repaired and something different is committed.
#include <gtest/gtest.h>

#include <cstring>
#include <initializer_list>

#include "support/evaluate.hpp"
#include "support/live_policy.hpp"
#include "support/packet.hpp"
#include "support/state_builder.hpp"

namespace sgbpf::test {
namespace {

// One connection attempt and what a plain scan over the rules says of it.
struct Probe {
    unsigned direction;
    std::string interface;
    std::string peer;
    std::uint16_t port;
};

std::string local_address(const State& state, const std::string& interface, bool ipv6) {
    for (const Prefix& prefix : state.interfaces.at(interface).addresses) {
        if ((prefix.family() == Family::kIpv6) == ipv6) {
            return prefix.address.to_string();
        }
    }
    return ipv6 ? "2001:db8::1" : "192.0.2.1";
}

Bytes frame_of(const State& state, const Probe& probe) {
    const bool ipv6 = probe.peer.find(':') != std::string::npos;
    const std::string local = local_address(state, probe.interface, ipv6);
    const std::string source = probe.direction == SG_IN ? probe.peer : local;
    const std::string destination = probe.direction == SG_IN ? local : probe.peer;
    const Tcp tcp{.to = probe.port};
    return ipv6 ? Bytes(Ethernet{} / Ipv6{.source = source, .destination = destination} / tcp)
                : Bytes(Ethernet{} / Ipv4{.source = source, .destination = destination} / tcp);
}

// What `state` says of the probes, sent from and to the addresses that the interfaces have in `base`.
std::vector<bool> evaluated(const State& state, const State& base, const std::vector<Probe>& probes) {
    std::vector<bool> answers;
    for (const Probe& probe : probes) {
        NewFlow flow;
        flow.interface = probe.interface;
        flow.direction = probe.direction;
        flow.peer = *Address::parse(probe.peer);
        flow.local = *Address::parse(local_address(base, probe.interface, flow.peer.family == Family::kIpv6));
        flow.value = probe.port;
        answers.push_back(evaluate(state, flow).accept);
    }
    return answers;
}

std::vector<bool> judged(LivePolicy& policy, const State& state, const std::vector<Probe>& probes) {
    std::vector<bool> answers;
    EXPECT_TRUE(policy.flush_all());
    for (const Probe& probe : probes) {
        answers.push_back(policy.judge(probe.direction, probe.interface, frame_of(state, probe)).passed());
    }
    return answers;
}

struct Change {
    const char* name;
    State from;
    State to;
    State afterwards;  // committed after the repair; different from both
    std::vector<Probe> probes;
};

// {tcp/22 from L, L={A}} -> {tcp/80 from L, L={A,B}}: no order of writes is safe without generations.
Change counter_example() {
    const auto state = [](int port, const std::vector<std::string>& list) {
        StateBuilder builder;
        builder.vpc("v").list("L", list).group("v/g");
        builder.allow("v/g", SG_IN, kTcp, port, port, "list:L", "sgr-0000000000000" + std::to_string(1000 + port));
        builder.interface("a", {"v/g"}, {"10.0.1.10"});
        return State(builder);
    };
    Change change{"S0 to S1",
                  state(22, {"192.0.2.1/32"}),
                  state(80, {"192.0.2.1/32", "192.0.2.2/32"}),
                  state(443, {"192.0.2.2/32", "192.0.2.0/30"}),
                  {}};
    for (const char* peer : {"192.0.2.1", "192.0.2.2", "192.0.2.3"}) {
        for (const std::uint16_t port : std::initializer_list<std::uint16_t>{22, 80, 443}) {
            change.probes.push_back({SG_IN, "a", peer, port});
        }
    }
    return change;
}

// Members, lists of both families and bands, associations and rules change at once, in both directions.
Change everything_at_once() {
    const auto state = [](int variant) {
        StateBuilder builder;
        builder.vpc("v").vpc("w", {"10.1.0.0/16"});
        builder.list("short", variant == 0   ? std::vector<std::string>{"198.0.0.0/7"}
                              : variant == 1 ? std::vector<std::string>{"198.0.0.0/8", "198.51.100.0/24"}
                                             : std::vector<std::string>{"192.0.0.0/3"});
        builder.list("long", variant == 0 ? std::vector<std::string>{"198.51.0.0/16", "192.0.2.0/24"}
                                          : std::vector<std::string>{"198.51.100.128/25", "192.0.2.1/32"});
        builder.list("six", variant == 1 ? std::vector<std::string>{"2001:db8:1::/48"}
                                         : std::vector<std::string>{"2001:db8::/32", "2001:db8:2::/48"});
        builder.group("v/g").group("v/h").group("w/x");
        builder.allow("v/g", SG_IN, kTcp, 22 + variant, 23 + variant, "list:short", "sgr-00000000000000101");
        builder.allow("v/g", SG_IN, kTcp, 80, 80 + variant, "list:long", "sgr-00000000000000102");
        builder.allow("v/g", SG_IN, kTcp, 443, 443, "list:six", "sgr-00000000000000103");
        builder.allow("v/g", SG_OUT, kTcp, 3306 - variant, 3306, "group:v/h", "sgr-00000000000000104");
        if (variant != 2) {
            builder.allow("v/h", SG_IN, kTcp, 3306, 3306, variant == 0 ? "10.0.0.0/16" : "10.0.1.0/24",
                          "sgr-00000000000000105");
        }
        builder.allow("v/h", SG_OUT, kTcp, 22, 443, variant == 0 ? "0.0.0.0/0" : "192.0.0.0/8",
                      "sgr-00000000000000106");
        builder.interface("a", variant == 1 ? std::vector<std::string>{"v/g", "v/h"} : std::vector<std::string>{"v/g"},
                          {"10.0.1.10", "2001:db8:a:1::10"});
        builder.interface("b", variant == 0 ? std::vector<std::string>{"v/h"} : std::vector<std::string>{"v/g", "v/h"},
                          {"10.0.1.11", "2001:db8:a:1::11"});
        builder.interface("c", variant == 2 ? std::vector<std::string>{"v/h"} : std::vector<std::string>{"v/g"},
                          {"10.0.1.12"});
        return State(builder);
    };
    Change change{"everything at once", state(0), state(1), state(2), {}};
    for (const unsigned direction : {SG_IN, SG_OUT}) {
        for (const char* interface : {"a", "b"}) {
            for (const char* peer :
                 {"198.51.100.1", "198.51.100.200", "199.1.1.1", "192.0.2.1", "192.0.2.9", "10.0.1.10", "10.0.1.11",
                  "10.0.1.12", "2001:db8:1::1", "2001:db8:2::1", "2001:db8:a:1::11"}) {
                for (const std::uint16_t port :
                     std::initializer_list<std::uint16_t>{22, 23, 24, 80, 81, 443, 3305, 3306}) {
                    change.probes.push_back({direction, interface, peer, port});
                }
            }
        }
    }
    return change;
}

// An interface leaves and another comes, with the leaver's address.
Change address_changes_hands() {
    const auto state = [](const char* holder, const char* group, const char* other) {
        StateBuilder builder;
        builder.vpc("v").group("v/g").group("v/h");
        builder.allow("v/g", SG_IN, kTcp, 80, 80, "group:v/h", "sgr-00000000000000201");
        builder.allow("v/h", SG_IN, kTcp, 22, 22, "group:v/g", "sgr-00000000000000202");
        builder.interface("a", {"v/g"}, {"10.0.1.10"});
        builder.interface(holder, {group}, {"10.0.1.20"});
        if (other != nullptr) {
            builder.interface(other, {"v/h"}, {"10.0.1.21"});
        }
        return State(builder);
    };
    Change change{
        "an address changes hands", state("b", "v/h", nullptr), state("c", "v/g", nullptr), state("d", "v/h", "b"), {}};
    for (const char* peer : {"10.0.1.10", "10.0.1.20", "10.0.1.21"}) {
        for (const std::uint16_t port : std::initializer_list<std::uint16_t>{22, 80}) {
            change.probes.push_back({SG_IN, "a", peer, port});
        }
    }
    return change;
}

void expect_old_or_new_at_every_step(const Change& change) {
    SCOPED_TRACE(change.name);
    const std::vector<bool> old_answers = evaluated(change.from, change.from, change.probes);
    const std::vector<bool> new_answers = evaluated(change.to, change.from, change.probes);
    const std::vector<bool> last_answers = evaluated(change.afterwards, change.from, change.probes);
    ASSERT_NE(old_answers, new_answers);
    ASSERT_NE(new_answers, last_answers);

    std::size_t edits = 1;
    std::size_t seen_old = 0;
    std::size_t seen_new = 0;
    for (std::size_t stop = 0; stop <= edits; ++stop) {
        SCOPED_TRACE("stopped before edit " + std::to_string(stop));
        auto policy = LivePolicy::make(change.from);
        ASSERT_TRUE(policy) << policy.error().message;
        auto plan = (*policy)->plan(change.to);
        ASSERT_TRUE(plan);
        edits = plan->edits();
        const CommitHooks hooks{[stop](std::size_t edit) { return edit < stop; }};
        const auto stopped = (*policy)->commit(change.to, &hooks);
        EXPECT_EQ(stopped.has_value(), stop == edits);

        const std::vector<bool> answers = judged(**policy, change.from, change.probes);
        ASSERT_TRUE(answers == old_answers || answers == new_answers) << "a mixture of old and new";
        seen_old += answers == old_answers;
        seen_new += answers == new_answers;

        if (!stopped) {
            const auto recovered = (*policy)->recover();
            ASSERT_TRUE(recovered) << recovered.error().message;
        }
        ASSERT_EQ(judged(**policy, change.from, change.probes), answers) << "the repair changed a verdict";
        const auto last = (*policy)->commit(change.afterwards);
        ASSERT_TRUE(last) << last.error().message;
        ASSERT_EQ(judged(**policy, change.from, change.probes), last_answers);
    }
    EXPECT_GT(seen_old, 1u);
    EXPECT_GT(seen_new, 1u);
}

TEST(Commit, CounterExampleIsOldOrNewAtEveryStep) {
    expect_old_or_new_at_every_step(counter_example());
}
TEST(Commit, EverythingAtOnceIsOldOrNewAtEveryStep) {
    expect_old_or_new_at_every_step(everything_at_once());
}
TEST(Commit, AddressChangingHandsIsOldOrNewAtEveryStep) {
    expect_old_or_new_at_every_step(address_changes_hands());
}

// A copy of the plan's edits in which every versioned value takes effect at once: the scheme taken out.
EditList settled_at_once(const EditList& edits) {
    EditList result;
    for (std::size_t i = 0; i < edits.size(); ++i) {
        const EditList::Edit edit = edits[i];
        const auto settle = [&edit]<MapId map>() {
            typename MapTypes<map>::Value value{};
            std::memcpy(&value, edit.value.data(), sizeof(value));
            sg_versioned versioned{};
            std::memcpy(&versioned, &value, sizeof(versioned));
            const __u64 latest = versioned.values >> 32;
            versioned = {latest << 32 | latest, 0};
            std::memcpy(&value, &versioned, sizeof(versioned));
            return value;
        };
        const auto add = [&]<MapId map>() {
            typename MapTypes<map>::Key key{};
            std::memcpy(&key, edit.key.data(), sizeof(key));
            result.put<map>(key, settle.template operator()<map>());
        };
        switch (edit.map) {
            case MapId::kInterfaces:
                add.template operator()<MapId::kInterfaces>();
                break;
            case MapId::kPolicySlots:
                add.template operator()<MapId::kPolicySlots>();
                break;
            case MapId::kLists4:
                add.template operator()<MapId::kLists4>();
                break;
            case MapId::kLists6:
                add.template operator()<MapId::kLists6>();
                break;
            case MapId::kMembers4:
                add.template operator()<MapId::kMembers4>();
                break;
            case MapId::kMembers6:
                add.template operator()<MapId::kMembers6>();
                break;
            case MapId::kLocals4:
                add.template operator()<MapId::kLocals4>();
                break;
            case MapId::kLocals6:
                add.template operator()<MapId::kLocals6>();
                break;
            default:
                ADD_FAILURE() << "not a versioned map: " << map_info(edit.map).name;
                break;
        }
    }
    return result;
}

// The tests above can fail: without generations the same plan lets a packet see a mixture.
TEST(Commit, WithoutTheSchemeTheCounterExampleIsAMixture) {
    const Change change = counter_example();
    const std::vector<bool> old_answers = evaluated(change.from, change.from, change.probes);
    const std::vector<bool> new_answers = evaluated(change.to, change.from, change.probes);
    auto policy = LivePolicy::make(change.from);
    ASSERT_TRUE(policy);
    auto plan = (*policy)->plan(change.to);
    ASSERT_TRUE(plan);
    ASSERT_TRUE((*policy)->programs().sandbox().write(plan->before, 0, plan->before.size()));
    const EditList publish = settled_at_once(plan->publish);
    ASSERT_GE(publish.size(), 2u);
    bool mixture = false;
    for (std::size_t i = 0; i < publish.size(); ++i) {
        ASSERT_TRUE((*policy)->programs().sandbox().write(publish, i, 1));
        const std::vector<bool> answers = judged(**policy, change.from, change.probes);
        mixture = mixture || (answers != old_answers && answers != new_answers);
    }
    EXPECT_TRUE(mixture);
    EXPECT_EQ(judged(**policy, change.from, change.probes), new_answers);
}

TEST(Commit, SameStateAgainWritesNothing) {
    const Change change = everything_at_once();
    auto policy = LivePolicy::make(change.from);
    ASSERT_TRUE(policy);
    auto plan = (*policy)->plan(change.from);
    ASSERT_TRUE(plan);
    EXPECT_EQ(plan->edits(), 0u);
}

}  // namespace
}  // namespace sgbpf::test
