// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What an Engine is made of, and the helpers that its use cases share. Private to api/.
#pragma once

#include <chrono>
#include <string>

#include <sgbpf/engine.hpp>

#include "api/host_state.hpp"
#include "datapath/datapath.hpp"
#include "model/host_config.hpp"
#include "model/ids.hpp"
#include "model/parse.hpp"
#include "store/store.hpp"

namespace sgbpf {

struct Engine::Parts {
    Datapath* datapath;
    Store* store;
    const HostConfig& host;
    IdSource& ids;
    LogSink log;

    void debug(const std::string& text) const {
        if (log) {
            log(LogLevel::kDebug, text);
        }
    }
    void warn(const std::string& text) const {
        if (log) {
            log(LogLevel::kWarning, text);
        }
    }
    // The kernel's part and, if there is one, the store's.
    Result<HostState> load(Access access) const;
    // The interface of that name in the applied state, with its slot; kNotFound with a suggestion.
    Result<const Interface*> interface_named(const HostState& host_state, const std::string& name) const;
    // For reading commands: kNotFound if nothing is loaded.
    Result<HostState> load_loaded() const;
    // The locks, for whoever changes something: of the state directory and of the maps.
    struct Locks {
        Store::Lock store;
        Fd maps;
    };
    Result<Locks> lock() const;
    // Flushes the flows of one interface slot.
    Result<std::uint64_t> flush_slot(std::uint32_t slot) const;
    // Connections that run already are taken up for so long; 0 = nothing is done.
    Result<void> open_adoption(std::uint32_t slot, std::uint32_t seconds) const {
        return seconds != 0 ? datapath->adopt(slot, seconds) : Result<void>{};
    }
    Result<AttachedDevice> attach_device(const HostState& host_state, const Interface& interface, const Device& device,
                                         std::uint32_t slot, HookChoice hook, std::uint64_t since = 0) const;
    // Appends one journal line; a full disk is a note (a warning if `notes` is null), not an error: what it
    // tells of has happened.
    void journal(const std::string& who, const std::string& what, const std::string& digest_hex,
                 std::vector<std::string>* notes) const;
};

// Milliseconds since `start`.
double elapsed_ms(std::chrono::steady_clock::time_point start);

// Diagnostics as lines; also of host settings that do not fit the state.
InputReport input_report(const ParsedState& parsed, const HostPolicy& host);

// "; did you mean web0?" material: names of all interfaces.
std::vector<std::string> interface_names(const State& state);

// The attachment of a device, or of an interface; nullptr = none.
const Attachment* attachment_of_device(const std::vector<Attachment>& attachments, const Device& device);

// `slot` of an interface that is loaded.
AllowanceReport allowance_of(const AccountsSnapshot& accounts, const sg_counters& counters,
                             const sg_interface_config& config, std::uint32_t slot);

// A rule as reports show it; its counters are the caller's to read.
RuleRow rule_row(const State& state, const Group& group, unsigned direction, const Rule& rule);

// A record in words; `interface` stays empty.
FlowRow flow_row(const sg_flow& flow, const FlowSnapshot& snapshot, const MapImage& image);

}  // namespace sgbpf
