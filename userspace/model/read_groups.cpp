// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Groups, their defaults and tags; their rules are in read_rules.cpp.
#include "base/strings.hpp"
#include "model/ids.hpp"
#include "model/protocols.hpp"
#include "model/state_reader.hpp"
#include "model/text.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace sgbpf {

namespace {

constexpr std::size_t kMaxTags = 50;       // SG-1.58
constexpr std::size_t kMaxTagKey = 127;    // SG-1.57
constexpr std::size_t kMaxTagValue = 256;  // SG-1.57
constexpr std::string_view kDefault = "default";
// The text EC2 gives the default group of a new VPC.
constexpr const char* kDefaultDescription = "default VPC security group";

Rule allow_all(Peer peer) {
    Rule rule;
    rule.peer = std::move(peer);
    return rule;
}

// SG-3.2, SG-3.3 and the outbound rows of section 3.2.
std::vector<Rule> default_outbound(const Vpc& vpc) {
    std::vector<Rule> rules = {allow_all(Prefix{})};
    if (vpc.has_ipv6()) {
        rules.push_back(allow_all(Prefix::make(Address{Family::kIpv6, {}}, 0)));
    }
    return rules;
}

std::string_view without_trailing_spaces(std::string_view name) {
    return name.substr(0, name.find_last_not_of(' ') + 1);
}

}  // namespace

std::string group_key(std::string_view vpc, std::string_view name) {
    return fmt::format("{}/{}", vpc, name);
}

bool Vpc::has_ipv6() const {
    return std::any_of(cidrs.begin(), cidrs.end(), [](const Prefix& p) { return p.family() == Family::kIpv6; });
}

void StateReader::add_default_groups() {
    for (const auto& [name, vpc] : state.vpcs) {
        Group group;
        group.key = group_key(name, kDefault);
        group.name = kDefault;
        group.vpc = name;
        group.description = kDefaultDescription;
        group.is_default = true;
        group.rules[SG_IN] = {allow_all(GroupRef{group.key})};
        group.rules[SG_OUT] = default_outbound(vpc);
        group_names_.emplace(to_lower(group.key), group.key);
        state.groups.emplace(group.key, std::move(group));
    }
}

void StateReader::read_groups(const YamlNode& node, const Path& path) {
    for (const NamedNode& entry : named_entries({node, path}, "groups", report_)) {
        find_group(entry, path);
    }
    for (const GroupEntry& entry : group_entries_) {
        read_group(entry, path);
    }
}

// Settles name and VPC of a group, nothing else, so that rules of groups further up may refer to it.
void StateReader::find_group(const NamedNode& entry, const Path& path) {
    const Path here = path / entry.name;
    const YamlNode* vpc_node = nullptr;
    if (entry.value->kind == YamlNode::Kind::kMap) {
        for (std::size_t i = 0; i + 1 < entry.value->children.size(); i += 2) {
            if (entry.value->children[i].text == "vpc") {
                vpc_node = &entry.value->children[i + 1];
                break;
            }
        }
    }
    const auto broken = [&](std::string_view name) {
        broken_groups_.emplace(name);
        group_entries_.push_back({"", entry.value, entry.name, std::string(entry.name)});
    };
    if (vpc_node == nullptr) {
        return broken(entry.name);  // read_group says that `vpc` is missing
    }
    const Path vpc_path = here / "vpc";
    const Vpc* vpc = read_vpc_name({*vpc_node, vpc_path});
    if (vpc == nullptr) {
        return broken(entry.name);
    }
    std::string_view name = without_trailing_spaces(entry.name);  // SG-1.11
    const std::size_t slash = name.find('/');
    if (slash != std::string_view::npos && name.substr(0, slash) == vpc->name) {
        name.remove_prefix(slash + 1);
    } else if (slash != std::string_view::npos && state.vpcs.contains(std::string(name.substr(0, slash)))) {
        report_.error(entry.key->place, here,
                      fmt::format("the key says VPC {}, its vpc says {}", name.substr(0, slash), vpc->name));
        return broken(entry.name);
    }
    std::string problem = name_problem(name);
    if (problem.empty() && to_lower(name).starts_with("sg-")) {  // SG-1.13
        problem = "a group's name must not begin with sg-";
    } else if (problem.empty() && name != kDefault && to_lower(name) == kDefault) {  // SG-1.16
        problem = "the name default is reserved for the VPC's default group, which is written in lower case";
    }
    if (!problem.empty()) {
        report_.error(entry.key->place, here, problem);
        return broken(name);
    }
    Group group;
    group.key = group_key(vpc->name, name);
    group.name = name;
    group.vpc = vpc->name;
    const auto [known, is_new] = group_names_.emplace(to_lower(group.key), group.key);
    const bool is_default = name == kDefault;
    const bool given = std::any_of(group_entries_.begin(), group_entries_.end(),
                                   [&](const GroupEntry& other) { return other.key == known->second; });
    if ((!is_new && !is_default) || given) {  // SG-1.14, SG-1.15
        report_.error(entry.key->place, here,
                      fmt::format("VPC {} has a group {} already; names of groups are unique, ignoring case", vpc->name,
                                  state.groups.at(known->second).name));
        return broken(name);
    }
    group_entries_.push_back({group.key, entry.value, entry.name, std::string(entry.name)});
    state.groups.emplace(group.key, std::move(group));
}

void StateReader::read_group(const GroupEntry& entry, const Path& parent) {
    const Path path = parent / entry.path_key;
    Fields fields(*entry.node, path, {"vpc", "description", "id", "owner", "tags", "inbound", "outbound"}, report_);
    fields.require("vpc", "; name the VPC of the group");
    const auto found = state.groups.find(entry.key);
    if (found == state.groups.end()) {
        return;  // without a VPC nothing in it can be judged
    }
    Group& group = found->second;
    read_object_id(fields, "sg-", path, group.id);
    const YamlNode* description = group.is_default
                                      ? fields.find("description")
                                      : fields.require("description", "; every group has one, as in EC2");  // SG-1.6
    if (description != nullptr) {
        const Path here = path / "description";
        group.description = read_description({*description, here}, false, report_).value_or("");
    }
    if (const YamlNode* owner = fields.find("owner")) {
        const Path here = path / "owner";
        const auto text = read_text({*owner, here}, "an account id of 12 digits", report_);
        if (text && (text->size() != 12 || text->find_first_not_of("0123456789") != std::string_view::npos)) {
            report_.error(owner->place, here,
                          fmt::format("\"{}\" is not an account id of 12 digits", printable(*text)));
        } else if (text) {
            group.owner = *text;
        }
    }
    if (const YamlNode* tags = fields.find("tags")) {
        read_tags(*tags, path / "tags", group.tags);
    }
    static constexpr std::string_view kKeys[SG_DIRECTIONS] = {"inbound", "outbound"};
    for (unsigned direction = 0; direction < SG_DIRECTIONS; ++direction) {
        if (const YamlNode* rules = fields.find(kKeys[direction])) {
            group.rules[direction].clear();
            read_rules(*rules, path / kKeys[direction], group, group.rules[direction], direction);
        } else if (direction == SG_OUT && !group.is_default) {
            group.rules[direction] = default_outbound(state.vpcs.at(group.vpc));
        }
    }
}

void StateReader::read_tags(const YamlNode& node, const Path& path, std::map<std::string, std::string>& tags) {
    for (const NamedNode& entry : named_entries({node, path}, "tags", report_)) {
        const Path here = path / entry.name;
        if (entry.name.empty() || entry.name.size() > kMaxTagKey || to_lower(entry.name).starts_with("aws:")) {
            report_.error(entry.key->place, path,
                          fmt::format("tag key \"{}\" is refused: 1 to {} characters, not beginning with aws:",
                                      printable(entry.name, 40), kMaxTagKey));
            continue;
        }
        const auto value = read_text({*entry.value, here}, "text (\"\" for none)", report_);
        if (value && value->size() > kMaxTagValue) {
            report_.error(entry.value->place, here,
                          fmt::format("has {} characters; {} are the most", value->size(), kMaxTagValue));
        } else if (value) {
            tags.emplace(entry.name, *value);
        }
    }
    if (tags.size() > kMaxTags) {
        report_.error(node.place, path, fmt::format("{} tags; {} are the most", tags.size(), kMaxTags));
    }
}

}  // namespace sgbpf
