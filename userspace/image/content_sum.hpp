// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// ContentSum: a 256-bit fingerprint of a set of map elements that can be updated by difference, so
// that the digest of an image costs as much as what changed. Tells a stale cache from a current one;
// it is no defence against somebody who forges maps (who needs CAP_BPF and can do as he likes).
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "image/maps.hpp"

namespace sgbpf {

class ContentSum {
public:
    using Lanes = std::array<std::uint64_t, 4>;

    ContentSum() = default;
    explicit ContentSum(const Lanes& lanes) : lanes_(lanes) {}

    // One element in ABI bytes. An all-zero array element counts as absent: leave it out.
    void add(MapId map, const void* key, std::size_t key_bytes, const void* value, std::size_t value_bytes);

    // Typed: skips all-zero array elements by itself.
    template <MapId map> void add(const typename MapTypes<map>::Key& key, const typename MapTypes<map>::Value& value) {
        if constexpr (map_info(map).kind == MapKind::kArray) {
            static constexpr std::array<std::byte, sizeof(value)> zero{};
            if (std::memcmp(&value, zero.data(), sizeof(value)) == 0) {
                return;
            }
        }
        add(map, &key, sizeof(key), &value, sizeof(value));
    }

    ContentSum& operator+=(const ContentSum& other) {
        for (std::size_t i = 0; i < lanes_.size(); ++i) {
            lanes_[i] += other.lanes_[i];
        }
        return *this;
    }
    ContentSum& operator-=(const ContentSum& other) {
        for (std::size_t i = 0; i < lanes_.size(); ++i) {
            lanes_[i] -= other.lanes_[i];
        }
        return *this;
    }
    bool operator==(const ContentSum&) const = default;
    [[nodiscard]] const Lanes& lanes() const { return lanes_; }

private:
    Lanes lanes_{};
};

}  // namespace sgbpf
