// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Which rule is named, and what counts for it, through whole applies on the real programs.
#include <gtest/gtest.h>

#include <sgbpf/engine.hpp>

#include "datapath/sandbox.hpp"
#include "image/plan.hpp"
#include "model/host_config.hpp"
#include "model/ids.hpp"
#include "store/store.hpp"
#include "support/packet.hpp"
#include "support/test_programs.hpp"
#include "unit/base/temporary_directory.hpp"

namespace sgbpf::test {
namespace {

struct Counts {
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
    bool operator==(const Counts&) const = default;
};

// sgr-00000000000000NNN
std::string rule_id(unsigned number) {
    char text[32];
    std::snprintf(text, sizeof(text), "sgr-%017u", number);
    return text;
}

std::string tcp_rule(unsigned id, const std::string& port, const std::string& peer) {
    return "      - {id: " + rule_id(id) + ", protocol: tcp, port: " + port + ", " + peer + "}\n";
}

struct Text {
    std::string web_in;
    std::string lists;
    std::string more_groups;
    std::string web_groups = "web";
    std::string more_interfaces;

    [[nodiscard]] std::string yaml() const {
        return "schema: sgbpf/v1\nvpcs:\n  prod: {cidrs: [10.0.0.0/16]}\n" +
               (lists.empty() ? "" : "prefix_lists:\n" + lists) +
               "groups:\n  web:\n    vpc: prod\n    description: Web servers\n    inbound:" +
               (web_in.empty() ? " []\n" : "\n" + web_in) + "    outbound: []\n" + more_groups +
               "interfaces:\n  web0: {vpc: prod, match: {device: tap-web0}, addresses: [10.0.1.10], groups: [" +
               web_groups + "]}\n" + more_interfaces;
    }
};

class Attribution : public ::testing::Test {
protected:
    void SetUp() override {
        config_.capacities = small_capacities();
        config_.capacities.rules = 10;  // so few that slots of removed rules are given to others
        auto sandbox = Sandbox::load({.capacities = config_.capacities});
        ASSERT_TRUE(sandbox) << sandbox.error().message;
        sandbox_ = std::move(*sandbox);
        store_ = std::make_unique<Store>(*Store::open(directory_.file("state"), true));
        engine_ = std::make_unique<Engine>(sandbox_.get(), store_.get(), config_, ids_, nullptr);
    }

    void apply(const Text& text) {
        ApplyOptions options;
        options.who = "tester";
        auto report = engine_->apply(directory_.write("s.yaml", text.yaml()), options);
        ASSERT_TRUE(report) << report.error().message;
        ASSERT_TRUE(report->plan.input.errors.empty()) << report->plan.input.errors.front();
    }

    Judged judge(unsigned direction, const Bytes& frame, const std::string& interface = "web0") {
        const auto image = image_from_maps(*sandbox_->read_maps(), sandbox_->control()->generation);
        const std::string id = engine_->applied_state()->interfaces.at(interface).id;
        auto judged = sandbox_->judge({.direction = direction,
                                       .interface_slot = *image.interface_slot(id),
                                       .frame = std::as_bytes(std::span(frame)),
                                       .now_ms = 1'000'000});
        EXPECT_TRUE(judged) << judged.error().message;
        named_ = std::string(image.rule_id(judged->outcome.rule));
        return *judged;
    }
    // The rule that a new connection from `peer` is admitted by.
    std::string named(const std::string& peer, std::uint16_t port) {
        const Bytes frame =
            Ethernet{} / Ipv4{.source = peer, .destination = "10.0.1.10"} / Tcp{.from = next_port_++, .to = port};
        return judge(SG_IN, frame).passed ? named_ : "";
    }
    Counts counts(unsigned id) {
        const auto rows = engine_->show_rules("");
        EXPECT_TRUE(rows) << rows.error().message;
        for (const RuleRow& row : *rows) {
            if (row.rule.id == rule_id(id)) {
                return {row.packets, row.bytes};
            }
        }
        ADD_FAILURE() << "no rule " << rule_id(id);
        return {};
    }

    TemporaryDirectory directory_;
    HostConfig config_;
    CountingIds ids_;
    std::unique_ptr<Sandbox> sandbox_;
    std::unique_ptr<Store> store_;
    std::unique_ptr<Engine> engine_;
    std::string named_;
    std::uint16_t next_port_ = 40000;
};

const std::string kAny = "cidr: 0.0.0.0/0";
const std::string kDb = "  db:\n    vpc: prod\n    description: Databases\n    inbound:\n" +
                        tcp_rule(3, "3306", "group: web") + "    outbound: []\n";
const std::string kDb0 = "  db0: {vpc: prod, match: {device: tap-db0}, addresses: [10.0.2.20], groups: [db]}\n";

TEST_F(Attribution, PacketsAndBytesOfBothDirectionsCountForTheRuleThatAdmittedTheFlow) {
    apply({.web_in = tcp_rule(1, "80", "cidr: 192.0.2.0/24") + tcp_rule(2, "443", kAny)});
    const Ipv4 in{.source = "192.0.2.7", .destination = "10.0.1.10"};
    const Ipv4 out{.source = "10.0.1.10", .destination = "192.0.2.7"};
    const Bytes syn = Ethernet{} / in / Tcp{.to = 80};
    const Bytes answer = Ethernet{} / out / Tcp{.from = 80, .to = 40000, .flags = kSyn | kAck};
    const Bytes data = Ethernet{} / in / Tcp{.to = 80, .flags = kAck} / Raw{Bytes(700)};
    ASSERT_TRUE(judge(SG_IN, syn).passed);
    EXPECT_EQ(counts(1), (Counts{1, syn.size()}));
    ASSERT_TRUE(judge(SG_OUT, answer).passed);
    ASSERT_TRUE(judge(SG_IN, data).passed);
    EXPECT_EQ(named_, rule_id(1));
    EXPECT_EQ(counts(1), (Counts{3, syn.size() + answer.size() + data.size()}));
    EXPECT_EQ(counts(2), Counts{});
    ASSERT_FALSE(judge(SG_IN, Ethernet{} / in / Tcp{.to = 81}).passed);
    EXPECT_EQ(counts(1).packets, 3u);
}

// Stage order any, CIDR, list, group; in a stage the lowest id, in whatever order the file has the rules.
TEST_F(Attribution, TheRuleNamedStaysTheSameOverUnrelatedCommits) {
    const std::string rules = tcp_rule(9, "80", kAny) + tcp_rule(7, "80-90", "cidr: 192.0.2.0/24") +
                              tcp_rule(5, "0-100", "cidr: 192.0.2.7/32") +
                              tcp_rule(2, "0-65535", "prefix_list: office");
    Text text{.web_in = rules, .lists = "  office: {family: ipv4, max_entries: 5, entries: [192.0.2.0/24]}\n"};
    const auto check = [&](const char* after) {
        SCOPED_TRACE(after);
        EXPECT_EQ(named("192.0.2.7", 80), rule_id(9)) << "any peer comes first";
        EXPECT_EQ(named("192.0.2.7", 81), rule_id(5)) << "two CIDRs: the lowest id";
        EXPECT_EQ(named("192.0.2.8", 90), rule_id(7));
        EXPECT_EQ(named("192.0.2.8", 91), rule_id(2)) << "only the list";
    };
    apply(text);
    check("the first apply");
    text.more_groups = kDb;
    apply(text);
    check("a group that nothing carries");
    text.more_interfaces = kDb0;
    apply(text);
    check("another interface");
    text.lists += "  other: {family: ipv4, max_entries: 5, entries: [192.0.2.0/25, 198.51.100.0/24]}\n";
    text.more_groups = "  db:\n    vpc: prod\n    description: Databases\n    inbound:\n" +
                       tcp_rule(1, "22", "prefix_list: other") + tcp_rule(3, "3306", "group: web") +
                       "    outbound: []\n";
    apply(text);
    check("a list over the same addresses, and a lower id in another group");
    text.web_in = tcp_rule(2, "0-65535", "prefix_list: office") + tcp_rule(5, "0-100", "cidr: 192.0.2.7/32") +
                  tcp_rule(7, "80-90", "cidr: 192.0.2.0/24") + tcp_rule(9, "80", kAny);
    apply(text);
    check("the same rules in another order");
}

TEST_F(Attribution, CountersSurviveEveryApplyThatKeepsTheRule) {
    const std::string kept = tcp_rule(5, "80", kAny);
    Text text{.web_in = kept};
    apply(text);
    ASSERT_EQ(named("192.0.2.7", 80), rule_id(5));
    const Counts before = counts(5);
    ASSERT_EQ(before.packets, 1u);
    const auto check = [&](const char* after) {
        SCOPED_TRACE(after);
        apply(text);
        EXPECT_EQ(counts(5), before);
    };
    text.web_in = tcp_rule(1, "80", "cidr: 192.0.2.0/24") + kept + tcp_rule(8, "81", kAny);
    check("rules around it");
    text.more_groups = kDb;
    text.more_interfaces = kDb0;
    check("another interface with another group");
    text.web_groups = "web, db";
    check("another policy of its interface");
    text.web_in = kept;
    text.web_groups = "web";
    check("its neighbours are gone");
    text.more_groups.clear();
    text.more_interfaces.clear();
    ApplyOptions prune;
    prune.allow_leaving = true;
    ASSERT_TRUE(engine_->apply(directory_.write("s.yaml", text.yaml()), prune));
    EXPECT_EQ(counts(5), before) << "groups and interfaces are gone";
    text.web_in = "      - {id: " + rule_id(5) + ", protocol: tcp, port: 80-81, cidr: 192.0.2.0/24}\n";  // SG-2.39
    check("the rule itself changes and keeps its id");
    engine_ = std::make_unique<Engine>(sandbox_.get(), store_.get(), config_, ids_, nullptr);
    std::filesystem::remove(directory_.file("state/image.bin"));
    text.web_in += tcp_rule(6, "22", kAny);
    check("a new process that has to read the maps");
}

TEST_F(Attribution, ARuleSlotThatIsGivenToAnotherRuleStartsAtZero) {
    for (unsigned id = 1; id <= 30; ++id) {
        SCOPED_TRACE(id);
        apply({.web_in = tcp_rule(id, "80", kAny)});
        ASSERT_EQ(counts(id), Counts{});
        ASSERT_EQ(named("192.0.2.7", 80), rule_id(id));
        ASSERT_EQ(counts(id).packets, 1u);
        ASSERT_TRUE(sandbox_->flush_flows({}));
    }
}

TEST_F(Attribution, AnInterfaceSlotThatIsGivenToAnotherInterfaceStartsAtZero) {
    Text text{.web_in = tcp_rule(1, "80", kAny)};
    apply(text);
    for (unsigned i = 1; i < 5; ++i) {
        const std::string name = "vm" + std::to_string(i);
        SCOPED_TRACE(name);
        text.more_interfaces =
            "  " + name + ": {vpc: prod, match: {device: tap-" + name + "}, addresses: [10.0.3.1], groups: [web]}\n";
        ApplyOptions prune;
        prune.allow_leaving = true;
        ASSERT_TRUE(engine_->apply(directory_.write("s.yaml", text.yaml()), prune));
        EXPECT_TRUE(engine_->show_counters(name)->at(0).rows.empty());
        judge(SG_IN, Ethernet{} / Ipv4{.destination = "10.0.3.1"} / Tcp{.to = 81}, name);
        ASSERT_EQ(engine_->show_counters(name)->at(0).rows.size(), 1u);
        EXPECT_EQ(engine_->show_counters(name)->at(0).rows[0].packets, 1u);
    }
}

}  // namespace
}  // namespace sgbpf::test
