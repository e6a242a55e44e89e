// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "model/services.hpp"

#include "base/strings.hpp"
#include "model/protocols.hpp"
#include "model/text.hpp"

#include <algorithm>
#include <array>
#include <tuple>

#include <fmt/format.h>

namespace sgbpf {
namespace {

// "tcp 169.254.169.254 port 80 of VPC prod"
std::string service_text(const Service& service) {
    return fmt::format("{} {}{}{}", protocol_text(service.protocol), address_text(service.endpoint),
                       has_ports(service.protocol) ? fmt::format(" port {}", service.port) : "",
                       service.vpc == "*" ? "" : " of VPC " + service.vpc);
}

bool read_vpc(const Fields& fields, const Path& path, Service& service, Report& report) {
    const YamlNode* node = fields.find("vpc");
    if (node == nullptr) {
        return true;
    }
    const Path here = path / "vpc";
    const auto text = read_text({*node, here}, "the name of a VPC, or \"*\" for all", report);
    const std::string problem = text ? name_problem(*text) : "";
    if (!problem.empty()) {
        report.error(node->place, here, problem);
    } else if (text) {
        service.vpc = *text;
    }
    return text && problem.empty();
}

bool read_endpoint(Fields& fields, const Path& path, Service& service, Report& report) {
    const YamlNode* node = fields.require("address", "; say where the service answers");
    if (node == nullptr) {
        return false;
    }
    const Path here = path / "address";
    const auto endpoint = read_address({*node, here}, report);
    if (endpoint && endpoint->is_any()) {
        report.error(node->place, here, "every address is no endpoint: nothing would be filtered any more");
        return false;
    }
    service.endpoint = endpoint.value_or(Prefix{});
    return endpoint.has_value();
}

bool read_selector(Fields& fields, const Path& path, Service& service, Report& report) {
    const YamlNode* node = fields.require("protocol", "; write tcp, udp, icmp or all");
    if (node == nullptr) {
        return false;
    }
    const Path here = path / "protocol";
    const auto text = read_text({*node, here}, "a protocol", report);
    if (!text) {
        return false;
    }
    const auto protocol = parse_protocol(*text);
    if (!protocol) {
        report.error(node->place, here, protocol.error().message);
        return false;
    }
    if (!has_ports(*protocol) && !is_icmp(*protocol) && *protocol != kAllProtocols) {
        report.error(node->place, here, fmt::format("a service is tcp, udp, icmp or all, not {}", printable(*text)));
        return false;
    }
    if (is_icmp(*protocol) && (*protocol == kIcmpv6) != (service.endpoint.family() == Family::kIpv6)) {
        report.error(node->place, here,
                     fmt::format("{} is not the ICMP of {}", printable(*text), address_text(service.endpoint)));
        return false;
    }
    service.protocol = is_icmp(*protocol) ? kIcmp : *protocol;
    const Path port_path = path / "port";
    if (!has_ports(service.protocol)) {
        if (const YamlNode* port = fields.find("port")) {
            report.error(port->place, port_path, fmt::format("protocol {} has no ports here", printable(*text)));
            return false;
        }
        return true;
    }
    const YamlNode* port = fields.require("port", "; a service is an address and a port (SG-6.2)");
    if (port == nullptr) {
        return false;
    }
    const auto number = read_number({*port, port_path}, 1, 65535, "", report);
    service.port = static_cast<std::uint16_t>(number.value_or(0));
    return number.has_value();
}

}  // namespace

std::vector<Service> read_services(Site site, Report& report) {
    std::vector<Service> services;
    const auto* elements = list_elements(site, "services", report);
    if (elements == nullptr) {
        return services;
    }
    std::vector<std::size_t> origins;  // element of services[i]
    for (std::size_t i = 0; i < elements->size(); ++i) {
        const YamlNode& element = (*elements)[i];
        const Path here = site.path[i];
        Fields fields(element, here, {"vpc", "address", "protocol", "port", "direction", "comment"}, report);
        if (!fields.valid()) {
            continue;
        }
        Service service;
        bool good = read_vpc(fields, here, service, report);
        good = read_endpoint(fields, here, service, report) && good;
        good = good && read_selector(fields, here, service, report);
        if (const YamlNode* node = fields.find("direction")) {
            static constexpr std::array<std::string_view, 3> kWays = {"both", "in", "out"};
            const Path way_path = here / "direction";
            const auto way = read_word({*node, way_path}, kWays, report);
            good = good && way;
            service.in = way != "out";
            service.out = way != "in";
        }
        if (const YamlNode* node = fields.find("comment")) {
            const Path comment_path = here / "comment";
            service.comment = read_description({*node, comment_path}, true, report).value_or("");
        }
        if (!good) {
            continue;
        }
        const auto same = [&](const Service& other) {
            return std::tie(other.vpc, other.endpoint, other.protocol, other.port) ==
                   std::tie(service.vpc, service.endpoint, service.protocol, service.port);
        };
        const auto first = std::find_if(services.begin(), services.end(), same);
        if (first != services.end()) {
            const std::size_t element_of_first = origins[static_cast<std::size_t>(first - services.begin())];
            report.error(element.place, here,
                         fmt::format("\"{}\" is there already, as {} on line {}", service_text(service),
                                     site.path[element_of_first].to_string(),
                                     (*elements)[element_of_first].place.line + 1));
            continue;
        }
        services.push_back(std::move(service));
        origins.push_back(i);
    }
    return services;
}

std::vector<std::string> services_without_vpc(const std::vector<Service>& services, const State& state) {
    std::vector<std::string> sentences;
    for (std::size_t i = 0; i < services.size(); ++i) {
        const std::string& vpc = services[i].vpc;
        if (vpc != "*" && !state.vpcs.contains(vpc)) {
            sentences.push_back(fmt::format("host.yaml: services[{}].vpc: the state has no VPC {}{}; {} stays filtered",
                                            i, vpc, did_you_mean(vpc, keys_of(state.vpcs)), service_text(services[i])));
        }
    }
    return sentences;
}

}  // namespace sgbpf
