// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "model/tracking.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace sgbpf {

namespace {

constexpr std::array<std::string_view, 2> kModes = {"normal", "strict"};

// Seconds, or the word off.
std::optional<std::uint32_t> read_recycle(Site site, Report& report) {
    if (site.node.kind == YamlNode::Kind::kScalar && site.node.text == "off") {
        return 0;
    }
    if (site.node.kind == YamlNode::Kind::kScalar &&
        site.node.text.find_first_not_of("0123456789") != std::string::npos) {
        report.error(site.node.place, site.path,
                     fmt::format("\"{}\" is neither off nor a number of seconds from 1 to {}", site.node.text,
                                 kMaxOpeningRecycle));
        return std::nullopt;
    }
    const auto seconds = read_number(site, 1, kMaxOpeningRecycle, "seconds", report);
    return seconds ? std::optional(static_cast<std::uint32_t>(*seconds)) : std::nullopt;
}

// true, false, or the peers whose flows are never untracked.
void read_always_track(Site site, TrackingOptions& options, Report& report) {
    if (site.node.kind != YamlNode::Kind::kList) {
        options.always_track = read_bool(site, report);
        return;
    }
    options.always_track = false;
    for (std::size_t i = 0; i < site.node.children.size(); ++i) {
        const YamlNode& node = site.node.children[i];
        const Path here = site.path[i];
        const auto peer = read_prefix({node, here}, report);
        auto& peers = options.always_track_peers;
        if (peer && std::find(peers.begin(), peers.end(), *peer) != peers.end()) {
            report.error(node.place, here, fmt::format("{} is there twice", peer->to_string()));
        } else if (peer) {
            peers.push_back(*peer);
        }
    }
    if (site.node.children.empty()) {
        report.error(site.node.place, site.path, "names no peer; write false, or remove the key");
    }
    std::sort(options.always_track_peers.begin(), options.always_track_peers.end());
}

}  // namespace

std::string_view revocation_text(Revocation revocation) {
    return kRevocationNames[static_cast<std::size_t>(revocation)];
}

TrackingOptions read_tracking(Site site, Report& report) {
    TrackingOptions options;
    const Fields fields(site.node, site.path,
                        {"mode", "max_flows", "max_opening", "reserved", "opening_recycle", "always_track",
                         "related_icmp", "revocation"},
                        report);
    if (const YamlNode* node = fields.find("mode")) {
        const Path here = site.path / "mode";
        if (const auto word = read_word({*node, here}, kModes, report)) {
            options.strict = *word == kModes[1];
        }
    }
    struct Row {
        std::string_view key;
        std::uint64_t lowest;
        std::optional<std::uint32_t>* value;
    };
    const Row rows[] = {{"max_flows", 1, &options.max_flows},
                        {"max_opening", 1, &options.max_opening},
                        {"reserved", 0, &options.reserved}};
    for (const Row& row : rows) {
        if (const YamlNode* node = fields.find(row.key)) {
            const Path here = site.path / row.key;
            if (const auto number = read_number({*node, here}, row.lowest, kMaxFlows, "flows", report)) {
                *row.value = static_cast<std::uint32_t>(*number);
            }
        }
    }
    if (options.reserved && options.max_flows && *options.reserved > *options.max_flows) {
        const Path here = site.path / "reserved";
        report.error(fields.find("reserved")->place, here,
                     fmt::format("{} flows are more than max_flows, {}", *options.reserved, *options.max_flows));
    }
    if (const YamlNode* node = fields.find("opening_recycle")) {
        const Path here = site.path / "opening_recycle";
        options.opening_recycle = read_recycle({*node, here}, report);
    }
    if (const YamlNode* node = fields.find("always_track")) {
        const Path here = site.path / "always_track";
        read_always_track({*node, here}, options, report);
    }
    if (const YamlNode* node = fields.find("related_icmp")) {
        const Path here = site.path / "related_icmp";
        options.related_icmp = read_bool({*node, here}, report);
    }
    if (const YamlNode* node = fields.find("revocation")) {
        const Path here = site.path / "revocation";
        if (const auto word = read_word({*node, here}, kRevocationNames, report)) {
            const auto at = std::find(kRevocationNames.begin(), kRevocationNames.end(), *word);
            options.revocation = static_cast<Revocation>(at - kRevocationNames.begin());
        }
    }
    return options;
}

std::vector<std::pair<std::string, std::string>> tracking_words(const TrackingOptions& options) {
    std::vector<std::pair<std::string, std::string>> words;
    if (options.strict) {
        words.emplace_back("mode", kModes[*options.strict ? 1 : 0]);
    }
    const auto number = [&](const char* key, const std::optional<std::uint32_t>& value) {
        if (value) {
            words.emplace_back(key, std::to_string(*value));
        }
    };
    number("max_flows", options.max_flows);
    number("max_opening", options.max_opening);
    number("reserved", options.reserved);
    if (options.opening_recycle) {
        words.emplace_back("opening_recycle",
                           *options.opening_recycle == 0 ? "off" : std::to_string(*options.opening_recycle));
    }
    if (!options.always_track_peers.empty()) {
        std::vector<std::string> peers;
        for (const Prefix& peer : options.always_track_peers) {
            const std::string text = peer.to_string();
            peers.push_back(text.find(':') == std::string::npos ? text : '"' + text + '"');
        }
        words.emplace_back("always_track", fmt::format("[{}]", fmt::join(peers, ", ")));
    } else if (options.always_track) {
        words.emplace_back("always_track", *options.always_track ? "true" : "false");
    }
    if (options.related_icmp) {
        words.emplace_back("related_icmp", *options.related_icmp ? "true" : "false");
    }
    if (options.revocation) {
        words.emplace_back("revocation", revocation_text(*options.revocation));
    }
    return words;
}

nlohmann::json tracking_to_json(const TrackingOptions& options) {
    nlohmann::json object = nlohmann::json::object();
    const auto put = [&](const char* key, const auto& value) {
        if (value) {
            object[key] = *value;
        }
    };
    put("strict", options.strict);
    put("max_flows", options.max_flows);
    put("max_opening", options.max_opening);
    put("reserved", options.reserved);
    put("opening_recycle", options.opening_recycle);
    put("always_track", options.always_track);
    put("related_icmp", options.related_icmp);
    if (!options.always_track_peers.empty()) {
        for (const Prefix& peer : options.always_track_peers) {
            object["always_track_peers"].push_back(peer.to_string());
        }
    }
    if (options.revocation) {
        object["revocation"] = revocation_text(*options.revocation);
    }
    return object;
}

}  // namespace sgbpf
