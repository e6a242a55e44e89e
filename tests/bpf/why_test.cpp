// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// `why` is the datapath: random packets on random states are judged by the dry-run programs and, at the same time, for
// real. Both must say the same, and the dry run must leave every map as it was, byte for byte. A failure names its
// seed; SGBPF_SEED=N runs that one alone.
#include <gtest/gtest.h>

#include <arpa/inet.h>

#include <cstdlib>
#include <map>
#include <random>
#include <set>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "api/nearest.hpp"
#include "api/why_words.hpp"
#include "support/live_policy.hpp"
#include "support/packet.hpp"
#include "support/states.hpp"

namespace sgbpf::test {
namespace {

constexpr std::uint32_t kSeeds = 20;
constexpr int kRounds = 3;    // states per seed
constexpr int kPackets = 40;  // per round
constexpr const char* kMac = "02:00:00:00:00:02";

using Dump = std::map<std::string, std::vector<std::uint8_t>>;

void append(std::vector<std::uint8_t>& to, const void* bytes, std::size_t count) {
    const auto* first = static_cast<const std::uint8_t*>(bytes);
    to.insert(to.end(), first, first + count);
}

// A per-CPU array, every CPU's own value.
std::vector<std::uint8_t> dump_per_cpu(const Map& map) {
    std::vector<std::uint8_t> all;
    std::vector<std::uint8_t> value(map.value_bytes() * static_cast<std::size_t>(libbpf_num_possible_cpus()));
    for (std::uint32_t index = 0; index < map.max_entries(); ++index) {
        EXPECT_EQ(bpf_map_lookup_elem(map.fd(), &index, value.data()), 0);
        append(all, value.data(), value.size());
    }
    return all;
}

// A queue can only be read by taking it apart; it is put together again in the same order.
std::vector<std::uint8_t> dump_queue(const Map& map) {
    std::vector<std::uint8_t> all;
    std::vector<std::uint32_t> values;
    for (std::uint32_t value = 0; bpf_map_lookup_and_delete_elem(map.fd(), nullptr, &value) == 0;) {
        values.push_back(value);
    }
    for (const std::uint32_t value : values) {
        EXPECT_EQ(bpf_map_update_elem(map.fd(), nullptr, &value, BPF_ANY), 0);
        append(all, &value, sizeof(value));
    }
    return all;
}

// What is in every map but the ring, whose writers are counted in sg_event_counts.
Dump dump(Sandbox& sandbox) {
    Dump all;
    for (Map& map : sandbox.maps().maps()) {
        std::vector<std::uint8_t>& bytes = all[std::string(map.spec().name)];
        if (map.spec().type == BPF_MAP_TYPE_PERCPU_ARRAY) {
            bytes = dump_per_cpu(map);
        } else if (map.spec().type == BPF_MAP_TYPE_QUEUE) {
            bytes = dump_queue(map);
        } else if (map.spec().type != BPF_MAP_TYPE_RINGBUF) {
            const auto read = for_each_row(map, [&](const std::byte* key, const std::byte* value) {
                append(bytes, key, map.spec().key_bytes);
                append(bytes, value, map.value_bytes());
            });
            EXPECT_TRUE(read) << read.error().message;
        }
    }
    return all;
}

std::string differing(const Dump& a, const Dump& b) {
    std::string names;
    for (const auto& [name, bytes] : a) {
        if (b.at(name) != bytes) {
            names += name + " ";
        }
    }
    return names;
}

struct Packet {
    std::string interface;  // empty: a device that is bound to none
    unsigned direction = SG_IN;
    Bytes frame;
};

class RandomPackets {
public:
    explicit RandomPackets(std::uint32_t seed) : states_(seed), random_(seed) {}

    State state() {
        State state = states_.make();
        dress(state);
        return state;
    }
    void change(State& state) {
        states_.change(state);
        dress(state);
    }
    std::uint32_t pick(std::uint32_t count) { return static_cast<std::uint32_t>(random_() % count); }
    bool chance(std::uint32_t percent) { return pick(100) < percent; }

    Packet packet(const State& state, LivePolicy& policy) {
        const std::vector<sg_flow> flows = policy.programs().live_flows();
        if (!flows.empty() && chance(35)) {
            return of_flow(state, policy, flows[pick(static_cast<std::uint32_t>(flows.size()))]);
        }
        if (chance(12)) {
            return exempt(state);
        }
        const NewFlow flow = states_.flows(state, state, 1).front();
        const Ends ends = {flow.local, flow.peer};
        Packet packet{flow.interface, flow.direction, {}};
        packet.frame = build(packet.direction, ends, flow.protocol, flow.value, 40000 + pick(4));
        if (chance(3)) {
            packet.interface.clear();
        } else if (chance(3)) {
            packet.frame.resize(packet.frame.size() - 1 - pick(8));
        }
        return packet;
    }

private:
    struct Ends {
        Address local;
        Address remote;
    };

    // What the generator of states leaves out: rules that do not track, a quarantine, MACs, AH.
    void dress(State& state) {
        for (auto& [name, interface] : state.interfaces) {
            interface.quarantine = chance(5);
            interface.mac = chance(50) ? std::optional(*MacAddress::parse(kMac)) : std::nullopt;
        }
        for (auto& [key, group] : state.groups) {
            for (auto& rules : group.rules) {
                for (Rule& rule : rules) {
                    if (chance(12)) {
                        rule.protocol = chance(50) ? kAllProtocols : kTcp;
                        rule.ports = {};
                        rule.icmp = {};
                        rule.peer = prefix(chance(60) ? "0.0.0.0/0" : "::/0");
                    } else if (chance(8)) {
                        rule.protocol = 51;
                        rule.ports = {};
                        rule.icmp = {};
                    }
                }
            }
        }
    }

    Bytes build(unsigned direction, Ends ends, int protocol, std::optional<std::uint16_t> value, std::uint32_t other) {
        const bool v6 = ends.local.family == Family::kIpv6;
        if (chance(4)) {
            ends.remote = address(v6 ? "ff02::1" : chance(50) ? "255.255.255.255" : "224.0.0.1");
        }
        const std::string local = ends.local.to_string();
        const std::string remote = ends.remote.to_string();
        const bool in = direction == SG_IN;
        Ethernet ethernet{.source = chance(80) ? kMac : "02:00:00:00:00:99"};
        if (chance(4)) {
            ethernet.tags.assign(1 + pick(2), 7);
        }
        const auto port = static_cast<std::uint16_t>(other);
        const bool whole = value.has_value() || !(protocol == kTcp || protocol == kUdp || is_icmp(protocol));
        const bool first = whole && chance(5);
        Frame frame;
        frame.add(ethernet);
        if (v6) {
            frame.add(Ipv6{.source = in ? remote : local, .destination = in ? local : remote});
            if (chance(25)) {
                frame.add(Extension{.type = 51, .body = Bytes(14)});
            }
            if (!whole || first) {
                frame.add(Fragment6{.offset = static_cast<std::uint16_t>(whole ? 0 : 9), .more = first});
            }
        } else {
            frame.add(Ipv4{.source = in ? remote : local,
                           .destination = in ? local : remote,
                           .fragment_offset = static_cast<std::uint16_t>(whole ? 0 : 9),
                           .more = first,
                           .options = Bytes(chance(5) ? 8 : 0)});
        }
        if (!whole) {
            frame.add(Raw{.bytes = Bytes(24), .protocol = static_cast<std::uint8_t>(protocol)});
        } else if (protocol == kTcp) {
            static constexpr std::uint8_t kFlags[] = {kSyn,        kSyn, kSyn, kSyn | kAck, kAck,
                                                      kFin | kAck, kRst, 0,    kSyn | kFin};
            frame.add(Tcp{.from = port, .to = *value, .flags = kFlags[pick(sizeof(kFlags))]});
        } else if (protocol == kUdp) {
            frame.add(Udp{.from = port, .to = *value});
        } else if (protocol == (v6 ? kIcmpv6 : kIcmp)) {
            const bool echo = chance(60);
            const auto type = static_cast<std::uint8_t>(echo ? (v6 ? 128 : 8) : *value >> 8);
            frame.add(Icmp{.type = type, .code = static_cast<std::uint8_t>(echo ? 0 : *value), .id = port});
        } else {
            frame.add(Raw{.bytes = Bytes(24), .protocol = static_cast<std::uint8_t>(protocol)});
        }
        return frame;
    }

    static bool is_icmp(int protocol) { return protocol == kIcmp || protocol == kIcmpv6; }

    // A packet of a live flow, either direction; or one that differs from it in the port.
    Packet of_flow(const State& state, LivePolicy& policy, const sg_flow& flow) {
        Packet packet;
        for (const auto& [name, interface] : state.interfaces) {
            if (policy.slot(name) == flow.key.interface_slot) {
                packet.interface = name;
            }
        }
        packet.direction = pick(2);
        const Ends ends = {key_address(flow.key.local, flow.key.family), key_address(flow.key.remote, flow.key.family)};
        const bool in = packet.direction == SG_IN;
        const int protocol = flow.key.protocol;
        std::uint16_t to = ntohs(in ? flow.key.local_port : flow.key.remote_port);
        std::uint16_t from = ntohs(in ? flow.key.remote_port : flow.key.local_port);
        if (is_icmp(protocol)) {
            from = ntohs(flow.key.local_port);
            to = static_cast<std::uint16_t>((chance(50) ? flow.icmp_type : flow.icmp_type == 8 ? 0 : 129) << 8);
        }
        packet.frame = build(packet.direction, ends, protocol, to, from + (chance(15) ? 1u : 0u));
        return packet;
    }

    Packet exempt(const State& state) {
        const auto at = std::next(state.interfaces.begin(), pick(static_cast<std::uint32_t>(state.interfaces.size())));
        const std::string own = at->second.addresses.front().address.to_string();
        const bool v4 = at->second.addresses.front().family() == Family::kIpv4;
        Packet packet{at->first, pick(2), {}};
        const Ethernet ethernet{.source = chance(70) ? kMac : "02:00:00:00:00:99"};
        switch (pick(4)) {
            case 0:
                packet.frame = ethernet / Arp{.sender_mac = kMac, .sender = v4 ? own : "10.0.0.77"};
                break;
            case 1:
                packet.frame = ethernet /
                               Ipv6{.source = v4 ? "2001:db8::77" : own, .destination = "ff02::1", .hop_limit = 255} /
                               Icmp{.type = static_cast<std::uint8_t>(133 + pick(4))} / Raw{Bytes(24)};
                break;
            case 2:
                packet.frame =
                    ethernet / Ipv4{.source = "0.0.0.0", .destination = "255.255.255.255"} / Udp{.from = 68, .to = 67};
                break;
            default:
                packet.frame = ethernet / Ipv4{.source = "10.0.0.254", .destination = v4 ? own : "10.0.0.77"} /
                               Udp{.from = 67, .to = 68};
                break;
        }
        return packet;
    }

    RandomStates states_;
    std::mt19937 random_;
};

class WhyTest : public ::testing::TestWithParam<TestPrograms::Mode> {
protected:
    bool xdp() const { return GetParam() == TestPrograms::Mode::kTestXdp; }

    // The programs as `why` loads them, kept, so that thousands of packets do not load them thousands of times.
    void load_dry(LivePolicy& policy) {
        Tree& tree = policy.programs().sandbox().maps();
        auto config = tree.config();
        ASSERT_TRUE(config);
        config->test_mode = 1;
        config->dry_run = 1;
        Object::Request request;
        request.kind = xdp() ? ObjectKind::kXdp : ObjectKind::kTc;
        for (const unsigned direction : {SG_IN, SG_OUT}) {
            request.programs.push_back(name(direction));
        }
        request.maps = tree.reuse();
        request.config = *config;
        auto object = Object::load(request);
        ASSERT_TRUE(object) << object.error().message;
        dry_.emplace(std::move(*object));
    }
    std::string_view name(unsigned direction) const {
        return xdp() ? (direction == SG_IN ? "sg_xdp_in" : "sg_xdp_out")
                     : (direction == SG_IN ? "sg_tc_in" : "sg_tc_out");
    }
    Judged ask(LivePolicy& policy, const Packet& packet, std::uint64_t now) {
        auto judged = judge_once(*dry_, name(packet.direction),
                                 {.direction = packet.direction,
                                  .interface_slot = policy.slot(packet.interface),
                                  .frame = std::as_bytes(std::span(packet.frame)),
                                  .now_ms = now});
        EXPECT_TRUE(judged) << judged.error().message;
        return judged ? *judged : Judged{};
    }
    void explain(const State& state, LivePolicy& policy, const Packet& packet, const sg_outcome& outcome);
    void expect_no_trace(LivePolicy& policy, const std::vector<Packet>& packets, std::size_t few);
    void run_seed(std::uint32_t seed, LivePolicy& policy);

    std::optional<Object> dry_;
    std::set<unsigned> reasons_;
    std::set<unsigned> tracking_;
    std::size_t packets_ = 0;
    std::uint64_t now_ = 1'000'000;
};

// The words agree with the verdict: the rule named would not be called another's, the nearest of a drop does differ.
void WhyTest::explain(const State& state, LivePolicy& policy, const Packet& packet, const sg_outcome& outcome) {
    if (packet.interface.empty()) {
        return;
    }
    const Interface& interface = state.interfaces.at(packet.interface);
    const WhyContext why{state, interface, fields_of(std::as_bytes(std::span(packet.frame)), packet.direction)};
    const RuleQuestion asked = question_of(why.packet);
    if (outcome.reason == SG_REASON_RULE) {
        bool found = false;
        for (const std::string& key : interface.groups) {
            for (const Rule& rule : state.groups.at(key).rules[packet.direction]) {
                if (rule.id == policy.image().rule_id(outcome.rule)) {
                    found = true;
                    EXPECT_EQ(distance(state, interface, rule, asked).dimensions(), 0u) << rule.id;
                }
            }
        }
        EXPECT_TRUE(found) << "a rule that its interface does not have";
        EXPECT_NE(tracking_words(why, outcome), "");
    } else if (outcome.reason == SG_REASON_NO_RULE || outcome.reason == SG_REASON_FRAGMENT_ALONE) {
        const auto near = nearest_rule(state, interface, packet.direction, asked);
        if (near) {
            EXPECT_NE(near->distance.dimensions(), 0u) << near->rule->id;
            EXPECT_NE(difference_text(state, interface, *near, asked), "");
        }
        EXPECT_NE(admits_words(why), "");
    }
}

// Packets, many of open flows, judged once more: no map changes. The first few also as `why` itself has them judged.
void WhyTest::expect_no_trace(LivePolicy& policy, const std::vector<Packet>& packets, std::size_t few) {
    Sandbox& sandbox = policy.programs().sandbox();
    const Dump before = dump(sandbox);
    std::vector<DryRun> runs;
    std::vector<Judged> alone;
    for (const Packet& packet : packets) {
        const Judged judged = ask(policy, packet, now_);
        if (runs.size() < few) {
            const auto bytes = std::as_bytes(std::span(packet.frame));
            runs.push_back({.direction = packet.direction,
                            .interface_slot = policy.slot(packet.interface),
                            .frame = {bytes.begin(), bytes.end()},
                            .xdp = xdp()});
            alone.push_back(judged);
        }
    }
    const auto together = dry_run_on(sandbox.maps(), runs, now_);
    ASSERT_TRUE(together) << together.error().message;
    EXPECT_EQ(differing(before, dump(sandbox)), "") << "these maps changed";
    for (std::size_t i = 0; i < alone.size(); ++i) {
        EXPECT_EQ(std::memcmp(&(*together)[i].outcome, &alone[i].outcome, sizeof(sg_outcome)), 0);
    }
}

void WhyTest::run_seed(std::uint32_t seed, LivePolicy& policy) {
    RandomPackets random(seed);
    State state = random.state();
    std::vector<Packet> asked;
    for (int round = 0; round < kRounds; ++round) {
        SCOPED_TRACE("seed " + std::to_string(seed) + " round " + std::to_string(round));
        ASSERT_TRUE(policy.commit(state));
        // Flows that were opened under other rules and addresses.
        expect_no_trace(policy, asked, 0);
        asked.clear();
        for (int i = 0; i < kPackets; ++i) {
            const Packet packet = random.packet(state, policy);
            SCOPED_TRACE("packet " + std::to_string(i) + " " + packet.interface + " " +
                         describe(std::as_bytes(std::span(packet.frame)), packet.direction));
            now_ += random.chance(85) ? random.pick(2000) : random.pick(400'000);
            if (random.chance(3)) {
                policy.programs().sweep_once(now_);
            }
            const Judged dry = ask(policy, packet, now_);
            const PacketResult real =
                policy.programs().run(packet.direction, policy.slot(packet.interface), packet.frame, now_);
            ASSERT_EQ(dry.outcome.reason, real.outcome.reason);
            ASSERT_EQ(dry.passed, real.pass);
            ASSERT_EQ(dry.code, real.code);
            ASSERT_EQ(dry.outcome.rule, real.outcome.rule);
            ASSERT_EQ(dry.outcome.stage, real.outcome.stage);
            ASSERT_EQ(dry.outcome.tracking, real.outcome.tracking);
            ASSERT_EQ(dry.outcome.generation, real.outcome.generation);
            if (real.outcome.tracking != SG_TRACKING_OPENED) {
                ASSERT_EQ(dry.outcome.flow_slot, real.outcome.flow_slot);
            }
            explain(state, policy, packet, real.outcome);
            reasons_.insert(real.outcome.reason);
            tracking_.insert(real.outcome.tracking);
            asked.push_back(packet);
            ++packets_;
            if (HasFailure()) {
                return;
            }
        }
        expect_no_trace(policy, asked, round == 0 ? 4 : 0);
        random.change(state);
    }
}

TEST_P(WhyTest, SaysWhatTheDatapathDoesAndLeavesEveryMapAsItWas) {
    Capacities capacities = small_capacities();
    capacities.flows = 10;  // so few that the table is full at times (SG-5.46)
    auto policy = LivePolicy::make(RandomPackets(0).state(), capacities, GetParam());
    ASSERT_TRUE(policy) << policy.error().message;
    load_dry(**policy);
    const char* only = std::getenv("SGBPF_SEED");
    const auto first = only == nullptr ? 0u : static_cast<std::uint32_t>(std::strtoul(only, nullptr, 10));
    for (std::uint32_t seed = first; seed < (only == nullptr ? kSeeds : first + 1) && !HasFailure(); ++seed) {
        run_seed(seed, **policy);
    }
    if (only != nullptr || HasFailure()) {
        return;
    }
    EXPECT_EQ(packets_, std::size_t{kSeeds} * kRounds * kPackets);
    for (const unsigned reason :
         {SG_REASON_RULE, SG_REASON_TRACKED, SG_REASON_EXEMPT, SG_REASON_NO_RULE, SG_REASON_SOURCE_DEST,
          SG_REASON_NOT_READY, SG_REASON_QUARANTINE, SG_REASON_TRUNCATED, SG_REASON_VLAN, SG_REASON_FRAGMENT_ALONE,
          SG_REASON_OPENING_LIMIT, SG_REASON_FRAGMENT_OVERLAP, SG_REASON_EXEMPT_SENDER}) {
        EXPECT_EQ(reasons_.count(reason), 1u) << "no packet ended with reason " << reason;
    }
    for (unsigned tracking = SG_TRACKING_NONE; tracking <= SG_TRACKING_AH; ++tracking) {
        EXPECT_EQ(tracking_.count(tracking), 1u) << "no packet with tracking " << tracking;
    }
}

// Addresses changed since: the next real packet of the flow passes the source/dest check again and is noted in it.
TEST_P(WhyTest, AFlowFromBeforeAChangeOfAddressesStaysAsItIs) {
    StateBuilder build;
    build.vpc("v").group("v/web").interface("web0", "v", {"10.0.1.10/32"}, {"v/web"});
    build.rule("v/web", SG_IN, kTcp, {80, 80}, prefix("0.0.0.0/0"));
    auto policy = LivePolicy::make(build.state, small_capacities(), GetParam());
    ASSERT_TRUE(policy) << policy.error().message;
    load_dry(**policy);
    const Ipv4 in{.source = "192.0.2.7", .destination = "10.0.1.10"};
    ASSERT_TRUE((*policy)->judge(SG_IN, "web0", Ethernet{} / in / Tcp{}, now_).passed());
    build.at("web0").addresses.push_back(prefix("10.0.1.11/32"));
    ASSERT_TRUE((*policy)->commit(build.state));
    std::vector<Packet> packets;
    for (const std::uint8_t flags : std::initializer_list<std::uint8_t>{kSyn, kAck, kFin | kAck, kRst}) {
        packets.push_back({"web0", SG_IN, Ethernet{} / in / Tcp{.flags = flags}});
        EXPECT_EQ(ask(**policy, packets.back(), now_).outcome.reason, SG_REASON_TRACKED);
    }
    expect_no_trace(**policy, packets, packets.size());
    const std::uint32_t epoch = (*policy)->programs().live_flows().at(0).epoch;
    ASSERT_TRUE((*policy)->judge(SG_IN, "web0", packets[1].frame, now_).passed());
    EXPECT_NE((*policy)->programs().live_flows().at(0).epoch, epoch) << "the real packet is noted";
}

INSTANTIATE_TEST_SUITE_P(Programs, WhyTest, ::testing::Values(TestPrograms::Mode::kTest, TestPrograms::Mode::kTestXdp),
                         [](const auto& mode) { return mode.param == TestPrograms::Mode::kTest ? "Tc" : "Xdp"; });

}  // namespace
}  // namespace sgbpf::test
