// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "replay/scenario.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include <sgbpf/abi/verdict.h>

#include "frame/describe.hpp"
#include "unit/base/temporary_directory.hpp"

namespace sgbpf::test {
namespace {

const std::string kState =
    R"({"schema": "sgbpf/v1", "vpcs": {"prod": {"cidrs": ["10.0.0.0/16"]}},)"
    R"( "interfaces": {"web0": {"vpc": "prod", "mac": "52:54:00:12:34:56", "match": {"device": "tap0"},)"
    R"( "addresses": ["10.0.1.10"]}}})";
const std::string kApply = R"({"apply": )" + kState + "}\n";
const std::string kEnd = R"(, "interface": "web0", "direction": "in")";
const std::string kText = R"({"text": "udp 192.0.2.7:1 -> 10.0.1.10:53")" + kEnd;
const std::string kHex = "02000000000102000000000208004500001c00004000401100000a0001020a00010a0001003500080000";

std::string first_error(const std::string& text) {
    const auto scenario = parse_scenario(text, "t.jsonl", "");
    return scenario ? "" : scenario.error().message;
}

TEST(Scenario, IsReadLineByLine) {
    const auto scenario = parse_scenario(
        "{\"note\": \"first\"}\n" + kApply + "\n  \n" + kText +
            R"(, "t_ms": 5, "expect": "pass", "reason": "rule", "rule": "web"})" + "\r\n" + R"({"packet": ")" + kHex +
            R"(", "interface": "web0", "direction": "out"})" + "\n" + R"({"apply": )" + kState + R"(, "t_ms": 9})",
        "t.jsonl", "");
    ASSERT_TRUE(scenario) << scenario.error().detail;
    ASSERT_EQ(scenario->steps.size(), 5u);
    EXPECT_EQ(scenario->steps[0].note, "first");
    ASSERT_TRUE(std::holds_alternative<ApplyStep>(scenario->steps[1].what));
    EXPECT_EQ(std::get<ApplyStep>(scenario->steps[1].what).state->interfaces.size(), 1u);
    EXPECT_EQ(scenario->steps[2].line, 5u);
    EXPECT_EQ(scenario->steps[2].time_ms, 5u);
    const auto& text = std::get<PacketStep>(scenario->steps[2].what);
    EXPECT_EQ(text.interface, "web0");
    EXPECT_EQ(text.direction, SG_IN);
    EXPECT_EQ(text.pass, true);
    EXPECT_EQ(text.reason, SG_REASON_RULE);
    EXPECT_EQ(text.rule, "web");
    EXPECT_EQ(describe(text.frame, SG_IN), "udp 192.0.2.7:1 > 10.0.1.10:53");
    EXPECT_EQ(text.frame[5], std::byte{0x56});  // to the guest's MAC
    EXPECT_EQ(scenario->steps[3].time_ms, 5u);  // left out: as the step before
    const auto& hex = std::get<PacketStep>(scenario->steps[3].what);
    EXPECT_FALSE(hex.expects());
    EXPECT_EQ(describe(hex.frame, SG_OUT), "udp 10.0.1.2:1 > 10.0.1.10:53");
    EXPECT_EQ(scenario->steps[4].time_ms, 9u);
}

TEST(Scenario, LooksForStateFilesBesideItself) {
    const TemporaryDirectory directory;
    std::ofstream(directory.path() + "/s.yaml") << kState;
    std::ofstream(directory.path() + "/t.jsonl") << "{\"apply\": \"s.yaml\"}\n" << kText << "}\n";
    const auto scenario = read_scenario(directory.path() + "/t.jsonl");
    ASSERT_TRUE(scenario) << scenario.error().detail;
    EXPECT_EQ(scenario->steps.size(), 2u);
    const auto missing = read_scenario(directory.path() + "/missing.jsonl");
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
}

TEST(Scenario, SaysWhatIsWrongWithALine) {
    struct Row {
        std::string line;  // the second of the file, after an apply
        const char* message;
    };
    const std::string packet = R"({"packet": ")";
    const Row rows[] = {
        {"{", "no JSON object on this line; a line is for instance {\"apply\": \"s.yaml\"}, and a state file needs a "
              "capture beside it"},
        {"[1]", "no JSON object on this line; a line is for instance {\"apply\": \"s.yaml\"}, and a state file needs a "
                "capture beside it"},
        {"{}", "neither \"apply\" nor \"packet\" nor \"text\" nor \"note\""},
        {R"({"note": "a", "note": "b"})", "key \"note\" stands twice"},
        {R"({"note": 7})", "\"note\" is text in quotes"},
        {R"({"pakcet": "00"})", "a line has no key \"pakcet\"; did you mean packet?"},
        {kText + R"(, "expcet": "pass"})", "a packet has no key \"expcet\"; did you mean expect?"},
        {R"({"apply": "s.yaml", "direction": "in"})", "a line with \"apply\" has no key \"direction\""},
        {R"({"apply": 7})", "\"apply\" is the path of a state file, or the state as an object"},
        {R"({"apply": {"schema": "sgbpf/v1", "vpcs": {"a": {"cidrs": ["10.0.0.0/99"]}}}})",
         "apply.vpcs.a.cidrs[0]: \"10.0.0.0/99\": prefix length 99 exceeds 32"},
        {packet + "0g\"" + kEnd + "}", "packet \"0g\" is no hexadecimal; write two digits for each byte"},
        {packet + "000\"" + kEnd + "}", "packet \"000\" is no hexadecimal; write two digits for each byte"},
        {packet + "00 11\"" + kEnd + "}", "packet of 2 bytes: a frame has 14 to 65550, Ethernet header included"},
        {R"({"packet": 17)" + kEnd + "}", "\"packet\" is text in quotes: the frame in hexadecimal"},
        {R"({"packet": "00", "text": "tcp")" + kEnd + "}",
         "\"packet\" and \"text\" are two ways to say one thing; write one of them"},
        {R"({"text": "tcp 1.2.3.4")" + kEnd + "}", "text: after 1.2.3.4 comes \"->\" and a destination"},
        {R"({"text": "gre 1.2.3.4 -> 10.0.1.10", "direction": "in"})", "key \"interface\" is missing: \"web0\""},
        {R"({"text": "gre 1.2.3.4 -> 10.0.1.10", "interface": "web1", "direction": "in"})",
         "no interface web1 in the state applied last; did you mean web0?"},
        {R"({"text": "gre 1.2.3.4 -> 10.0.1.10", "interface": "web0"})",
         "key \"direction\" is missing: \"in\" or \"out\""},
        {R"({"text": "gre 1.2.3.4 -> 10.0.1.10", "interface": "web0", "direction": "ingress"})",
         "direction \"ingress\" is neither in nor out"},
        {kText + R"(, "t_ms": -1})", "t_ms -1 is no number of milliseconds from the start, 0 to 3153600000000"},
        {kText + R"(, "t_ms": 1.5})", "t_ms 1.5 is no number of milliseconds from the start, 0 to 3153600000000"},
        {kText + R"(, "expect": "accept"})", "expect \"accept\" is neither pass nor drop"},
        {kText + R"(, "reason": "no-rules"})", "there is no reason \"no-rules\"; did you mean no-rule?"},
        {kText + R"(, "expect": "pass", "reason": "no-rule"})", "expect \"pass\" contradicts reason \"no-rule\""},
        {kText + R"(, "rule": ""})", "\"rule\" is empty; write a rule's id or its group"},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(row.line);
        EXPECT_EQ(first_error(kApply + row.line + "\n"), std::string("t.jsonl:2: ") + row.message);
    }
}

TEST(Scenario, SaysWhatIsWrongWithTheOrderOfLines) {
    EXPECT_EQ(first_error(kText + "}\n" + kApply),
              "t.jsonl:1: a packet before the first \"apply\"; nothing is in force yet");
    EXPECT_EQ(first_error(kApply + kText + ", \"t_ms\": 1000}\n" + kText + "}\n" + kText + ", \"t_ms\": 999}\n"),
              "t.jsonl:4: t_ms 999 is before 1000 of line 2; time only goes forward");
    EXPECT_EQ(first_error(kApply).substr(0, 23), "t.jsonl: no packet in i");
    EXPECT_EQ(first_error("").substr(0, 23), "t.jsonl: no packet in i");
}

TEST(Scenario, TellsAllErrorsAtOnce) {
    const auto scenario = parse_scenario(kApply + "{}\n" + kText + ", \"x\": 1, \"expect\": \"y\"}\n", "t.jsonl", "");
    ASSERT_FALSE(scenario);
    EXPECT_EQ(scenario.error().code, ErrorCode::kInvalid);
    EXPECT_EQ(scenario.error().detail, "t.jsonl:2: neither \"apply\" nor \"packet\" nor \"text\" nor \"note\"\n"
                                       "t.jsonl:3: a packet has no key \"x\"\n"
                                       "t.jsonl:3: expect \"y\" is neither pass nor drop\n"
                                       "3 errors; nothing was judged\n");
    // A state file is no scenario; that is said once.
    EXPECT_EQ(parse_scenario("schema: sgbpf/v1\nvpcs:\n  a: b\n", "s.yaml", "").error().detail,
              "s.yaml:1: no JSON object on this line; a line is for instance {\"apply\": \"s.yaml\"}, and a state file "
              "needs a capture beside it\n1 error; nothing was judged\n");
}

}  // namespace
}  // namespace sgbpf::test
