// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Containers whose copies share memory until they are changed: an image is copied at every compile,
// and a change touches few of its parts. Not for concurrent use.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

namespace sgbpf {

// A vector in pages; only pages that are written to are copied.
template <typename T, std::size_t page_size = 256> class PagedVector {
public:
    using Page = std::array<T, page_size>;

    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] const T& operator[](std::size_t index) const {
        return (*pages_[index / page_size])[index % page_size];
    }
    // T{} where nothing was ever set.
    [[nodiscard]] T get(std::size_t index) const { return index < size_ ? (*this)[index] : T{}; }

    void set(std::size_t index, T value) {
        while (pages_.size() <= index / page_size) {
            pages_.push_back(std::make_shared<Page>());
        }
        if (index >= size_) {
            size_ = index + 1;
        }
        std::shared_ptr<Page>& page = pages_[index / page_size];
        if (page.use_count() > 1) {
            page = std::make_shared<Page>(*page);
        }
        (*page)[index % page_size] = std::move(value);
    }

    // Calls f(index, before, after) for the elements of pages that are not shared; the caller compares.
    template <typename F> static void for_each_unshared(const PagedVector& before, const PagedVector& after, F&& f) {
        const T none{};
        const std::size_t pages = std::max(before.pages_.size(), after.pages_.size());
        for (std::size_t p = 0; p < pages; ++p) {
            const Page* a = p < before.pages_.size() ? before.pages_[p].get() : nullptr;
            const Page* b = p < after.pages_.size() ? after.pages_[p].get() : nullptr;
            if (a == b) {
                continue;
            }
            for (std::size_t i = 0; i < page_size; ++i) {
                f(p * page_size + i, a != nullptr ? (*a)[i] : none, b != nullptr ? (*b)[i] : none);
            }
        }
    }

private:
    std::vector<std::shared_ptr<Page>> pages_;
    std::size_t size_ = 0;
};

// A hash map in shards; only shards that are written to are copied.
template <typename K, typename V, typename Hash, std::size_t shard_count = 256> class ShardedMap {
public:
    using Shard = std::unordered_map<K, V, Hash>;

    [[nodiscard]] const V* find(const K& key) const {
        const Shard* shard = shards_[index(key)].get();
        if (shard == nullptr) {
            return nullptr;
        }
        const auto it = shard->find(key);
        return it == shard->end() ? nullptr : &it->second;
    }
    V& edit(const K& key) {
        const std::size_t i = index(key);
        const auto [it, added] = own(i).try_emplace(key);
        size_ += added ? 1 : 0;
        return it->second;
    }
    void erase(const K& key) { size_ -= own(index(key)).erase(key); }
    [[nodiscard]] std::size_t size() const { return size_; }

    template <typename F> void for_each(F&& f) const {
        for (const auto& shard : shards_) {
            if (shard != nullptr) {
                for (const auto& [key, value] : *shard) {
                    f(key, value);
                }
            }
        }
    }
    // Calls f(key, value) for what is in `a` and not in `b`.
    template <typename F> static void for_each_missing(const ShardedMap& a, const ShardedMap& b, F&& f) {
        for (std::size_t i = 0; i < shard_count; ++i) {
            if (a.shards_[i] == b.shards_[i] || a.shards_[i] == nullptr) {
                continue;
            }
            for (const auto& [key, value] : *a.shards_[i]) {
                if (b.shards_[i] == nullptr || !b.shards_[i]->contains(key)) {
                    f(key, value);
                }
            }
        }
    }

private:
    static std::size_t index(const K& key) { return (Hash{}(key) >> 7) % shard_count; }
    Shard& own(std::size_t i) {
        std::shared_ptr<Shard>& shard = shards_[i];
        if (shard == nullptr) {
            shard = std::make_shared<Shard>();
        } else if (shard.use_count() > 1) {
            shard = std::make_shared<Shard>(*shard);
        }
        return *shard;
    }

    std::array<std::shared_ptr<Shard>, shard_count> shards_;
    std::size_t size_ = 0;
};

}  // namespace sgbpf
