// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// FakeDatapath: the Datapath seam in memory. Maps behave as the kernel's: array bounds, capacities,
// longest match. Devices and attachments are plain vectors that a test sets.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "datapath/datapath.hpp"

namespace sgbpf::test {

class FakeDatapath : public Datapath {
public:
    using Bytes = std::vector<std::byte>;

    // What a test sets and looks at.
    std::vector<Device> device_list;
    std::vector<Attachment> attachment_list;
    std::optional<std::size_t> stop_after_edits;  // write() fails after this many more edits
    std::size_t edits_written = 0;
    std::size_t grace_periods = 0;
    bool opened = false;
    bool pinned = false;              // something was ever created
    std::vector<FlowFilter> flushes;  // what was asked
    std::vector<FlowRef> reaped;
    std::vector<sg_account> accounts = std::vector<sg_account>(64);  // what read_accounts tells
    struct Adoption {
        std::uint32_t slot;
        std::uint32_t seconds;
        std::size_t attached;  // devices, when it was opened
    };
    std::vector<Adoption> adoptions;
    struct Reset {
        ResetOrder order;
        std::size_t reaped;  // flows, before it was sent
        std::uint64_t generation;
        std::uint64_t pending;
    };
    std::vector<Reset> resets;
    std::uint32_t last_packets = 0;  // bytes that openers sent between the reading of a flow and its end
    std::optional<Error> next_attach_error;
    std::vector<std::string> next_ladder;  // of the next attach()
    std::vector<std::uint64_t> reserves;   // told to set_reserved_flows, in order
    std::vector<std::uint32_t> rule_slots_reset;
    std::vector<std::uint32_t> interface_slots_reset;
    std::vector<DryRun> dry_runs;                         // what was asked
    Judged dry_run_answer;                                // what is said to each
    std::vector<DryRun> trials;                           // what try_image was asked
    std::array<Judged, SG_DIRECTIONS> trial_answer;       // what it says, by direction; a quarantine drops all
    Capacities trial_capacities;                          // of the last try_image
    std::vector<sg_event> events;                         // what the next listener reads at once
    std::uint64_t events_lost = 0;                        // told with them
    std::pair<std::uint16_t, std::uint32_t> listening{};  // what the last listener asked for
    std::vector<int> between;                             // ifindexes that devices_between tells

    Result<void> open(const Capacities& capacities, bool create) override;
    Result<bool> is_empty() override { return !pinned; }
    Result<Capacities> capacities() override { return capacities_; }

    Result<ControlState> control() override { return control_; }
    Result<RawMaps> read_maps() override;
    Result<void> write(const EditList& edits, std::size_t first, std::size_t count) override;
    Result<void> set_reserved_flows(std::uint64_t reserved) override {
        reserves.push_back(reserved);
        return {};
    }
    Result<void> set_pending(std::uint64_t generation) override;
    Result<void> flip(std::uint64_t generation, const Digest& digest) override;
    Result<void> wait_grace_period() override;

    Result<std::vector<Device>> devices(const std::string& netns) override;
    Result<Attachment> attach(const AttachRequest& request) override;
    Result<void> detach(const Attachment& attachment) override;
    Result<void> unbind(const Attachment& attachment) override;
    Result<void> keep_binding(const Attachment& attachment) override;
    Result<void> arm_rollback(std::uint64_t until) override;
    Result<bool> disarm_rollback() override;
    Result<bool> roll_back_now() override;
    Result<void> forget_rollback() override;
    // What the kernel's timer does.
    void roll_back();
    std::function<void()> before_flip;
    Result<std::vector<Attachment>> attachments() override { return attachment_list; }
    Result<void> remove_all() override;

    Result<FlowSnapshot> read_flows(const FlowFilter& filter) override;
    Result<sg_counters> read_counters(std::uint32_t interface_slot) override;
    Result<std::vector<sg_rule_counters>> read_rule_counters(const std::vector<std::uint32_t>& slots) override;
    Result<AccountsSnapshot> read_accounts() override { return AccountsSnapshot{accounts, 1'000'000, 1000}; }
    Result<void> adopt(std::uint32_t interface_slot, std::uint32_t seconds) override {
        adoptions.push_back({interface_slot, seconds, attachment_list.size()});
        return {};
    }
    Result<void> reset_counters(const std::vector<std::uint32_t>& rule_slots,
                                const std::vector<std::uint32_t>& interface_slots) override;
    Result<std::uint64_t> reap_flows(const std::vector<FlowRef>& flows) override;
    Result<std::uint64_t> flush_flows(const FlowFilter& what) override;
    Result<void> read_last_sequences(FlowSnapshot& ended) override {
        for (std::size_t i = 0; i < ended.flows.size() && !reaped.empty(); ++i) {
            ended.flows[i].sequence[0] += last_packets;
        }
        return {};
    }
    Result<ResetsSent> send_resets(const ResetOrder& order) override {
        resets.push_back({order, reaped.size(), control_.generation, control_.pending});
        return ResetsSent{order.flows.size(), 0, 0, ""};
    }
    Result<std::vector<Judged>> dry_run(const std::vector<DryRun>& packets) override;
    Result<std::vector<Judged>> try_image(const MapImage& image, const Capacities& capacities,
                                          const std::vector<DryRun>& packets) override;
    Result<std::vector<int>> devices_between(const Address& local, const Address& peer) override;
    Result<std::unique_ptr<EventStream>> listen(std::uint16_t what, std::uint32_t interface_slot) override;
    Result<std::vector<MapUsage>> map_usage() override;

    // Lookups as a BPF program does them. nullptr = no such element. Arrays: never nullptr within bounds.
    [[nodiscard]] const Bytes* lookup(MapId map, std::span<const std::byte> key) const;

    template <MapId map>
    std::optional<typename MapTypes<map>::Value> get(const typename MapTypes<map>::Key& key) const {
        const Bytes* found = lookup(map, std::as_bytes(std::span(&key, 1)));
        if (found == nullptr) {
            return std::nullopt;
        }
        typename MapTypes<map>::Value value;
        std::memcpy(&value, found->data(), sizeof(value));
        return value;
    }
    [[nodiscard]] std::uint64_t generation() const { return control_.generation; }

private:
    Result<void> apply(const EditList::Edit& edit);

    Capacities capacities_;
    ControlState control_;
    std::array<std::map<Bytes, Bytes>, kMaps.size()> maps_;
    // LPM keys in use by prefix_bits, to try lengths downwards.
    std::array<std::map<std::uint32_t, std::size_t>, kMaps.size()> lengths_;
};

}  // namespace sgbpf::test
