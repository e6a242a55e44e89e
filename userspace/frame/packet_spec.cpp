// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "frame/packet_spec.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include <fmt/format.h>

#include "base/strings.hpp"
#include "model/protocols.hpp"

namespace sgbpf {

namespace {

constexpr std::string_view kExample = "tcp 192.0.2.7:40000 -> 10.0.1.10:443";
constexpr std::uint8_t kSyn = 0x02;

// In the order in which they are printed.
struct FlagLetter {
    char letter;
    std::uint8_t bit;
};
constexpr FlagLetter kFlags[] = {{'F', 0x01}, {'S', 0x02}, {'R', 0x04}, {'P', 0x08},
                                 {'A', 0x10}, {'U', 0x20}, {'E', 0x40}, {'C', 0x80}};

// Headers that IPv6 puts in front of the upper layer (SG-2.12): no protocol of a packet. AH is looked through too,
// but rules may name it.
constexpr Protocol kExtensionHeaders[] = {0, 43, 44, 60, 135, 139, 140};

Unexpected invalid(std::string message) {
    return unexpected(make_error(ErrorCode::kInvalid, std::move(message)));
}

// Words, with the arrow as one of its own: "->".
std::vector<std::string> words_of(std::string_view text) {
    std::vector<std::string> words;
    std::string word;
    const auto finish = [&] {
        if (!word.empty()) {
            words.push_back(std::move(word));
            word.clear();
        }
    };
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (c == '>' || text.substr(i, 2) == "->") {
            finish();
            words.emplace_back("->");
            i += c == '-' ? 1 : 0;
        } else if (c == ' ' || c == '\t') {
            finish();
        } else {
            word += c;
        }
    }
    finish();
    return words;
}

// What is left of the words; `take` hands out one after the other.
class Words {
public:
    explicit Words(std::vector<std::string> words) : words_(std::move(words)) {}
    [[nodiscard]] bool empty() const { return at_ == words_.size(); }
    [[nodiscard]] const std::string& next() const { return words_[at_]; }
    [[nodiscard]] const std::string& last() const { return words_[at_ - 1]; }
    std::string take() { return words_[at_++]; }
    bool take_if(std::string_view word) {
        const bool is = !empty() && next() == word;
        at_ += is ? 1 : 0;
        return is;
    }

private:
    std::vector<std::string> words_;
    std::size_t at_ = 0;
};

struct Endpoint {
    Address address;
    std::optional<std::uint16_t> port;
};

Result<Endpoint> endpoint(const std::string& word) {
    std::string_view address = word;
    std::optional<std::string_view> port;
    if (word.starts_with('[')) {
        const auto close = address.find(']');
        if (close == std::string_view::npos || (close + 1 < address.size() && address[close + 1] != ':')) {
            return invalid(fmt::format("\"{}\" is no address; IPv6 with a port is [2001:db8::1]:443", printable(word)));
        }
        if (close + 1 < address.size()) {
            port = address.substr(close + 2);
        }
        address = address.substr(1, close - 1);
        if (address.find(':') == std::string_view::npos) {
            return invalid(fmt::format("\"{}\": brackets are for IPv6 addresses", printable(word)));
        }
    } else if (std::count(word.begin(), word.end(), ':') == 1) {
        const auto colon = address.find(':');
        port = address.substr(colon + 1);
        address = address.substr(0, colon);
    }
    auto parsed = Address::parse(address);
    if (!parsed) {
        return unexpected(parsed.error());
    }
    Endpoint end{*parsed, {}};
    if (port) {
        const auto number = parse_decimal(*port);
        if (!number || *number > 65535) {
            return invalid(fmt::format("\"{}\" in {} is no port; write a number from 0 to 65535", printable(*port),
                                       printable(word)));
        }
        end.port = static_cast<std::uint16_t>(*number);
    }
    return end;
}

// A number from 0 to `highest` after the word `what`.
Result<unsigned> number_after(Words& words, std::string_view what, unsigned highest) {
    if (words.empty()) {
        return invalid(fmt::format("after \"{}\" comes a number from 0 to {}", what, highest));
    }
    const auto number = parse_decimal(words.next());
    if (!number || *number > highest) {
        return invalid(
            fmt::format("\"{}\" is no {}; write a number from 0 to {}", printable(words.next()), what, highest));
    }
    words.take();
    return static_cast<unsigned>(*number);
}

Result<Protocol> protocol_of(const std::string& word) {
    const std::string lower = to_lower(word);
    if (const auto number = protocol_by_name(lower)) {
        return *number;
    }
    if (const auto number = parse_decimal(word)) {
        if (*number > 255) {
            return invalid(fmt::format("{} exceeds 255, the highest protocol number", *number));
        }
        return static_cast<Protocol>(*number);
    }
    if (lower == "all" || lower == "-1") {
        return invalid(fmt::format("\"{}\": a packet has one protocol; write tcp, udp, icmp ...", word));
    }
    auto names = protocol_names();
    names.emplace_back("arp");
    const std::string close = did_you_mean(lower, names);
    return invalid(fmt::format("\"{}\" is no protocol{}", printable(word),
                               close.empty() ? fmt::format("; write for instance \"{}\"", kExample) : close));
}

Result<void> tcp_tail(Words& words, PacketSpec& packet) {
    packet.tcp_flags = kSyn;
    if (words.empty()) {
        return {};
    }
    const std::string word = words.take();
    packet.tcp_flags = 0;
    for (const char c : word == "none" ? std::string() : word) {
        const auto* flag =
            std::find_if(std::begin(kFlags), std::end(kFlags), [&](auto one) { return one.letter == c; });
        if (flag == std::end(kFlags)) {
            return invalid(fmt::format(
                "\"{}\" is no TCP flags; write letters of FSRPAUEC, for instance S or SA, or none", printable(word)));
        }
        packet.tcp_flags = static_cast<std::uint8_t>(packet.tcp_flags | flag->bit);
    }
    return {};
}

Result<void> icmp_tail(Words& words, PacketSpec& packet) {
    bool code_is_named = false;
    packet.icmp_type = packet.protocol == kIcmpv6 ? 128 : 8;
    if (words.take_if("type")) {
        auto type = number_after(words, "type", 255);
        if (!type) {
            return unexpected(type.error());
        }
        packet.icmp_type = static_cast<std::uint8_t>(*type);
    } else if (!words.empty() && words.next() != "code" && words.next() != "id") {
        const auto named = icmp_by_name(packet.protocol, words.next());
        if (!named) {
            return invalid(
                fmt::format("\"{}\" is no {} type{}", printable(words.next()), protocol_name(packet.protocol), [&] {
                    const auto names = icmp_names(packet.protocol);
                    const std::string close = did_you_mean(words.next(), names);
                    return close.empty() ? "; write its name or \"type NUMBER\"" : close;
                }()));
        }
        words.take();
        packet.icmp_type = static_cast<std::uint8_t>(named->type);
        code_is_named = named->code >= 0;
        packet.icmp_code = static_cast<std::uint8_t>(std::max(named->code, 0));
    }
    if (!code_is_named && words.take_if("code")) {
        auto code = number_after(words, "code", 255);
        if (!code) {
            return unexpected(code.error());
        }
        packet.icmp_code = static_cast<std::uint8_t>(*code);
    }
    const bool has_id = icmp_has_id(packet.protocol, packet.icmp_type);
    packet.icmp_id = has_id ? 1 : 0;
    if (has_id && words.take_if("id")) {
        auto id = number_after(words, "id", 65535);
        if (!id) {
            return unexpected(id.error());
        }
        packet.icmp_id = static_cast<std::uint16_t>(*id);
    }
    return {};
}

// Ports are there exactly where the protocol has them.
Result<void> take_ports(PacketSpec& packet, const Endpoint& from, const Endpoint& to, std::string_view protocol,
                        std::string_view last_word) {
    if (!has_ports(packet.protocol)) {
        if (from.port || to.port) {
            return invalid(fmt::format(
                "{}: {} has no ports",
                from.port ? endpoint_text(from.address, from.port) : endpoint_text(to.address, to.port), protocol));
        }
        return {};
    }
    if (!to.port) {
        return invalid(
            fmt::format("{} lacks the port; write {}", printable(last_word), endpoint_text(to.address, 443)));
    }
    packet.source_port = from.port.value_or(kDefaultSourcePort);
    packet.destination_port = *to.port;
    return {};
}

Result<PacketSpec> read_packet(Words words) {
    if (words.empty()) {
        return invalid(fmt::format("no packet is given; write for instance \"{}\"", kExample));
    }
    PacketSpec packet;
    const std::string name = words.take();
    const bool arp = to_lower(name) == "arp";
    if (!arp) {
        auto protocol = protocol_of(name);
        if (!protocol) {
            return unexpected(protocol.error());
        }
        packet.protocol = *protocol;
    }
    std::array<Endpoint, 2> ends;
    std::string last_word;
    for (std::size_t i = 0; i < ends.size(); ++i) {
        if (i == 1 && !words.take_if("->")) {
            return invalid(words.empty() ? fmt::format("after {} comes \"->\" and a destination", printable(last_word))
                                         : fmt::format("after {} comes \"->\", not \"{}\"", printable(last_word),
                                                       printable(words.next())));
        }
        if (words.empty() || words.next() == "->") {
            return invalid(fmt::format("after {} comes the {} address", printable(words.last()),
                                       i == 0 ? "source" : "destination"));
        }
        last_word = words.take();
        auto end = endpoint(last_word);
        if (!end) {
            return unexpected(end.error());
        }
        ends[i] = *end;
    }
    packet.source = ends[0].address;
    packet.destination = ends[1].address;
    const bool ipv6 = packet.source.family == Family::kIpv6;
    if (packet.source.family != packet.destination.family) {
        return invalid(fmt::format("{} is IPv{} and {} is IPv{}; a packet has one family", packet.source.to_string(),
                                   ipv6 ? 6 : 4, packet.destination.to_string(), ipv6 ? 4 : 6));
    }
    if (auto ports = take_ports(packet, ends[0], ends[1], name, last_word); !ports) {
        return unexpected(ports.error());
    }
    Result<void> tail;
    if (arp) {
        if (ipv6) {
            return invalid(fmt::format("arp: {} is IPv6, which has no ARP; write \"icmpv6 ... neighbor-solicitation\"",
                                       packet.source.to_string()));
        }
        packet.kind = words.take_if("reply") ? PacketSpec::Kind::kArpReply : PacketSpec::Kind::kArpRequest;
        if (packet.kind == PacketSpec::Kind::kArpRequest) {
            words.take_if("request");
        }
    } else if (packet.protocol == kTcp) {
        tail = tcp_tail(words, packet);
    } else if (packet.has_icmp()) {
        tail = icmp_tail(words, packet);
    } else if (is_icmp(packet.protocol) && !parse_decimal(name)) {
        return invalid(
            fmt::format("{} is IPv{}; write {}", packet.source.to_string(), ipv6 ? 6 : 4, ipv6 ? "icmpv6" : "icmp"));
    } else if (ipv6 && std::find(std::begin(kExtensionHeaders), std::end(kExtensionHeaders), packet.protocol) !=
                           std::end(kExtensionHeaders)) {
        return invalid(fmt::format("{} is an extension header in IPv6; write the protocol after it", packet.protocol));
    }
    if (!tail) {
        return unexpected(tail.error());
    }
    if (!words.empty()) {
        return invalid(fmt::format("\"{}\" is too much after \"{}\"", printable(words.next()), to_text(packet)));
    }
    return packet;
}

}  // namespace

Result<PacketSpec> parse_packet(std::string_view text) {
    return read_packet(Words(words_of(text)));
}

Result<PacketSpec> parse_packet(std::span<const std::string> words) {
    return parse_packet(fmt::format("{}", fmt::join(words, " ")));
}

std::string endpoint_text(const Address& address, std::optional<std::uint16_t> port) {
    if (!port) {
        return address.to_string();
    }
    return address.family == Family::kIpv6 ? fmt::format("[{}]:{}", address.to_string(), *port)
                                           : fmt::format("{}:{}", address.to_string(), *port);
}

std::string tcp_flags_text(std::uint8_t flags) {
    // People say SYN-ACK and FIN-ACK: the rest stands in front of ACK, in the order of the bits.
    std::string text;
    for (const FlagLetter& flag : kFlags) {
        if ((flags & flag.bit) != 0) {
            text += flag.letter;
        }
    }
    return text.empty() ? "none" : text;
}

std::string icmp_type_text(Protocol protocol, std::uint8_t type, std::uint8_t code) {
    if (const auto exact = icmp_name(protocol, {type, code}); !exact.empty()) {
        return std::string(exact);
    }
    const auto name = icmp_name(protocol, {type, -1});
    if (name.empty()) {
        return fmt::format("type {} code {}", type, code);
    }
    return code == 0 ? std::string(name) : fmt::format("{} code {}", name, code);
}

bool icmp_has_id(Protocol protocol, std::uint8_t type) {
    if (protocol == kIcmpv6) {
        return type == 128 || type == 129;
    }
    return type == 0 || type == 8 || (type >= 13 && type <= 18);
}

std::string to_text(const PacketSpec& packet) {
    if (packet.kind != PacketSpec::Kind::kIp) {
        return fmt::format("arp {} -> {}{}", packet.source.to_string(), packet.destination.to_string(),
                           packet.kind == PacketSpec::Kind::kArpReply ? " reply" : "");
    }
    const bool ports = has_ports(packet.protocol);
    const auto end = [&](const Address& address, std::uint16_t port) {
        return endpoint_text(address, ports ? std::optional(port) : std::nullopt);
    };
    // icmp in IPv6 and icmpv6 in IPv4 are numbers like any other.
    const bool by_number = is_icmp(packet.protocol) && !packet.has_icmp();
    const std::string_view name = by_number ? std::string_view() : protocol_name(packet.protocol);
    std::string text =
        fmt::format("{} {} -> {}", name.empty() ? std::to_string(packet.protocol) : std::string(name),
                    end(packet.source, packet.source_port), end(packet.destination, packet.destination_port));
    if (packet.protocol == kTcp) {
        text += " " + tcp_flags_text(packet.tcp_flags);
    } else if (packet.has_icmp()) {
        text += " " + icmp_type_text(packet.protocol, packet.icmp_type, packet.icmp_code);
        if (icmp_has_id(packet.protocol, packet.icmp_type)) {
            text += fmt::format(" id {}", packet.icmp_id);
        }
    }
    return text;
}

}  // namespace sgbpf
