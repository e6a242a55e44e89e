// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// why: the lines and the JSON that it prints, and what it refuses.
#include <gtest/gtest.h>

#include <algorithm>

#include "frame/build.hpp"
#include "frame/describe.hpp"
#include "tests/unit/cli/cli.hpp"

namespace sgbpf::test {
namespace {

// What the program says to any packet: dropped, or admitted by the rule in slot 1.
void answer(Cli& cli, bool passes) {
    Judged& judged = cli.host.kernel.dry_run_answer;
    judged.passed = passes;
    judged.outcome = {};
    judged.outcome.generation = 1;
    judged.outcome.reason = passes ? SG_REASON_RULE : SG_REASON_NO_RULE;
    judged.outcome.rule = passes ? 1 : 0;
    judged.outcome.stage = passes ? SG_STAGE_CIDR : SG_STAGE_NONE;
    judged.outcome.tracking = passes ? SG_TRACKING_OPENED : SG_TRACKING_NONE;
}

TEST(Why, SaysVerdictRuleAndReasonInOneLine) {
    Cli cli;
    ASSERT_EQ(cli.run({"apply", cli.write(state_text())}).code, 0);
    const std::string id =
        cli.run({"show", "rules", "web0", "--json"}).json()["SecurityGroupRules"][0]["SecurityGroupRuleId"];
    answer(cli, true);
    const Outcome pass = cli.run({"why", "web0", "in", "tcp 192.0.2.7:40000 -> 10.0.1.10:80"});
    EXPECT_EQ(pass.code, 0) << pass.err;
    EXPECT_EQ(pass.out, "PASS rule " + id +
                            " (web, tcp 80 from 192.0.2.0/24); would be tracked: its rule is not for 0/0, no 0/0 "
                            "outbound rule; generation 1\n");
    EXPECT_EQ(pass.err, "");
    answer(cli, false);
    // The arrow may be left out, or be a word of its own.
    for (const std::vector<std::string>& words :
         {std::vector<std::string>{"why", "web0", "in", "tcp", "192.0.2.7:40000", "10.0.1.10:81"},
          {"why", "web0", "in", "tcp", "192.0.2.7:40000", ">", "10.0.1.10:81"},
          {"why", "web0", "in", "tcp", "192.0.2.7:40000", "->", "10.0.1.10:81"}}) {
        const Outcome drop = cli.run(words);
        EXPECT_EQ(drop.code, 1) << drop.err;
        EXPECT_EQ(drop.out, "DROP no-rule: inbound of web admits only tcp 80; nearest: " + id +
                                " (web, tcp 80 from 192.0.2.0/24: another port); generation 1\n");
    }
    const auto json = cli.run({"why", "web0", "in", "tcp 192.0.2.7:40000 -> 10.0.1.10:81", "--json"}).json();
    EXPECT_EQ(json["Verdict"], "drop");
    EXPECT_EQ(json["Nearest"]["Rule"]["SecurityGroupRuleId"], id);
    EXPECT_EQ(json["Nearest"]["Differs"][0], "port");
}

TEST(Why, JudgesTwoInterfacesAtBothEnds) {
    Cli cli;
    const std::string more = "  in: {vpc: prod, match: {device: tap-in}, addresses: [10.0.1.20], groups: [web]}\n"
                             "  db0: {vpc: prod, match: {device: tap-db0}, addresses: [10.0.1.30], groups: [web]}\n";
    const std::string rule = "      - {protocol: tcp, port: 80, cidr: 192.0.2.0/24}\n";
    ASSERT_EQ(cli.run({"apply", cli.write(state_text(rule, "", more))}).code, 0);
    answer(cli, true);
    const Outcome yes = cli.run({"why", "web0", "db0", "tcp", "3306"});
    EXPECT_EQ(yes.code, 0) << yes.err;
    EXPECT_TRUE(contains(yes.out, "web0 out tcp 10.0.1.10:49152 > 10.0.1.30:3306 S: PASS rule sgr-")) << yes.out;
    EXPECT_TRUE(contains(yes.out, "\nyes: web0 reaches db0 on tcp 3306 (ipv4); replies: tracked at both ends; both are "
                                  "in VPC prod\n"))
        << yes.out;
    EXPECT_TRUE(contains(yes.err, "note: db0 is not attached")) << yes.err;
    answer(cli, false);
    const Outcome no = cli.run({"why", "web0", "db0", "tcp", "3306", "--family", "ipv4"});
    EXPECT_EQ(no.code, 1) << no.err;
    EXPECT_TRUE(contains(no.out, "\nno: web0 does not reach db0 on tcp 3306: ipv4 refused at web0 and at db0; both are "
                                 "in VPC prod\n"))
        << no.out;
    EXPECT_EQ(cli.run({"why", "web0", "db0", "tcp", "3306", "--json"}).json()["Reaches"], false);
    // A direction wins over an interface of that name; such an interface can still be asked about.
    EXPECT_EQ(cli.run({"why", "web0", "in", "tcp", "3306"}).code, 2);
    EXPECT_EQ(cli.run({"why", "in", "db0", "tcp", "3306"}).code, 1);
    EXPECT_EQ(cli.run({"why", "in", "out", "tcp 10.0.1.20:1 -> 192.0.2.1:80"}).code, 1);
}

// A capture of these frames: pcap, microseconds, Ethernet (https://www.tcpdump.org/manpages/pcap-savefile.5.txt).
std::string capture_of(Cli& cli, const std::vector<std::vector<std::byte>>& frames) {
    std::string bytes;
    const auto add = [&](std::uint32_t word) { bytes.append(reinterpret_cast<const char*>(&word), sizeof(word)); };
    for (const std::uint32_t word : {0xa1b2c3d4u, 2u | 4u << 16, 0u, 0u, 65535u, 1u}) {
        add(word);
    }
    for (const auto& frame : frames) {
        for (const std::uint32_t word : {1u, 0u, static_cast<std::uint32_t>(frame.size()), 2000u}) {
            add(word);
        }
        bytes.append(reinterpret_cast<const char*>(frame.data()), frame.size());
    }
    return cli.host.directory.write("two.pcap", bytes);
}

std::string two_packets(Cli& cli) {
    return capture_of(cli, {build_frame(*parse_packet("udp 192.0.2.7:1 -> 10.0.1.10:53"), {}, {}),
                            build_frame(*parse_packet("tcp 192.0.2.7:1 -> 10.0.1.10:80"), {}, {})});
}

TEST(Why, TakesAPacketOfACapture) {
    Cli cli;
    ASSERT_EQ(cli.run({"apply", cli.write(state_text())}).code, 0);
    answer(cli, true);
    const std::string capture = two_packets(cli);
    EXPECT_EQ(cli.run({"why", "web0", "in", "--pcap", capture}).code, 0);
    EXPECT_EQ(cli.run({"why", "web0", "in", "--pcap", capture, "--packet", "2"}).code, 0);
    ASSERT_EQ(cli.host.kernel.dry_runs.size(), 2u);
    EXPECT_EQ(describe(cli.host.kernel.dry_runs[0].frame, SG_IN, 2000), "udp 192.0.2.7:1 > 10.0.1.10:53");
    EXPECT_EQ(describe(cli.host.kernel.dry_runs[1].frame, SG_IN, 2000), "tcp 192.0.2.7:1 > 10.0.1.10:80 S");
    EXPECT_EQ(cli.host.kernel.dry_runs[1].length, 2000u);
}

TEST(Why, BadInputIsOneLineAndExit2) {
    Cli cli;
    ASSERT_EQ(cli.run({"apply", cli.write(state_text())}).code, 0);
    const std::string capture = two_packets(cli);
    for (const auto& [words, sentence] : std::vector<std::pair<std::vector<std::string>, std::string>>{
             {{"why", "web0", "in"}, "which packet?"},
             {{"why", "web0", "in", "tcp", "192.0.2.7:1", "-"}, "the shell took"},
             {{"why", "web0", "in", "tcp 192.0.2.7:1 -> 10.0.1.10:80", "--frame", "00"}, "one of them"},
             {{"why", "web0", "in", "--frame", "0g"}, "\"g\" is no hexadecimal digit"},
             {{"why", "web0", "in", "--frame", "000"}, "3 digits are not whole bytes"},
             {{"why", "web0", "in", "tcp 192.0.2.7:1 -> 10.0.1.10:80", "--family", "ipv4"}, "--family is for two"},
             {{"why", "web0", "db0", "--frame", "00"}, "need a direction"},
             {{"why", "web0", "in", "--pcap", "missing.pcap"}, "missing.pcap: No such file"},
             {{"why", "web0", "in", "--pcap", capture, "--packet", "3"}, "has 2 packets"},
             {{"why", "web0", "in", "--pcap", capture, "--packet", "0"}, "--packet"},
             {{"why", "web0", "web1", "tcp", "80"}, "no interface web1"},
             {{"why", "web0", "web0", "tcp", "80", "--family", "4"}, "ipv4 or ipv6"}}) {
        SCOPED_TRACE(sentence);
        const Outcome bad = cli.run(words);
        EXPECT_EQ(bad.code, 2) << bad.err;
        EXPECT_EQ(bad.out, "");
        EXPECT_TRUE(contains(bad.err, sentence)) << bad.err;
        EXPECT_EQ(std::count(bad.err.begin(), bad.err.end(), '\n'), 1) << bad.err;
    }
    EXPECT_TRUE(cli.host.kernel.dry_runs.empty());
}

}  // namespace
}  // namespace sgbpf::test
