// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tests/support/fake_datapath.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace sgbpf::test {
namespace {

std::size_t index_of(MapId map) {
    return static_cast<std::size_t>(map);
}

FakeDatapath::Bytes copy(std::span<const std::byte> bytes) {
    return {bytes.begin(), bytes.end()};
}

std::uint32_t first_word(std::span<const std::byte> bytes) {
    std::uint32_t word;
    std::memcpy(&word, bytes.data(), sizeof(word));
    return word;
}

// Bytes up to which an LPM key of `prefix_bits` counts, with the bits beyond cleared.
FakeDatapath::Bytes masked(std::span<const std::byte> key, std::uint32_t prefix_bits) {
    FakeDatapath::Bytes bytes(key.begin(), key.end());
    std::memcpy(bytes.data(), &prefix_bits, sizeof(prefix_bits));
    for (std::size_t bit = prefix_bits; bit < (bytes.size() - sizeof(prefix_bits)) * 8; ++bit) {
        std::byte& byte = bytes[sizeof(prefix_bits) + bit / 8];
        byte &= ~(std::byte{0x80} >> (bit % 8));
    }
    return bytes;
}

const FakeDatapath::Bytes& zeros() {
    static const FakeDatapath::Bytes bytes(512);
    return bytes;
}

}  // namespace

Result<void> FakeDatapath::open(const Capacities& capacities, bool create) {
    if (!pinned && !create) {
        return unexpected(make_error(ErrorCode::kNotFound, "nothing is pinned"));
    }
    if (!pinned) {
        capacities_ = capacities;
        pinned = true;
    }
    opened = true;
    return {};
}

const FakeDatapath::Bytes* FakeDatapath::lookup(MapId map, std::span<const std::byte> key) const {
    const MapInfo& info = map_info(map);
    const auto& rows = maps_[index_of(map)];
    if (info.kind == MapKind::kLpm) {
        const auto& lengths = lengths_[index_of(map)];
        const std::uint32_t wanted = first_word(key);
        for (auto it = lengths.rbegin(); it != lengths.rend(); ++it) {
            if (it->first > wanted) {
                continue;
            }
            const auto found = rows.find(masked(key, it->first));
            if (found != rows.end()) {
                return &found->second;
            }
        }
        return nullptr;
    }
    const auto found = rows.find(copy(key));
    if (found != rows.end()) {
        return &found->second;
    }
    if (info.kind == MapKind::kArray && first_word(key) < capacities_.*info.capacity) {
        return &zeros();
    }
    return nullptr;
}

Result<void> FakeDatapath::apply(const EditList::Edit& edit) {
    const MapInfo& info = map_info(edit.map);
    auto& rows = maps_[index_of(edit.map)];
    const auto refuse = [&](ErrorCode code, const char* why) {
        return unexpected(make_error(code, std::string(info.name) + ": " + why));
    };
    if (info.kind == MapKind::kArray) {
        if (first_word(edit.key) >= capacities_.*info.capacity) {
            return refuse(ErrorCode::kExhausted, "index out of bounds");
        }
        if (std::all_of(edit.value.begin(), edit.value.end(), [](std::byte byte) { return byte == std::byte{0}; })) {
            rows.erase(copy(edit.key));
        } else {
            rows[copy(edit.key)] = copy(edit.value);
        }
        return {};
    }
    if (info.kind == MapKind::kLpm && masked(edit.key, first_word(edit.key)) != copy(edit.key)) {
        return refuse(ErrorCode::kInvalid, "a key has bits beyond its prefix");
    }
    const Bytes key = copy(edit.key);
    if (edit.op == EditOp::kRemove) {
        if (rows.erase(key) == 0) {
            return refuse(ErrorCode::kNotFound, "no such element to remove");
        }
        if (info.kind == MapKind::kLpm && --lengths_[index_of(edit.map)][first_word(key)] == 0) {
            lengths_[index_of(edit.map)].erase(first_word(key));
        }
        return {};
    }
    if (!rows.contains(key)) {
        if (rows.size() >= capacities_.*info.capacity) {
            return refuse(ErrorCode::kExhausted, "full");
        }
        if (info.kind == MapKind::kLpm) {
            ++lengths_[index_of(edit.map)][first_word(key)];
        }
    }
    rows[key] = copy(edit.value);
    return {};
}

Result<void> FakeDatapath::write(const EditList& edits, std::size_t first, std::size_t count) {
    for (std::size_t i = first; i < first + count; ++i) {
        if (stop_after_edits) {
            if (*stop_after_edits == 0) {
                return unexpected(make_error(ErrorCode::kSystem, "stopped by the test"));
            }
            --*stop_after_edits;
        }
        if (Result<void> applied = apply(edits[i]); !applied) {
            return applied;
        }
        ++edits_written;
    }
    return {};
}

Result<RawMaps> FakeDatapath::read_maps() {
    RawMaps maps;
    for (const MapInfo& info : kMaps) {
        for (const auto& [key, value] : maps_[index_of(info.id)]) {
            maps[info.id].push_back({key, value});
        }
    }
    return maps;
}

Result<void> FakeDatapath::set_pending(std::uint64_t generation) {
    control_.pending = generation;
    return {};
}

Result<void> FakeDatapath::flip(std::uint64_t generation, const Digest& digest) {
    if (before_flip) {
        std::exchange(before_flip, nullptr)();
    }
    control_.generation = generation;
    control_.digest = digest;
    return {};
}

Result<void> FakeDatapath::wait_grace_period() {
    ++grace_periods;
    return {};
}

Result<std::vector<Device>> FakeDatapath::devices(const std::string& netns) {
    std::vector<Device> found;
    std::copy_if(device_list.begin(), device_list.end(), std::back_inserter(found),
                 [&](const Device& device) { return device.netns == netns; });
    return found;
}

Result<Attachment> FakeDatapath::attach(const AttachRequest& request) {
    if (next_attach_error) {
        Error error = std::move(*next_attach_error);
        next_attach_error.reset();
        return unexpected(std::move(error));
    }
    Attachment attachment;
    attachment.device = request.device;
    attachment.interface_slot = request.interface_slot;
    attachment.interface_id = request.interface_id;
    attachment.since = request.since;
    attachment.role = request.role;
    attachment.ladder = std::exchange(next_ladder, {});
    attachment.hook = request.hook == HookChoice::kClsact    ? "clsact"
                      : request.hook == HookChoice::kNative  ? "xdp native + tcx"
                      : request.hook == HookChoice::kGeneric ? "xdp generic + tcx"
                                                             : "tcx";
    attachment.position = {1, 1};
    attachment.programs = {1, 1};
    std::erase_if(attachment_list, [&](const Attachment& other) {
        return other.device.netns == request.device.netns && other.device.ifindex == request.device.ifindex;
    });
    attachment_list.push_back(attachment);
    return attachment;
}

Result<void> FakeDatapath::detach(const Attachment& attachment) {
    std::erase_if(attachment_list, [&](const Attachment& other) {
        return other.device.netns == attachment.device.netns && other.device.ifindex == attachment.device.ifindex &&
               other.interface_id == attachment.interface_id;
    });
    return {};
}

Result<void> FakeDatapath::unbind(const Attachment& attachment) {
    for (Attachment& other : attachment_list) {
        if (other.device.netns == attachment.device.netns && other.device.ifindex == attachment.device.ifindex) {
            other.interface_slot = 0;
            other.interface_id = "left-" + std::to_string(other.device.ifindex);
        }
    }
    return {};
}

Result<void> FakeDatapath::remove_all() {
    attachment_list.clear();
    for (auto& rows : maps_) {
        rows.clear();
    }
    for (auto& lengths : lengths_) {
        lengths.clear();
    }
    control_ = {};
    pinned = false;
    opened = false;
    return {};
}

Result<FlowSnapshot> FakeDatapath::read_flows(const FlowFilter&) {
    return FlowSnapshot{};
}

Result<sg_counters> FakeDatapath::read_counters(std::uint32_t) {
    return sg_counters{};
}

Result<std::vector<sg_rule_counters>> FakeDatapath::read_rule_counters(const std::vector<std::uint32_t>& slots) {
    return std::vector<sg_rule_counters>(slots.size());
}

Result<void> FakeDatapath::reset_counters(const std::vector<std::uint32_t>& rule_slots,
                                          const std::vector<std::uint32_t>& interface_slots) {
    rule_slots_reset.insert(rule_slots_reset.end(), rule_slots.begin(), rule_slots.end());
    interface_slots_reset.insert(interface_slots_reset.end(), interface_slots.begin(), interface_slots.end());
    return {};
}

Result<std::uint64_t> FakeDatapath::reap_flows(const std::vector<FlowRef>& flows) {
    reaped.insert(reaped.end(), flows.begin(), flows.end());
    return flows.size();
}

Result<std::uint64_t> FakeDatapath::flush_flows(const FlowFilter& what) {
    flushes.push_back(what);
    const auto found = read_flows(what);
    return reap_flows(found->refs);
}

Result<std::vector<Judged>> FakeDatapath::try_image(const MapImage& image, const Capacities& capacities,
                                                    const std::vector<DryRun>& packets) {
    trial_capacities = capacities;
    std::vector<Judged> answers;
    for (const DryRun& packet : packets) {
        trials.push_back(packet);
        answers.push_back(trial_answer.at(packet.direction));
        const InterfaceImage* interface = image.interface_at(packet.interface_slot);
        if (interface != nullptr && (interface->config.flags & SG_IF_QUARANTINE) != 0) {
            answers.back().passed = false;
            answers.back().outcome.reason = SG_REASON_QUARANTINE;
        }
    }
    return answers;
}

Result<std::vector<int>> FakeDatapath::devices_between(const Address&, const Address&) {
    return between;
}

Result<std::unique_ptr<EventStream>> FakeDatapath::listen(std::uint16_t what, std::uint32_t interface_slot) {
    class Stream final : public EventStream {
    public:
        explicit Stream(FakeDatapath& kernel) : kernel_(kernel) {}
        Result<EventBatch> read(const std::function<bool(const sg_event&)>& visit) override {
            auto& events = kernel_.events;
            bool more = true;
            while (more && !events.empty()) {
                const sg_event event = events.front();
                events.erase(events.begin());
                more = visit(event);
            }
            return EventBatch{std::exchange(kernel_.events_lost, 0), !events.empty()};
        }
        Result<void> hush() override { return {}; }

    private:
        FakeDatapath& kernel_;
    };
    listening = {what, interface_slot};
    return std::unique_ptr<EventStream>(std::make_unique<Stream>(*this));
}

Result<void> FakeDatapath::keep_binding(const Attachment& attachment) {
    for (Attachment& one : attachment_list) {
        if (one.interface_id == attachment.interface_id) {
            one.since = 0;
        }
    }
    return {};
}

Result<void> FakeDatapath::arm_rollback(std::uint64_t until) {
    control_.confirm_state = SG_CONFIRM_ARMED;
    control_.confirm_from = control_.generation;
    control_.confirm_until = until;
    control_.digest_before = control_.digest;
    return {};
}

Result<bool> FakeDatapath::disarm_rollback() {
    const bool armed = control_.confirm_state == SG_CONFIRM_ARMED;
    if (armed) {
        control_.confirm_state = SG_CONFIRM_NONE;
    }
    return armed;
}

Result<bool> FakeDatapath::roll_back_now() {
    roll_back();
    return true;
}

Result<void> FakeDatapath::forget_rollback() {
    control_.confirm_state = SG_CONFIRM_NONE;
    return {};
}

void FakeDatapath::roll_back() {
    control_.confirm_state = SG_CONFIRM_ROLLED_BACK;
    control_.generation = control_.confirm_from;
    control_.digest = control_.digest_before;
}

Result<std::vector<Judged>> FakeDatapath::dry_run(const std::vector<DryRun>& packets) {
    dry_runs.insert(dry_runs.end(), packets.begin(), packets.end());
    return std::vector<Judged>(packets.size(), dry_run_answer);
}

Result<std::vector<MapUsage>> FakeDatapath::map_usage() {
    std::vector<MapUsage> usage;
    for (const MapInfo& info : kMaps) {
        usage.push_back({std::string(info.name), maps_[index_of(info.id)].size(), capacities_.*info.capacity, 0});
    }
    return usage;
}

}  // namespace sgbpf::test
