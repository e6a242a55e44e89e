// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A Sandbox as tests want it: frames as they build them, answers that need no unwrapping, a look inside.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "datapath/sandbox.hpp"

namespace sgbpf::test {

struct PacketResult {
    bool pass = false;
    int code = 0;  // of the hook
    sg_reason reason = SG_REASON_NONE;
    std::uint32_t rule = 0;
    bool tracked = false;
    std::uint32_t flow_slot = 0;
    sg_outcome outcome{};

    [[nodiscard]] bool passed() const { return pass; }
};

// Room for a few hundred rules; fast to create.
Capacities small_capacities();

class TestPrograms {
public:
    // kTest, kTestXdp: interface and clock are given by the test; the others: as attached, for benchmarks.
    enum class Mode { kTest, kTestXdp, kLive, kLiveXdp };
    static Result<std::unique_ptr<TestPrograms>> load(const Capacities& capacities = small_capacities(),
                                                      Mode mode = Mode::kTest);

    // Judges one frame at `now_ms`. Aborts the test process when the kernel refuses the run.
    PacketResult run(unsigned direction, std::uint32_t interface_slot, const std::vector<std::uint8_t>& frame,
                     std::uint64_t now_ms, bool vlan_tag = false);
    // Sets interface and clock of both objects without judging anything of note: for runs by program_fd().
    void prepare(std::uint32_t interface_slot, std::uint64_t now_ms);
    // Average over `repeat` runs, as the kernel measures it.
    [[nodiscard]] std::uint32_t nanoseconds_per_run(int program_fd, const std::vector<std::uint8_t>& frame,
                                                    int repeat) const;

    void sweep_once(std::uint64_t now_ms);
    [[nodiscard]] std::vector<sg_flow> live_flows() const;
    [[nodiscard]] std::uint64_t free_flow_slots() const;
    [[nodiscard]] int program_fd(const std::string& name) const { return sandbox_->program(name); }
    [[nodiscard]] int map_fd(const std::string& name) const { return sandbox_->tc().map(name); }
    [[nodiscard]] Sandbox& sandbox() const { return *sandbox_; }

private:
    explicit TestPrograms(std::unique_ptr<Sandbox> sandbox) : sandbox_(std::move(sandbox)) {}

    std::unique_ptr<Sandbox> sandbox_;
};

}  // namespace sgbpf::test
