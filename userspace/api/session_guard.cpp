// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "api/session_guard.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <sstream>

#include <fmt/format.h>

#include "base/strings.hpp"
#include "frame/build.hpp"
#include "frame/names.hpp"
#include "frame/packet_spec.hpp"

namespace sgbpf {

namespace {

constexpr std::uint8_t kSyn = 0x02;
constexpr std::uint8_t kAck = 0x10;

// sshd writes link-local addresses with their zone, "fe80::1%eth0".
// An sshd that listens on one socket for both families may write IPv4 as "::ffff:192.0.2.7".
Result<Address> address_of(const std::string& text) {
    constexpr std::string_view kMapped = "::ffff:";
    const std::string plain = text.substr(0, text.find('%'));
    const bool mapped = plain.starts_with(kMapped) && plain.find('.') != std::string::npos;
    return Address::parse(mapped ? plain.substr(kMapped.size()) : plain);
}

// A packet of the session at an interface. The machine that the rules protect is this host (role host) or
// the client itself (role workload: the operator works in a guest).
DryRun packet_of(const OperatorSession& session, const Interface& interface, std::uint32_t slot, bool from_client,
                 std::uint8_t flags) {
    PacketSpec packet;
    packet.protocol = kTcp;
    packet.source = from_client ? session.peer : session.local;
    packet.destination = from_client ? session.local : session.peer;
    packet.source_port = from_client ? session.peer_port : session.local_port;
    packet.destination_port = from_client ? session.local_port : session.peer_port;
    packet.tcp_flags = flags;
    const MacAddress own = interface.mac.value_or(MacAddress{});
    const bool inbound = from_client == (interface.role == Role::kHost);
    DryRun run;
    run.direction = inbound ? SG_IN : SG_OUT;
    run.interface_slot = slot;
    run.frame = inbound ? build_frame(packet, MacAddress{}, own) : build_frame(packet, own, MacAddress{});
    return run;
}

// Is the session in the live flow table? Then only new connections depend on the rules.
Result<bool> is_tracked(const Engine::Parts& parts, const HostState& host, const OperatorSession& session,
                        const Interface& interface) {
    if (host.kernel_empty) {
        return false;
    }
    const auto slots = interface_slots(host.image);
    const auto slot = slots.find(interface.id);
    if (slot == slots.end()) {
        return false;
    }
    const bool is_host = interface.role == Role::kHost;
    const Address& remote = is_host ? session.peer : session.local;
    FlowFilter filter;
    filter.interface_slot = slot->second;
    filter.peer = Prefix::host(remote);
    filter.protocol = kTcp;
    auto flows = parts.datapath->read_flows(filter);
    if (!flows) {
        return unexpected(flows.error());
    }
    const std::uint16_t local_port = is_host ? session.local_port : session.peer_port;
    const std::uint16_t remote_port = is_host ? session.peer_port : session.local_port;
    return std::any_of(flows->flows.begin(), flows->flows.end(), [&](const sg_flow& flow) {
        return flow.key.local_port == htons(local_port) && flow.key.remote_port == htons(remote_port);
    });
}

// Loaded maps keep the sizes they were made with, whatever host.yaml says since.
Result<Capacities> capacities_of(const Engine::Parts& parts, const HostState& host) {
    return host.kernel_empty ? Result<Capacities>(parts.host.capacities) : parts.datapath->capacities();
}

bool crosses(const std::vector<int>& crossed, const Device& device) {
    return device.netns.empty() && std::find(crossed.begin(), crossed.end(), device.ifindex) != crossed.end();
}

Error refusal(const OperatorSession& session, const Device& device, const std::string& why, bool goes_on = false) {
    return make_error(ErrorCode::kRefused,
                      fmt::format("your session {} runs over {} and {}: {}; --force to override; nothing changed",
                                  session.to_string(), device.name,
                                  goes_on ? "could not be opened again" : "would be cut", why));
}

std::string why_dropped(const Judged& judged, bool answers) {
    if (judged.outcome.reason == SG_REASON_NO_RULE) {
        return answers ? "no rule admits its answers, and a connection from before is not tracked"
                       : "no rule admits it";
    }
    return std::string(reason_words(judged.outcome.reason).sentence);
}

}  // namespace

Result<OperatorSession> OperatorSession::parse(const std::string& ssh_connection) {
    std::istringstream words(ssh_connection);
    std::string peer;
    std::string peer_port;
    std::string local;
    std::string local_port;
    words >> peer >> peer_port >> local >> local_port;
    const auto peer_address = address_of(peer);
    const auto local_address = address_of(local);
    const auto from = parse_decimal(peer_port);
    const auto to = parse_decimal(local_port);
    if (!peer_address || !local_address || !from || !to || *from > 0xffff || *to > 0xffff ||
        peer_address->family != local_address->family) {
        return unexpected(
            make_error(ErrorCode::kInvalid, "SSH_CONNECTION does not name a connection: " + printable(ssh_connection)));
    }
    return OperatorSession{*peer_address, static_cast<std::uint16_t>(*from), *local_address,
                           static_cast<std::uint16_t>(*to)};
}

std::string OperatorSession::to_string() const {
    return fmt::format("{} -> :{}", endpoint_text(peer, peer_port), local_port);
}

Result<void> check_session_leaves(const Engine::Parts& parts, const OperatorSession& session,
                                  const std::vector<Attachment>& leaving, const std::string& why) {
    auto crossed = parts.datapath->devices_between(session.local, session.peer);
    if (!crossed) {
        return unexpected(crossed.error());
    }
    for (const Attachment& attachment : leaving) {
        if (crosses(*crossed, attachment.device)) {
            return unexpected(refusal(session, attachment.device, why));
        }
    }
    return {};
}

Result<void> check_session(const Engine::Parts& parts, const OperatorSession& session, const SessionGuard& guard) {
    auto crossed = parts.datapath->devices_between(session.local, session.peer);
    if (!crossed) {
        return unexpected(crossed.error());
    }
    auto capacities = capacities_of(parts, guard.host);
    if (!capacities) {
        return unexpected(capacities.error());
    }
    const auto slots = interface_slots(guard.image);
    for (const auto& [name, device] : guard.devices) {
        const Interface& interface = guard.desired.interfaces.at(name);
        const auto slot = slots.find(interface.id);
        if (!crosses(*crossed, device) || slot == slots.end()) {
            continue;
        }
        auto tracked = is_tracked(parts, guard.host, session, interface);
        if (!tracked) {
            return unexpected(tracked.error());
        }
        std::vector<DryRun> packets = {packet_of(session, interface, slot->second, true, kSyn)};
        if (!*tracked) {
            packets.push_back(packet_of(session, interface, slot->second, false, kAck));
        }
        auto judged = parts.datapath->try_image(guard.image, *capacities, packets);
        if (!judged) {
            return unexpected(judged.error());
        }
        for (std::size_t i = 0; i < judged->size(); ++i) {
            if (!(*judged)[i].passed) {
                return unexpected(refusal(session, device, why_dropped((*judged)[i], i == 1), *tracked));
            }
        }
    }
    return {};
}

}  // namespace sgbpf
