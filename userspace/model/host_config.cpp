// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "model/host_config.hpp"

#include "base/file.hpp"
#include "model/fields.hpp"
#include "model/services.hpp"
#include "model/tracking.hpp"

#include <array>

#include <sgbpf/abi/interface.h>

#include <fmt/format.h>

namespace sgbpf {

namespace {

constexpr std::size_t kMaxBytes = std::size_t{1} << 20;
// Kernel memory is allocated when the maps are created; this is a guard against typing errors, far above need.
constexpr std::uint64_t kMaxElements = std::uint64_t{1} << 26;

// A token bucket holds a second's worth in 32 bits, in parts of a packet: one for each tick of the second.
constexpr std::uint64_t kMaxExemptRate = 1'000'000;

void read_capacities(Site site, Capacities& capacities, Report& report) {
    struct Row {
        std::string_view key;
        std::uint32_t* value;
        std::uint64_t highest;
    };
    const Row rows[] = {
        {"interfaces", &capacities.interfaces, SG_MAX_INTERFACES},
        {"policy_slots", &capacities.policy_slots, kMaxElements},
        {"policies", &capacities.policies, kMaxElements},
        {"prefixes", &capacities.prefixes, kMaxElements},
        {"list_prefixes", &capacities.list_prefixes, kMaxElements},
        {"members", &capacities.members, kMaxElements},
        {"local_prefixes", &capacities.local_prefixes, kMaxElements},
        {"set_classes", &capacities.set_classes, kMaxElements},
        {"classes", &capacities.classes, kMaxElements},
        {"intervals", &capacities.intervals, kMaxElements},
        {"rule_refs", &capacities.rule_refs, kMaxElements},
        {"rules", &capacities.rules, kMaxElements},
        {"flows", &capacities.flows, kMaxFlows},
        {"ifindexes", &capacities.ifindexes, kMaxElements},
    };
    const Fields fields(site.node, site.path,
                        {"interfaces", "policy_slots", "policies", "prefixes", "list_prefixes", "members",
                         "local_prefixes", "set_classes", "classes", "intervals", "rule_refs", "rules", "flows",
                         "ifindexes"},
                        report);
    for (const Row& row : rows) {
        if (const YamlNode* node = fields.find(row.key)) {
            const Path path = site.path / row.key;
            // 2: element 0 of every array means "none", so a map of one element holds nothing.
            const auto number = read_number({*node, path}, 2, row.highest, "elements", report);
            *row.value = number ? static_cast<std::uint32_t>(*number) : *row.value;
        }
    }
}

void read_directory(const Fields& fields, std::string_view key, const Path& parent, std::string& value,
                    Report& report) {
    const YamlNode* node = fields.find(key);
    if (node == nullptr) {
        return;
    }
    const Path path = parent / key;
    const auto text = read_text({*node, path}, "an absolute directory", report);
    if (text && !text->starts_with('/')) {
        report.error(node->place, path, fmt::format("\"{}\" is not an absolute path", *text));
    } else if (text) {
        value = *text;
    }
}

HostConfig read_config(const YamlNode& root, Report& report) {
    HostConfig config;
    const Path path;
    Fields fields(root, path,
                  {"schema", "bpffs", "state_dir", "hook", "capacities", "tracking", "services", "exempt_rate"},
                  report);
    if (const YamlNode* schema = fields.require("schema", "; begin the file with schema: sgbpf-host/v1")) {
        const Path here = path / "schema";
        static constexpr std::array<std::string_view, 1> kSchemas = {"sgbpf-host/v1"};
        read_word({*schema, here}, kSchemas, report);
    }
    read_directory(fields, "bpffs", path, config.bpffs, report);
    read_directory(fields, "state_dir", path, config.state_dir, report);
    if (const YamlNode* hook = fields.find("hook")) {
        const Path here = path / "hook";
        config.hook = read_word({*hook, here}, kHookNames, report).value_or(kHookNames[0]);
    }
    if (const YamlNode* capacities = fields.find("capacities")) {
        const Path here = path / "capacities";
        read_capacities({*capacities, here}, config.capacities, report);
    }
    if (const YamlNode* tracking = fields.find("tracking")) {
        const Path here = path / "tracking";
        config.policy.tracking = read_tracking({*tracking, here}, report);
    }
    if (const YamlNode* services = fields.find("services")) {
        const Path here = path / "services";
        config.policy.services = read_services({*services, here}, report);
    }
    if (const YamlNode* rate = fields.find("exempt_rate")) {
        const Path here = path / "exempt_rate";
        const auto number = read_number({*rate, here}, 0, kMaxExemptRate, "packets a second", report);
        config.policy.exempt_rate = number ? static_cast<std::uint32_t>(*number) : config.policy.exempt_rate;
    }
    return config;
}

}  // namespace

std::string host_policy_words(const HostPolicy& policy) {
    std::string words = fmt::format("exempt_rate {}", policy.exempt_rate);
    for (const auto& [key, word] : tracking_words(policy.tracking)) {
        words += fmt::format("; {} {}", key, word);
    }
    for (const Service& service : policy.services) {
        words += fmt::format("; service {} {} {} {} {} {}", service.vpc, service.endpoint.to_string(), service.protocol,
                             service.port, service.in, service.out);
    }
    return words;
}

Result<HostConfig> load_host_config(const std::string& path, bool required) {
    const auto bytes = read_file(path, kMaxBytes);
    if (!bytes) {
        if (bytes.error().code == ErrorCode::kNotFound && !required) {
            return HostConfig{};
        }
        return unexpected(bytes.error());
    }
    const std::string text = normalise_text(*bytes);
    Report report(path, text);
    YamlNode root;
    HostConfig config;
    if (read_yaml(text, report, root)) {
        config = read_config(root, report);
    }
    const std::vector<Diagnostic> errors = report.take_errors();
    if (errors.empty()) {
        return config;
    }
    std::string detail;
    for (const Diagnostic& error : errors) {
        detail += error.to_string() + "\n";
    }
    return unexpected(make_error(ErrorCode::kInvalid, errors.front().to_string(), 0, std::move(detail)));
}

}  // namespace sgbpf
