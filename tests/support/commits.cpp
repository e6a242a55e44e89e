// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tests/support/commits.hpp"

#include <algorithm>
#include <map>

#include "image/elements.hpp"

namespace sgbpf::test {

std::uint32_t slot_of(const std::string& interface_id, std::initializer_list<const MapImage*> images) {
    for (const MapImage* image : images) {
        if (const auto slot = image->interface_slot(interface_id)) {
            return *slot;
        }
    }
    return 0;
}

namespace {

std::string describe(const NewFlow& flow) {
    return flow.interface + (flow.direction == SG_IN ? " in" : " out") + " local " + flow.local.to_string() + " peer " +
           flow.peer.to_string() + " protocol " + std::to_string(flow.protocol) + " value " +
           (flow.value ? std::to_string(*flow.value) : "none");
}

}  // namespace

std::string differs(const FakeDatapath& maps, std::uint64_t generation, const State& state,
                    const std::vector<NewFlow>& flows, const std::vector<std::uint32_t>& slots) {
    for (std::size_t i = 0; i < flows.size(); ++i) {
        const NewFlow& flow = flows[i];
        const Decision found =
            decide(maps, {slots[i], flow.direction, flow.local, flow.peer, flow.protocol, flow.value}, generation);
        const auto say = [&](const std::string& what) { return describe(flow) + ": " + what; };
        if (!state.interfaces.contains(flow.interface)) {
            if (found.ready) {
                return say("the interface is gone and still answers");
            }
            continue;
        }
        if (!found.ready) {
            return say("not ready");
        }
        const Evaluation wanted = evaluate(state, flow);
        if (found.wrong_address != wanted.wrong_address) {
            return say(found.wrong_address ? "fails the source check wrongly" : "passes the source check wrongly");
        }
        if (found.accept != wanted.accept) {
            return say(found.accept ? "accepted by " + found.rule_id + ", should be dropped"
                                    : "dropped, should be accepted by " + wanted.attributed);
        }
        if (found.accept && found.rule_id != wanted.attributed) {
            return say("attributed to " + found.rule_id + ", should be " + wanted.attributed);
        }
        if (found.tracked != wanted.tracked) {
            return say(found.tracked ? "tracked, should not be" : "not tracked, should be");
        }
    }
    return "";
}

std::string differs(FakeDatapath& maps, const MapImage& image) {
    std::map<std::pair<MapId, FakeDatapath::Bytes>, FakeDatapath::Bytes> wanted;
    for_each_element(image, [&](MapId map, std::span<const std::byte> key, std::span<const std::byte> value) {
        wanted[{map, {key.begin(), key.end()}}] = {value.begin(), value.end()};
    });
    std::size_t have = 0;
    const auto hex = [](const FakeDatapath::Bytes& bytes) {
        std::string text;
        for (const std::byte byte : bytes) {
            char digits[3];
            std::snprintf(digits, sizeof(digits), "%02x", static_cast<unsigned>(byte));
            text += digits;
        }
        return text;
    };
    const RawMaps raw = *maps.read_maps();
    for (const auto& [map, rows] : raw) {
        for (const RawRow& row : rows) {
            const auto found = wanted.find({map, row.key});
            const std::string name(map_info(map).name);
            if (found == wanted.end()) {
                return name + " has " + hex(row.key) + " = " + hex(row.value) + ", which the image has not";
            }
            if (found->second != row.value) {
                return name + " " + hex(row.key) + " is " + hex(row.value) + ", should be " + hex(found->second);
            }
            ++have;
        }
    }
    return have == wanted.size() ? "" : "elements of the image are missing from the maps";
}

}  // namespace sgbpf::test
