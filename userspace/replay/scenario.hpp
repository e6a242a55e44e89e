// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A scenario: JSON lines of states to apply and packets to judge, with what is expected of them.
//
//   {"apply": "s.yaml"}      path beside the scenario, or the state itself as an object; any number of times
//   {"packet": HEX, "interface": "web0", "direction": "in", "t_ms": 0, "expect": "pass"}
//   {"text": "tcp 192.0.2.7:40000 -> 10.0.1.10:443", ... "reason": "rule", "rule": "web"}
//   {"note": "a heading"}    also beside the others
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <sgbpf/result.hpp>
#include <sgbpf/state.hpp>

namespace sgbpf {

struct ApplyStep {
    std::shared_ptr<const State> state;  // without ids, but for those it spells out
};

struct PacketStep {
    std::vector<std::byte> frame;
    std::string interface;
    unsigned direction = 0;
    std::optional<bool> pass;             // expected
    std::optional<std::uint32_t> reason;  // expected: enum sg_reason
    std::string rule;                     // expected: id, group, or "group: tcp 443 from ::/0"; empty = any
    [[nodiscard]] bool expects() const { return pass || reason || !rule.empty(); }
};

struct NoteStep {};

struct ScenarioStep {
    std::size_t line = 0;
    std::uint64_t time_ms = 0;  // never less than that of the step before
    std::string note;
    std::variant<NoteStep, ApplyStep, PacketStep> what;
};

struct Scenario {
    std::string file;
    std::vector<ScenarioStep> steps;
    std::vector<std::string> warnings;  // of the state files, "FILE:LINE:COLUMN: ..."
};

// "-" is standard input. Error kInvalid: every problem of the file is a line of `detail`, "FILE:LINE: sentence"; the
// first is the message.
Result<Scenario> read_scenario(const std::string& path);
Result<Scenario> parse_scenario(std::string_view text, const std::string& file, const std::string& directory);

}  // namespace sgbpf
