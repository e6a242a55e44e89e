// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What must hold of the flow table whenever no program runs, whatever ran before.
#pragma once

#include <string>

#include "support/test_programs.hpp"

namespace sgbpf::test {

// "" or what is wrong, one finding a line:
// - every slot but 0 is exactly once in use or on the free list;
// - the index leads from every key to the one record that has it, and to nothing else;
// - the accounts say what a recount of the records says.
std::string flow_table_faults(const TestPrograms& programs);

}  // namespace sgbpf::test
