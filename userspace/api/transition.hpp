// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// From the state in force to another one: compile, plan, commit, save. Knows no devices.
//
// Order of carry_out, and what a crash after each step leaves:
//   1  applied.next written and synced (a full disk refuses here)   nothing changed; dropped by the next run
//   2  edits, flip (run_commit)         before the flip: old rules, repaired by the next run; after it: new rules
//   3  applied.next -> applied.json     not done: the next run sees that its digest is the kernel's, and does it
//   4  flows of interfaces that left    not done: the next run reads the maps back and flushes unused slots
//   5  image cache                      a stale cache is noticed by its digest; the maps are read instead
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "api/engine_parts.hpp"
#include "image/plan.hpp"
#include "model/changes.hpp"

namespace sgbpf {

struct TransitionOptions {
    bool reversible = false;           // for an unconfirmed commit, which is carried out also if nothing changes
    std::optional<Revocation> revoke;  // CompileInput
    bool revoke_always = false;        // CompileInput; also if nothing else changes
};

struct Transition {
    HostState host;
    State desired;                // with ids
    std::vector<Change> changes;  // from what is in force; all of it, if nothing or nobody knows what is
    bool same_state = false;      // the applied state says the same, ids and all, and is in force
    MapImage next;
    CommitPlan commit;                                        // no edits: the kernel stays as it is
    std::map<std::string, std::uint32_t, std::less<>> slots;  // interface id -> slot, in `next`

    [[nodiscard]] std::size_t writes() const { return commit.edits(); }
    // False: nothing to commit and nothing to save.
    [[nodiscard]] bool changes_anything() const { return !same_state || writes() != 0; }
};

// Assigns ids, compiles, plans. kExhausted with a sentence if it does not fit. Writes nothing.
Result<Transition> plan_transition(const Engine::Parts& parts, HostState host, State desired,
                                   const TransitionOptions& options = {});

// Names of the interfaces of `desired` whose configuration, addresses or policies change.
std::vector<std::string> touched_interfaces(const Transition& transition);

struct CommitOutcome {
    std::size_t writes = 0;
    double engine_ms = 0;
    double grace_ms = 0;
    std::uint64_t undone_at = 0;  // CLOCK_BOOTTIME, nanoseconds: of an unconfirmed commit
    std::vector<std::string> notes;
};

// Precondition: the lock is held and changes_anything(). An error: the rules in force are those from
// before. `source`: where the state came from, for the record. `confirm_seconds`
// (0 = none is needed): step 3 and what follows is left to the confirmation (confirm.hpp). `before_cleanup`:
// CommitHooks.
Result<CommitOutcome> carry_out(const Engine::Parts& parts, Transition& transition, const std::string& source,
                                std::uint32_t confirm_seconds = 0, const std::function<void()>& before_cleanup = {});

// After the devices of retired interfaces are unbound: forgets their flows and writes the image cache.
void finish(const Engine::Parts& parts, Transition& transition, std::vector<std::string>* notes);
// The same after a confirmation; `host` was loaded for writing.
void finish_confirmed(const Engine::Parts& parts, const HostState& host, std::vector<std::string>* notes);

}  // namespace sgbpf
