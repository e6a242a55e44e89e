// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Whole commands over a fake kernel, as a shell would run them.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "cli/app.hpp"
#include "tests/unit/api/host.hpp"

namespace sgbpf::test {

// Lends the host's kernel to one run.
class Lent final : public Datapath {
public:
    explicit Lent(FakeKernel& kernel) : kernel_(kernel) {}
    Result<void> open(const Capacities& capacities, bool create) override { return kernel_.open(capacities, create); }
    Result<bool> is_empty() override { return kernel_.is_empty(); }
    Result<Capacities> capacities() override { return kernel_.capacities(); }
    Result<ControlState> control() override { return kernel_.control(); }
    Result<RawMaps> read_maps() override { return kernel_.read_maps(); }
    Result<void> write(const EditList& edits, std::size_t first, std::size_t count) override {
        return kernel_.write(edits, first, count);
    }
    Result<void> set_reserved_flows(std::uint64_t reserved) override { return kernel_.set_reserved_flows(reserved); }
    Result<void> set_pending(std::uint64_t generation) override { return kernel_.set_pending(generation); }
    Result<void> flip(std::uint64_t generation, const Digest& digest) override {
        return kernel_.flip(generation, digest);
    }
    Result<void> wait_grace_period() override { return kernel_.wait_grace_period(); }
    Result<std::vector<Device>> devices(const std::string& netns) override { return kernel_.devices(netns); }
    Result<Attachment> attach(const AttachRequest& request) override { return kernel_.attach(request); }
    Result<void> detach(const Attachment& attachment) override { return kernel_.detach(attachment); }
    Result<void> unbind(const Attachment& attachment) override { return kernel_.unbind(attachment); }
    Result<void> keep_binding(const Attachment& attachment) override { return kernel_.keep_binding(attachment); }
    Result<void> arm_rollback(std::uint64_t until) override { return kernel_.arm_rollback(until); }
    Result<bool> disarm_rollback() override { return kernel_.disarm_rollback(); }
    Result<bool> roll_back_now() override { return kernel_.roll_back_now(); }
    Result<void> forget_rollback() override { return kernel_.forget_rollback(); }
    Result<std::vector<Attachment>> attachments() override { return kernel_.attachments(); }
    Result<void> remove_all() override { return kernel_.remove_all(); }
    Result<FlowSnapshot> read_flows(const FlowFilter& filter) override { return kernel_.read_flows(filter); }
    Result<sg_counters> read_counters(std::uint32_t slot) override { return kernel_.read_counters(slot); }
    Result<std::vector<sg_rule_counters>> read_rule_counters(const std::vector<std::uint32_t>& slots) override {
        return kernel_.read_rule_counters(slots);
    }
    Result<AccountsSnapshot> read_accounts() override { return kernel_.read_accounts(); }
    Result<void> adopt(std::uint32_t slot, std::uint32_t seconds) override { return kernel_.adopt(slot, seconds); }
    Result<void> reset_counters(const std::vector<std::uint32_t>& rule_slots,
                                const std::vector<std::uint32_t>& interface_slots) override {
        return kernel_.reset_counters(rule_slots, interface_slots);
    }
    Result<std::uint64_t> reap_flows(const std::vector<FlowRef>& flows) override { return kernel_.reap_flows(flows); }
    Result<std::uint64_t> flush_flows(const FlowFilter& what) override { return kernel_.flush_flows(what); }
    Result<void> read_last_sequences(FlowSnapshot& ended) override { return kernel_.read_last_sequences(ended); }
    Result<ResetsSent> send_resets(const ResetOrder& order) override { return kernel_.send_resets(order); }
    Result<std::vector<Judged>> dry_run(const std::vector<DryRun>& packets) override {
        return kernel_.dry_run(packets);
    }
    Result<std::vector<Judged>> try_image(const MapImage& image, const Capacities& capacities,
                                          const std::vector<DryRun>& packets) override {
        return kernel_.try_image(image, capacities, packets);
    }
    Result<std::vector<int>> devices_between(const Address& local, const Address& peer) override {
        return kernel_.devices_between(local, peer);
    }
    Result<std::unique_ptr<EventStream>> listen(std::uint16_t what, std::uint32_t slot) override {
        return kernel_.listen(what, slot);
    }
    Result<std::vector<MapUsage>> map_usage() override { return kernel_.map_usage(); }

private:
    FakeKernel& kernel_;
};

struct Outcome {
    int code = 0;
    std::string out;
    std::string err;
    [[nodiscard]] nlohmann::json json() const { return nlohmann::json::parse(out); }
};

struct Terminal {
    bool is_terminal = false;
    std::string answers;
    std::string lacks_privilege;
};

class Cli {
public:
    Cli() { host.directory.write("host.yaml", "schema: sgbpf-host/v1\n"); }

    Outcome run(std::vector<std::string> words, const Terminal& terminal = {}) {
        words.insert(words.begin(), "sgbpf");
        std::vector<const char*> argv;
        for (const std::string& word : words) {
            argv.push_back(word.c_str());
        }
        std::ostringstream out;
        std::ostringstream err;
        std::istringstream in(terminal.answers);
        cli::Environment environment{
            out,
            err,
            in,
            terminal.is_terminal,
            terminal.lacks_privilege,
            [this](const std::string&) { return std::make_unique<Lent>(host.kernel); },
            [this](const char* name) -> const char* {
                const auto at = variables.find(name);
                return at == variables.end() ? nullptr : at->second.c_str();
            },
            host.ids,
            [this] { ++held; },
        };
        Outcome outcome;
        outcome.code = cli::run(static_cast<int>(argv.size()), argv.data(), environment);
        outcome.out = out.str();
        outcome.err = err.str();
        return outcome;
    }
    std::string write(const std::string& text) { return host.directory.write("s.yaml", text); }

    Host host;
    std::map<std::string, std::string> variables = {{"SGBPF_STATE_DIR", host.directory.file("state")},
                                                    {"SGBPF_HOST_CONFIG", host.directory.file("host.yaml")}};
    int held = 0;
};

inline bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace sgbpf::test
