// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The part of the seam that is about maps, for pinned and for private ones alike.
#pragma once

#include "datapath/datapath.hpp"
#include "datapath/pins.hpp"

namespace sgbpf {

class TreeDatapath : public Datapath {
public:
    Result<ControlState> control() override;
    Result<RawMaps> read_maps() override;
    Result<void> write(const EditList& edits, std::size_t first, std::size_t count) override;
    Result<void> set_reserved_flows(std::uint64_t reserved) override;
    Result<void> set_pending(std::uint64_t generation) override;
    Result<void> flip(std::uint64_t generation, const Digest& digest) override;
    Result<void> arm_rollback(std::uint64_t until) override;
    Result<bool> disarm_rollback() override;
    Result<bool> roll_back_now() override;
    Result<void> forget_rollback() override;
    Result<sg_counters> read_counters(std::uint32_t interface_slot) override;
    Result<std::vector<sg_rule_counters>> read_rule_counters(const std::vector<std::uint32_t>& slots) override;
    Result<void> reset_counters(const std::vector<std::uint32_t>& rule_slots,
                                const std::vector<std::uint32_t>& interface_slots) override;
    Result<AccountsSnapshot> read_accounts() override;
    Result<void> adopt(std::uint32_t interface_slot, std::uint32_t seconds) override;
    Result<std::unique_ptr<EventStream>> listen(std::uint16_t what, std::uint32_t interface_slot) override;
    Result<std::uint64_t> reap_flows(const std::vector<FlowRef>& flows) override;
    Result<std::uint64_t> flush_flows(const FlowFilter& what) override;
    Result<void> read_last_sequences(FlowSnapshot& ended) override;

protected:
    // The maps, or why there are none.
    virtual Result<Tree*> tree() = 0;
    // The clock of the flow records.
    virtual Result<std::uint64_t> ticks_now() = 0;

private:
    Result<sg_control*> control_record();
};

}  // namespace sgbpf
