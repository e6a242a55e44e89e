// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The real BPF programs on private, unpinned maps, in test mode: interface and clock are given by the
// test. A Datapath as far as commits go, so that run_commit fills the maps; devices are not supported.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "datapath/datapath.hpp"

struct sg_tc;

namespace sgbpf::test {

struct PacketResult {
    int code = 0;  // of the hook: -1 = next program, 2 = drop
    sg_reason reason = SG_REASON_NONE;
    std::uint32_t rule = 0;
    bool tracked = false;
    std::uint32_t flow_slot = 0;

    [[nodiscard]] bool passed() const { return code == -1; }
};

// Room for a few hundred rules; fast to create.
Capacities small_capacities();

class TestPrograms final : public Datapath {
public:
    // kTest: interface and clock are given by the test; kLive: as attached, for benchmarks.
    enum class Mode { kTest, kLive };
    static Result<std::unique_ptr<TestPrograms>> load(const Capacities& capacities = small_capacities(),
                                                      Mode mode = Mode::kTest);
    ~TestPrograms() override;

    // Judges one frame as sg_tc_in or sg_tc_out at `now_ms`. Aborts the test process when the kernel
    // refuses the run.
    PacketResult run(unsigned direction, std::uint32_t interface_slot, const std::vector<std::uint8_t>& frame,
                     std::uint64_t now_ms, bool vlan_tag = false);
    // Average over `repeat` runs, as the kernel measures it.
    std::uint32_t nanoseconds_per_run(int program_fd, const std::vector<std::uint8_t>& frame, int repeat) const;
    void set_test_input(std::uint32_t interface_slot, std::uint64_t now_ms);

    void sweep_once(std::uint64_t now_ms);
    [[nodiscard]] std::vector<sg_flow> live_flows() const;
    [[nodiscard]] std::uint64_t free_flow_slots() const;
    [[nodiscard]] int program_fd(const std::string& name) const;
    [[nodiscard]] int map_fd(const std::string& name) const;
    [[nodiscard]] std::vector<std::string> program_names() const;

    Result<void> open(const Capacities&, bool) override { return {}; }
    Result<bool> is_empty() override { return false; }
    Result<Capacities> capacities() override { return capacities_; }
    Result<ControlState> control() override;
    Result<RawMaps> read_maps() override;
    Result<void> write(const EditList& edits, std::size_t first, std::size_t count) override;
    Result<void> set_pending(std::uint64_t generation) override;
    Result<void> flip(std::uint64_t generation, const Digest& digest) override;
    Result<void> wait_grace_period() override { return {}; }
    Result<std::vector<Device>> devices(const std::string&) override { return std::vector<Device>{}; }
    Result<Attachment> attach(const AttachRequest&) override { return Attachment{}; }
    Result<void> detach(const Attachment&) override { return {}; }
    Result<void> unbind(const Attachment&) override { return {}; }
    Result<std::vector<Attachment>> attachments() override { return std::vector<Attachment>{}; }
    Result<void> remove_all() override { return {}; }
    Result<FlowSnapshot> read_flows(const FlowFilter&) override;
    Result<sg_counters> read_counters(std::uint32_t interface_slot) override;
    Result<std::vector<sg_rule_counters>> read_rule_counters(const std::vector<std::uint32_t>& slots) override;
    Result<std::uint64_t> flush_flows(const sg_flush& what) override;
    Result<std::vector<MapUsage>> map_usage() override { return std::vector<MapUsage>{}; }

private:
    TestPrograms(sg_tc* skeleton, const Capacities& capacities);
    Result<sg_control> read_control() const;
    Result<void> write_control(const sg_control& control);

    sg_tc* skeleton_;
    Capacities capacities_;
};

}  // namespace sgbpf::test
