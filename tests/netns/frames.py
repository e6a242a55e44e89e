# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Builds frames byte by byte, for AF_PACKET and tap; checksums right by default (RFC 1071)."""

import ipaddress
import struct

ETH_IPV4, ETH_IPV6, ETH_ARP, ETH_VLAN = 0x0800, 0x86DD, 0x0806, 0x8100
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
SYN, ACK, RST, FIN = 0x02, 0x10, 0x04, 0x01


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def mac_bytes(text):
    return bytes.fromhex(text.replace(":", ""))


def ethernet(source, target, kind, payload, vlans=()):
    tags = b"".join(struct.pack(">HH", ETH_VLAN, vlan) for vlan in vlans)
    return mac_bytes(target) + mac_bytes(source) + tags + struct.pack(">H", kind) + payload


def pseudo_header(source, target, protocol, length):
    source, target = ipaddress.ip_address(source), ipaddress.ip_address(target)
    if source.version == 4:
        return source.packed + target.packed + struct.pack(">BBH", 0, protocol, length)
    return source.packed + target.packed + struct.pack(">IHBB", length, 0, 0, protocol)


def ip(source, target, protocol, payload, hop_limit=64):
    """An IPv4 or IPv6 packet, by the family of the addresses."""
    source, target = ipaddress.ip_address(source), ipaddress.ip_address(target)
    if source.version == 6:
        head = struct.pack(">IHBB", 6 << 28, len(payload), protocol, hop_limit)
        return head + source.packed + target.packed + payload
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, hop_limit, protocol, 0)
    head += source.packed + target.packed
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def udp(source, target, source_port, target_port, data=b""):
    length = 8 + len(data)
    head = struct.pack(">HHHH", source_port, target_port, length, 0)
    value = checksum(pseudo_header(source, target, UDP, length) + head + data) or 0xFFFF
    return ip(source, target, UDP, head[:6] + struct.pack(">H", value) + data)


def tcp(source, target, source_port, target_port, flags, sequence=1, acknowledge=0, data=b""):
    head = struct.pack(">HHIIBBHHH", source_port, target_port, sequence, acknowledge, 5 << 4, flags, 65535, 0, 0)
    value = checksum(pseudo_header(source, target, TCP, len(head) + len(data)) + head + data)
    return ip(source, target, TCP, head[:16] + struct.pack(">H", value) + head[18:] + data)


def echo(source, target, identifier, request=True, data=b"lab"):
    """ICMP or ICMPv6 echo, by the family of the addresses."""
    v4 = ipaddress.ip_address(source).version == 4
    kind = (8 if request else 0) if v4 else (128 if request else 129)
    body = struct.pack(">BBHHH", kind, 0, 0, identifier, 1) + data
    covered = body if v4 else pseudo_header(source, target, ICMPV6, len(body)) + body
    body = body[:2] + struct.pack(">H", checksum(covered)) + body[4:]
    return ip(source, target, ICMP if v4 else ICMPV6, body)


def advertisement(source, target):
    """An unsolicited neighbour advertisement to all nodes (RFC 4861 4.4): `source` claims `target`."""
    everyone = "ff02::1"
    body = struct.pack(">BBHI", 136, 0, 0, 0x20000000) + ipaddress.ip_address(target).packed
    value = checksum(pseudo_header(source, everyone, ICMPV6, len(body)) + body)
    return ip(source, everyone, ICMPV6, body[:2] + struct.pack(">H", value) + body[4:], hop_limit=255)


def arp(source_mac, source, target, target_mac="00:00:00:00:00:00", reply=False):
    """An ARP request (broadcast) or reply, as a whole frame."""
    body = struct.pack(">HHBBH", 1, ETH_IPV4, 6, 4, 2 if reply else 1)
    body += mac_bytes(source_mac) + ipaddress.ip_address(source).packed
    body += mac_bytes(target_mac) + ipaddress.ip_address(target).packed
    return ethernet(source_mac, target_mac if reply else "ff:ff:ff:ff:ff:ff", ETH_ARP, body)
