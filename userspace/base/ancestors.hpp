// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What the processes above us were started with.
#pragma once

#include <optional>
#include <string>

namespace sgbpf {

// Value of an environment variable in the nearest ancestor process that has it. `sudo` and `su -` take
// SSH_CONNECTION from our own environment; the shell they were typed into still has it. Needs the right to
// read /proc/PID/environ (root has it); what cannot be read is passed over.
std::optional<std::string> ancestor_variable(const std::string& name);

}  // namespace sgbpf
