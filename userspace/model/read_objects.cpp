// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// VPCs, peerings, prefix lists: the objects that name no groups.
#include "base/file.hpp"
#include "base/strings.hpp"
#include "model/state_reader.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace sgbpf {

namespace {

constexpr std::string_view kSchema = "sgbpf/v1";
// SG-1.21: the adjusted quota.
constexpr std::size_t kMaxCidrsPerFamily = 50;
// Far above sg_lists4/6 of any host; the compiler counts what really fits.
constexpr std::uint64_t kMaxListEntries = std::uint64_t{1} << 24;
// Of one entries_file; the rest is only counted.
constexpr std::size_t kMaxErrorsPerFile = 100;

constexpr std::array<std::string_view, 9> kPeeringStates = {"initiating-request",
                                                            "pending-acceptance",
                                                            "active",
                                                            "provisioning",
                                                            "rejected",
                                                            "failed",
                                                            "expired",
                                                            "deleting",
                                                            "deleted"};  // SG-1.54
constexpr std::array<std::string_view, 2> kFamilies = {"ipv4", "ipv6"};

// States in which the two VPCs are, or are about to be, one address space.
bool is_alive(const Peering& peering) {
    return peering.status == "active" || peering.status == "initiating-request" ||
           peering.status == "pending-acceptance" || peering.status == "provisioning";
}

bool overlap(const Prefix& a, const Prefix& b) {
    return a.contains(b) || b.contains(a);
}

void check_schema(Fields& fields, const Path& path, Report& report) {
    const YamlNode* node = fields.require("schema", "; begin the file with schema: sgbpf/v1");
    if (node == nullptr) {
        return;
    }
    const Path here = path / "schema";
    const auto text = read_text({*node, here}, "sgbpf/v1", report);
    if (text && *text != kSchema) {
        const bool newer = text->starts_with("sgbpf/v");
        report.error(node->place, here,
                     fmt::format("\"{}\" is not supported{}; this program reads {}", printable(*text),
                                 newer ? ", a newer sgbpf may" : "", kSchema));
    }
}

}  // namespace

void StateReader::read(const YamlNode& root) {
    const Path path;
    if (root.kind == YamlNode::Kind::kNull) {
        report_.document_error("is empty: nothing is read from it and nothing changes");
        return;
    }
    Fields fields(root, path, {"schema", "vpcs", "peerings", "prefix_lists", "groups", "interfaces"}, report_);
    if (!fields.valid()) {
        return;
    }
    check_schema(fields, path, report_);
    if (const YamlNode* vpcs = fields.require("vpcs", "; write vpcs: {} to say that there are none")) {
        read_vpcs(*vpcs, path / "vpcs");
    }
    add_default_groups();
    if (const YamlNode* peerings = fields.find("peerings")) {
        read_peerings(*peerings, path / "peerings");
    }
    if (const YamlNode* lists = fields.find("prefix_lists")) {
        read_prefix_lists(*lists, path / "prefix_lists");
    }
    if (const YamlNode* groups = fields.find("groups")) {
        read_groups(*groups, path / "groups");
    }
    if (const YamlNode* interfaces = fields.find("interfaces")) {
        read_interfaces(*interfaces, path / "interfaces");
    }
}

bool StateReader::check_name(const NamedNode& entry, const Path& path) {
    const std::string problem = name_problem(entry.name);
    if (!problem.empty()) {
        report_.error(entry.key->place, path, problem);
    }
    return problem.empty();
}

void StateReader::read_object_id(const Fields& fields, std::string_view prefix, const Path& path, std::string& id) {
    const YamlNode* node = fields.find("id");
    if (node == nullptr) {
        return;
    }
    const Path here = path / "id";
    const auto text = read_id({*node, here}, prefix, report_);
    if (!text) {
        return;
    }
    const auto [first, is_new] = ids_.emplace(*text, node->place);
    if (!is_new) {
        report_.error(node->place, here,
                      fmt::format("id {} is given twice; the first is on line {}", *text, first->second.line + 1));
        return;
    }
    id = *text;
}

const Vpc* StateReader::read_vpc_name(Site site) {
    const auto name = read_text(site, "the name of a VPC", report_);
    if (!name) {
        return nullptr;
    }
    const auto found = state.vpcs.find(std::string(*name));
    if (found != state.vpcs.end()) {
        return &found->second;
    }
    if (!broken_vpcs_.contains(std::string(*name))) {
        report_.error(site.node.place, site.path,
                      fmt::format("there is no VPC {}{}", printable(*name), did_you_mean(*name, keys_of(state.vpcs))));
    }
    return nullptr;
}

void StateReader::read_vpcs(const YamlNode& node, const Path& path) {
    for (const NamedNode& entry : named_entries({node, path}, "VPCs", report_)) {
        read_vpc(entry, path / entry.name);
    }
}

void StateReader::read_vpc(const NamedNode& entry, const Path& path) {
    Vpc vpc;
    vpc.name = entry.name;
    bool good = check_name(entry, path);
    if (entry.name.find('/') != std::string_view::npos) {
        report_.error(entry.key->place, path, "the name of a VPC must not contain /");
        good = false;
    }
    Fields fields(*entry.value, path, {"cidrs", "id"}, report_);
    read_object_id(fields, "vpc-", path, vpc.id);
    const YamlNode* cidrs = fields.require("cidrs");
    const Path list_path = path / "cidrs";
    const auto* elements = cidrs == nullptr ? nullptr : list_elements({*cidrs, list_path}, "CIDRs", report_);
    if (elements == nullptr || !good) {
        broken_vpcs_.insert(vpc.name);
        return;
    }
    std::array<std::size_t, SG_FAMILIES> counts{};
    bool complete = true;
    for (std::size_t i = 0; i < elements->size(); ++i) {
        const Path here = list_path[i];
        const YamlNode& element = (*elements)[i];
        const auto prefix = read_prefix({element, here}, report_);
        if (!prefix) {
            complete = false;
            continue;
        }
        const auto clash = std::find_if(vpc.cidrs.begin(), vpc.cidrs.end(),
                                        [&](const Prefix& other) { return overlap(other, *prefix); });
        if (clash != vpc.cidrs.end()) {
            report_.error(element.place, here,
                          fmt::format("{} overlaps {} of the same VPC", prefix->to_string(), clash->to_string()));
            continue;
        }
        if (++counts[static_cast<std::size_t>(prefix->family())] > kMaxCidrsPerFamily) {
            report_.error(element.place, here, fmt::format("more than {} CIDRs of one family", kMaxCidrsPerFamily));
        }
        vpc.cidrs.push_back(*prefix);
    }
    if (counts[SG_IPV4] == 0 && complete) {
        report_.error(cidrs->place, list_path, "a VPC needs at least one IPv4 CIDR");  // SG-1.20
    }
    state.vpcs.emplace(vpc.name, std::move(vpc));
}

void StateReader::read_peerings(const YamlNode& node, const Path& path) {
    for (const NamedNode& entry : named_entries({node, path}, "peerings", report_)) {
        read_peering(entry, path / entry.name);
    }
}

void StateReader::read_peering(const NamedNode& entry, const Path& path) {
    Peering peering;
    peering.name = entry.name;
    const bool good = check_name(entry, path);
    Fields fields(*entry.value, path, {"vpcs", "status", "id"}, report_);
    read_object_id(fields, "pcx-", path, peering.id);
    if (const YamlNode* status = fields.require("status", "; write status: active for one that works")) {
        const Path here = path / "status";
        peering.status = read_word({*status, here}, kPeeringStates, report_).value_or("");
    }
    const YamlNode* vpcs = fields.require("vpcs");
    const Path list_path = path / "vpcs";
    const auto* elements = vpcs == nullptr ? nullptr : list_elements({*vpcs, list_path}, "two VPCs", report_);
    if (elements == nullptr || !good) {
        return;
    }
    if (elements->size() != 2) {
        report_.error(vpcs->place, list_path,
                      fmt::format("a peering joins two VPCs; this one names {}", elements->size()));
        return;
    }
    for (std::size_t i = 0; i < 2; ++i) {
        const Path here = list_path[i];
        const Vpc* vpc = read_vpc_name({(*elements)[i], here});
        peering.vpcs[i] = vpc == nullptr ? "" : vpc->name;
    }
    if (peering.vpcs[0].empty() || peering.vpcs[1].empty() || peering.status.empty()) {
        return;
    }
    if (peering.vpcs[0] == peering.vpcs[1]) {
        report_.error(vpcs->place, list_path, fmt::format("VPC {} cannot be peered with itself", peering.vpcs[0]));
        return;
    }
    if (is_alive(peering)) {
        check_peering_overlap(peering, {*vpcs, list_path});
    }
    state.peerings.emplace(peering.name, std::move(peering));
}

void StateReader::check_peering_overlap(const Peering& peering, Site site) {
    for (const auto& [name, other] : state.peerings) {
        if (is_alive(other) && std::is_permutation(other.vpcs.begin(), other.vpcs.end(), peering.vpcs.begin())) {
            report_.error(
                site.node.place, site.path,
                fmt::format("VPCs {} and {} are peered already, by {}", peering.vpcs[0], peering.vpcs[1], name));
        }
    }
    for (const Prefix& a : state.vpcs.at(peering.vpcs[0]).cidrs) {
        for (const Prefix& b : state.vpcs.at(peering.vpcs[1]).cidrs) {
            if (overlap(a, b)) {
                report_.error(site.node.place, site.path,
                              fmt::format("VPCs with overlapping CIDRs cannot be peered: {} of {} and {} of {}",
                                          a.to_string(), peering.vpcs[0], b.to_string(), peering.vpcs[1]));
            }
        }
    }
}

const Peering* StateReader::peering_between(const std::string& a, const std::string& b) const {
    const Peering* best = nullptr;
    for (const auto& [name, peering] : state.peerings) {
        const bool joins =
            (peering.vpcs[0] == a && peering.vpcs[1] == b) || (peering.vpcs[0] == b && peering.vpcs[1] == a);
        if (joins && (best == nullptr || peering.status == "active")) {
            best = &peering;
        }
    }
    return best;
}

void StateReader::read_prefix_lists(const YamlNode& node, const Path& path) {
    for (const NamedNode& entry : named_entries({node, path}, "prefix lists", report_)) {
        read_prefix_list(entry, path / entry.name);
    }
}

void StateReader::read_prefix_list(const NamedNode& entry, const Path& path) {
    PrefixList list;
    list.name = entry.name;
    bool good = check_name(entry, path);
    if (entry.name.starts_with("com.amazonaws")) {  // SG-1.36
        report_.error(entry.key->place, path, "names that begin with com.amazonaws are reserved");
        good = false;
    }
    Fields fields(*entry.value, path, {"family", "max_entries", "entries", "entries_file", "id"}, report_);
    read_object_id(fields, "pl-", path, list.id);
    if (const YamlNode* family = fields.require("family", "; write family: ipv4 or family: ipv6")) {
        const Path here = path / "family";
        const auto word = read_word({*family, here}, kFamilies, report_);
        good = good && word.has_value();
        list.family = word == kFamilies[1] ? Family::kIpv6 : Family::kIpv4;
    } else {
        good = false;
    }
    if (const YamlNode* most = fields.require("max_entries", "; it is how many entries the list may ever have")) {
        const Path here = path / "max_entries";
        list.max_entries =
            static_cast<std::uint32_t>(read_number({*most, here}, 1, kMaxListEntries, "", report_).value_or(0));
    }
    const YamlNode* entries = fields.find("entries");
    const YamlNode* file = fields.find("entries_file");
    if (fields.valid() && (entries == nullptr) == (file == nullptr)) {
        report_.error((file == nullptr ? entry.value : file)->place, path,
                      file == nullptr
                          ? "one of entries and entries_file is missing; write entries: [] for an empty list"
                          : "entries and entries_file exclude each other");
    } else if (good && entries != nullptr) {
        const Path here = path / "entries";
        read_entries(*entries, here, list);
    } else if (good && file != nullptr) {
        const Path here = path / "entries_file";
        read_entries_file({*file, here}, list);
    }
    if (!good || !fields.valid()) {
        broken_lists_.insert(list.name);
        return;
    }
    if (list.max_entries > 0 && list.entries.size() > list.max_entries) {
        report_.error((file == nullptr ? entries : file)->place, path,
                      fmt::format("{} entries are more than max_entries, {}", list.entries.size(), list.max_entries));
    }
    state.prefix_lists.emplace(list.name, std::move(list));
}

namespace {

std::string family_problem(const Prefix& prefix, Family family) {
    if (prefix.family() == family) {
        return {};
    }
    return fmt::format("{} is not an {} prefix, and a list has one family", prefix.to_string(),
                       family == Family::kIpv4 ? "IPv4" : "IPv6");
}

// Sorts the entries; calls `report` (index in `order`, index of the first) for each that occurs again.
template <typename ReportDuplicate>
void sort_entries(std::vector<PrefixListEntry>& entries, std::vector<Place>& places, const ReportDuplicate& report) {
    std::vector<std::uint32_t> order(entries.size());
    for (std::size_t i = 0; i < order.size(); ++i) {
        order[i] = static_cast<std::uint32_t>(i);
    }
    std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
        const auto compared = entries[a].prefix <=> entries[b].prefix;
        return compared != 0 ? compared < 0 : a < b;
    });
    std::vector<PrefixListEntry> sorted;
    sorted.reserve(entries.size());
    std::size_t first = 0;
    for (const std::uint32_t index : order) {
        if (!sorted.empty() && sorted.back().prefix == entries[index].prefix) {
            report(entries[index].prefix, places[index], places[first]);
            continue;
        }
        first = index;
        sorted.push_back(std::move(entries[index]));
    }
    entries = std::move(sorted);
}

}  // namespace

void StateReader::read_entries(const YamlNode& node, const Path& path, PrefixList& list) {
    const auto* elements = list_elements({node, path}, "CIDRs", report_);
    if (elements == nullptr) {
        return;
    }
    std::vector<Place> places;
    for (std::size_t i = 0; i < elements->size(); ++i) {
        const YamlNode& element = (*elements)[i];
        const Path here = path[i];
        const YamlNode* cidr = &element;
        PrefixListEntry entry;
        if (element.kind == YamlNode::Kind::kMap) {
            Fields fields(element, here, {"cidr", "description"}, report_);
            cidr = fields.require("cidr", "; quote an IPv6 prefix");
            if (const YamlNode* text = fields.find("description")) {
                const Path text_path = here / "description";
                entry.description = read_description({*text, text_path}, true, report_).value_or("");
            }
        }
        const auto prefix = cidr == nullptr ? std::nullopt : read_prefix({*cidr, here}, report_);
        if (!prefix) {
            continue;
        }
        if (const std::string problem = family_problem(*prefix, list.family); !problem.empty()) {
            report_.error(cidr->place, here, problem);
            continue;
        }
        entry.prefix = *prefix;
        list.entries.push_back(std::move(entry));
        places.push_back(cidr->place);
    }
    sort_entries(list.entries, places, [&](const Prefix& prefix, Place place, Place first) {
        report_.error(
            place, path,
            fmt::format("{} is in the list twice; the first is on line {}", prefix.to_string(), first.line + 1));
    });
}

void StateReader::read_entries_file(Site site, PrefixList& list) {
    const auto name = read_text(site, "the name of a file", report_);
    if (!name) {
        return;
    }
    std::string file(*name);
    if (!file.starts_with('/') && !directory_.empty()) {
        file = directory_ + '/' + file;
    }
    const auto bytes = file.empty() ? Result<std::string>(unexpected(make_error(ErrorCode::kInvalid, "is empty")))
                                    : read_file(file, kMaxStateBytes);
    if (!bytes) {
        report_.error(site.node.place, site.path, bytes.error().message);
        return;
    }
    entry_files.push_back(file);

    std::string_view text = *bytes;
    std::vector<Place> places;
    std::size_t errors = 0;
    std::size_t cleared = 0;
    const std::string where = site.path.to_string();
    const auto problem = [&](std::uint32_t line, std::size_t column, std::string message) {
        if (++errors <= kMaxErrorsPerFile) {
            report_.add_error(
                {file, static_cast<int>(line) + 1, static_cast<int>(column) + 1, where, std::move(message)});
        }
    };
    if (text.starts_with("\xef\xbb\xbf")) {
        text.remove_prefix(3);
    }
    if (text.find('\0') != std::string_view::npos) {
        report_.error(site.node.place, site.path, fmt::format("{} is a binary file, not a list of CIDRs", file));
        return;
    }
    list.entries.reserve(static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) + 1);
    for (std::uint32_t line = 0; !text.empty(); ++line) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        std::string_view content = text.substr(0, std::min(end, text.substr(0, end).find('#')));
        text.remove_prefix(std::min(end + 1, text.size()));
        const std::size_t start = content.find_first_not_of(" \t\r");
        if (start == std::string_view::npos) {
            continue;
        }
        content = content.substr(start, content.find_last_not_of(" \t\r") - start + 1);
        auto parsed = Prefix::parse(content);
        if (!parsed) {
            problem(line, start, parsed.error().message);
            continue;
        }
        if (std::string wrong = family_problem(parsed->prefix, list.family); !wrong.empty()) {
            problem(line, start, std::move(wrong));
            continue;
        }
        if (parsed->host_bits_cleared && ++cleared <= kMaxErrorsPerFile) {
            report_.add_warning({file, static_cast<int>(line) + 1, static_cast<int>(start) + 1, where,
                                 fmt::format("{} has bits set after its prefix length; read as {}", content,
                                             parsed->prefix.to_string())});
        }
        list.entries.push_back({parsed->prefix, {}});
        places.push_back({static_cast<std::uint32_t>(start), line});
    }
    sort_entries(list.entries, places, [&](const Prefix& prefix, Place place, Place first) {
        problem(place.line, place.offset,
                fmt::format("{} is in the list twice; the first is on line {}", prefix.to_string(), first.line + 1));
    });
    if (errors > kMaxErrorsPerFile) {
        report_.error(site.node.place, site.path,
                      fmt::format("{} has {} more errors", file, errors - kMaxErrorsPerFile));
    }
    if (cleared > kMaxErrorsPerFile) {
        report_.warning(site.node.place, site.path,
                        fmt::format("{} more entries of {} have bits set after their prefix length",
                                    cleared - kMaxErrorsPerFile, file));
    }
}

}  // namespace sgbpf
