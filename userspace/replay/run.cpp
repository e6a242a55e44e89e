// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "replay/run.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/strings.hpp"
#include "frame/names.hpp"
#include "model/text.hpp"

namespace sgbpf {

namespace {

constexpr std::uint64_t kNsPerMs = 1'000'000;
// Packets that must agree before a capture's side is taken for known.
constexpr std::size_t kEnoughVotes = 1000;

void count(ReplaySummary& summary, unsigned direction, const ReplayVerdict& verdict) {
    ++summary.packets[direction][std::min<std::uint32_t>(verdict.reason, SG_REASON_MAX - 1)];
    ++(verdict.passed ? summary.passed : summary.dropped);
}

std::string_view reason_name(std::uint32_t reason) {
    return reason_words(reason).name;
}

std::string rule_words(const ReplayVerdict& verdict) {
    return verdict.rule == nullptr
               ? "no rule"
               : fmt::format("{} ({}: {})", verdict.rule->id, verdict.rule->group, verdict.rule->text);
}

bool names_rule(const std::string& expected, const NamedRule* rule) {
    return rule != nullptr && (expected == rule->id || expected == rule->group ||
                               expected == fmt::format("{}: {}", rule->group, rule->text));
}

// What differs from the expectation; empty = nothing.
std::string failure_of(const PacketStep& step, const ReplayVerdict& verdict) {
    if (step.pass && *step.pass != verdict.passed) {
        return fmt::format("expected {}, got {} ({})", *step.pass ? "pass" : "drop", verdict.passed ? "pass" : "drop",
                           verdict.rule != nullptr ? std::string_view(verdict.rule->id) : reason_name(verdict.reason));
    }
    if (step.reason && *step.reason != verdict.reason) {
        return fmt::format("expected reason {}, got {}", reason_name(*step.reason), reason_name(verdict.reason));
    }
    if (!step.rule.empty() && !names_rule(step.rule, verdict.rule)) {
        return fmt::format("expected rule {}, got {}", printable(step.rule), rule_words(verdict));
    }
    return {};
}

Result<void> run_packet(const ScenarioStep& step, const PacketStep& packet, std::string_view notes, Replayer& replayer,
                        const ReplaySink& sink, ReplaySummary& summary) {
    const auto verdict = replayer.judge({.interface = packet.interface,
                                         .direction = packet.direction,
                                         .frame = packet.frame,
                                         .wire_length = 0,
                                         .time_ms = step.time_ms});
    if (!verdict) {
        return unexpected(verdict.error());
    }
    count(summary, packet.direction, *verdict);
    const std::string failure = failure_of(packet, *verdict);
    if (!failure.empty()) {
        summary.failures.push_back(fmt::format("line {}: {}", step.line, failure));
    } else {
        ++(packet.expects() ? summary.as_expected : summary.without_expectation);
    }
    sink({.number = step.line,
          .time_ns = step.time_ms * kNsPerMs,
          .since_start_ns = step.time_ms * kNsPerMs,
          .interface = packet.interface,
          .direction = packet.direction,
          .frame = packet.frame,
          .wire_length = static_cast<std::uint32_t>(packet.frame.size()),
          .notes = notes,
          .verdict = *verdict,
          .failure = failure});
    return {};
}

// By packets of which both the flags and the ends tell a direction.
Result<CapturedAt> side_of(const std::string& path, const Interface& interface) {
    const CapturedAt by_role = interface.role == Role::kHost ? CapturedAt::kGuest : CapturedAt::kTap;
    auto capture = Capture::open(path);
    if (!capture) {
        return unexpected(capture.error());
    }
    if (!capture->has_flags()) {
        return by_role;
    }
    std::size_t guest = 0;
    std::size_t tap = 0;
    CapturedPacket packet;
    for (auto more = capture->next(packet); more && *more && guest + tap < kEnoughVotes; more = capture->next(packet)) {
        const auto by_ends = direction_by_ends(packet, interface);
        const auto by_flags = direction_by_flags(packet.seen, CapturedAt::kGuest);
        if (by_ends && by_flags) {
            ++(*by_ends == *by_flags ? guest : tap);
        }
    }
    if (guest == tap) {
        return by_role;
    }
    return guest > tap ? CapturedAt::kGuest : CapturedAt::kTap;
}

// Judges the packets of one capture, one after the other.
class CaptureRun {
public:
    CaptureRun(const CaptureOptions& options, const Interface& interface, CapturedAt side, Replayer& replayer,
               const ReplaySink& sink)
        : options_(options), interface_(interface), side_(side), replayer_(replayer), sink_(sink) {}

    Result<void> take(CapturedPacket& packet) {
        ++number_;
        follow_clock(packet.time_ns);
        if (packet.frame.size() < Replayer::kMinFrameBytes) {
            ++summary_.too_short;
            return {};
        }
        const auto direction = direction_of(packet);
        if (!direction) {
            ++summary_.unknown_direction;
            return {};
        }
        if (!packet.source_mac_known && *direction == SG_OUT && interface_.mac) {
            std::transform(interface_.mac->bytes.begin(), interface_.mac->bytes.end(), packet.frame.begin() + 6,
                           [](std::uint8_t byte) { return std::byte{byte}; });
        }
        const auto verdict = replayer_.judge({.interface = options_.interface,
                                              .direction = *direction,
                                              .frame = packet.frame,
                                              .wire_length = packet.wire_length,
                                              .time_ms = (latest_ns_ - first_ns_) / kNsPerMs});
        if (!verdict) {
            return unexpected(verdict.error());
        }
        count(summary_, *direction, *verdict);
        sink_({.number = number_,
               .time_ns = packet.time_ns,
               .since_start_ns = packet.time_ns > first_ns_ ? packet.time_ns - first_ns_ : 0,
               .interface = options_.interface,
               .direction = *direction,
               .frame = packet.frame,
               .wire_length = packet.wire_length,
               .notes = {},
               .verdict = *verdict,
               .failure = {}});
        return {};
    }

    ReplaySummary& summary() { return summary_; }

private:
    // Captures of several queues are out of order by some microseconds; the clock waits for them.
    void follow_clock(std::uint64_t time_ns) {
        if (number_ == 1) {
            first_ns_ = latest_ns_ = time_ns;
        }
        if (time_ns < latest_ns_) {
            ++summary_.back_in_time;
        }
        latest_ns_ = std::max(latest_ns_, time_ns);
    }

    std::optional<unsigned> direction_of(const CapturedPacket& packet) {
        if (options_.direction) {
            return options_.direction;
        }
        if (const auto told = direction_by_flags(packet.seen, side_)) {
            summary_.captured_at = side_;
            return told;
        }
        return direction_by_ends(packet, interface_);
    }

    const CaptureOptions& options_;
    const Interface& interface_;
    CapturedAt side_;
    Replayer& replayer_;
    const ReplaySink& sink_;
    ReplaySummary summary_;
    std::size_t number_ = 0;
    std::uint64_t first_ns_ = 0;
    std::uint64_t latest_ns_ = 0;
};

}  // namespace

Result<ReplaySummary> run_scenario(const Scenario& scenario, Replayer& replayer, const ReplaySink& sink) {
    ReplaySummary summary;
    std::string notes;
    for (const ScenarioStep& step : scenario.steps) {
        Result<void> done;
        if (!step.note.empty()) {
            notes += (notes.empty() ? "" : "\n") + step.note;
        }
        if (const auto* apply = std::get_if<ApplyStep>(&step.what)) {
            done = replayer.apply(*apply->state);
        } else if (const auto* packet = std::get_if<PacketStep>(&step.what)) {
            done = run_packet(step, *packet, notes, replayer, sink, summary);
            notes.clear();
        }
        if (!done) {
            Error error = done.error();
            error.message = fmt::format("{}:{}: {}", scenario.file, step.line, error.message);
            return unexpected(std::move(error));
        }
    }
    return summary;
}

Result<ReplaySummary> run_capture(const std::string& path, const CaptureOptions& options, Replayer& replayer,
                                  const ReplaySink& sink) {
    const Interface& interface = replayer.state()->interfaces.at(options.interface);
    auto side = options.direction || options.captured_at ? options.captured_at.value_or(CapturedAt::kTap)
                                                         : side_of(path, interface);
    if (!side) {
        return unexpected(side.error());
    }
    auto capture = Capture::open(path);
    if (!capture) {
        return unexpected(capture.error());
    }
    CaptureRun run(options, interface, *side, replayer, sink);
    CapturedPacket packet;
    for (;;) {
        const auto more = capture->next(packet);
        if (!more) {
            run.summary().broken = more.error().message;
        }
        if (!more || !*more) {
            return std::move(run.summary());
        }
        if (auto taken = run.take(packet); !taken) {
            return unexpected(taken.error());
        }
    }
}

}  // namespace sgbpf
