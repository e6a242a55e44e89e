// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Reading of single fields, shared by the state file and host.yaml: each function reads one kind of value
// strictly, reports what is wrong with it, and then returns nothing. Numbers are read from the text: decimal
// only, so that no two YAML readers disagree about them.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <sgbpf/prefix.hpp>

#include "model/yaml_tree.hpp"

namespace sgbpf {

struct Site {  // where a value stands
    const YamlNode& node;
    const Path& path;
};

// "a list", "a mapping", "nothing" ... for "expected X, found Y".
std::string_view kind_text(const YamlNode& node);

// The fields of a mapping with known keys. Reports a value that is no mapping, keys that are unknown (with a
// suggestion), given twice, or no plain text.
class Fields {
public:
    Fields(const YamlNode& node, const Path& path, std::initializer_list<std::string_view> known, Report& report);

    [[nodiscard]] bool valid() const { return valid_; }  // it is a mapping
    // An unknown key was reported that seems to mean `key`: its absence needs no second sentence.
    [[nodiscard]] bool misspelt(std::string_view key) const;
    // The value, or null if the key is absent.
    [[nodiscard]] const YamlNode* find(std::string_view key) const;
    // The same; absence is reported with `why` ("; write ...").
    const YamlNode* require(std::string_view key, std::string_view why = {});

private:
    struct Entry {
        std::string_view key;
        const YamlNode* value;
    };
    const YamlNode& node_;
    const Path& path_;
    Report& report_;
    std::vector<Entry> entries_;
    std::vector<std::string> misspelt_;
    bool incomplete_ = false;  // a merge key hides fields
    bool valid_ = false;
};

struct NamedNode {
    std::string_view name;
    const YamlNode* key;
    const YamlNode* value;
};
// The entries of a mapping from names to values. Reports names that are given twice or no text. Empty with a
// report if it is no mapping.
std::vector<NamedNode> named_entries(Site site, std::string_view what, Report& report);

// Elements of a list; nothing (reported) if it is none. `what` is for the sentence: "rules".
const std::vector<YamlNode>* list_elements(Site site, std::string_view what, Report& report);

std::optional<std::string_view> read_text(Site site, std::string_view expected, Report& report);
std::optional<bool> read_bool(Site site, Report& report);
std::optional<std::uint64_t> read_number(Site site, std::uint64_t lowest, std::uint64_t highest, std::string_view unit,
                                         Report& report);
// One of `words`, exactly.
std::optional<std::string_view> read_word(Site site, std::span<const std::string_view> words, Report& report);

// "ADDRESS/LENGTH"; host bits are cleared with a warning (SG-2.27).
std::optional<Prefix> read_prefix(Site site, Report& report);
// An address (SG-1.30: the host itself) or a prefix. Here host bits are an error, not a warning: "10.0.1.10/24"
// is how other tools write an address with its subnet, and clearing the bits would hand over the subnet.
std::optional<Prefix> read_address(Site site, Report& report);
std::optional<MacAddress> read_mac(Site site, Report& report);
std::optional<std::string> read_id(Site site, std::string_view prefix, Report& report);
// SG-1.8 and SG-1.9: charset A, or B for rule descriptions (the same: '&' is accepted), at most 255.
std::optional<std::string> read_description(Site site, bool may_be_empty, Report& report);

// Empty if `name` may name an object (charset A, 1..255 characters, no space at either end), else what is wrong.
std::string name_problem(std::string_view name);

// Suggestions over the keys of a map.
template <typename Map> std::vector<std::string> keys_of(const Map& map) {
    std::vector<std::string> keys;
    for (const auto& [key, value] : map) {
        keys.push_back(key);
    }
    return keys;
}

}  // namespace sgbpf
