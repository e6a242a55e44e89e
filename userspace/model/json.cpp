// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What the store keeps. Fields at their default are left out, so that a state of 10k rules stays small;
// reading checks types, values and references, because the file may be damaged or edited.
#include "model/json.hpp"

#include "base/strings.hpp"
#include "model/ids.hpp"
#include "model/text.hpp"
#include "model/tracking.hpp"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

namespace sgbpf {

namespace {

using Json = nlohmann::json;

Json to_json(const std::vector<Prefix>& prefixes) {
    Json array = Json::array();
    for (const Prefix& prefix : prefixes) {
        array.push_back(prefix.to_string());
    }
    return array;
}

void put_text(Json& object, const char* key, const std::string& text) {
    if (!text.empty()) {
        object[key] = text;
    }
}

Json rule_to_json(const Rule& rule) {
    Json object = {{"id", rule.id}, {"protocol", rule.protocol}};
    if (rule.ports != PortRange{}) {
        object["ports"] = {rule.ports.first, rule.ports.last};
    }
    if (rule.icmp != IcmpSelector{}) {
        object["icmp"] = {rule.icmp.type, rule.icmp.code};
    }
    if (const auto* prefix = std::get_if<Prefix>(&rule.peer)) {
        object["cidr"] = prefix->to_string();
    } else if (const auto* list = std::get_if<PrefixListRef>(&rule.peer)) {
        object["prefix_list"] = list->name;
    } else {
        object["group"] = std::get<GroupRef>(rule.peer).key;
    }
    put_text(object, "description", rule.description);
    if (!rule.tags.empty()) {
        object["tags"] = rule.tags;
    }
    return object;
}

Json group_to_json(const Group& group) {
    Json object = {{"id", group.id}, {"name", group.name}, {"vpc", group.vpc}, {"description", group.description}};
    put_text(object, "owner", group.owner);
    if (!group.tags.empty()) {
        object["tags"] = group.tags;
    }
    if (group.is_default) {
        object["default"] = true;
    }
    static constexpr const char* kKeys[SG_DIRECTIONS] = {"inbound", "outbound"};
    for (std::size_t direction = 0; direction < SG_DIRECTIONS; ++direction) {
        Json& rules = object[kKeys[direction]] = Json::array();
        for (const Rule& rule : group.rules[direction]) {
            rules.push_back(rule_to_json(rule));
        }
    }
    return object;
}

Json list_to_json(const PrefixList& list) {
    Json entries = Json::array();
    for (const PrefixListEntry& entry : list.entries) {
        const std::string prefix = entry.prefix.to_string();
        entries.push_back(entry.description.empty() ? Json(prefix) : Json::array({prefix, entry.description}));
    }
    return {{"id", list.id},
            {"family", family_text(list.family)},
            {"max_entries", list.max_entries},
            {"entries", std::move(entries)}};
}

Json interface_to_json(const Interface& interface) {
    Json object = {{"id", interface.id},
                   {"vpc", interface.vpc},
                   {"role", role_text(interface.role)},
                   {"addresses", to_json(interface.addresses)},
                   {"allowed_addresses", to_json(interface.allowed_addresses)},
                   {"groups", interface.groups},
                   {"source_dest_check", interface.source_dest_check},
                   {"timeouts",
                    {{"tcp_established", interface.timeouts.tcp_established},
                     {"udp", interface.timeouts.udp},
                     {"udp_stream", interface.timeouts.udp_stream}}}};
    Json& match = object["match"] = Json::object();
    put_text(match, "device", interface.match.device);
    put_text(match, "mac", interface.match.mac ? interface.match.mac->to_string() : "");
    put_text(match, "alias", interface.match.alias);
    put_text(match, "netns", interface.match.netns);
    put_text(object, "mac", interface.mac ? interface.mac->to_string() : "");
    if (interface.tracking != TrackingOptions{}) {
        object["tracking"] = tracking_to_json(interface.tracking);
    }
    if (interface.quarantine) {
        object["quarantine"] = true;
    }
    return object;
}

// Remembers the first thing that is wrong; every read after it is harmless.
class Reader {
public:
    [[nodiscard]] const std::string& problem() const { return problem_; }
    void fail(std::string problem) {
        if (problem_.empty()) {
            problem_ = std::move(problem);
        }
    }

    const Json& member(const Json& object, const char* key, Json::value_t type, bool required, const std::string& at) {
        static const Json kNothing;
        if (!object.is_object()) {
            fail(at + " is not an object");
            return kNothing;
        }
        const auto found = object.find(key);
        if (found == object.end()) {
            if (required) {
                fail(fmt::format("{}.{} is missing", at, key));
            }
            return kNothing;
        }
        if (found->type() != type) {
            fail(fmt::format("{}.{} has the wrong type", at, key));
            return kNothing;
        }
        return *found;
    }

    std::string text(const Json& object, const char* key, bool required, const std::string& at) {
        const Json& value = member(object, key, Json::value_t::string, required, at);
        return value.is_string() ? value.get_ref<const std::string&>() : std::string();
    }

    bool flag(const Json& object, const char* key, bool fallback, const std::string& at) {
        const Json& value = member(object, key, Json::value_t::boolean, false, at);
        return value.is_boolean() ? value.get<bool>() : fallback;
    }

    template <typename Number>
    Number number(const Json& value, std::int64_t lowest, std::int64_t highest, const std::string& at) {
        if (value.is_number_integer()) {
            const auto wide = value.get<std::int64_t>();
            if (wide >= lowest && wide <= highest) {
                return static_cast<Number>(wide);
            }
        }
        fail(fmt::format("{} is not a number from {} to {}", at, lowest, highest));
        return {};
    }

    std::string id(const Json& object, std::string_view prefix, const std::string& at) {
        std::string value = text(object, "id", true, at);
        if (!value.empty() && !is_id(value, prefix)) {
            fail(fmt::format("{}.id is not an id", at));
        }
        return value;
    }

    Prefix prefix(const Json& value, const std::string& at) {
        if (value.is_string()) {
            const auto parsed = Prefix::parse(value.get_ref<const std::string&>());
            if (parsed && !parsed->host_bits_cleared) {
                return parsed->prefix;
            }
        }
        fail(at + " is not a canonical prefix");
        return {};
    }

    std::vector<Prefix> prefixes(const Json& object, const char* key, const std::string& at) {
        std::vector<Prefix> result;
        for (const Json& value : member(object, key, Json::value_t::array, true, at)) {
            result.push_back(prefix(value, fmt::format("{}.{}", at, key)));
        }
        return result;
    }

    std::vector<std::string> texts(const Json& object, const char* key, const std::string& at) {
        std::vector<std::string> result;
        for (const Json& value : member(object, key, Json::value_t::array, true, at)) {
            if (!value.is_string()) {
                fail(fmt::format("{}.{} holds something else than text", at, key));
                break;
            }
            result.push_back(value.get<std::string>());
        }
        return result;
    }

    std::map<std::string, std::string> tags(const Json& object, const std::string& at) {
        std::map<std::string, std::string> result;
        for (const auto& [key, value] : member(object, "tags", Json::value_t::object, false, at).items()) {
            if (!value.is_string()) {
                fail(at + ".tags holds something else than text");
                break;
            }
            result.emplace(key, value.get<std::string>());
        }
        return result;
    }

    std::optional<MacAddress> mac(const Json& object, const std::string& at) {
        const std::string value = text(object, "mac", false, at);
        if (value.empty()) {
            return std::nullopt;
        }
        const auto parsed = MacAddress::parse(value);
        if (!parsed) {
            fail(at + ".mac is not a MAC address");
            return std::nullopt;
        }
        return *parsed;
    }

    // `read` (name, value) for each member of `object[key]`.
    template <typename Read> void each(const Json& object, const char* key, const Read& read) {
        for (const auto& [name, value] : member(object, key, Json::value_t::object, true, "state").items()) {
            read(name, value, fmt::format("{}.{}", key, name));
        }
    }

private:
    std::string problem_;
};

Rule read_rule(Reader& reader, const Json& json, const std::string& at) {
    Rule rule;
    rule.id = reader.id(json, "sgr-", at);
    rule.description = reader.text(json, "description", false, at);
    rule.tags = reader.tags(json, at);
    if (!json.is_object() || !json.contains("protocol")) {
        reader.fail(at + ".protocol is missing");
        return rule;
    }
    rule.protocol = reader.number<Protocol>(json["protocol"], -1, 255, at + ".protocol");
    const Json& ports = reader.member(json, "ports", Json::value_t::array, false, at);
    if (ports.size() == 2) {
        rule.ports.first = reader.number<std::uint16_t>(ports[0], 0, 65535, at + ".ports");
        rule.ports.last = reader.number<std::uint16_t>(ports[1], rule.ports.first, 65535, at + ".ports");
    } else if (!ports.is_null()) {
        reader.fail(at + ".ports is not a pair");
    }
    const Json& icmp = reader.member(json, "icmp", Json::value_t::array, false, at);
    if (icmp.size() == 2) {
        rule.icmp.type = reader.number<int>(icmp[0], -1, 255, at + ".icmp");
        rule.icmp.code = reader.number<int>(icmp[1], -1, 255, at + ".icmp");
    } else if (!icmp.is_null()) {
        reader.fail(at + ".icmp is not a pair");
    }
    if (json.contains("cidr")) {
        rule.peer = reader.prefix(json["cidr"], at + ".cidr");
    } else if (json.contains("prefix_list")) {
        rule.peer = PrefixListRef{reader.text(json, "prefix_list", true, at)};
    } else {
        rule.peer = GroupRef{reader.text(json, "group", true, at)};
    }
    return rule;
}

Group read_group(Reader& reader, const std::string& key, const Json& json, const std::string& at) {
    Group group;
    group.key = key;
    group.id = reader.id(json, "sg-", at);
    group.name = reader.text(json, "name", true, at);
    group.vpc = reader.text(json, "vpc", true, at);
    group.description = reader.text(json, "description", true, at);
    group.owner = reader.text(json, "owner", false, at);
    group.tags = reader.tags(json, at);
    group.is_default = reader.flag(json, "default", false, at);
    if (key != group.vpc + "/" + group.name) {
        reader.fail(at + " does not agree with its vpc and name");
    }
    static constexpr const char* kKeys[SG_DIRECTIONS] = {"inbound", "outbound"};
    for (std::size_t direction = 0; direction < SG_DIRECTIONS; ++direction) {
        const Json& rules = reader.member(json, kKeys[direction], Json::value_t::array, true, at);
        group.rules[direction].reserve(rules.size());
        const std::string rules_at = fmt::format("{}.{}", at, kKeys[direction]);
        for (const Json& rule : rules) {
            group.rules[direction].push_back(read_rule(reader, rule, rules_at));
        }
    }
    return group;
}

PrefixList read_list(Reader& reader, const std::string& name, const Json& json, const std::string& at) {
    PrefixList list;
    list.name = name;
    list.id = reader.id(json, "pl-", at);
    const std::string family = reader.text(json, "family", true, at);
    list.family = family == family_text(Family::kIpv6) ? Family::kIpv6 : Family::kIpv4;
    if (family != family_text(list.family)) {
        reader.fail(at + ".family is neither ipv4 nor ipv6");
    }
    const Json& most = json.is_object() ? json.value("max_entries", Json()) : Json();
    list.max_entries =
        reader.number<std::uint32_t>(most, 0, std::numeric_limits<std::uint32_t>::max(), at + ".max_entries");
    const Json& entries = reader.member(json, "entries", Json::value_t::array, true, at);
    list.entries.reserve(entries.size());
    const std::string entries_at = at + ".entries";
    for (const Json& entry : entries) {
        const bool described = entry.is_array() && entry.size() == 2 && entry[1].is_string();
        PrefixListEntry& added = list.entries.emplace_back();
        added.prefix = reader.prefix(described ? entry[0] : entry, entries_at);
        added.description = described ? entry[1].get<std::string>() : std::string();
        if (added.prefix.family() != list.family) {
            reader.fail(entries_at + " holds a prefix of the other family");
        }
    }
    return list;
}

TrackingOptions read_tracking_options(Reader& reader, const Json& json, const std::string& at) {
    TrackingOptions options;
    const auto flag = [&](const char* key, std::optional<bool>& value) {
        if (json.contains(key)) {
            value = reader.flag(json, key, false, at);
        }
    };
    const auto number = [&](const char* key, std::int64_t highest, std::optional<std::uint32_t>& value) {
        if (json.contains(key)) {
            value = reader.number<std::uint32_t>(json[key], 0, highest, fmt::format("{}.{}", at, key));
        }
    };
    flag("strict", options.strict);
    number("max_flows", kMaxFlows, options.max_flows);
    number("max_opening", kMaxFlows, options.max_opening);
    number("reserved", kMaxFlows, options.reserved);
    number("opening_recycle", kMaxOpeningRecycle, options.opening_recycle);
    flag("always_track", options.always_track);
    flag("related_icmp", options.related_icmp);
    if (json.contains("always_track_peers")) {
        options.always_track_peers = reader.prefixes(json, "always_track_peers", at);
    }
    if (json.contains("revocation")) {
        const std::string word = reader.text(json, "revocation", true, at);
        const auto found = std::find(kRevocationNames.begin(), kRevocationNames.end(), word);
        if (found == kRevocationNames.end()) {
            reader.fail(at + ".revocation is not known");
        } else {
            options.revocation = static_cast<Revocation>(found - kRevocationNames.begin());
        }
    }
    return options;
}

Interface read_interface(Reader& reader, const std::string& name, const Json& json, const std::string& at) {
    Interface interface;
    interface.name = name;
    interface.id = reader.id(json, "eni-", at);
    interface.vpc = reader.text(json, "vpc", true, at);
    const std::string role = reader.text(json, "role", true, at);
    interface.role = role == role_text(Role::kHost) ? Role::kHost : Role::kWorkload;
    if (role != role_text(interface.role)) {
        reader.fail(at + ".role is neither workload nor host");
    }
    const Json& match = reader.member(json, "match", Json::value_t::object, true, at);
    if (match.is_object()) {
        const std::string match_at = at + ".match";
        interface.match.device = reader.text(match, "device", false, match_at);
        interface.match.mac = reader.mac(match, match_at);
        interface.match.alias = reader.text(match, "alias", false, match_at);
        interface.match.netns = reader.text(match, "netns", false, match_at);
    }
    interface.mac = reader.mac(json, at);
    interface.addresses = reader.prefixes(json, "addresses", at);
    interface.allowed_addresses = reader.prefixes(json, "allowed_addresses", at);
    interface.groups = reader.texts(json, "groups", at);
    interface.source_dest_check = reader.flag(json, "source_dest_check", true, at);
    interface.quarantine = reader.flag(json, "quarantine", false, at);
    const Json& timeouts = reader.member(json, "timeouts", Json::value_t::object, true, at);
    const auto seconds = [&](const char* key) {
        const Json& value = timeouts.is_object() ? timeouts.value(key, Json()) : timeouts;
        return reader.number<std::uint32_t>(value, 1, 432000, fmt::format("{}.timeouts.{}", at, key));
    };
    interface.timeouts = {seconds("tcp_established"), seconds("udp"), seconds("udp_stream")};
    if (json.is_object() && json.contains("tracking")) {
        const Json& tracking = reader.member(json, "tracking", Json::value_t::object, true, at);
        interface.tracking = read_tracking_options(reader, tracking, at + ".tracking");
    }
    return interface;
}

// A State promises that every reference exists.
void check_references(Reader& reader, const State& state) {
    const auto vpc_exists = [&](const std::string& vpc, const std::string& who) {
        if (!state.vpcs.contains(vpc)) {
            reader.fail(fmt::format("{} names VPC {}, which is missing", who, vpc));
        }
    };
    for (const auto& [name, peering] : state.peerings) {
        vpc_exists(peering.vpcs[0], "peering " + name);
        vpc_exists(peering.vpcs[1], "peering " + name);
    }
    for (const auto& [key, group] : state.groups) {
        vpc_exists(group.vpc, "group " + key);
        for (const auto& rules : group.rules) {
            for (const Rule& rule : rules) {
                const auto* peer_group = std::get_if<GroupRef>(&rule.peer);
                const auto* list = std::get_if<PrefixListRef>(&rule.peer);
                if ((peer_group != nullptr && !state.groups.contains(peer_group->key)) ||
                    (list != nullptr && !state.prefix_lists.contains(list->name))) {
                    reader.fail(fmt::format("rule {} of group {} names {}, which is missing", rule.id, key,
                                            peer_text(rule.peer)));
                }
            }
        }
    }
    for (const auto& [name, interface] : state.interfaces) {
        vpc_exists(interface.vpc, "interface " + name);
        for (const std::string& group : interface.groups) {
            if (!state.groups.contains(group)) {
                reader.fail(fmt::format("interface {} names group {}, which is missing", name, group));
            }
        }
    }
}

}  // namespace

Json to_json(const State& state) {
    Json json = {{"vpcs", Json::object()},
                 {"peerings", Json::object()},
                 {"prefix_lists", Json::object()},
                 {"groups", Json::object()},
                 {"interfaces", Json::object()}};
    for (const auto& [name, vpc] : state.vpcs) {
        json["vpcs"][name] = {{"id", vpc.id}, {"cidrs", to_json(vpc.cidrs)}};
    }
    for (const auto& [name, peering] : state.peerings) {
        json["peerings"][name] = {{"id", peering.id}, {"vpcs", peering.vpcs}, {"status", peering.status}};
    }
    for (const auto& [name, list] : state.prefix_lists) {
        json["prefix_lists"][name] = list_to_json(list);
    }
    for (const auto& [key, group] : state.groups) {
        json["groups"][key] = group_to_json(group);
    }
    for (const auto& [name, interface] : state.interfaces) {
        json["interfaces"][name] = interface_to_json(interface);
    }
    return json;
}

Result<State> state_from_json(const Json& json) {
    State state;
    Reader reader;
    reader.each(json, "vpcs", [&](const std::string& name, const Json& value, const std::string& at) {
        state.vpcs[name] = Vpc{name, reader.id(value, "vpc-", at), reader.prefixes(value, "cidrs", at)};
    });
    reader.each(json, "peerings", [&](const std::string& name, const Json& value, const std::string& at) {
        const std::vector<std::string> vpcs = reader.texts(value, "vpcs", at);
        if (vpcs.size() != 2) {
            return reader.fail(at + ".vpcs is not a pair");
        }
        state.peerings[name] =
            Peering{name, reader.id(value, "pcx-", at), {vpcs[0], vpcs[1]}, reader.text(value, "status", true, at)};
    });
    reader.each(json, "prefix_lists", [&](const std::string& name, const Json& value, const std::string& at) {
        state.prefix_lists[name] = read_list(reader, name, value, at);
    });
    reader.each(json, "groups", [&](const std::string& key, const Json& value, const std::string& at) {
        state.groups[key] = read_group(reader, key, value, at);
    });
    reader.each(json, "interfaces", [&](const std::string& name, const Json& value, const std::string& at) {
        state.interfaces[name] = read_interface(reader, name, value, at);
    });
    check_references(reader, state);
    if (!reader.problem().empty()) {
        return unexpected(make_error(ErrorCode::kCorrupt, reader.problem()));
    }
    return state;
}

}  // namespace sgbpf
