// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A host that exists only here: states are applied to it and packets judged by the real programs, on
// private maps and under a virtual clock. Nothing of the real host is read or changed.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <sgbpf/result.hpp>
#include <sgbpf/state.hpp>

#include "datapath/sandbox.hpp"
#include "image/image.hpp"
#include "model/host_config.hpp"
#include "model/ids.hpp"

namespace sgbpf {

// A rule that was in force at some time.
struct NamedRule {
    std::string id;
    std::string group;  // its name, not its key
    std::string text;   // "tcp 443 from 0.0.0.0/0"
};

struct ReplayVerdict {
    bool passed = false;
    std::uint32_t reason = SG_REASON_NONE;
    const NamedRule* rule = nullptr;  // null: no rule is named; lives as long as the Replayer
    std::uint8_t tracking = SG_TRACKING_NONE;
    std::uint8_t flow_state = SG_FLOW_FREE;  // after the packet; free: it belongs to no entry
    std::uint64_t generation = 0;
};

class Replayer {
public:
    struct Options {
        Capacities capacities;
        ObjectKind programs = ObjectKind::kTc;
        HostPolicy host;
    };
    // Errors: no privilege, or a kernel that refuses the programs.
    static Result<std::unique_ptr<Replayer>> make(const Options& options);

    // Makes `state` the one in force, as `sgbpf apply` does; ids that are not written in it are counted from 1.
    // kExhausted if it does not fit the capacities; then the state before stays.
    Result<void> apply(State state);
    // Null before the first apply.
    [[nodiscard]] const State* state() const { return state_ ? &*state_ : nullptr; }

    struct Packet {
        std::string_view interface;  // of the state in force
        unsigned direction = SG_IN;
        std::span<const std::byte> frame;  // at least kMinFrameBytes
        std::uint32_t wire_length = 0;     // if more than was captured
        std::uint64_t time_ms = 0;         // since the start of the replay; never less than before
    };
    Result<ReplayVerdict> judge(const Packet& packet);

    static constexpr std::size_t kMinFrameBytes = 14;

private:
    Replayer(const Options& options, std::unique_ptr<Sandbox> sandbox);
    Result<void> advance(std::uint64_t time_ms);
    Result<void> sweep(std::uint64_t now_ms, std::uint64_t slices);

    Capacities capacities_;
    HostPolicy host_;
    std::unique_ptr<Sandbox> sandbox_;
    CountingIds ids_;
    std::optional<State> state_;
    MapImage image_;
    std::uint64_t generation_ = 0;
    std::map<std::string, std::uint32_t, std::less<>> slots_;  // by interface name
    std::map<std::string, NamedRule, std::less<>> rules_;      // by id
    std::uint64_t now_ms_ = 0;                                 // virtual
    std::uint64_t swept_until_ms_ = 0;
    std::uint64_t full_pass_ms_ = 0;
    std::uint64_t opened_ = 0;  // entries in use at most: opened since flows were last counted, and those counted
    std::uint32_t scarce_ = 0;  // flows that the interface with the least may open before one must have ended
};

}  // namespace sgbpf
