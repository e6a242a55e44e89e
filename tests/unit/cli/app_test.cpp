// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Whole commands over a fake kernel: exit codes, what goes to stdout and what to stderr, the shapes of
// tables and JSON.
#include "tests/unit/cli/cli.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace sgbpf::test {
namespace {

TEST(Help, MentionsEveryVerbAndExamples) {
    Cli cli;
    const Outcome help = cli.run({"--help"});
    EXPECT_EQ(help.code, 0);
    for (const char* verb :
         {"check", "diff", "apply", "attach", "detach", "remove-all", "status", "show", "flows", "why", "replay"}) {
        EXPECT_TRUE(contains(help.out, std::string("  ") + verb)) << verb << "\n" << help.out;
        const Outcome of_verb = cli.run({verb, "--help"});
        EXPECT_EQ(of_verb.code, 0) << verb;
        EXPECT_TRUE(contains(of_verb.out, "sgbpf " + std::string(verb)) || contains(of_verb.out, "flush"))
            << of_verb.out;
    }
    for (const char* noun :
         {"rules", "flows", "maps", "counters", "policies", "interfaces", "groups", "prefix-lists"}) {
        EXPECT_TRUE(contains(cli.run({"show", "--help"}).out, noun)) << noun;
    }
    EXPECT_EQ(cli.run({"--version"}).out.substr(0, 6), "sgbpf ");
    EXPECT_TRUE(help.err.empty());
}

TEST(Help, ManPageAndCompletionKnowEveryVerbNounAndOption) {
    Cli cli;
    std::string manual = *read_file(SGBPF_CLI_SOURCES "/sgbpf.8", 1 << 20);
    manual.erase(std::remove(manual.begin(), manual.end(), '\\'), manual.end());
    const std::string completion = *read_file(SGBPF_CLI_SOURCES "/sgbpf.bash", 1 << 20);
    for (const char* word :
         {"check",         "diff",      "apply",         "attach",      "detach",       "remove-all",
          "status",        "show",      "flows",         "flush",       "rules",        "maps",
          "counters",      "policies",  "interfaces",    "groups",      "prefix-lists", "--json",
          "--state-dir",   "--bpffs",   "--host-config", "--hook",      "--image",      "--require-devices",
          "--prune",       "--yes",     "--quarantine",  "--interface", "--peer",       "--protocol",
          "--all",         "why",       "--frame",       "--family",    "replay",       "--direction",
          "--captured-at", "--program", "--quiet",       "--pcap",      "--packet"}) {
        EXPECT_TRUE(contains(manual, word)) << word;
        EXPECT_TRUE(contains(completion, word)) << word;
    }
    EXPECT_TRUE(contains(completion, "--limit"));
}

TEST(Words, ThatAreNoCommandGetASuggestionAndExit2) {
    Cli cli;
    const Outcome typo = cli.run({"aply", "s.yaml"});
    EXPECT_EQ(typo.code, 2);
    EXPECT_TRUE(contains(typo.err, "no command aply; did you mean apply?")) << typo.err;
    EXPECT_EQ(typo.out, "");
    EXPECT_EQ(cli.run({}).code, 2);
    EXPECT_EQ(cli.run({"apply"}).code, 2);
    EXPECT_EQ(cli.run({"show"}).code, 2);
    EXPECT_EQ(cli.run({"status", "--hook", "xdp"}).code, 2);
    EXPECT_EQ(cli.run({"status", "--hook", "generic"}).code, 0);
    EXPECT_EQ(cli.run({"apply", "s.yaml", "--wrong"}).code, 2);
}

TEST(Check, SaysOkOnStdoutAndNeedsNoPrivilege) {
    Cli cli;
    Terminal nobody;
    nobody.lacks_privilege = "run it as root";
    const Outcome good = cli.run({"check", cli.write(state_text())}, nobody);
    EXPECT_EQ(good.code, 0) << good.err;
    EXPECT_EQ(good.out, "ok: 1 group, 1 rule, 1 interface; needs 1 of 262144 prefixes\n");
    EXPECT_EQ(good.err, "");
    EXPECT_TRUE(contains(cli.run({"check", "--image", cli.host.directory.file("s.yaml")}).out, "192.0.2.0/24"));
}

TEST(Check, PutsEveryErrorOnALineOfItsOwnOnStderr) {
    Cli cli;
    const std::string file = cli.write(state_text("      - {protocol: tcp, port: 70000, cidr: 192.0.2.0/24}\n"
                                                  "      - {protocol: tcp, port: 22, cidr: 192.0.2.0/33}\n"));
    const Outcome bad = cli.run({"check", file});
    EXPECT_EQ(bad.code, 2);
    EXPECT_EQ(bad.out, "");
    EXPECT_TRUE(contains(bad.err, ": groups.web.inbound[0].port: 70000 exceeds 65535\n")) << bad.err;
    EXPECT_TRUE(contains(bad.err, "2 errors; nothing changed\n")) << bad.err;
    const auto json = cli.run({"check", file, "--json"}).json();
    EXPECT_EQ(json["Valid"], false);
    EXPECT_EQ(json["Errors"].size(), 2u);
}

TEST(Check, SaysWhatDoesNotFitAndExits3) {
    Cli cli;
    cli.host.directory.write("host.yaml", "schema: sgbpf-host/v1\ncapacities: {prefixes: 2}\n");
    const Outcome large =
        cli.run({"check", cli.write(state_text("      - {protocol: tcp, port: 22, cidr: [192.0.2.0/24, "
                                               "198.51.100.0/24, 203.0.113.0/24]}\n"))});
    EXPECT_EQ(large.code, 3) << large.out << large.err;
    EXPECT_TRUE(contains(large.err, "sg_cidr4")) << large.err;
}

TEST(Privilege, IsAskedForBeforeAnythingElse) {
    Cli cli;
    Terminal nobody;
    nobody.lacks_privilege = "this needs privilege: run it as root; nothing changed";
    for (const std::vector<std::string>& words : {std::vector<std::string>{"apply", "no-such-file.yaml"},
                                                  {"attach", "web0"},
                                                  {"detach", "web0", "--yes"},
                                                  {"remove-all", "--yes"},
                                                  {"status"},
                                                  {"show", "maps"},
                                                  {"why", "web0", "in", "tcp 192.0.2.7:1 -> 10.0.1.10:80"},
                                                  {"flows", "flush", "--all"}}) {
        SCOPED_TRACE(words[0]);
        const Outcome refused = cli.run(words, nobody);
        EXPECT_EQ(refused.code, 4);
        EXPECT_EQ(refused.out, "");
        EXPECT_EQ(refused.err, "sgbpf: this needs privilege: run it as root; nothing changed\n");
    }
    EXPECT_FALSE(cli.host.kernel.opened);
}

TEST(Diff, WithoutPrivilegeSaysWhatItComparesWith) {
    Cli cli;
    ASSERT_EQ(cli.run({"apply", cli.write(state_text())}).code, 0);
    Terminal nobody;
    nobody.lacks_privilege = "no";
    const Outcome same = cli.run({"diff", cli.host.directory.file("s.yaml")}, nobody);
    EXPECT_EQ(same.code, 0) << same.err;
    EXPECT_TRUE(contains(same.err, "compares with the file that was applied last"));
    EXPECT_EQ(same.out, "no changes\n");
}

TEST(Apply, PrintsThePlanTheGenerationAndTheDevice) {
    Cli cli;
    const Outcome first = cli.run({"apply", cli.write(state_text())});
    EXPECT_EQ(first.code, 0) << first.err;
    EXPECT_TRUE(contains(first.out, "+ rule web in tcp 80 from 192.0.2.0/24\n")) << first.out;
    EXPECT_TRUE(contains(first.out, "applied generation 1: ")) << first.out;
    EXPECT_TRUE(contains(first.out, " ms (parse ")) << first.out;
    EXPECT_TRUE(contains(first.out, ", grace ")) << first.out;
    EXPECT_TRUE(contains(first.out, "web0: tap-web0 (ifindex 12) tcx in+out, position 1/1, generation 1\n"))
        << first.out;
    EXPECT_EQ(cli.held, 1);
    const Outcome again = cli.run({"apply", cli.host.directory.file("s.yaml")});
    EXPECT_EQ(again.out, "no changes\n");
    EXPECT_EQ(again.code, 0);
    EXPECT_EQ(cli.held, 1) << "nothing to hold an interrupt for";
    const auto json = cli.run({"apply", cli.host.directory.file("s.yaml"), "--json"}).json();
    EXPECT_EQ(json["Committed"], false);
    EXPECT_EQ(json["Generation"], 1);
}

TEST(Apply, TellsWaitingDevicesOnStderr) {
    Cli cli;
    cli.host.kernel.device_list.clear();
    const Outcome outcome = cli.run({"apply", cli.write(state_text())});
    EXPECT_EQ(outcome.code, 0);
    EXPECT_TRUE(contains(outcome.err, "waiting: web0: no device tap-web0\n")) << outcome.err;
    EXPECT_EQ(cli.run({"apply", cli.host.directory.file("s.yaml"), "--require-devices"}).code, 3);
}

TEST(Apply, AsksBeforeAnInterfaceLeaves) {
    const std::string none = "schema: sgbpf/v1\nvpcs:\n  prod: {cidrs: [10.0.0.0/16]}\ninterfaces: {}\n";
    for (const auto& [answer, code] : {std::pair("yes\n", 0), std::pair("no\n", 3), std::pair("", 3)}) {
        SCOPED_TRACE(answer);
        Cli cli;
        ASSERT_EQ(cli.run({"apply", cli.write(state_text())}).code, 0);
        Terminal terminal;
        terminal.is_terminal = true;
        terminal.answers = answer;
        const Outcome outcome = cli.run({"apply", cli.write(none)}, terminal);
        EXPECT_EQ(outcome.code, code) << outcome.err;
        EXPECT_TRUE(contains(outcome.err, "tap-web0 leaves the file with interface web0")) << outcome.err;
    }
    Cli cli;
    ASSERT_EQ(cli.run({"apply", cli.write(state_text())}).code, 0);
    EXPECT_EQ(cli.run({"apply", cli.write(none)}).code, 3);
    const Outcome pruned = cli.run({"apply", cli.host.directory.file("s.yaml"), "--prune"});
    EXPECT_EQ(pruned.code, 0);
    EXPECT_TRUE(contains(pruned.err, "tap-web0 stays attached and drops all traffic but ARP, ND and DHCP"));
}

TEST(Detach, AsksForTheDevicesNameOnATerminalAndRefusesWithoutOne) {
    Cli cli;
    ASSERT_EQ(cli.run({"apply", cli.write(state_text())}).code, 0);
    const Outcome refused = cli.run({"detach", "web0"});
    EXPECT_EQ(refused.code, 3);
    EXPECT_TRUE(contains(refused.err, "tap-web0 would pass ALL traffic")) << refused.err;
    Terminal terminal;
    terminal.is_terminal = true;
    terminal.answers = "web0\n";
    EXPECT_EQ(cli.run({"detach", "web0"}, terminal).code, 3);
    EXPECT_EQ(cli.host.kernel.attachment_list.size(), 1u);
    terminal.answers = "tap-web0\n";
    const Outcome done = cli.run({"detach", "web0"}, terminal);
    EXPECT_EQ(done.code, 0) << done.err;
    EXPECT_EQ(done.out, "tap-web0 passes ALL traffic now\n");
    EXPECT_TRUE(cli.host.kernel.attachment_list.empty());
    EXPECT_EQ(cli.run({"status"}).code, 1);
    EXPECT_EQ(cli.run({"attach", "web0"}).code, 0);
    EXPECT_EQ(cli.run({"detach", "web0", "--quarantine"}).out,
              "tap-web0 stays attached and drops ALL traffic; `sgbpf attach web0` filters it again\n");
    EXPECT_EQ(cli.run({"remove-all"}).code, 3);
    EXPECT_EQ(cli.run({"remove-all", "--yes"}).code, 0);
    EXPECT_FALSE(cli.host.kernel.pinned);
}

TEST(Attach, AnUnknownNameGetsASuggestion) {
    Cli cli;
    ASSERT_EQ(cli.run({"apply", cli.write(state_text())}).code, 0);
    const Outcome unknown = cli.run({"attach", "wbe0"});
    EXPECT_EQ(unknown.code, 2);
    EXPECT_TRUE(contains(unknown.err, "did you mean web0?")) << unknown.err;
}

TEST(Status, IsATableWithStableColumns) {
    Cli cli;
    EXPECT_EQ(cli.run({"status"}).out, "nothing is applied on this host; sgbpf apply FILE\n");
    const std::string db =
        "  db0: {vpc: prod, role: workload, match: {device: tap-db0}, addresses: [10.0.1.20], groups: [web]}\n";
    ASSERT_EQ(
        cli.run({"apply", cli.write(state_text("      - {protocol: tcp, port: 80, cidr: 192.0.2.0/24}\n", "", db))})
            .code,
        0);
    const Outcome status = cli.run({"status"});
    EXPECT_EQ(status.code, 0) << status.out;
    EXPECT_EQ(status.out, "INTERFACE  DEVICE    ROLE      HOOK  GEN  STATE      FLOWS  DROPS\n"
                          "db0        -         workload  -       -  waiting        0      0\n"
                          "web0       tap-web0  workload  tcx     1  filtering      0      0\n"
                          "1 waiting (db0: no device tap-db0)\n");
    cli.host.kernel.attachment_list.clear();
    const Outcome sick = cli.run({"status"});
    EXPECT_EQ(sick.code, 1);
    EXPECT_TRUE(contains(sick.out, "UNHEALTHY: web0: tap-web0 is not attached and passes ALL traffic")) << sick.out;
    const auto json = cli.run({"status", "--json"}).json();
    EXPECT_EQ(json["Healthy"], false);
    EXPECT_EQ(json["Interfaces"].size(), 2u);
    EXPECT_EQ(json["Conditions"][0]["Name"], "not-attached");
}

TEST(Show, EveryNounHasATableAndJson) {
    Cli cli;
    ASSERT_EQ(cli.run({"apply", cli.write(state_text())}).code, 0);
    const std::vector<std::array<std::string, 3>> nouns = {
        {"rules", "DIR  PROTO  PORT  PEER", "SecurityGroupRules"},
        {"flows", "INTERFACE  PROTO  DIR  OPENER", "Flows"},
        {"maps", "MAP", "Maps"},
        {"counters", "INTERFACE  DIR  VERDICT  REASON", "Counters"},
        {"policies", "INTERFACE  DIR", "Policies"},
        {"interfaces", "INTERFACE  ID", "NetworkInterfaces"},
        {"groups", "GROUP", "SecurityGroups"},
        {"prefix-lists", "PREFIX-LIST  ID", "PrefixLists"},
    };
    for (const auto& [noun, header, key] : nouns) {
        SCOPED_TRACE(noun);
        const Outcome table = cli.run({"show", noun});
        EXPECT_EQ(table.code, 0) << table.err;
        EXPECT_EQ(table.out.substr(0, header.size()), header);
        const Outcome json = cli.run({"show", noun, "--json"});
        EXPECT_EQ(json.code, 0);
        EXPECT_TRUE(json.json().contains(key)) << json.out;
        EXPECT_TRUE(json.json()[key].is_array());
    }
    const auto rule = cli.run({"show", "rules", "web0", "--json"}).json()["SecurityGroupRules"][0];
    EXPECT_EQ(rule["IpProtocol"], "tcp");
    EXPECT_EQ(rule["FromPort"], 80);
    EXPECT_EQ(rule["CidrIpv4"], "192.0.2.0/24");
    EXPECT_EQ(rule["IsEgress"], false);
    EXPECT_EQ(cli.run({"show", "rules", "wbe0"}).code, 2);
}

TEST(FlowsFlush, SaysHowManyAndRefusesToGuess) {
    Cli cli;
    ASSERT_EQ(cli.run({"apply", cli.write(state_text())}).code, 0);
    EXPECT_EQ(cli.run({"flows", "flush"}).code, 2);
    EXPECT_EQ(cli.run({"flows", "flush", "--peer", "192.0.2.300"}).code, 2);
    EXPECT_EQ(cli.run({"flows", "flush", "--protocol", "tpc"}).code, 2);
    const Outcome done = cli.run({"flows", "flush", "--interface", "web0", "--peer", "192.0.2.7"});
    EXPECT_EQ(done.code, 0) << done.err;
    EXPECT_EQ(done.out, "removed 0 flows\n");
    EXPECT_EQ(cli.host.kernel.flushes.back().peer->length, 32);
    EXPECT_EQ(cli.run({"flows", "flush", "--group", "web"}).code, 0);
    EXPECT_EQ(cli.run({"flows", "flush", "--group", "wbe"}).code, 2);
    EXPECT_EQ(cli.run({"flows", "flush", "--all", "--reset"}).out, "removed 0 flows; reset sent for 0\n");
    EXPECT_EQ(cli.run({"flows", "flush", "--all", "--reset", "--json"}).json()["Resets"]["Sent"], 0);
    EXPECT_TRUE(cli.run({"flows", "flush", "--all", "--json"}).json()["Resets"].is_null());
    EXPECT_EQ(cli.run({"apply", cli.write(state_text()), "--reset"}).code, 2);
}

TEST(Attach, SaysWhichHooksWereRefusedAndWhy) {
    Cli cli;
    cli.host.kernel.next_ladder = {"xdp native refused (Operation not supported)", "xdp generic refused (File exists)"};
    const Outcome applied = cli.run({"apply", cli.write(state_text())});
    EXPECT_EQ(applied.code, 0) << applied.err;
    EXPECT_TRUE(contains(applied.err, "tap-web0: xdp native refused (Operation not supported); xdp generic refused "
                                      "(File exists); tcx\n"))
        << applied.err;
    cli.host.kernel.attachment_list.clear();
    EXPECT_EQ(cli.run({"attach", "web0"}).err, "");
    cli.host.kernel.attachment_list.clear();
    cli.host.kernel.next_ladder = {"tcx refused (x)"};
    EXPECT_EQ(cli.run({"attach", "web0"}).err, "tap-web0: tcx refused (x); tcx\n");
}

TEST(Options, WinOverTheEnvironment) {
    Cli cli;
    cli.variables["SGBPF_STATE_DIR"] = "/proc/no-such-place";
    EXPECT_NE(cli.run({"apply", cli.write(state_text())}).code, 0);
    EXPECT_EQ(
        cli.run({"apply", cli.host.directory.file("s.yaml"), "--state-dir", cli.host.directory.file("state")}).code, 0);
    cli.variables["SGBPF_HOOK"] = "clsact";
    cli.host.kernel.attachment_list.clear();
    EXPECT_TRUE(
        contains(cli.run({"attach", "web0", "--state-dir", cli.host.directory.file("state")}).out, " clsact in+out"));
}

TEST(HostConfig, ThatMakesNoSenseIsBadInput) {
    Cli cli;
    cli.host.directory.write("host.yaml", "capacitys: {flows: 100}\n");
    const Outcome outcome = cli.run({"apply", cli.write(state_text())});
    EXPECT_EQ(outcome.code, 2);
    EXPECT_TRUE(contains(outcome.err, "capacitys")) << outcome.err;
    EXPECT_FALSE(cli.host.kernel.pinned);
}

}  // namespace
}  // namespace sgbpf::test
