// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "api/reset.hpp"

#include <algorithm>
#include <map>
#include <utility>

#include "frame/reset.hpp"

namespace sgbpf {

namespace {

bool is_open_tcp(const sg_flow& flow) {
    const auto state = SG_WORD_STATE(flow.word);
    return flow.key.protocol == kTcp && state >= SG_FLOW_SYN_SENT && state <= SG_FLOW_CLOSE_WAIT;
}

ResetOrder order_at(const Attachment& attachment, const MapImage& image) {
    ResetOrder order{.device = attachment.device, .role = attachment.role, .guest = {}, .flows = {}};
    const InterfaceImage* interface = image.interface_at(attachment.interface_slot);
    if (interface != nullptr && (interface->config.flags & SG_IF_MAC) != 0) {
        std::copy(std::begin(interface->config.mac), std::end(interface->config.mac), order.guest.bytes.begin());
    }
    return order;
}

// The device that a flow is at, or nullptr.
const Attachment* attachment_of(const sg_flow& flow, const std::vector<Attachment>& attachments) {
    const auto at = std::find_if(attachments.begin(), attachments.end(), [&](const Attachment& attachment) {
        return attachment.interface_slot == flow.key.interface_slot && attachment.device.ifindex != 0;
    });
    return at == attachments.end() ? nullptr : &*at;
}

// Tells the ends of those open flows that are at devices of `role`.
class Teller {
public:
    Teller(const Engine::Parts& parts, const MapImage& image, const std::vector<Attachment>& attachments)
        : parts_(parts), image_(image), attachments_(attachments) {}

    void tell(const std::vector<sg_flow>& flows, Role role) {
        std::map<std::uint32_t, ResetOrder> orders;  // by interface slot
        for (const sg_flow& flow : flows) {
            const Attachment* at = attachment_of(flow, attachments_);
            if (!is_open_tcp(flow) || (at == nullptr ? Role::kWorkload : at->role) != role) {
                continue;
            }
            if (at == nullptr) {
                report.not_sent(1, "no device is attached for them");
                continue;
            }
            ResetOrder& order = orders.try_emplace(flow.key.interface_slot, order_at(*at, image_)).first->second;
            add(flow, order);
        }
        for (const auto& [slot, order] : orders) {
            if (order.flows.empty()) {
                continue;
            }
            const auto sent = parts_.datapath->send_resets(order);
            if (sent) {
                report.add(*sent);
            } else {
                report.not_sent(order.flows.size(), sent.error().message);
            }
        }
    }

    ResetsSent report;

private:
    void add(const sg_flow& flow, ResetOrder& order) {
        FlowReset reset{.key = flow.key, .to_local = {}, .to_remote = {}};
        if (order.role == Role::kWorkload) {
            ResetFrames frames = reset_frames(flow, order.device.mac, order.guest);
            if (frames.to_local.empty() && frames.to_remote.empty()) {
                ++report.unknown;
                return;
            }
            reset.to_local = std::move(frames.to_local);
            reset.to_remote = std::move(frames.to_remote);
        }
        order.flows.push_back(std::move(reset));
    }

    const Engine::Parts& parts_;
    const MapImage& image_;
    const std::vector<Attachment>& attachments_;
};

}  // namespace

Result<void> check_reset(const ApplyOptions& options, const State& state, const HostPolicy& host) {
    if (!options.reset) {
        return {};
    }
    const auto kills = [&](const auto& entry) {
        const Revocation otherwise = host.tracking.revocation.value_or(Revocation::kKeep);
        return options.revoke.value_or(entry.second.tracking.revocation.value_or(otherwise)) == Revocation::kKill;
    };
    if (std::any_of(state.interfaces.begin(), state.interfaces.end(), kills)) {
        return {};
    }
    return unexpected(make_error(ErrorCode::kInvalid,
                                 "--reset is for flows that end: say --revoke kill too, or `revocation: kill` at an "
                                 "interface; nothing changed"));
}

Result<FlowsEnded> end_with_resets(const Engine::Parts& parts, const MapImage& image,
                                   const std::vector<Attachment>& attachments, const FlowFilter& which) {
    auto found = parts.datapath->read_flows(which);
    if (!found) {
        return unexpected(found.error());
    }
    Teller teller(parts, image, attachments);
    teller.tell(found->flows, Role::kHost);
    auto ended = parts.datapath->reap_flows(found->refs);
    if (!ended) {
        return unexpected(ended.error());
    }
    // An end takes only the number that it expects next: that of a flow under traffic is known when it has ended.
    if (auto last = parts.datapath->read_last_sequences(*found); !last) {
        return unexpected(last.error());
    }
    teller.tell(found->flows, Role::kWorkload);
    return FlowsEnded{*ended, teller.report};
}

}  // namespace sgbpf
