// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "model/fields.hpp"

#include "base/strings.hpp"
#include "model/ids.hpp"

#include <algorithm>
#include <unordered_map>

#include <fmt/format.h>

namespace sgbpf {

namespace {

using Kind = YamlNode::Kind;

// What users of EC2, Terraform and nftables write, and what it is called here.
std::string_view other_word(std::string_view key) {
    struct Row {
        std::string_view from;
        std::string_view to;
    };
    static constexpr Row kRows[] = {
        {"ingress", "inbound"},
        {"egress", "outbound"},
        {"in", "inbound"},
        {"out", "outbound"},
        {"source", "cidr"},
        {"destination", "cidr"},
        {"cidr_ip", "cidr"},
        {"cidr_blocks", "cidr"},
        {"cidr_ipv6", "cidr"},
        {"ipv6_cidr", "cidr"},
        {"from_port", "port"},
        {"to_port", "port"},
        {"dport", "port"},
        {"security_group", "group"},
        {"sg", "group"},
        {"self", "group"},
        {"security_groups", "groups"},
        {"dev", "device"},
        {"ifname", "device"},
        {"lists", "prefix_lists"},
        {"ips", "addresses"},
        {"private_ips", "addresses"},
        {"version", "schema"},
    };
    for (const Row& row : kRows) {
        if (key == row.from) {
            return row.to;
        }
    }
    return {};
}

// What `key` seems to mean, or nothing.
std::string meant(std::string_view key, std::initializer_list<std::string_view> known) {
    const std::string_view other = other_word(to_lower(key));
    if (std::find(known.begin(), known.end(), other) != known.end()) {
        return std::string(other);
    }
    const std::vector<std::string> candidates(known.begin(), known.end());
    return closest(key, candidates);
}

// Reports what no key may be; true if the key is usable text.
bool check_key(const YamlNode& key, const Path& path, Report& report) {
    if (key.kind == Kind::kScalar) {
        if (key.text == "<<" && !key.quoted) {
            report.error(key.place, path, "merge keys (<<) are not supported: write the fields out");
            return false;
        }
        return true;
    }
    if (key.kind != Kind::kBroken) {
        report.error(key.place, path, fmt::format("a key must be text, found {}; quote it", kind_text(key)));
    }
    return false;
}

bool expect_map(Site site, std::string_view what, Report& report) {
    const YamlNode& node = site.node;
    if (node.kind == Kind::kMap) {
        return true;
    }
    if (node.kind == Kind::kNull) {
        report.error(node.place, site.path, fmt::format("is empty; write {{}} for no {}, or remove the key", what));
    } else if (node.kind != Kind::kBroken) {
        report.error(node.place, site.path, fmt::format("expected a mapping, found {}", kind_text(node)));
    }
    return false;
}

std::string duplicate_key(std::string_view key, const Place& first) {
    return fmt::format("key {} is given twice; the first is on line {}", printable(key), first.line + 1);
}

// A colon in the first key of what should have been text: an address that was not quoted.
bool looks_like_split_address(const YamlNode& node) {
    return node.kind == Kind::kMap && !node.children.empty() && node.children[0].text.find(':') != std::string::npos;
}

bool is_charset_a(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view(" ._-:/()#,@[]+=&;{}!$*").find(c) != std::string_view::npos;
}

// Empty if all is well.
std::string charset_problem(std::string_view text) {
    if (text.size() > 255) {
        return fmt::format("has {} characters; 255 are the most", text.size());
    }
    const auto bad = std::find_if_not(text.begin(), text.end(), is_charset_a);
    if (bad == text.end()) {
        return {};
    }
    auto end = bad + 1;  // a whole UTF-8 sequence
    while (end != text.end() && (static_cast<unsigned char>(*end) & 0xc0) == 0x80) {
        ++end;
    }
    return fmt::format("contains \"{}\"; allowed are letters, digits, spaces and ._-:/()#,@[]+=&;{{}}!$*",
                       printable({bad, end}));
}

}  // namespace

std::string_view kind_text(const YamlNode& node) {
    switch (node.kind) {
        case Kind::kNull:
            return "nothing";
        case Kind::kScalar:
            return "text";
        case Kind::kList:
            return "a list";
        case Kind::kMap:
            return "a mapping";
        case Kind::kBroken:
            break;
    }
    return "something unreadable";
}

Fields::Fields(const YamlNode& node, const Path& path, std::initializer_list<std::string_view> known, Report& report)
    : node_(node), path_(path), report_(report), valid_(expect_map({node, path}, "fields", report)) {
    if (!valid_) {
        return;
    }
    std::vector<const YamlNode*> keys;
    for (std::size_t i = 0; i + 1 < node.children.size(); i += 2) {
        const YamlNode& key = node.children[i];
        if (!check_key(key, path, report)) {
            incomplete_ = true;
            continue;
        }
        if (std::find(known.begin(), known.end(), key.text) == known.end()) {
            const std::string word = meant(key.text, known);
            report.error(key.place, path,
                         word.empty() ? fmt::format("unknown key {}; known here: {}", printable(key.text),
                                                    fmt::join(known, ", "))
                                      : fmt::format("unknown key {}; did you mean {}?", printable(key.text), word));
            misspelt_.push_back(word);
            continue;
        }
        const auto same = [&](const YamlNode* other) { return other->text == key.text; };
        if (const auto first = std::find_if(keys.begin(), keys.end(), same); first != keys.end()) {
            report.error(key.place, path, duplicate_key(key.text, (*first)->place));
            continue;
        }
        keys.push_back(&key);
        entries_.push_back({key.text, &node.children[i + 1]});
    }
}

const YamlNode* Fields::find(std::string_view key) const {
    for (const Entry& entry : entries_) {
        if (entry.key == key) {
            return entry.value;
        }
    }
    return nullptr;
}

bool Fields::misspelt(std::string_view key) const {
    return incomplete_ || std::find(misspelt_.begin(), misspelt_.end(), key) != misspelt_.end();
}

const YamlNode* Fields::require(std::string_view key, std::string_view why) {
    const YamlNode* value = find(key);
    if (value == nullptr && valid_ && !misspelt(key)) {
        report_.error(node_.place, path_, fmt::format("key {} is missing{}", key, why));
    }
    return value;
}

std::vector<NamedNode> named_entries(Site site, std::string_view what, Report& report) {
    std::vector<NamedNode> entries;
    if (!expect_map(site, what, report)) {
        return entries;
    }
    std::unordered_map<std::string_view, const YamlNode*> seen;
    for (std::size_t i = 0; i + 1 < site.node.children.size(); i += 2) {
        const YamlNode& key = site.node.children[i];
        if (!check_key(key, site.path, report)) {
            continue;
        }
        if (const auto [first, is_new] = seen.emplace(key.text, &key); !is_new) {
            report.error(key.place, site.path, duplicate_key(key.text, first->second->place));
            continue;
        }
        entries.push_back({key.text, &key, &site.node.children[i + 1]});
    }
    return entries;
}

const std::vector<YamlNode>* list_elements(Site site, std::string_view what, Report& report) {
    const YamlNode& node = site.node;
    if (node.kind == Kind::kList) {
        return &node.children;
    }
    if (node.kind == Kind::kNull) {
        report.error(node.place, site.path, fmt::format("is empty; write [] for no {}, or remove the key", what));
    } else if (node.kind != Kind::kBroken) {
        report.error(node.place, site.path, fmt::format("expected a list of {}, found {}", what, kind_text(node)));
    }
    return nullptr;
}

std::optional<std::string_view> read_text(Site site, std::string_view expected, Report& report) {
    const YamlNode& node = site.node;
    if (node.kind == Kind::kScalar) {
        return node.text;
    }
    if (node.kind == Kind::kBroken) {
        return std::nullopt;
    }
    if (node.kind == Kind::kNull) {
        report.error(node.place, site.path, fmt::format("is empty; expected {}", expected));
    } else {
        report.error(node.place, site.path,
                     fmt::format("expected {}, found {}{}", expected, kind_text(node),
                                 looks_like_split_address(node) ? "; quote text that ends in a colon" : ""));
    }
    return std::nullopt;
}

std::optional<bool> read_bool(Site site, Report& report) {
    const auto text = read_text(site, "true or false", report);
    if (!text) {
        return std::nullopt;
    }
    if (!site.node.quoted && (*text == "true" || *text == "false")) {
        return *text == "true";
    }
    report.error(site.node.place, site.path,
                 fmt::format("{}{} is not a truth value here; write true or false", printable(*text),
                             site.node.quoted ? " in quotes" : ""));
    return std::nullopt;
}

std::optional<std::uint64_t> read_number(Site site, std::uint64_t lowest, std::uint64_t highest, std::string_view unit,
                                         Report& report) {
    const auto text = read_text(site, "a number", report);
    if (!text) {
        return std::nullopt;
    }
    const auto number = parse_decimal(*text);
    const std::string range = fmt::format("{} to {}{}{}", lowest, highest, unit.empty() ? "" : " ", unit);
    if (!number || site.node.quoted) {
        report.error(site.node.place, site.path,
                     fmt::format("\"{}\" is not a plain decimal number; write one from {}{}", printable(*text), range,
                                 number ? " without quotes" : ""));
        return std::nullopt;
    }
    if (*number < lowest || *number > highest) {
        report.error(site.node.place, site.path, fmt::format("{} is not from {}", *number, range));
        return std::nullopt;
    }
    return number;
}

std::optional<std::string_view> read_word(Site site, std::span<const std::string_view> words, Report& report) {
    const std::string choices = fmt::format("{}", fmt::join(words, ", "));
    const auto text = read_text(site, "one of " + choices, report);
    if (!text) {
        return std::nullopt;
    }
    if (const auto word = std::find(words.begin(), words.end(), *text); word != words.end()) {
        return *word;
    }
    const std::vector<std::string> candidates(words.begin(), words.end());
    const std::string close = did_you_mean(*text, candidates);
    report.error(site.node.place, site.path,
                 fmt::format("\"{}\" is not known{}", printable(*text), close.empty() ? "; one of " + choices : close));
    return std::nullopt;
}

std::optional<Prefix> read_prefix(Site site, Report& report) {
    const auto text = read_text(site, "a CIDR such as 198.51.100.0/24 or \"2001:db8::/32\"", report);
    if (!text) {
        return std::nullopt;
    }
    auto parsed = Prefix::parse(*text);
    if (!parsed) {
        report.error(site.node.place, site.path, parsed.error().message);
        return std::nullopt;
    }
    if (parsed->host_bits_cleared) {
        report.warning(
            site.node.place, site.path,
            fmt::format("{} has bits set after its prefix length; read as {}", *text, parsed->prefix.to_string()));
    }
    return parsed->prefix;
}

std::optional<Prefix> read_address(Site site, Report& report) {
    const auto text = read_text(site, "an address such as 10.0.1.10 or \"2001:db8::10\"", report);
    if (!text) {
        return std::nullopt;
    }
    if (text->find('/') == std::string_view::npos) {
        const auto address = Address::parse(*text);
        if (!address) {
            report.error(site.node.place, site.path, address.error().message);
            return std::nullopt;
        }
        return Prefix::host(*address);
    }
    const auto parsed = Prefix::parse(*text);
    if (!parsed) {
        report.error(site.node.place, site.path, parsed.error().message);
        return std::nullopt;
    }
    if (parsed->host_bits_cleared) {
        report.error(site.node.place, site.path,
                     fmt::format("{} is neither an address nor a prefix; write {} for the address or {} for the prefix",
                                 *text, text->substr(0, text->find('/')), parsed->prefix.to_string()));
        return std::nullopt;
    }
    return parsed->prefix;
}

std::optional<MacAddress> read_mac(Site site, Report& report) {
    const auto text = read_text(site, "a MAC address such as \"52:54:00:12:34:56\"", report);
    if (!text) {
        return std::nullopt;
    }
    const auto mac = MacAddress::parse(*text);
    if (!mac) {
        report.error(site.node.place, site.path, mac.error().message);
        return std::nullopt;
    }
    if ((mac->bytes[0] & 1U) != 0 || *mac == MacAddress{}) {
        report.error(site.node.place, site.path, fmt::format("{} is not the address of one device", *text));
        return std::nullopt;
    }
    const bool only_digits = text->find_first_not_of("0123456789:") == std::string_view::npos;
    if (!site.node.quoted && only_digits) {
        report.warning(site.node.place, site.path,
                       fmt::format("quote \"{}\": readers of YAML 1.1 take it for a number in base 60", *text));
    }
    return *mac;
}

std::optional<std::string> read_id(Site site, std::string_view prefix, Report& report) {
    const auto text = read_text(site, "an id", report);
    if (!text) {
        return std::nullopt;
    }
    if (!is_id(*text, prefix)) {
        report.error(site.node.place, site.path,
                     fmt::format("\"{}\" is not an id; it must be {} and 17 lower-case hexadecimal digits",
                                 printable(*text), prefix));
        return std::nullopt;
    }
    return std::string(*text);
}

std::optional<std::string> read_description(Site site, bool may_be_empty, Report& report) {
    const auto text = read_text(site, "text", report);
    if (!text) {
        return std::nullopt;
    }
    std::string problem = charset_problem(*text);
    if (text->empty() && !may_be_empty) {
        problem = "must not be empty";
    }
    if (!problem.empty()) {
        report.error(site.node.place, site.path, problem);
        return std::nullopt;
    }
    return std::string(*text);
}

std::string name_problem(std::string_view name) {
    if (name.find_first_not_of(' ') == std::string_view::npos) {
        return "a name must not be empty";
    }
    if (name.front() == ' ' || name.back() == ' ') {
        return fmt::format("name \"{}\" begins or ends with a space", printable(name));
    }
    const std::string problem = charset_problem(name);
    return problem.empty() ? problem : fmt::format("name \"{}\" {}", printable(name, 40), problem);
}

}  // namespace sgbpf
