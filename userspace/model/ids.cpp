// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "model/ids.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <unordered_set>

#include <sys/random.h>

#include <fmt/format.h>

namespace sgbpf {

namespace {

constexpr std::size_t kIdDigits = 17;
constexpr std::size_t kLegacyDigits = 8;

const State& empty_state() {
    static const State kEmpty;
    return kEmpty;
}

class Assigner {
public:
    Assigner(State& desired, const State& applied, IdSource& source)
        : desired_(desired), applied_(applied), source_(source) {
        for_each_id(desired_, [&](const std::string& id) {
            taken_.insert(id);
            used_.insert(id);
        });
        for_each_id(applied_, [&](const std::string& id) { used_.insert(id); });
    }

    void run() {
        assign(desired_.vpcs, applied_.vpcs, "vpc-", [](const Vpc&, const Vpc&) { return true; });
        assign(desired_.peerings, applied_.peerings, "pcx-",
               [](const Peering& a, const Peering& b) { return a.vpcs == b.vpcs; });
        assign(desired_.prefix_lists, applied_.prefix_lists, "pl-",
               [](const PrefixList& a, const PrefixList& b) { return a.family == b.family; });
        assign(desired_.groups, applied_.groups, "sg-", [](const Group&, const Group&) { return true; });
        assign(desired_.interfaces, applied_.interfaces, "eni-",
               [](const Interface& a, const Interface& b) { return a.vpc == b.vpc; });
        for (auto& [key, group] : desired_.groups) {
            const auto before = applied_.groups.find(key);
            for (std::size_t direction = 0; direction < SG_DIRECTIONS; ++direction) {
                static const std::vector<Rule> kNone;
                assign_rules(group.rules[direction],
                             before == applied_.groups.end() ? kNone : before->second.rules[direction]);
            }
        }
    }

private:
    template <typename Visit> static void for_each_id(const State& state, const Visit& visit) {
        const auto objects = [&](const auto& map) {
            for (const auto& [key, object] : map) {
                if (!object.id.empty()) {
                    visit(object.id);
                }
            }
        };
        objects(state.vpcs);
        objects(state.peerings);
        objects(state.prefix_lists);
        objects(state.groups);
        objects(state.interfaces);
        for (const auto& [key, group] : state.groups) {
            for (const auto& rules : group.rules) {
                for (const Rule& rule : rules) {
                    if (!rule.id.empty()) {
                        visit(rule.id);
                    }
                }
            }
        }
    }

    template <typename Object, typename Same>
    void assign(std::map<std::string, Object>& objects, const std::map<std::string, Object>& before,
                std::string_view prefix, const Same& same) {
        for (auto& [key, object] : objects) {
            if (!object.id.empty()) {
                continue;
            }
            const auto old = before.find(key);
            if (old != before.end() && same(object, old->second)) {
                inherit(object.id, old->second.id);
            }
            if (object.id.empty()) {
                object.id = fresh(prefix);
            }
        }
    }

    void assign_rules(std::vector<Rule>& rules, const std::vector<Rule>& before) {
        std::vector<const Rule*> sorted;
        sorted.reserve(before.size());
        for (const Rule& rule : before) {
            sorted.push_back(&rule);
        }
        std::sort(sorted.begin(), sorted.end(), [](const Rule* a, const Rule* b) { return rule_less(*a, *b); });
        for (Rule& rule : rules) {
            if (!rule.id.empty()) {
                continue;
            }
            const auto old = std::lower_bound(sorted.begin(), sorted.end(), rule,
                                              [](const Rule* a, const Rule& b) { return rule_less(*a, b); });
            if (old != sorted.end() && same_rule(**old, rule)) {
                inherit(rule.id, (*old)->id);
            }
            if (rule.id.empty()) {
                rule.id = fresh("sgr-");
            }
        }
    }

    // Unless the file gave the old id to something else.
    void inherit(std::string& id, const std::string& old) {
        if (!old.empty() && taken_.insert(old).second) {
            id = old;
        }
    }

    std::string fresh(std::string_view prefix) {
        for (;;) {
            std::string id = source_.next(prefix);
            if (used_.insert(id).second) {
                taken_.insert(id);
                return id;
            }
        }
    }

    State& desired_;
    const State& applied_;
    IdSource& source_;
    std::unordered_set<std::string> taken_;  // by something in `desired`
    std::unordered_set<std::string> used_;   // anywhere
};

auto identity(const Rule& rule) {
    return std::tie(rule.protocol, rule.ports, rule.icmp, rule.peer);
}

}  // namespace

bool is_id(std::string_view text, std::string_view prefix) {
    if (!text.starts_with(prefix)) {
        return false;
    }
    const std::string_view digits = text.substr(prefix.size());
    return (digits.size() == kIdDigits || digits.size() == kLegacyDigits) &&
           digits.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string RandomIds::next(std::string_view prefix) {
    std::array<unsigned char, 9> random{};
    std::size_t filled = 0;
    while (filled < random.size()) {
        const ssize_t got = ::getrandom(random.data() + filled, random.size() - filled, 0);
        if (got < 0 && errno != EINTR) {
            std::abort();  // getrandom of 9 bytes fails only where the kernel has no such call (before 3.17)
        }
        filled += got > 0 ? static_cast<std::size_t>(got) : 0;
    }
    std::string id(prefix);
    for (const unsigned char byte : random) {
        id += fmt::format("{:02x}", byte);
    }
    id.resize(prefix.size() + kIdDigits);
    return id;
}

std::string CountingIds::next(std::string_view prefix) {
    return fmt::format("{}{:017x}", prefix, next_++);
}

void assign_ids(State& desired, const State* applied, IdSource& ids) {
    Assigner(desired, applied == nullptr ? empty_state() : *applied, ids).run();
}

bool same_rule(const Rule& a, const Rule& b) {
    return identity(a) == identity(b);
}

bool rule_less(const Rule& a, const Rule& b) {
    return identity(a) < identity(b);
}

}  // namespace sgbpf
