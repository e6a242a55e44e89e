// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// From the tree of a state file to a State: one class, its kinds of objects in a file each (read_objects.cpp,
// read_groups.cpp, read_interfaces.cpp). Reads in the order in which objects refer to each other, whatever
// their order in the file, so that every reference is checked where it is read.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include <sgbpf/state.hpp>

#include "model/diagnostics.hpp"
#include "model/fields.hpp"
#include "model/yaml_tree.hpp"

namespace sgbpf {

// Key of State::groups.
std::string group_key(std::string_view vpc, std::string_view name);

class StateReader {
public:
    StateReader(Report& report, std::string directory) : report_(report), directory_(std::move(directory)) {}

    void read(const YamlNode& root);

    State state;
    std::vector<std::string> entry_files;

private:
    // A group of the file, found before any rule is read so that rules may name it.
    struct GroupEntry {
        std::string key;  // in `state.groups`
        const YamlNode* node;
        std::string_view name_in_file;
        std::string path_key;
    };

    // read_objects.cpp
    void read_vpcs(const YamlNode& node, const Path& path);
    void read_vpc(const NamedNode& entry, const Path& path);
    void read_peerings(const YamlNode& node, const Path& path);
    void read_peering(const NamedNode& entry, const Path& path);
    void check_peering_overlap(const Peering& peering, Site site);
    void read_prefix_lists(const YamlNode& node, const Path& path);
    void read_prefix_list(const NamedNode& entry, const Path& path);
    void read_entries(const YamlNode& node, const Path& path, PrefixList& list);
    void read_entries_file(Site site, PrefixList& list);
    void add_default_groups();

    // read_groups.cpp
    void read_groups(const YamlNode& node, const Path& path);
    void find_group(const NamedNode& entry, const Path& path);
    void read_group(const GroupEntry& entry, const Path& path);
    void read_tags(const YamlNode& node, const Path& path, std::map<std::string, std::string>& tags);
    void read_rules(const YamlNode& node, const Path& path, const Group& group, std::vector<Rule>& rules,
                    unsigned direction);
    bool read_selector(const Fields& fields, Site site, Rule& rule);
    bool read_type(const Fields& fields, Site site, const Path& path, Rule& rule);
    bool read_icmp(const Fields& fields, Site site, Rule& rule);
    struct PlacedPeer {
        Peer peer;
        Place place;
    };
    std::vector<PlacedPeer> read_peers(const Fields& fields, Site site, const Group& group);
    void warn_about_rule(const Rule& rule, Site site, bool from_type, unsigned direction);

    // read_interfaces.cpp
    void read_interfaces(const YamlNode& node, const Path& path);
    void read_interface(const NamedNode& entry, const Path& path);
    void read_match(Site site, DeviceMatch& match);
    void read_addresses(Site site, Interface& interface);
    void read_allowed_addresses(Site site, Interface& interface);
    void read_interface_groups(Site site, Interface& interface);
    void read_timeouts(Site site, Timeouts& timeouts);
    void check_addresses_unique();
    void check_matches_unique(const YamlNode& node, const Path& path);

    // Shared. A VPC that exists, or nothing (reported).
    const Vpc* read_vpc_name(Site site);
    // Key of an existing group that `vpc` may name; nothing (reported) otherwise. SG-1.28, SG-2.24, SG-2.25.
    std::optional<std::string> read_group_name(Site site, const std::string& vpc, const std::string& self_key,
                                               bool other_vpcs);
    const Peering* peering_between(const std::string& a, const std::string& b) const;
    bool check_name(const NamedNode& entry, const Path& path);
    void read_object_id(const Fields& fields, std::string_view prefix, const Path& path, std::string& id);

    struct PlacedAddress {
        std::string vpc;
        Prefix prefix;
        std::string interface;
        Place place;
        std::string path;
    };

    Report& report_;
    std::string directory_;
    std::vector<GroupEntry> group_entries_;
    std::map<std::string, std::string> group_names_;  // lower-case key -> key as written (SG-1.15)
    std::set<std::string> broken_vpcs_;               // named in the file, but with errors of their own
    std::set<std::string> broken_groups_;             // names of such groups
    std::set<std::string> broken_lists_;
    std::map<std::string, Place> ids_;  // written in the file
    std::vector<PlacedAddress> addresses_;
};

}  // namespace sgbpf
