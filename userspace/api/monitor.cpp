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
#include "frame/names.hpp"

namespace sgbpf {

namespace {

constexpr std::chrono::milliseconds kPause{10};
constexpr std::chrono::milliseconds kNamesPause{200};  // reading them takes about as long with 10,000 rules
// What was written before the end is shown for so long; the rest counts as lost.
constexpr std::chrono::milliseconds kLastWords{500};

Result<std::optional<std::uint32_t>> reason_number(const std::string& name) {
    const auto number = reason_by_name(name);
    if (name.empty() || number) {
        return number;
    }
    return unexpected(
        make_error(ErrorCode::kInvalid, fmt::format("no reason {}{}; `sgbpf show counters` names them", printable(name),
                                                    did_you_mean(name, reason_names()))));
}

// Slots and ids in names; read again when others are in force.
class Names {
public:
    explicit Names(const Engine::Parts& parts) : parts_(parts) {}
    Result<void> read() {
        auto host = parts_.load_loaded();
        if (!host) {
            return unexpected(host.error());
        }
        host_ = std::move(*host);
        interfaces_ = interface_names(host_);
        return {};
    }
    // Generations go back after a rollback; the digest tells when one stands for something else. A failure
    // leaves the names as they were: an event with an old name is better than none.
    void catch_up(std::uint64_t generation) {
        const auto now = std::chrono::steady_clock::now();
        const bool other = generation != 0 && generation != host_.control.generation;
        if ((other ? read_at_ : looked_at_) + kNamesPause > now) {
            return;
        }
        looked_at_ = now;
        if (const auto control = parts_.datapath->control();
            other || (control && control->digest != host_.control.digest)) {
            read_at_ = now;
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
    std::chrono::steady_clock::time_point read_at_;
    std::chrono::steady_clock::time_point looked_at_;
};

bool wanted(const sg_event& event, const MonitorQuery& query, const std::optional<std::uint32_t>& reason) {
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
    row.reason = reason_words(event.reason).name;
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
    const auto row = [&](const sg_event& event) {
        names.catch_up(event.generation);
        const EventRow next = row_of(event, names, since_boot);
        ++report.shown;
        return show(&next, 0);
    };
    const auto all_shown = [&] { return query.count != 0 && report.shown == query.count; };
    while (more) {
        auto batch = (*stream)->read([&](const sg_event& event) {
            more = !wanted(event, query, *reason) || (row(event) && !all_shown());
            return more;
        });
        if (!batch) {
            return unexpected(batch.error());
        }
        report.lost += batch->lost;
        const bool in_time =
            query.seconds == 0 || std::chrono::steady_clock::now() - start < std::chrono::seconds(query.seconds);
        more = more && in_time && show(nullptr, batch->lost);
        if (more && !batch->more) {
            std::this_thread::sleep_for(kPause);
        }
    }
    if (all_shown()) {
        return report;
    }
    if (auto hushed = (*stream)->hush(); !hushed) {
        return unexpected(hushed.error());
    }
    std::this_thread::sleep_for(kPause);  // packets on their way
    const auto deadline = std::chrono::steady_clock::now() + kLastWords;
    for (more = true; more;) {
        auto batch = (*stream)->read([&](const sg_event& event) {
            if (wanted(event, query, *reason) && std::chrono::steady_clock::now() < deadline) {
                static_cast<void>(row(event));
            } else if (wanted(event, query, *reason)) {
                ++report.lost;
            }
            return !all_shown();
        });
        if (!batch) {
            return unexpected(batch.error());
        }
        report.lost += batch->lost;
        more = batch->more && !all_shown();
    }
    return report;
}

}  // namespace sgbpf
