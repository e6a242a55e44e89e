// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What `sgbpf replay` says before any program is loaded; the rest needs a kernel (tests/netns/test_replay.py).
#include <gtest/gtest.h>

#include "tests/unit/cli/cli.hpp"

namespace sgbpf::test {
namespace {

const std::string kPacket =
    R"({"text": "tcp 192.0.2.7:1 -> 10.0.1.10:80", "interface": "web0", "direction": "in", "expect": "pass"})";

class ReplayCommand : public testing::Test {
protected:
    Outcome replay(std::vector<std::string> words) {
        words.insert(words.begin(), "replay");
        Terminal nobody;
        nobody.lacks_privilege = "run it as root";
        return cli_.run(words, nobody);
    }
    std::string write(const std::string& name, const std::string& text) {
        return cli_.host.directory.write(name, text);
    }
    Cli cli_;
};

TEST_F(ReplayCommand, TellsEveryMistakeOfAScenarioWithoutPrivilege) {
    write("s.yaml", state_text());
    const std::string file =
        write("t.jsonl", "{\"apply\": \"s.yaml\"}\n{\"x\": 1}\n" + kPacket + "\n{\"packet\": \"0\"}\n");
    const Outcome bad = replay({file});
    EXPECT_EQ(bad.code, 2);
    EXPECT_EQ(bad.out, "");
    EXPECT_TRUE(bad.err.starts_with(file + ":2: a line has no key \"x\"\n")) << bad.err;
    EXPECT_TRUE(contains(bad.err, file + ":4: packet \"0\" is no hexadecimal")) << bad.err;
    EXPECT_TRUE(contains(bad.err, "; nothing was judged\n")) << bad.err;
}

TEST_F(ReplayCommand, NeedsPrivilegeToLoadPrograms) {
    write("s.yaml", state_text());
    const Outcome outcome = replay({write("t.jsonl", "{\"apply\": \"s.yaml\"}\n" + kPacket + "\n")});
    EXPECT_EQ(outcome.code, 4) << outcome.err;
    EXPECT_EQ(outcome.err, "sgbpf: run it as root\n");
}

TEST_F(ReplayCommand, SaysWhatIsWrongWithItsArguments) {
    const std::string state = write("s.yaml", state_text());
    const std::string capture = write("c.pcap", "this is no capture, whatever its name says");
    EXPECT_EQ(replay({}).code, 2);
    EXPECT_EQ(replay({"a", "b", "c"}).code, 2);
    EXPECT_EQ(replay({state, capture, "--direction", "sideways"}).code, 2);
    EXPECT_EQ(replay({state, capture, "--program", "tcx"}).code, 2);
    const auto says = [&](const std::vector<std::string>& words, const std::string& sentence) {
        const Outcome outcome = replay(words);
        EXPECT_EQ(outcome.code, 2) << outcome.err;
        EXPECT_TRUE(contains(outcome.err, sentence)) << outcome.err;
    };
    says({"t.jsonl", "--interface", "web0"}, "--interface, --direction and --captured-at are for captures");
    says({state, capture, "--interface", "web1"}, "no interface web1 in the state; did you mean web0?");
    says({state, capture}, "cannot read capture " + capture + ": unknown file format");
    says({state, "-"}, "a capture is read more than once: give a file");
    says({state, "missing.pcap"}, "missing.pcap: No such file");
    says({"missing.yaml", capture}, "missing.yaml");
    says({write("bad.yaml", "schema: sgbpf/v1\nvpcs: 7\n"), capture}, "bad.yaml:2:7: vpcs: ");
    says({state}, "a state file needs a capture beside it");
}

}  // namespace
}  // namespace sgbpf::test
