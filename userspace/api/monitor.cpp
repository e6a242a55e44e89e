// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Verdicts as they happen, in words.
#include <arpa/inet.h>

#include <algorithm>
#include <ctime>
#include <thread>

#include <fmt/format.h>

#include "api/engine_parts.hpp"
#include "base/strings.hpp"
#include "frame/describe.hpp"

namespace sgbpf {

namespace {

constexpr std::chrono::milliseconds kPause{10};

struct Reason {
    std::uint8_t number;
    const char* name;
};
constexpr Reason kReasons[] = {
#define SG_REASON_ROW(number, symbol, name, verdict, sentence) {number, name},
    SG_REASONS(SG_REASON_ROW)
#undef SG_REASON_ROW
};

const char* reason_name(std::uint8_t number) {
    const auto* found = std::find_if(std::begin(kReasons), std::end(kReasons),
                                     [number](const Reason& reason) { return reason.number == number; });
    return found == std::end(kReasons) ? "unknown" : found->name;
}

Result<std::optional<std::uint8_t>> reason_number(const std::string& name) {
    if (name.empty()) {
        return std::optional<std::uint8_t>{};
    }
    std::vector<std::string> names;
    for (const Reason& reason : kReasons) {
        if (name == reason.name) {
            return std::optional<std::uint8_t>{reason.number};
        }
        names.emplace_back(reason.name);
    }
    return unexpected(make_error(ErrorCode::kInvalid, fmt::format("no reason {}{}; `sgbpf show counters` names them",
                                                                  printable(name), did_you_mean(name, names))));
}

// Slots and ids in names; read again when an event is of a generation that is not known yet.
class Names {
public:
    explicit Names(const Engine::Parts& parts) : parts_(parts) {}
    Result<void> read() {
        auto host = parts_.load_loaded();
        if (!host) {
            return unexpected(host.error());
        }
        host_ = std::move(*host);
        interfaces_.clear();
        const auto slots = interface_slots(host_.image);
        if (host_.applied) {
            for (const auto& [name, interface] : host_.applied->state.interfaces) {
                if (const auto slot = slots.find(interface.id); slot != slots.end()) {
                    interfaces_[slot->second] = name;
                }
            }
        }
        return {};
    }
    // A failure leaves the names as they were: an event with an old name is better than none.
    void catch_up(std::uint64_t generation) {
        if (generation > host_.control.generation) {
            static_cast<void>(read().has_value());
        }
    }
    [[nodiscard]] std::string interface(std::uint16_t slot) const {
        const auto found = interfaces_.find(slot);
        return found != interfaces_.end() ? found->second : slot == 0 ? "(unbound)" : fmt::format("slot {}", slot);
    }
    [[nodiscard]] std::string rule(std::uint32_t slot) const { return std::string(host_.image.rule_id(slot)); }
    [[nodiscard]] const HostState& host() const { return host_; }

private:
    const Engine::Parts& parts_;
    HostState host_;
    std::map<std::uint32_t, std::string> interfaces_;
};

bool wanted(const sg_event& event, const MonitorQuery& query, const std::optional<std::uint8_t>& reason) {
    const bool has_ports = event.key.protocol == kTcp || event.key.protocol == kUdp;
    if ((query.direction && *query.direction != event.direction) || (reason && *reason != event.reason) ||
        (query.protocol && *query.protocol != kAllProtocols && *query.protocol != event.key.protocol)) {
        return false;
    }
    if (query.port &&
        (!has_ports || (*query.port != ntohs(event.key.local_port) && *query.port != ntohs(event.key.remote_port)))) {
        return false;
    }
    return !query.peer || query.peer->contains(key_address(event.key.remote, event.key.family));
}

EventRow row_of(const sg_event& event, const Names& names, std::chrono::system_clock::duration since_boot) {
    EventRow row;
    const std::chrono::nanoseconds time(static_cast<std::int64_t>(event.time));
    row.time = std::chrono::system_clock::time_point(
        std::chrono::duration_cast<std::chrono::system_clock::duration>(time) + since_boot);
    row.interface = names.interface(event.key.interface_slot);
    row.direction = event.direction;
    row.drop = event.reason >= SG_REASON_NO_RULE;
    row.reason = reason_name(event.reason);
    row.rule = event.rule == 0 ? "" : names.rule(event.rule);
    row.packet = describe(PacketFields{event.key, event.direction, event.tcp_flags, event.icmp_type, event.icmp_code,
                                       event.packet_flags, event.reason});
    row.length = event.length;
    row.generation = event.generation;
    return row;
}

// What CLOCK_MONOTONIC 0 was on the wall.
std::chrono::system_clock::duration wall_at_zero() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return std::chrono::system_clock::now().time_since_epoch() -
           std::chrono::duration_cast<std::chrono::system_clock::duration>(std::chrono::seconds(now.tv_sec) +
                                                                           std::chrono::nanoseconds(now.tv_nsec));
}

}  // namespace

Result<MonitorReport> Engine::monitor(const MonitorQuery& query,
                                      const std::function<bool(const EventRow*, std::uint64_t)>& show) {
    auto reason = reason_number(query.reason);
    if (!reason) {
        return unexpected(reason.error());
    }
    Names names(*parts_);
    if (auto read = names.read(); !read) {
        return unexpected(read.error());
    }
    std::uint32_t slot = 0;
    if (!query.interface.empty()) {
        auto interface = parts_->interface_named(names.host(), query.interface);
        if (!interface) {
            return unexpected(interface.error());
        }
        const auto slots = interface_slots(names.host().image);
        const auto found = slots.find((*interface)->id);
        if (found == slots.end()) {
            return unexpected(make_error(ErrorCode::kNotFound, query.interface + " is not loaded; apply again"));
        }
        slot = found->second;
    }
    const unsigned what = query.drops ? SG_MONITOR_DROPS
                                      : SG_MONITOR_DROPS | SG_MONITOR_PASSES | (query.packets ? SG_MONITOR_TRACKED : 0);
    auto stream = parts_->datapath->listen(static_cast<std::uint16_t>(what), slot);
    if (!stream) {
        return unexpected(stream.error());
    }
    MonitorReport report;
    const auto since_boot = wall_at_zero();
    const auto start = std::chrono::steady_clock::now();
    bool more = true;
    while (more) {
        auto lost = (*stream)->read([&](const sg_event& event) {
            if (!more || !wanted(event, query, *reason)) {
                return;
            }
            names.catch_up(event.generation);
            const EventRow row = row_of(event, names, since_boot);
            more = show(&row, 0);
            ++report.shown;
            more = more && report.shown != query.count;
        });
        if (!lost) {
            return unexpected(lost.error());
        }
        report.lost += *lost;
        const bool in_time =
            query.seconds == 0 || std::chrono::steady_clock::now() - start < std::chrono::seconds(query.seconds);
        more = more && in_time && show(nullptr, *lost);
        if (more) {
            std::this_thread::sleep_for(kPause);
        }
    }
    return report;
}

}  // namespace sgbpf
