// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A host in a temporary directory: an engine over a fake kernel, with what tests change and look at.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <sgbpf/engine.hpp>

#include "base/file.hpp"
#include "image/plan.hpp"
#include "model/host_config.hpp"
#include "model/ids.hpp"
#include "store/store.hpp"
#include "tests/support/fake_datapath.hpp"
#include "tests/unit/base/temporary_directory.hpp"

namespace sgbpf::test {

// FakeDatapath with flows and counters that a test sets.
class FakeKernel final : public FakeDatapath {
public:
    std::vector<sg_flow> flow_list;
    std::map<std::uint32_t, sg_counters> counters;
    std::vector<MapUsage> extra_usage;
    std::uint64_t now = 1'000'000;

    // As strict as the real one: an interface is at one device, a device has one interface.
    Result<Attachment> attach(const AttachRequest& request) override {
        for (const Attachment& other : attachment_list) {
            if (other.device.ifindex == 0) {
                continue;
            }
            const bool here =
                other.device.netns == request.device.netns && other.device.ifindex == request.device.ifindex;
            if (here && other.interface_slot != 0 && other.interface_slot != request.interface_slot) {
                return unexpected(make_error(ErrorCode::kRefused, "the device is attached for another interface"));
            }
            if (!here && other.interface_id == request.interface_id) {
                return unexpected(make_error(ErrorCode::kRefused, "the interface is attached to another device"));
            }
        }
        return FakeDatapath::attach(request);
    }
    // The digest the kernel was told is that of what its maps hold.
    bool is_consistent() {
        const ControlState state = *control();
        const auto maps = read_maps();
        return state.pending == 0 && digest(image_from_maps(*maps, state.generation)) == state.digest;
    }

    Result<FlowSnapshot> read_flows(const FlowFilter& filter) override {
        FlowSnapshot snapshot;
        snapshot.now = now;
        snapshot.ticks_per_second = 1000;
        for (std::size_t i = 0; i < flow_list.size(); ++i) {
            const sg_flow& flow = flow_list[i];
            if (filter.flow_slot && *filter.flow_slot != i + 1) {
                continue;
            }
            if (filter.interface_slot && flow.key.interface_slot != *filter.interface_slot) {
                continue;
            }
            if (filter.protocol && flow.key.protocol != *filter.protocol) {
                continue;
            }
            if ((filter.state && SG_WORD_STATE(flow.word) != *filter.state) ||
                (filter.rule && flow.rule != *filter.rule) || (filter.choose && !filter.choose(flow))) {
                continue;
            }
            ++snapshot.live;
            if (filter.limit == 0 || snapshot.flows.size() < filter.limit) {
                snapshot.flows.push_back(flow);
                snapshot.refs.push_back({static_cast<std::uint32_t>(i + 1), SG_WORD_INCARNATION(flow.word)});
            }
        }
        return snapshot;
    }
    Result<sg_counters> read_counters(std::uint32_t slot) override { return counters[slot]; }
    Result<std::vector<sg_rule_counters>> read_rule_counters(const std::vector<std::uint32_t>& slots) override {
        std::vector<sg_rule_counters> list;
        for (const std::uint32_t slot : slots) {
            list.push_back({slot * 10, slot * 1000});
        }
        return list;
    }
    Result<std::vector<MapUsage>> map_usage() override {
        auto usage = FakeDatapath::map_usage();
        usage->insert(usage->end(), extra_usage.begin(), extra_usage.end());
        return usage;
    }
};

// web0 at tap-web0 with one rule, and whatever a test adds.
inline std::string state_text(const std::string& web_rules = "      - {protocol: tcp, port: 80, cidr: 192.0.2.0/24}\n",
                              const std::string& more_groups = "", const std::string& more_interfaces = "") {
    return "schema: sgbpf/v1\n"
           "vpcs:\n"
           "  prod: {cidrs: [10.0.0.0/16]}\n"
           "groups:\n"
           "  web:\n"
           "    vpc: prod\n"
           "    description: Web servers\n"
           "    inbound:\n" +
           web_rules + "    outbound: []\n" + more_groups +
           "interfaces:\n"
           "  web0: {vpc: prod, role: workload, match: {device: tap-web0}, addresses: [10.0.1.10], groups: [web]}\n" +
           more_interfaces;
}

inline Device tap(const std::string& name, int ifindex, const std::string& netns = "") {
    Device device;
    device.netns = netns;
    device.ifindex = ifindex;
    device.name = name;
    device.kind = "tun";
    return device;
}

class Host {
public:
    Host() {
        kernel.device_list = {tap("tap-web0", 12)};
        store = std::make_unique<Store>(*Store::open(directory.file("state"), true));
        restart();
    }

    // As a new process: nothing is remembered but files and kernel.
    void restart() {
        engine = std::make_unique<Engine>(&kernel, store.get(), config, ids,
                                          [this](LogLevel, const std::string& text) { log.push_back(text); });
    }

    Result<ApplyReport> apply(const std::string& text, ApplyOptions options = {}) {
        if (options.who.empty()) {
            options.who = "tester";
            options.command = "apply s.yaml";
        }
        return engine->apply(directory.write("s.yaml", text), options);
    }

    // Everything a refusal must leave alone.
    [[nodiscard]] std::string kernel_bytes() {
        std::string text = kernel.pinned ? "pinned " : "empty ";
        const ControlState control = *kernel.control();
        text += std::to_string(control.generation) + " " + std::to_string(control.pending) + " ";
        text.append(reinterpret_cast<const char*>(control.digest.data()), control.digest.size());
        const auto maps = kernel.read_maps();
        for (const auto& [map, rows] : *maps) {
            for (const RawRow& row : rows) {
                text += static_cast<char>(map);
                text.append(reinterpret_cast<const char*>(row.key.data()), row.key.size());
                text.append(reinterpret_cast<const char*>(row.value.data()), row.value.size());
            }
        }
        for (const Attachment& attachment : kernel.attachment_list) {
            text += attachment.device.name + " " + std::to_string(attachment.interface_slot) + attachment.interface_id;
        }
        return text;
    }

    [[nodiscard]] std::string file(const std::string& name) const {
        const auto bytes = read_file(directory.file("state/" + name), std::size_t{1} << 30);
        return bytes ? *bytes : "";
    }

    TemporaryDirectory directory;
    FakeKernel kernel;
    HostConfig config;
    CountingIds ids;
    std::unique_ptr<Store> store;
    std::unique_ptr<Engine> engine;
    std::vector<std::string> log;
};

}  // namespace sgbpf::test
