// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Options that select flows or events. False after reporting what is wrong with one; empty text = any.
#pragma once

#include <optional>
#include <string>

#include "cli/context.hpp"

namespace sgbpf::cli {

// "192.0.2.7" means /32 here: this selects, it is no rule that could open more than was meant.
bool read_peer(Context& context, const std::string& text, std::optional<Prefix>& peer);
// A name or a number.
bool read_protocol(Context& context, const std::string& text, std::optional<Protocol>& protocol);

}  // namespace sgbpf::cli
