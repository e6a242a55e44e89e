// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Questions to the real programs on the live maps, and their answers as reports. Private to api/.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "api/engine_parts.hpp"
#include "frame/packet_spec.hpp"

namespace sgbpf {

struct Question {
    const Interface* interface = nullptr;
    unsigned direction = SG_IN;
    std::vector<std::byte> frame;
    std::uint32_t length = 0;
};

// What was asked of whom, and what the programs said.
struct Answers {
    HostState host;
    std::vector<Question> questions;
    std::vector<Judged> judged;
    bool settled = true;  // the host's state is of the generation that judged
};

// The packet as it comes to, or from, the guest of the interface.
std::vector<std::byte> frame_of(const Interface& interface, unsigned direction, const PacketSpec& packet);

// `questions_of`: host state -> questions about its interfaces. Rules may change between the reading of the state and
// the judging; then both are done again, some times.
using QuestionsOf = std::function<Result<std::vector<Question>>(const HostState& host)>;
Result<Answers> ask(const Engine::Parts& parts, const QuestionsOf& questions_of);

Result<WhyReport> report_of(const Engine::Parts& parts, const Answers& answers, std::size_t index);

}  // namespace sgbpf
