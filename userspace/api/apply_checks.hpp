// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What apply knows before its first write, and the guards that may still refuse it.
#pragma once

#include <string>
#include <vector>

#include "api/devices.hpp"
#include "api/engine_parts.hpp"
#include "api/transition.hpp"

namespace sgbpf {

// Everything that is known before the first write.
struct Prepared {
    Transition transition;
    DeviceSearch devices;
    std::vector<Attachment> leaving;      // filtered, and claimed by nothing in the file
    std::vector<Attachment> left_behind;  // bound to a slot without interface: an earlier run died
    std::vector<std::string> to_attach;   // interface names
    Plan plan;
    Timing timing;
    std::vector<std::string> notes;
};

// The attachment of a device that goes to another interface; nullptr: it is free, or stays.
const Attachment* moved_attachment(const Prepared& work, const std::string& name);

// Several problems as one error: the first is the message, the others are the detail.
Error refusal_of(const std::vector<Error>& problems);

// Guards, in the order in which a person can do something about them.
Result<void> check_prepared(const Prepared& work, const ApplyOptions& options);

// kRefused: it would cut the operator's session.
Result<void> guard_session(const Engine::Parts& parts, const Prepared& work, const ApplyOptions& options);

}  // namespace sgbpf
