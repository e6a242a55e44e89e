// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// YAML text -> a tree that keeps what yaml-cpp's nodes lose: the text of every scalar, whether it was
// quoted, both of two equal keys, and the place of each. Interprets nothing: 022 is the text "022".
//
// Refused here, with a sentence each: several documents, anchors and aliases (they expand without bound and
// hide what a rule says), tags, tabs as indentation, text that is not UTF-8.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/diagnostics.hpp"

namespace sgbpf {

struct YamlNode {
    enum class Kind : std::uint8_t { kNull, kScalar, kList, kMap, kBroken };  // kBroken: already reported

    Kind kind = Kind::kNull;
    bool quoted = false;
    Place place;
    std::string text;                // of a scalar
    std::vector<YamlNode> children;  // list: elements; map: key, value, key, value ...
};

// Makes `text` what the scanner and all places refer to: without a byte order mark, lines ending in \n.
std::string normalise_text(std::string_view text);

// False if the text as a whole makes no sense (the report says why); the tree is then not to be used.
bool read_yaml(std::string_view normalised_text, Report& report, YamlNode& root);

}  // namespace sgbpf
