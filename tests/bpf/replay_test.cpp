// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Replay by the real programs: the specification's sequences as scenarios, commits between packets, a
// virtual clock over long gaps, captures with directions, and real captures where they are at hand.
#include "replay/run.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "frame/build.hpp"
#include "frame/describe.hpp"
#include "frame/names.hpp"
#include "model/parse.hpp"
#include "model/yaml_out.hpp"
#include "support/capture_bytes.hpp"
#include "support/live_policy.hpp"
#include "support/vectors.hpp"
#include "unit/base/temporary_directory.hpp"

namespace sgbpf::test {
namespace {

using nlohmann::json;
constexpr std::uint64_t kSecond = 1'000'000'000;

std::string hex(const Bytes& bytes) {
    std::string text;
    for (const std::uint8_t byte : bytes) {
        text += fmt::format("{:02x}", byte);
    }
    return text;
}

std::unique_ptr<Replayer> replayer(ObjectKind programs = ObjectKind::kTc, Capacities capacities = small_capacities()) {
    auto made = Replayer::make({.capacities = capacities, .programs = programs});
    EXPECT_TRUE(made) << made.error().message;
    return made ? std::move(*made) : nullptr;
}

// "PASS rule sgr-... syn-sent", one for each packet.
std::string answer(const ReplayedPacket& packet) {
    const ReplayVerdict& verdict = packet.verdict;
    return fmt::format("{} {} {} {}", verdict.passed ? "PASS" : "DROP", reason_words(verdict.reason).name,
                       verdict.rule != nullptr ? verdict.rule->id : "-",
                       verdict.flow_state != SG_FLOW_FREE ? flow_state_name(verdict.flow_state) : "-");
}

struct Answers {
    ReplaySummary summary;
    std::vector<std::string> packets;
};

Answers run(const std::string& text, const std::string& directory, Replayer& host) {
    Answers answers;
    const auto scenario = parse_scenario(text, "t.jsonl", directory);
    EXPECT_TRUE(scenario) << scenario.error().detail;
    if (scenario) {
        auto summary = run_scenario(*scenario, host, [&](const auto& one) { answers.packets.push_back(answer(one)); });
        EXPECT_TRUE(summary) << summary.error().message;
        answers.summary = summary ? std::move(*summary) : ReplaySummary{};
    }
    return answers;
}

// The vectors key groups by alias; a state file keys them by their name, which must then be unique.
State as_file_says(const State& state) {
    State named = state;
    named.groups.clear();
    for (auto [key, group] : state.groups) {
        if (!group.is_default) {
            group.name = key.substr(key.find('/') + 1);
        }
        named.groups[key] = std::move(group);
    }
    for (auto& [name, interface] : named.interfaces) {
        interface.match.device = "tap-" + name;
    }
    return named;
}

using Case = std::tuple<std::size_t, ObjectKind>;
class SequenceAsScenario : public testing::TestWithParam<Case> {};

// The same verdicts, reasons and rules as when a test feeds the programs by hand (vector_test.cpp).
TEST_P(SequenceAsScenario, IsJudgedAsByHand) {
    const auto& [index, programs] = GetParam();
    const json& sequence = vector_file().at("sequences").at(index);
    SCOPED_TRACE(sequence.at("title").get<std::string>());
    const TemporaryDirectory directory;
    State state = vector_state(vector_file());
    const auto policy =
        LivePolicy::make(state, small_capacities(),
                         programs == ObjectKind::kXdp ? TestPrograms::Mode::kTestXdp : TestPrograms::Mode::kTest);
    ASSERT_TRUE(policy) << policy.error().message;
    std::string text;
    std::vector<std::string> by_hand;
    const auto apply = [&](std::size_t number) {
        const std::string file = fmt::format("s{}.yaml", number);
        directory.write(file, to_yaml(as_file_says(state)));
        text += json{{"apply", file}}.dump() + "\n";
    };
    apply(0);
    std::size_t number = 0;
    std::uint64_t latest = 0;
    for (const json& step : sequence.at("steps")) {
        ++number;
        if (step.contains("action")) {
            if (!apply_action(state, vector_file(), step["action"])) {
                break;  // cannot be expressed yet
            }
            ASSERT_TRUE((*policy)->commit(state));
            apply(number);
            continue;
        }
        const std::uint64_t time_ms = step.at("t").get<std::uint64_t>() * 1000;
        ASSERT_GE(time_ms, latest);
        latest = time_ms;
        const Bytes frame = vector_frame(step.at("packet"));
        const std::string interface = step.at("interface");
        text += json{{"packet", hex(frame)},
                     {"interface", interface},
                     {"direction", step.at("direction")},
                     {"t_ms", time_ms}}
                    .dump() +
                "\n";
        const PacketResult result =
            (*policy)->judge(step.at("direction") == "in" ? SG_IN : SG_OUT, interface, frame, 1'000'000 + time_ms);
        const std::string rule = (*policy)->rule_id(result);
        by_hand.push_back(fmt::format("{} {} {}", result.passed() ? "PASS" : "DROP", reason_words(result.reason).name,
                                      rule.empty() ? "-" : rule));
    }
    if (by_hand.empty()) {  // begins with an action that cannot be expressed yet (vector_test.cpp)
        EXPECT_EQ(sequence.at("id"), "Q-020");
        return;
    }
    const auto host = replayer(programs);
    ASSERT_TRUE(host);
    Answers answers = run(text, directory.path(), *host);
    for (std::string& one : answers.packets) {
        one.erase(one.rfind(' '));
    }
    EXPECT_EQ(answers.packets, by_hand);
}

INSTANTIATE_TEST_SUITE_P(Spec, SequenceAsScenario,
                         testing::Combine(testing::Range(std::size_t{0}, vector_file().at("sequences").size()),
                                          testing::Values(ObjectKind::kTc, ObjectKind::kXdp)),
                         [](const testing::TestParamInfo<Case>& one) {
                             const std::string id = vector_file().at("sequences").at(std::get<0>(one.param)).at("id");
                             return "Q" + id.substr(2) + (std::get<1>(one.param) == ObjectKind::kXdp ? "_xdp" : "_tc");
                         });

std::string state_text(const std::string& inbound) {
    return R"({"schema": "sgbpf/v1", "vpcs": {"prod": {"cidrs": ["10.0.0.0/16"]}}, "groups": {"web": {"vpc": "prod",)"
           R"( "description": "x", "inbound": [)" +
           inbound +
           R"(], "outbound": []}}, "interfaces": {"web0": {"vpc":)"
           R"( "prod", "mac": "52:54:00:12:34:56", "match": {"device": "tap0"}, "addresses": ["10.0.1.10"],)"
           R"( "groups": ["web"]}}})";
}
const std::string kHttp = R"({"id": "sgr-00000000000000080", "protocol": "tcp", "port": 80, "cidr": "0.0.0.0/0"})";
const std::string kDns = R"({"id": "sgr-00000000000000053", "protocol": "udp", "port": 53, "cidr": "192.0.2.0/24"})";

std::string apply(const std::string& inbound) {
    return R"({"apply": )" + state_text(inbound) + "}\n";
}
std::string packet(const std::string& direction, std::uint64_t t_ms, const std::string& text,
                   const std::string& more = "") {
    return fmt::format(R"({{"text": "{}", "interface": "web0", "direction": "{}", "t_ms": {}{}}})"
                       "\n",
                       text, direction, t_ms, more);
}

TEST(Replay, CommitsBetweenPackets) {
    for (const ObjectKind programs : {ObjectKind::kTc, ObjectKind::kXdp}) {
        const auto host = replayer(programs);
        ASSERT_TRUE(host);
        const Answers answers = run(apply(kHttp) + packet("in", 0, "tcp 192.0.2.7:1 -> 10.0.1.10:80") +
                                        packet("in", 1, "udp 192.0.2.7:1 -> 10.0.1.10:53") + apply(kHttp + "," + kDns) +
                                        packet("in", 2, "udp 192.0.2.7:1 -> 10.0.1.10:53") +
                                        packet("out", 3, "tcp 10.0.1.10:80 -> 192.0.2.7:1 SA") +
                                        packet("in", 4, "tcp 192.0.2.7:1 -> 10.0.1.10:80 A") + apply(kDns) +
                                        packet("in", 5, "tcp 192.0.2.7:1 -> 10.0.1.10:80 A") +
                                        packet("in", 6, "tcp 192.0.2.7:2 -> 10.0.1.10:80"),
                                    "", *host);
        EXPECT_EQ(answers.packets,
                  (std::vector<std::string>{
                      "PASS rule sgr-00000000000000080 syn-sent", "DROP no-rule - -",
                      "PASS rule sgr-00000000000000053 udp-asked", "PASS tracked sgr-00000000000000080 syn-received",
                      "PASS tracked sgr-00000000000000080 established",
                      "PASS tracked sgr-00000000000000080 established",  // SG-5.22: flows outlive rules
                      "DROP no-rule - -"}));
    }
}

TEST(Replay, ComparesWithWhatIsExpected) {
    const auto host = replayer();
    ASSERT_TRUE(host);
    const std::string syn = "tcp 192.0.2.7:1 -> 10.0.1.10:80";
    const Answers answers = run(
        apply(kHttp) + packet("in", 0, syn, R"(, "expect": "drop")") + packet("in", 0, syn, R"(, "expect": "pass")") +
            packet("in", 0, syn, R"(, "reason": "rule")") + packet("in", 0, syn, R"(, "rule": "db")") +
            packet("in", 0, syn, R"(, "rule": "web")") + packet("in", 0, syn, R"(, "rule": "sgr-00000000000000080")") +
            packet("in", 0, syn, R"(, "rule": "web: tcp 80 from 0.0.0.0/0")") + packet("in", 0, syn) +
            packet("in", 0, "tcp 192.0.2.7:1 -> 10.0.1.10:22", R"(, "expect": "pass")") +
            packet("in", 0, "tcp 192.0.2.7:1 -> 10.0.1.10:22", R"(, "rule": "web")"),
        "", *host);
    EXPECT_EQ(
        answers.summary.failures,
        (std::vector<std::string>{
            "line 2: expected drop, got pass (sgr-00000000000000080)", "line 4: expected reason rule, got tracked",
            "line 5: expected rule db, got sgr-00000000000000080 (web: tcp 80 from 0.0.0.0/0)",
            "line 10: expected pass, got drop (no-rule)", "line 11: expected rule web, got no rule"}));
    EXPECT_EQ(answers.summary.as_expected, 4u);
    EXPECT_EQ(answers.summary.without_expectation, 1u);
}

// An interface that leaves takes its flows with it, and its slot may become another's.
TEST(Replay, ForgetsFlowsOfInterfacesThatLeave) {
    const auto host = replayer();
    ASSERT_TRUE(host);
    std::string other = state_text(kHttp);
    other.replace(other.find("web0"), 4, "web9");
    const std::string back = "tcp 10.0.1.10:80 -> 192.0.2.7:1 SA";
    std::string on_web9 = packet("out", 1, back);
    on_web9.replace(on_web9.find("web0"), 4, "web9");
    const Answers answers =
        run(apply(kHttp) + packet("in", 0, "tcp 192.0.2.7:1 -> 10.0.1.10:80") + packet("out", 0, back) +
                R"({"apply": )" + other + "}\n" + on_web9 + apply(kHttp) + packet("out", 2, back),
            "", *host);
    ASSERT_EQ(answers.packets.size(), 4u);
    EXPECT_EQ(answers.packets[1], "PASS tracked sgr-00000000000000080 syn-received");
    EXPECT_EQ(answers.packets[2], "DROP no-rule - -");
    EXPECT_EQ(answers.packets[3], "DROP no-rule - -");
}

// Ticks are 32 bits of milliseconds: a flow idle for 40 days must not look like one of the future.
TEST(Replay, CrossesGapsOfMonths) {
    const auto host = replayer();
    ASSERT_TRUE(host);
    constexpr std::uint64_t kDay = 24 * 3600 * 1000;
    std::string text = apply(kHttp);
    std::vector<std::string> expected;
    std::uint64_t now = 0;
    for (const std::uint64_t days : {0, 4, 6, 7, 24, 25, 40, 49, 50, 51, 365}) {
        now += days * kDay;
        text += packet("in", now, "tcp 192.0.2.7:1 -> 10.0.1.10:80") +
                packet("out", now, "tcp 10.0.1.10:80 -> 192.0.2.7:1 SA") +
                packet("in", now, "tcp 192.0.2.7:1 -> 10.0.1.10:80 A");
        const bool alive = days == 4;
        expected.emplace_back(alive ? "PASS tracked sgr-00000000000000080 established"
                                    : "PASS rule sgr-00000000000000080 syn-sent");
        expected.emplace_back(alive ? "PASS tracked sgr-00000000000000080 established"
                                    : "PASS tracked sgr-00000000000000080 syn-received");
        expected.emplace_back("PASS tracked sgr-00000000000000080 established");
    }
    EXPECT_EQ(run(text, "", *host).packets, expected);
}

// Entries come back when their timers end, as with the live sweeper, and not before.
TEST(Replay, SweepsWhenEntriesRunOut) {
    Capacities capacities = small_capacities();
    capacities.flows = 64;
    const auto host = replayer(ObjectKind::kTc, capacities);
    ASSERT_TRUE(host);
    std::string text = apply(kDns);
    for (int port = 1; port <= 70; ++port) {
        text += packet("in", 1000, fmt::format("udp 192.0.2.7:{} -> 10.0.1.10:53", port));
    }
    text += packet("in", 20'000, "udp 192.0.2.7:100 -> 10.0.1.10:53") +  // idle for 19 s: all live
            packet("in", 40'000, "udp 192.0.2.7:101 -> 10.0.1.10:53");   // 39 s: udp is 30 s
    const Answers answers = run(text, "", *host);
    ASSERT_EQ(answers.packets.size(), 72u);
    const auto refused = [](const std::string& one) { return one.starts_with("DROP opening-limit "); };
    EXPECT_EQ(std::count_if(answers.packets.begin(), answers.packets.begin() + 70, refused), 62)
        << "8 are a share of 64";
    EXPECT_TRUE(refused(answers.packets[70])) << answers.packets[70];
    EXPECT_EQ(answers.packets[71], "PASS rule sgr-00000000000000053 udp-asked");
}

class Captures : public testing::Test {
protected:
    void SetUp() override {
        host_ = replayer();
        ASSERT_TRUE(host_);
        const auto parsed = parse_state(state_text(kHttp), "s.yaml", "");
        ASSERT_TRUE(parsed.ok());
        ASSERT_TRUE(host_->apply(parsed.state));
    }
    Answers replay(const std::string& bytes, CaptureOptions options = {}) {
        options.interface = "web0";
        Answers answers;
        auto summary = run_capture(directory_.write("capture", bytes), options, *host_, [&](const auto& one) {
            answers.packets.push_back(
                fmt::format("{} {} {}", one.number, one.direction == SG_IN ? "in" : "out", answer(one)));
        });
        EXPECT_TRUE(summary) << summary.error().message;
        answers.summary = summary ? std::move(*summary) : ReplaySummary{};
        return answers;
    }
    TemporaryDirectory directory_;
    std::unique_ptr<Replayer> host_;
};

const Bytes kFirst = Ethernet{} / Ipv4{.source = "192.0.2.7", .destination = "10.0.1.10"} / Tcp{.from = 1, .to = 80};
const Ethernet kGuest{.source = "52:54:00:12:34:56"};  // of state_text
const Bytes kSynAck =
    kGuest / Ipv4{.source = "10.0.1.10", .destination = "192.0.2.7"} / Tcp{.from = 80, .to = 1, .flags = kSyn | kAck};
const Bytes kOthers = Ethernet{} / Ipv4{.source = "192.0.2.7", .destination = "192.0.2.8"} / Tcp{};
const std::string kOpened = "PASS rule sgr-00000000000000080 syn-sent";
const std::string kAnswered = "PASS tracked sgr-00000000000000080 syn-received";

TEST_F(Captures, GoTheWayTheirEndsTell) {
    const Answers answers = replay(pcap_head(kLinkEthernet) + pcap_packet(5 * kSecond, kFirst) +
                                   pcap_packet(5 * kSecond + 1, kOthers) + pcap_packet(6 * kSecond, kSynAck) +
                                   pcap_packet(4 * kSecond, Bytes(13)) + pcap_packet(200 * kSecond, kSynAck));
    EXPECT_EQ(answers.packets, (std::vector<std::string>{"1 in " + kOpened, "3 out " + kAnswered,
                                                         "5 out DROP no-rule - -"}));  // after 194 s of silence
    EXPECT_EQ(answers.summary.unknown_direction, 1u);
    EXPECT_EQ(answers.summary.too_short, 1u);
    EXPECT_EQ(answers.summary.back_in_time, 1u);
    EXPECT_FALSE(answers.summary.captured_at);
    EXPECT_EQ(answers.summary.packets[SG_OUT][SG_REASON_NO_RULE], 1u);
    EXPECT_EQ(answers.summary.passed, 2u);
    EXPECT_EQ(answers.summary.dropped, 1u);
}

TEST_F(Captures, GoTheWayTheyAreTold) {
    const Answers answers = replay(pcap_head(kLinkEthernet) + pcap_packet(1, kOthers), {.direction = SG_OUT});
    EXPECT_EQ(answers.packets, (std::vector<std::string>{"1 out DROP source-mac - -"}));
}

// What a tap receives is what the guest sends: which end the flags are of shows from packets with both.
TEST_F(Captures, FlagsAreThoseOfTheTapOrOfTheGuest) {
    for (const bool tap : {true, false}) {
        SCOPED_TRACE(tap);
        const int in = tap ? 2 : 1;
        const int out = tap ? 1 : 2;
        const std::string bytes =
            Pcapng().packet(1, kFirst, in).packet(2, kSynAck, out).packet(3, kOthers, out).packet(4, kOthers).text();
        const Answers answers = replay(bytes);
        ASSERT_EQ(answers.packets.size(), 3u);
        EXPECT_EQ(answers.packets[2], "3 out DROP source-mac - -");  // spoofed: only its flags tell
        EXPECT_EQ(answers.summary.unknown_direction, 1u);
        EXPECT_EQ(answers.summary.captured_at, tap ? CapturedAt::kTap : CapturedAt::kGuest);
        // Told otherwise, the flags are believed.
        EXPECT_EQ(replay(bytes, {.captured_at = tap ? CapturedAt::kGuest : CapturedAt::kTap}).packets[2].substr(0, 4),
                  "3 in");
    }
    // Nothing to learn from: a workload's capture is the tap's.
    EXPECT_EQ(replay(Pcapng().packet(1, kOthers, 1).text()).packets[0].substr(0, 5), "1 out");
}

TEST_F(Captures, AreJudgedByTheirLengthOnTheWire) {
    const Bytes whole = Ethernet{} / Ipv4{.source = "192.0.2.7", .destination = "10.0.1.10"} /
                        Tcp{.from = 9, .to = 80} / Raw{Bytes(1000)};
    const Bytes cut(whole.begin(), whole.begin() + 64);
    const Answers answers = replay(pcap_head(kLinkEthernet) +
                                   pcap_packet(1, cut, static_cast<std::uint32_t>(whole.size())) + pcap_packet(2, cut));
    EXPECT_EQ(answers.packets, (std::vector<std::string>{"1 in " + kOpened, "2 in DROP truncated - -"}));
}

// A test run of a newer kernel refuses such frames; a wire does not.
TEST_F(Captures, OfLessThanAnIpHeaderAreJudged) {
    for (const ObjectKind programs : {ObjectKind::kTc, ObjectKind::kXdp}) {
        const auto host = replayer(programs);
        const auto parsed = parse_state(state_text(kHttp), "s.yaml", "");
        ASSERT_TRUE(host->apply(parsed.state));
        for (const Bytes& whole : {kFirst, Bytes(Ethernet{} / Ipv6{} / Tcp{})}) {
            for (std::size_t length = 14; length < 54; ++length) {
                const std::vector<std::byte> frame(std::as_bytes(std::span(whole)).begin(),
                                                   std::as_bytes(std::span(whole)).begin() + static_cast<long>(length));
                const auto verdict = host->judge({.interface = "web0", .direction = SG_IN, .frame = frame});
                ASSERT_TRUE(verdict) << verdict.error().message;
                EXPECT_EQ(verdict->reason, unsigned{SG_REASON_TRUNCATED}) << length;
            }
        }
    }
}

// A cooked packet has no MACs; what the workload sends gets its own, or its neighbour discovery were foreign.
TEST_F(Captures, SendersOfRawPacketsHaveTheirMac) {
    const Bytes frame = Ethernet{} / Arp{.sender = "10.0.1.10", .target = "10.0.1.1"};
    Bytes cooked = {0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 6};
    cooked.insert(cooked.end(), frame.begin() + 14, frame.end());
    std::copy_n(Bytes{0x52, 0x54, 0, 0x12, 0x34, 0x56}.begin(), 6, cooked.begin() + 16 + 8);
    EXPECT_EQ(replay(pcap_head(kLinkCooked) + pcap_packet(1, cooked)).packets,
              (std::vector<std::string>{"1 out PASS unfiltered - -"}));
}

TEST_F(Captures, EndWhereTheyAreBroken) {
    const std::string bytes = pcap_head(kLinkEthernet) + pcap_packet(1, kFirst) + pcap_packet(2, kSynAck);
    const Answers answers = replay(bytes.substr(0, bytes.size() - 1));
    EXPECT_EQ(answers.packets.size(), 1u);
    EXPECT_NE(answers.summary.broken.find("is broken after packet 1"), std::string::npos) << answers.summary.broken;
}

// Odd packets of the world, in both directions and through both kinds of programs: all are judged.
TEST_F(Captures, OfTheWorldAreJudged) {
    const char* variable = std::getenv("SGBPF_PCAPS");
    const std::string folder = variable != nullptr ? variable : SGBPF_PCAPS;
    if (!std::filesystem::is_directory(folder)) {
        FAIL() << "no folder " << folder;  // not registered where there is none
    }
    for (const ObjectKind programs : {ObjectKind::kTc, ObjectKind::kXdp}) {
        std::size_t files = 0;
        std::uint64_t packets = 0;
        host_ = replayer(programs);
        const auto parsed = parse_state(state_text(R"({"protocol": "all", "cidr": "0.0.0.0/0"})"), "s.yaml", "");
        ASSERT_TRUE(parsed.ok());
        State state = parsed.state;
        state.interfaces.at("web0").source_dest_check = false;  // else little would be looked at
        ASSERT_TRUE(host_->apply(state));
        for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
            if (entry.path().extension() != ".pcap" && entry.path().extension() != ".pcapng") {
                continue;
            }
            SCOPED_TRACE(entry.path().string());
            ++files;
            for (const unsigned direction : {SG_IN, SG_OUT}) {
                const CaptureOptions options{.interface = "web0", .direction = direction, .captured_at = {}};
                std::uint64_t seen = 0;
                const auto summary = run_capture(entry.path().string(), options, *host_, [&](const auto& one) {
                    ++seen;
                    const ReasonWords& words = reason_words(one.verdict.reason);
                    EXPECT_NE(words.name, "unknown") << one.number;
                    EXPECT_EQ(words.verdict, one.verdict.passed ? unsigned{SG_PASS} : unsigned{SG_DROP}) << one.number;
                    EXPECT_NE(one.verdict.reason, unsigned{SG_REASON_INTERNAL}) << one.number;
                    EXPECT_FALSE(describe(one.frame, direction, one.wire_length).empty()) << one.number;
                });
                ASSERT_TRUE(summary) << summary.error().message;
                EXPECT_EQ(summary->broken, "");
                EXPECT_EQ(summary->passed + summary->dropped, seen);
                packets += seen;
            }
        }
        EXPECT_GT(files, 0u);
        RecordProperty(programs == ObjectKind::kTc ? "packets_tc" : "packets_xdp", std::to_string(packets));
    }
}

}  // namespace
}  // namespace sgbpf::test
