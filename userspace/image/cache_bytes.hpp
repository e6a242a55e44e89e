// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Bytes of the cached image: head, and a writer and a reader of plain values. Host byte order and native
// sizes: the file never leaves the machine.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "image/content_sum.hpp"
#include "image/number_pool.hpp"

namespace sgbpf::cache {

inline constexpr std::uint64_t kMagic = 0x6765'6d69'6670'6273;  // "sbpfimeg" in memory
inline constexpr std::uint32_t kFormat = 2;
// Neither strings nor vectors of an image come near; larger is damage.
inline constexpr std::uint64_t kMostElements = 1U << 28;

inline std::uint64_t checksum(std::span<const std::byte> bytes) {
    ContentSum sum;
    const std::uint64_t size = bytes.size();
    sum.add(MapId::kInterfaces, &size, sizeof(size), bytes.data(), bytes.size());
    return sum.lanes()[3];
}

class Out {
public:
    template <typename T> void pod(const T& value) {
        static_assert(std::is_trivially_copyable_v<T>);
        raw(&value, sizeof(value));
    }
    void text(const std::string& value) {
        pod(static_cast<std::uint64_t>(value.size()));
        raw(value.data(), value.size());
    }
    template <typename T> void pods(const std::vector<T>& values) {
        static_assert(std::is_trivially_copyable_v<T>);
        pod(static_cast<std::uint64_t>(values.size()));
        raw(values.data(), values.size() * sizeof(T));
    }
    void texts(const std::vector<std::string>& values) {
        pod(static_cast<std::uint64_t>(values.size()));
        for (const std::string& value : values) {
            text(value);
        }
    }
    void pool(const NumberPool& pool) { pods(pool.free_ranges()); }
    std::vector<std::byte> bytes;

private:
    void raw(const void* data, std::size_t size) {
        const auto* from = static_cast<const std::byte*>(data);
        bytes.insert(bytes.end(), from, from + size);
    }
};

// Reads never go beyond the bytes: after the first that would, everything is zero and good() is false.
class In {
public:
    explicit In(std::span<const std::byte> bytes) : rest_(bytes) {}

    template <typename T> T pod() {
        T value{};
        raw(&value, sizeof(value));
        return value;
    }
    std::string text() {
        std::string value(count(1), '\0');
        raw(value.data(), value.size());
        return value;
    }
    template <typename T> std::vector<T> pods() {
        std::vector<T> values(count(sizeof(T)));
        raw(values.data(), values.size() * sizeof(T));
        return values;
    }
    std::vector<std::string> texts() {
        std::vector<std::string> values(count(sizeof(std::uint64_t)));
        for (std::string& value : values) {
            value = text();
        }
        return values;
    }
    NumberPool pool() {
        auto ranges = pods<NumberPool::Range>();
        good_ = good_ && !ranges.empty();
        return good_ ? NumberPool::from_free_ranges(std::move(ranges)) : NumberPool();
    }
    // Length of what follows; never more than the bytes left could hold.
    std::size_t count(std::size_t element_bytes) {
        const auto value = pod<std::uint64_t>();
        if (value > kMostElements || value * element_bytes > rest_.size()) {
            good_ = false;
            return 0;
        }
        return static_cast<std::size_t>(value);
    }
    void fail() { good_ = false; }
    [[nodiscard]] bool good() const { return good_; }
    [[nodiscard]] bool at_end() const { return rest_.empty(); }

private:
    void raw(void* data, std::size_t size) {
        if (!good_ || size > rest_.size()) {
            good_ = false;
            return;
        }
        if (size > 0) {
            std::memcpy(data, rest_.data(), size);
            rest_ = rest_.subspan(size);
        }
    }
    std::span<const std::byte> rest_;
    bool good_ = true;
};

}  // namespace sgbpf::cache
