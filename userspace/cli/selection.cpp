// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "cli/selection.hpp"

#include "base/strings.hpp"
#include "cli/output.hpp"

namespace sgbpf::cli {

bool read_peer(Context& context, const std::string& text, std::optional<Prefix>& peer) {
    if (text.empty()) {
        return true;
    }
    if (auto address = Address::parse(text)) {
        peer = Prefix::host(*address);
        return true;
    }
    auto parsed = Prefix::parse(text);
    if (!parsed) {
        context.fail(kExitBadInput, "--peer " + parsed.error().message);
        return false;
    }
    peer = parsed->prefix;
    return true;
}

bool read_protocol(Context& context, const std::string& text, std::optional<Protocol>& protocol) {
    if (text.empty()) {
        return true;
    }
    const std::vector<std::pair<std::string, Protocol>> names = {
        {"tcp", kTcp}, {"udp", kUdp}, {"icmp", kIcmp}, {"icmpv6", kIcmpv6}};
    for (const auto& [name, number] : names) {
        if (text == name) {
            protocol = number;
            return true;
        }
    }
    const auto number = parse_decimal(text);
    if (!number || *number > 255) {
        context.fail(kExitBadInput, "--protocol " + harmless(text) + ": neither tcp, udp, icmp, icmpv6 nor 0-255");
        return false;
    }
    protocol = static_cast<Protocol>(*number);
    return true;
}

}  // namespace sgbpf::cli
