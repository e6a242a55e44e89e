// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Construction, check, and what the use cases share.
#include "api/engine_parts.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "api/devices.hpp"
#include "base/strings.hpp"
#include "compiler/compile.hpp"
#include "image/image.hpp"
#include "model/services.hpp"

namespace sgbpf {

namespace {

constexpr std::chrono::milliseconds kLockWait{2000};

}  // namespace

Engine::Engine(Datapath* datapath, Store* store, const HostConfig& host, IdSource& ids, LogSink log)
    : parts_(new Parts{datapath, store, host, ids, std::move(log)}) {}

Engine::~Engine() = default;

double elapsed_ms(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

InputReport input_report(const ParsedState& parsed, const HostPolicy& host) {
    InputReport report;
    for (const Diagnostic& error : parsed.errors) {
        report.errors.push_back(error.to_string());
    }
    for (const Diagnostic& warning : parsed.warnings) {
        report.warnings.push_back(warning.to_string());
    }
    if (parsed.ok()) {
        for (std::string& warning : services_without_vpc(host.services, parsed.state)) {
            report.warnings.push_back(std::move(warning));
        }
    }
    return report;
}

std::vector<std::string> interface_names(const State& state) {
    std::vector<std::string> names;
    for (const auto& [name, interface] : state.interfaces) {
        names.push_back(name);
    }
    return names;
}

const Attachment* attachment_of_device(const std::vector<Attachment>& attachments, const Device& device) {
    const auto at = std::find_if(attachments.begin(), attachments.end(),
                                 [&](const Attachment& a) { return same_device(a.device, device); });
    return at == attachments.end() ? nullptr : &*at;
}

Result<HostState> Engine::Parts::load(Access access) const {
    return load_host(*datapath, store, host.capacities, access);
}

Result<HostState> Engine::Parts::load_loaded() const {
    auto loaded = load(Access::kRead);
    if (loaded && loaded->kernel_empty) {
        return unexpected(make_error(ErrorCode::kNotFound, "nothing is applied on this host; sgbpf apply FILE"));
    }
    return loaded;
}

Result<Engine::Parts::Locks> Engine::Parts::lock() const {
    auto of_store = store->lock(kLockWait);
    if (!of_store) {
        return unexpected(of_store.error());
    }
    auto of_maps = datapath->lock();
    if (!of_maps) {
        return unexpected(of_maps.error());
    }
    return Locks{std::move(*of_store), std::move(*of_maps)};
}

Result<const Interface*> Engine::Parts::interface_named(const HostState& host_state, const std::string& name) const {
    if (!host_state.applied) {
        return unexpected(make_error(
            ErrorCode::kNotFound,
            fmt::format("interface {} is unknown: nothing was applied yet; sgbpf apply FILE", printable(name))));
    }
    const State& state = host_state.applied->state;
    const auto at = state.interfaces.find(name);
    if (at == state.interfaces.end()) {
        return unexpected(
            make_error(ErrorCode::kNotFound, fmt::format("no interface {} in the applied state{}", printable(name),
                                                         did_you_mean(name, interface_names(state)))));
    }
    return &at->second;
}

Result<std::uint64_t> Engine::Parts::flush_slot(std::uint32_t slot) const {
    FlowFilter what;
    what.interface_slot = slot;
    return datapath->flush_flows(what);
}

Result<AttachedDevice> Engine::Parts::attach_device(const HostState& host_state, const Interface& interface,
                                                    const Device& device, std::uint32_t slot, HookChoice hook,
                                                    std::uint64_t since) const {
    const Attachment* before = attachment_of_device(host_state.attachments, device);
    AttachedDevice report;
    report.interface = interface.name;
    report.already = before != nullptr && before->problem.empty() && before->interface_slot == slot;
    Attachment attachment;
    if (report.already) {
        attachment = *before;
    } else {
        AttachRequest request;
        request.device = device;
        request.interface_slot = slot;
        request.interface_id = interface.id;
        request.hook = hook;
        request.since = since;
        request.role = interface.role;
        auto attached = datapath->attach(request);
        if (!attached) {
            return unexpected(attached.error());
        }
        attachment = std::move(*attached);
    }
    report.device = device.name;
    report.netns = device.netns;
    report.ifindex = device.ifindex;
    report.hook = attachment.hook;
    report.position = attachment.position;
    report.programs = attachment.programs;
    report.role = attachment.role;
    report.ladder = attachment.ladder;
    report.foreign_before = attachment.foreign_before;
    report.foreign_xdp = attachment.foreign_xdp;
    report.generation = host_state.control.generation;
    return report;
}

void Engine::Parts::journal(const std::string& who, const std::string& what, const std::string& digest_hex,
                            std::vector<std::string>* notes) const {
    const auto written = store->append_journal(journal_line(std::chrono::system_clock::now(), who, what, digest_hex));
    if (written) {
        return;
    }
    const std::string text = "the journal has no line of this: " + written.error().message;
    if (notes != nullptr) {
        notes->push_back("warning: " + text);
    } else {
        warn(text);
    }
}

Result<CheckReport> Engine::check(const std::string& file, bool with_image) {
    auto parsed = parse_state_file(file);
    if (!parsed) {
        return unexpected(parsed.error());
    }
    CheckReport report;
    report.input = input_report(*parsed, parts_->host.policy);
    if (!parsed->ok()) {
        return report;
    }
    State& state = parsed->state;
    // The same file gives the same text on every machine: ids are counted, not drawn.
    CountingIds ids;
    assign_ids(state, nullptr, ids);
    for (const auto& [key, group] : state.groups) {
        if (!group.is_default) {
            ++report.groups;
            report.rules += group.rules[SG_IN].size() + group.rules[SG_OUT].size();
        }
    }
    report.interfaces = state.interfaces.size();
    const MapImage nothing;
    auto image = compile({state, nothing, parts_->host.capacities, nullptr, 0, &parts_->host.policy});
    if (!image) {
        if (image.error().code != ErrorCode::kExhausted) {
            return unexpected(image.error());
        }
        report.too_large = image.error().message;
        return report;
    }
    for (const MapNeed& need : needs(*image, parts_->host.capacities)) {
        report.needs.push_back(
            {std::string(map_info(need.map).name), std::string(map_info(need.map).words), need.need, need.limit});
    }
    if (with_image) {
        report.image = to_text(*image);
    }
    return report;
}

}  // namespace sgbpf
