// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Who is meant: groups in use and their rules, lists in use, and which addresses belong to which
// groups as seen from each VPC.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "compiler/policy.hpp"
#include "compiler/workspace.hpp"

namespace sgbpf {

// Fills workspace.next.groups with the groups that interfaces carry; unchanged ones keep their objects.
Result<void> resolve_groups(Workspace& workspace);
// The rules of one of them; nullptr = no such group.
const GroupImage* find_group(const MapImage& image, const std::string& key);

// Numbers of the VPCs that have interfaces.
void number_vpcs(Workspace& workspace);

// VPC name -> groups that policies of interfaces there refer to.
using GroupRefs = std::unordered_map<std::string, std::vector<std::string>>;

// Builds workspace.next.lists and the list tables, and the member tables. Tables that come out the same
// keep their objects.
void resolve_lists(Workspace& workspace, const std::vector<std::string>& names);
void resolve_members(Workspace& workspace, const GroupRefs& refs);

SetIndex index_lists(const MapImage& image);
// One index per viewing VPC, by VPC number.
std::unordered_map<std::uint32_t, SetIndex> index_groups(const MapImage& image);

}  // namespace sgbpf
