// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// status, show and flush: what is said of a host in each condition.
#include <arpa/inet.h>

#include <algorithm>

#include <gtest/gtest.h>

#include "tests/unit/api/host.hpp"

namespace sgbpf::test {
namespace {

bool has_condition(const StatusReport& report, const std::string& name, bool unhealthy) {
    return std::any_of(report.conditions.begin(), report.conditions.end(), [&](const Condition& condition) {
        return condition.name == name && condition.unhealthy == unhealthy && condition.text.size() > 10;
    });
}

std::uint32_t web_slot(Host& host) {
    return host.kernel.attachment_list.at(0).interface_slot;
}

sg_flow tcp_flow(Host& host) {
    sg_flow flow{};
    flow.key.interface_slot = static_cast<__u16>(web_slot(host));
    flow.key.protocol = 6;
    flow.key.family = SG_IPV4;
    const std::array<__u8, 4> local = {10, 0, 1, 10};
    const std::array<__u8, 4> remote = {192, 0, 2, 7};
    std::copy(local.begin(), local.end(), flow.key.local);
    std::copy(remote.begin(), remote.end(), flow.key.remote);
    flow.key.local_port = htons(80);
    flow.key.remote_port = htons(40000);
    flow.word = SG_FLOW_ESTABLISHED;
    flow.created = static_cast<__u32>(host.kernel.now - 90'000);
    flow.last_seen = static_cast<__u32>(host.kernel.now - 10'000);
    flow.rule = 1;
    flow.packets[0] = 3;
    return flow;
}

TEST(Status, SaysThatNothingIsApplied) {
    Host host;
    auto report = host.engine->status();
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_TRUE(report->empty);
    EXPECT_TRUE(report->healthy());
}

TEST(Status, ShowsWhatIsFilteredWithFlowsAndDrops) {
    Host host;
    ASSERT_TRUE(host.apply(state_text()));
    host.kernel.flow_list = {tcp_flow(host), tcp_flow(host)};
    sg_counters counters{};
    counters.packets[SG_IN][SG_REASON_NO_RULE] = 5;
    counters.packets[SG_OUT][SG_REASON_SOURCE_DEST] = 2;
    counters.packets[SG_IN][SG_REASON_RULE] = 100;
    host.kernel.counters[web_slot(host)] = counters;
    auto report = host.engine->status();
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_TRUE(report->healthy());
    ASSERT_EQ(report->interfaces.size(), 1u);
    const InterfaceStatus& row = report->interfaces[0];
    EXPECT_EQ(row.interface, "web0");
    EXPECT_EQ(row.device, "tap-web0");
    EXPECT_EQ(row.role, "workload");
    EXPECT_EQ(row.hook, "tcx");
    EXPECT_EQ(row.generation, 1u);
    EXPECT_EQ(row.state, "filtering");
    EXPECT_EQ(row.flows, 2u);
    EXPECT_EQ(row.drops, 7u);
}

struct Sickness {
    const char* condition;
    std::function<void(Host&)> arrange;
    bool unhealthy = true;
};

TEST(Status, HasASentenceForEveryCondition) {
    const std::vector<Sickness> rows = {
        {"not-attached", [](Host& host) { host.kernel.attachment_list.clear(); }},
        {"device-replaced",
         [](Host& host) {
             host.kernel.device_list = {tap("tap-web0", 31)};
             host.kernel.attachment_list[0].device = {};
             host.kernel.attachment_list[0].problem = "the device is gone";
         }},
        {"attachment-incomplete",
         [](Host& host) { host.kernel.attachment_list[0].problem = "outbound rules are not attached"; }},
        {"not-bound", [](Host& host) { host.kernel.attachment_list[0].interface_slot = 0; }},
        {"foreign-program-first", [](Host& host) { host.kernel.attachment_list[0].foreign_before = {"accept_all"}; }},
        {"commit-interrupted", [](Host& host) { ASSERT_TRUE(host.kernel.set_pending(2)); }},
        {"applied-state-differs",
         [](Host& host) { std::filesystem::remove(host.directory.file("state/applied.json")); }},
        {"not-loaded", [](Host& host) { ASSERT_TRUE(host.kernel.remove_all()); }},
        {"map-nearly-full", [](Host& host) { host.kernel.extra_usage = {{"sg_flow_index", 95, 100, 0}}; }},
        {"device-match", [](Host& host) { host.kernel.device_list[0].kind = "bridge"; }},
        {"no-interface",
         [](Host& host) {
             host.kernel.device_list.push_back(tap("tap-old", 9));
             Attachment old = host.kernel.attachment_list[0];
             old.device = tap("tap-old", 9);
             old.interface_slot = 0;
             old.interface_id = "left-9";
             host.kernel.attachment_list.push_back(old);
         },
         false},
    };
    for (const Sickness& row : rows) {
        SCOPED_TRACE(row.condition);
        Host host;
        ASSERT_TRUE(host.apply(state_text()));
        ASSERT_TRUE(host.engine->status()->healthy());
        row.arrange(host);
        host.restart();
        auto report = host.engine->status();
        ASSERT_TRUE(report) << report.error().message;
        EXPECT_TRUE(has_condition(*report, row.condition, row.unhealthy));
        EXPECT_EQ(report->healthy(), !row.unhealthy);
    }
}

TEST(Status, ListsAPowerOffGuestAsWaitingAndHealthy) {
    Host host;
    ASSERT_TRUE(host.apply(state_text()));
    host.kernel.device_list.clear();
    host.kernel.attachment_list[0].device = {};
    host.kernel.attachment_list[0].problem = "the device is gone";
    auto report = host.engine->status();
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_TRUE(report->healthy());
    EXPECT_EQ(report->waiting, std::vector<std::string>{"web0: no device tap-web0"});
    EXPECT_EQ(report->interfaces.at(0).state, "waiting");
}

TEST(Status, DoesNotCallARunningCommitInterrupted) {
    Host host;
    ASSERT_TRUE(host.apply(state_text()));
    ASSERT_TRUE(host.kernel.set_pending(2));
    auto lock = host.store->lock(std::chrono::milliseconds(0));
    ASSERT_TRUE(lock);
    auto report = host.engine->status();
    ASSERT_TRUE(report);
    EXPECT_TRUE(has_condition(*report, "commit-running", false));
    EXPECT_TRUE(report->healthy());
}

TEST(ShowRules, GivesPeersIdsAndCountersOfTheKernelSlots) {
    Host host;
    ASSERT_TRUE(host.apply(state_text("      - {protocol: tcp, port: 80, cidr: 192.0.2.0/24}\n"
                                      "      - {protocol: tcp, port: 22, group: self}\n")));
    auto rows = host.engine->show_rules("web0");
    ASSERT_TRUE(rows) << rows.error().message;
    ASSERT_EQ(rows->size(), 2u);
    EXPECT_EQ(rows->at(0).peer, "192.0.2.0/24");
    EXPECT_EQ(rows->at(0).group, "web");
    EXPECT_NE(rows->at(0).packets, 0u);
    EXPECT_EQ(rows->at(0).bytes, rows->at(0).packets * 100);
    EXPECT_NE(rows->at(0).packets, rows->at(1).packets);
    EXPECT_EQ(rows->at(1).peer_id, rows->at(1).group_id);
    EXPECT_EQ(host.engine->show_rules("wbe0").error().code, ErrorCode::kNotFound);
}

TEST(ShowCounters, NamesEveryReasonOfTheTable) {
    Host host;
    ASSERT_TRUE(host.apply(state_text()));
    sg_counters counters{};
    std::size_t reasons = 0;
#define SG_COUNT_ONE(number, symbol, name, verdict, sentence)                                                          \
    counters.packets[SG_OUT][number] = number;                                                                         \
    ++reasons;
    SG_REASONS(SG_COUNT_ONE)
#undef SG_COUNT_ONE
    counters.bytes[SG_OUT][SG_DROP] = 4711;
    host.kernel.counters[web_slot(host)] = counters;
    auto reports = host.engine->show_counters("web0");
    ASSERT_TRUE(reports) << reports.error().message;
    ASSERT_EQ(reports->size(), 1u);
    EXPECT_EQ(reports->at(0).rows.size(), reasons);
    for (const CounterRow& row : reports->at(0).rows) {
        EXPECT_EQ(row.direction, static_cast<unsigned>(SG_OUT));
        EXPECT_FALSE(row.reason.empty());
        EXPECT_FALSE(row.sentence.empty());
        EXPECT_EQ(row.drop, row.packets >= SG_REASON_NO_RULE);
    }
    EXPECT_EQ(reports->at(0).bytes[SG_OUT][SG_DROP], 4711u);
}

TEST(ShowFlows, TellsEndsTimesStateAndRule) {
    Host host;
    ASSERT_TRUE(host.apply(state_text()));
    host.kernel.flow_list = {tcp_flow(host)};
    auto report = host.engine->show_flows({});
    ASSERT_TRUE(report) << report.error().message;
    ASSERT_EQ(report->flows.size(), 1u);
    const FlowRow& row = report->flows[0];
    EXPECT_EQ(row.interface, "web0");
    EXPECT_EQ(row.protocol, "tcp");
    EXPECT_EQ(row.local, "10.0.1.10:80");
    EXPECT_EQ(row.remote, "192.0.2.7:40000");
    EXPECT_FALSE(row.opened_out);
    EXPECT_EQ(row.state, "established");
    EXPECT_EQ(row.age_s, 90u);
    EXPECT_EQ(row.idle_s, 10u);
    EXPECT_EQ(row.left_s, 432000u - 10u);  // SG-5.29
    EXPECT_EQ(row.rule, host.engine->show_rules("web0")->at(0).rule.id);
    EXPECT_NE(row.tracked.find("no outbound rule"), std::string::npos) << row.tracked;  // SG-5.11
    EXPECT_EQ(row.packets[0], 3u);
}

TEST(ShowFlows, PicksByInterfaceStateAndLimit) {
    Host host;
    ASSERT_TRUE(host.apply(state_text()));
    sg_flow half = tcp_flow(host);
    half.word = SG_FLOW_SYN_SENT;
    host.kernel.flow_list = {tcp_flow(host), half, tcp_flow(host)};
    FlowQuery query;
    query.state = "established";
    query.limit = 1;
    auto report = host.engine->show_flows(query);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->flows.size(), 1u);
    EXPECT_EQ(report->matching, 2u);
    query.state = "etsablished";
    auto wrong = host.engine->show_flows(query);
    ASSERT_FALSE(wrong);
    EXPECT_EQ(wrong.error().code, ErrorCode::kInvalid);
    EXPECT_NE(wrong.error().message.find("did you mean established"), std::string::npos) << wrong.error().message;
    query.state = "";
    query.interface = "wbe0";
    EXPECT_EQ(host.engine->show_flows(query).error().code, ErrorCode::kNotFound);
}

TEST(FlushFlows, AsksTheKernelForExactlyWhatWasNamed) {  // SG-5.26
    Host host;
    ASSERT_TRUE(host.apply(state_text()));
    host.kernel.flushes.clear();
    FlowQuery query;
    query.interface = "web0";
    query.peer = Prefix::parse("192.0.2.0/24")->prefix;
    query.protocol = kUdp;
    auto removed = host.engine->flush_flows(query);
    ASSERT_TRUE(removed) << removed.error().message;
    ASSERT_EQ(host.kernel.flushes.size(), 1u);
    const FlowFilter& flush = host.kernel.flushes[0];
    EXPECT_EQ(flush.interface_slot, std::optional(web_slot(host)));
    EXPECT_EQ(flush.peer, query.peer);
    EXPECT_EQ(flush.protocol, std::optional(kUdp));
    EXPECT_FALSE(flush.rule || flush.state || flush.choose);
    EXPECT_NE(host.file("journal.log").find("flows flush web0 peer 192.0.2.0/24"), std::string::npos);
}

TEST(FlushFlows, OfAGroupAreThoseOfTheInterfacesThatCarryIt) {  // SG-5.26
    Host host;
    host.kernel.device_list.push_back(tap("tap-db0", 13));
    ASSERT_TRUE(host.apply(state_text(
        "      - {protocol: tcp, port: 80, cidr: 192.0.2.0/24}\n", "  db: {vpc: prod, description: Databases}\n",
        "  db0: {vpc: prod, match: {device: tap-db0}, addresses: [10.0.1.20], groups: [db]}\n")));
    const MapImage image = image_from_maps(*host.kernel.read_maps(), host.kernel.generation());
    sg_flow of_web{};
    of_web.key.interface_slot =
        static_cast<__u16>(*image.interface_slot(host.engine->applied_state()->interfaces.at("web0").id));
    of_web.word = (std::uint64_t{7} << 32) | SG_FLOW_ESTABLISHED;
    sg_flow of_db = of_web;
    of_db.key.interface_slot = 3 - of_web.key.interface_slot;
    host.kernel.flow_list = {of_web, of_db};
    FlowQuery query;
    query.group = "web";
    EXPECT_EQ(host.engine->flush_flows(query).value().flows, 1u);
    ASSERT_EQ(host.kernel.reaped.size(), 1u);
    EXPECT_EQ(host.kernel.reaped[0].slot, 1u);
    EXPECT_EQ(host.kernel.reaped[0].incarnation, 7u);
    query.group = "prod/db";
    EXPECT_EQ(host.engine->flush_flows(query).value().flows, 1u);
    EXPECT_EQ(host.kernel.reaped[1].slot, 2u);
    query.group = "bd";
    EXPECT_EQ(host.engine->flush_flows(query).error().code, ErrorCode::kNotFound);
    EXPECT_NE(host.file("journal.log").find("flows flush group web: 1 flow"), std::string::npos);
}

}  // namespace
}  // namespace sgbpf::test
