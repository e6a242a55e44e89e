// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The command line as a function: arguments and an environment in, text and an exit code out. main.cpp
// gives it the real world, tests a fake kernel and a temporary directory.
#pragma once

#include <functional>
#include <iosfwd>
#include <memory>
#include <string>

#include "datapath/datapath.hpp"
#include "model/ids.hpp"

namespace sgbpf::cli {

struct Environment {
    std::ostream& out;  // data
    std::ostream& err;  // words
    std::istream& in;   // answers
    bool in_is_terminal = false;
    // Empty = we may change the kernel; else the sentence why not, before anything else is tried.
    std::string lacks_privilege;
    std::function<std::unique_ptr<Datapath>(const std::string& bpffs)> make_datapath;
    std::function<const char*(const char*)> getenv;
    IdSource& ids;
    // Called before the first write of a change: from here on an interrupt waits until it is complete.
    std::function<void()> hold_interrupts;
    // For what runs until it is told to end: from here on an interrupt is only remembered, and told here.
    std::function<bool()> interrupted;
};

// Everything `sgbpf` does. argv[0] is the program's name.
int run(int argc, const char* const* argv, Environment& environment);

}  // namespace sgbpf::cli
