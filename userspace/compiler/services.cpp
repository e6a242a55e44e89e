// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "compiler/services.hpp"

#include <algorithm>

#include "compiler/trie.hpp"
#include "image/encode.hpp"

namespace sgbpf {
namespace {

std::uint32_t service_scope(std::uint32_t vpc, const Service& service) {
    const std::uint32_t protocol = service.protocol == kTcp    ? SG_SERVICE_TCP
                                   : service.protocol == kUdp  ? SG_SERVICE_UDP
                                   : service.protocol == kIcmp ? SG_SERVICE_ICMP
                                                               : SG_SERVICE_ANY;
    return SG_SCOPE_SERVICE(vpc, protocol, std::uint32_t{service.port});
}

// The ways of an endpoint hold for every narrower one too: longest match finds one row only.
std::shared_ptr<const SetTable> make_table(std::vector<TrieEntry> entries, Family family) {
    std::sort(entries.begin(), entries.end());
    SetTable table;
    for_each_inherited(entries, [&](const TrieEntry& entry, std::span<const std::uint32_t> directions) {
        std::uint32_t ways = 0;
        for (const std::uint32_t direction : directions) {
            ways |= SG_SERVICE_WAY(direction);
        }
        table.rows.push_back({entry.scope, prefix_of(entry, family), ways});
        return true;
    });
    table.sum = sum_of_services(table);
    return std::make_shared<const SetTable>(std::move(table));
}

}  // namespace

Result<void> resolve_services(Workspace& workspace) {
    std::array<std::vector<TrieEntry>, SG_FAMILIES> entries;
    for (const Service& service : workspace.host().services) {
        for (const auto& [name, number] : workspace.next.vpcs) {
            if (service.vpc != "*" && service.vpc != name) {
                continue;
            }
            if (number > SG_MAX_SERVICE_VPCS) {
                return unexpected(make_error(ErrorCode::kExhausted,
                                             "VPC " + name + " has number " + std::to_string(number) +
                                                 ": services are possible in " + std::to_string(SG_MAX_SERVICE_VPCS) +
                                                 " VPCs of a host; name fewer under \"services\" in host.yaml"));
            }
            const AddressBits bits = address_bits_of(service.endpoint.address);
            auto& of_family = entries[static_cast<std::size_t>(service.endpoint.family())];
            for (const std::uint32_t direction : {SG_IN, SG_OUT}) {
                if (direction == SG_IN ? service.in : service.out) {
                    of_family.push_back({service_scope(number, service), bits, service.endpoint.length, direction});
                }
            }
        }
    }
    for (std::size_t family = 0; family < SG_FAMILIES; ++family) {
        auto table = make_table(std::move(entries[family]), static_cast<Family>(family));
        if (table->rows != workspace.previous().services[family]->rows) {
            workspace.next.services[family] = std::move(table);
        }
    }
    return {};
}

bool has_services(const MapImage& image, std::uint32_t vpc) {
    return std::any_of(image.services.begin(), image.services.end(), [vpc](const auto& table) {
        // Rows are sorted by scope, in which the protocol stands above the VPC: look at each protocol's run.
        for (std::uint32_t protocol = SG_SERVICE_TCP; protocol <= SG_SERVICE_ANY; ++protocol) {
            const std::uint32_t first = SG_SCOPE_SERVICE(vpc, protocol, 0);
            const auto row = std::lower_bound(table->rows.begin(), table->rows.end(), first,
                                              [](const SetRow& a, std::uint32_t scope) { return a.scope < scope; });
            if (row != table->rows.end() && row->scope >> 16 == first >> 16) {
                return true;
            }
        }
        return false;
    });
}

}  // namespace sgbpf
