// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "model/changes.hpp"

#include "model/ids.hpp"
#include "model/text.hpp"
#include "model/tracking.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace sgbpf {

namespace {

std::string prefixes_text(const std::vector<Prefix>& prefixes) {
    std::vector<std::string> texts;
    for (const Prefix& prefix : prefixes) {
        texts.push_back(prefix.to_string());
    }
    return fmt::format("{}", fmt::join(texts, " "));
}

std::string_view flag_text(bool flag) {
    return flag ? "true" : "false";
}

bool entry_less(const PrefixListEntry& a, const PrefixListEntry& b) {
    return a.prefix < b.prefix;
}

class Comparer {
public:
    Comparer(const State& from, const State& to) : from_(from), to_(to) {}

    std::vector<Change> run() {
        each(from_.vpcs, to_.vpcs, [&](const Vpc* a, const Vpc* b) { vpc(a, b); });
        each(from_.peerings, to_.peerings, [&](const Peering* a, const Peering* b) { peering(a, b); });
        each(from_.prefix_lists, to_.prefix_lists, [&](const PrefixList* a, const PrefixList* b) { list(a, b); });
        each(from_.groups, to_.groups, [&](const Group* a, const Group* b) { group(a, b); });
        each(from_.interfaces, to_.interfaces, [&](const Interface* a, const Interface* b) { interface(a, b); });
        return std::move(changes_);
    }

private:
    void add(char sign, std::string text) { changes_.push_back({sign, std::move(text)}); }
    void changed(const std::string& object, std::string_view field, std::string_view before, std::string_view after) {
        if (before != after) {
            add('~', fmt::format("{} {} {} -> {}", object, field, before.empty() ? "(none)" : before,
                                 after.empty() ? "(none)" : after));
        }
    }

    // In the order of keys: (old, null) removed, (null, new) added, (old, new) both.
    template <typename Map, typename Visit> static void each(const Map& from, const Map& to, const Visit& visit) {
        auto a = from.begin();
        auto b = to.begin();
        while (a != from.end() || b != to.end()) {
            if (b == to.end() || (a != from.end() && a->first < b->first)) {
                visit(&a++->second, nullptr);
            } else if (a == from.end() || b->first < a->first) {
                visit(nullptr, &b++->second);
            } else {
                visit(&a++->second, &b++->second);
            }
        }
    }

    // Elements of two sorted lists: `only` (sign, element), `both` (old, new).
    template <typename List, typename Less, typename Only, typename Both>
    static void merge(const List& from, const List& to, const Less& less, const Only& only, const Both& both) {
        auto a = from.begin();
        auto b = to.begin();
        while (a != from.end() || b != to.end()) {
            if (b == to.end() || (a != from.end() && less(*a, *b))) {
                only('-', *a++);
            } else if (a == from.end() || less(*b, *a)) {
                only('+', *b++);
            } else {
                both(*a++, *b++);
            }
        }
    }
    template <typename List> static List sorted(List list) {
        std::sort(list.begin(), list.end());
        return list;
    }
    template <typename List, typename Text>
    void elements(const List& from, const List& to, std::string_view what, const Text& text) {
        merge(
            sorted(from), sorted(to), std::less<>(),
            [&](char sign, const auto& element) { add(sign, fmt::format("{} {}", what, text(element))); },
            [](const auto&, const auto&) {});
    }

    // The name where it is clear in both states, else "vpc/name".
    std::string group_name(const std::string& key) const {
        const auto find = [&](const State& state) {
            const auto found = state.groups.find(key);
            return found == state.groups.end() ? nullptr : &found->second;
        };
        const Group* group = find(to_) != nullptr ? find(to_) : find(from_);
        if (group == nullptr) {
            return key;
        }
        const bool one_vpc = from_.vpcs.size() <= 1 && to_.vpcs.size() <= 1;
        return one_vpc ? group->name : key;
    }

    void vpc(const Vpc* a, const Vpc* b) {
        const std::string object = "vpc " + (a != nullptr ? a : b)->name;
        if (a == nullptr || b == nullptr) {
            add(a == nullptr ? '+' : '-', fmt::format("{} {}", object, prefixes_text((a != nullptr ? a : b)->cidrs)));
            return;
        }
        elements(a->cidrs, b->cidrs, "cidr of " + object, [](const Prefix& prefix) { return prefix.to_string(); });
    }

    void peering(const Peering* a, const Peering* b) {
        const Peering& any = a != nullptr ? *a : *b;
        const std::string object = "peering " + any.name;
        const auto vpcs = [](const Peering& peering) {
            return fmt::format("{} and {}", peering.vpcs[0], peering.vpcs[1]);
        };
        if (a == nullptr || b == nullptr) {
            add(a == nullptr ? '+' : '-', fmt::format("{} of {}, {}", object, vpcs(any), any.status));
            return;
        }
        changed(object, "vpcs", vpcs(*a), vpcs(*b));
        changed(object, "status", a->status, b->status);
    }

    void list(const PrefixList* a, const PrefixList* b) {
        const PrefixList& any = a != nullptr ? *a : *b;
        const std::string object = "prefix list " + any.name;
        if (a == nullptr || b == nullptr) {
            add(a == nullptr ? '+' : '-', fmt::format("{} ({}, {} of {} entries)", object, family_text(any.family),
                                                      any.entries.size(), any.max_entries));
            return;
        }
        changed(object, "family", family_text(a->family), family_text(b->family));
        changed(object, "max_entries", std::to_string(a->max_entries), std::to_string(b->max_entries));
        const auto by_prefix = [](const std::vector<PrefixListEntry>& entries) {
            std::vector<const PrefixListEntry*> pointers;
            pointers.reserve(entries.size());
            for (const PrefixListEntry& entry : entries) {
                pointers.push_back(&entry);
            }
            std::sort(pointers.begin(), pointers.end(),
                      [](const auto* x, const auto* y) { return entry_less(*x, *y); });
            return pointers;
        };
        merge(
            by_prefix(a->entries), by_prefix(b->entries),
            [](const auto* x, const auto* y) { return entry_less(*x, *y); },
            [&](char sign, const PrefixListEntry* entry) {
                add(sign, fmt::format("entry {} {}", any.name, entry->prefix.to_string()));
            },
            [&](const PrefixListEntry* before, const PrefixListEntry* after) {
                if (before->description != after->description) {
                    add('~', fmt::format("entry {} {} description", any.name, after->prefix.to_string()));
                }
            });
    }

    void group(const Group* a, const Group* b) {
        static const Group kNone;
        const std::string name = group_name((a != nullptr ? a : b)->key);
        const std::string object = "group " + name;
        if (a == nullptr || b == nullptr) {
            add(a == nullptr ? '+' : '-', object);
        } else {
            changed(object, "description", a->description, b->description);
            changed(object, "owner", a->owner, b->owner);
            if (a->tags != b->tags) {
                add('~', object + " tags");
            }
        }
        for (unsigned direction = 0; direction < SG_DIRECTIONS; ++direction) {
            rules((a != nullptr ? *a : kNone).rules[direction], (b != nullptr ? *b : kNone).rules[direction], name,
                  direction);
        }
    }

    void rules(const std::vector<Rule>& from, const std::vector<Rule>& to, const std::string& name,
               unsigned direction) {
        const auto less = [](const Rule* x, const Rule* y) { return rule_less(*x, *y); };
        const auto by_identity = [&](const std::vector<Rule>& all) {
            std::vector<const Rule*> pointers;
            pointers.reserve(all.size());
            for (const Rule& rule : all) {
                pointers.push_back(&rule);
            }
            std::sort(pointers.begin(), pointers.end(), less);
            return pointers;
        };
        const auto text = [&](const Rule* rule) {
            return fmt::format("rule {} {} {}", name, direction_text(direction), rule_text(*rule, direction));
        };
        merge(
            by_identity(from), by_identity(to), less, [&](char sign, const Rule* rule) { add(sign, text(rule)); },
            [&](const Rule* before, const Rule* after) {
                if (before->description != after->description) {
                    add('~', text(after) + " description");
                }
                if (before->tags != after->tags) {
                    add('~', text(after) + " tags");
                }
            });
    }

    // Key by key: "interface web0 tracking.max_flows (none) -> 1000"; none = the host's default.
    void tracking(const std::string& object, const TrackingOptions& from, const TrackingOptions& to) {
        std::map<std::string, std::pair<std::string, std::string>> both;
        for (const auto& [key, word] : tracking_words(from)) {
            both[key].first = word;
        }
        for (const auto& [key, word] : tracking_words(to)) {
            both[key].second = word;
        }
        for (const auto& [key, words] : both) {
            changed(object, "tracking." + key, words.first, words.second);
        }
    }

    void interface(const Interface* a, const Interface* b) {
        static const Interface kNone;
        const Interface& before = a != nullptr ? *a : kNone;
        const Interface& after = b != nullptr ? *b : kNone;
        const std::string& name = (a != nullptr ? a : b)->name;
        const std::string object = "interface " + name;
        if (a == nullptr || b == nullptr) {
            const Interface& any = a != nullptr ? *a : *b;
            add(a == nullptr ? '+' : '-',
                fmt::format("{} ({}, vpc {}, {})", object, match_text(any.match), any.vpc, role_text(any.role)));
        } else {
            changed(object, "vpc", a->vpc, b->vpc);
            changed(object, "role", role_text(a->role), role_text(b->role));
            changed(object, "match", match_text(a->match), match_text(b->match));
            const auto mac = [](const Interface& i) { return i.mac ? i.mac->to_string() : std::string(); };
            changed(object, "mac", mac(*a), mac(*b));
            changed(object, "source_dest_check", flag_text(a->source_dest_check), flag_text(b->source_dest_check));
            const auto timeout = [&](std::string_view field, std::uint32_t x, std::uint32_t y) {
                changed(object, field, fmt::format("{} s", x), fmt::format("{} s", y));
            };
            timeout("tcp_established", a->timeouts.tcp_established, b->timeouts.tcp_established);
            timeout("udp", a->timeouts.udp, b->timeouts.udp);
            timeout("udp_stream", a->timeouts.udp_stream, b->timeouts.udp_stream);
            tracking(object, a->tracking, b->tracking);
        }
        elements(before.addresses, after.addresses, "address " + name, address_text);
        elements(before.allowed_addresses, after.allowed_addresses, "allowed address " + name, address_text);
        elements(before.groups, after.groups, "association " + name,
                 [&](const std::string& key) { return group_name(key); });
    }

    const State& from_;
    const State& to_;
    std::vector<Change> changes_;
};

}  // namespace

std::vector<Change> changes(const State& from, const State& to) {
    return Comparer(from, to).run();
}

}  // namespace sgbpf
