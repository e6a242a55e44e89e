# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Frames as they really come: aggregated, tagged, spoofed, cut short. A test run never shows some of these."""

import selectors
import socket
import struct

import frames
import lab
import net
import worlds

BULK_BYTES = 32 << 20
GATEWAY_MAC = "fe:54:00:00:00:01"  # the host's end of the first guest


class Wire(lab.LabTest):
    def setUp(self):
        super().setUp()
        self.world = worlds.OneGuest(self.lab)
        self.guest_address, self.peer_address = self.world.guest.address(4), self.world.peer.address(4)

    def send_from_guest(self, packet, vlans=(), source_mac=None, kind=frames.ETH_IPV4):
        frame = frames.ethernet(source_mac or self.world.guest.mac, GATEWAY_MAC, kind, packet, vlans)
        self.world.guest.packet_socket().send(frame)

    def test_bulk_tcp_both_ways_stays_judged_and_whole(self):
        w = self.world
        w.apply(["{protocol: tcp, port: 5001, cidr: 192.0.2.0/24}"], ["{protocol: tcp, port: 5001, cidr: 192.0.2.0/24}"])
        for client, server in ((w.peer, w.guest), (w.guest, w.peer)):
            probe = self.lab.connect(self.lab.tcp(client, server, 5001))
            self.assertEqual(self.echo_bulk(probe, BULK_BYTES), BULK_BYTES)
        counted = self.reasons()
        tracked = counted["in", "tracked"] + counted["out", "tracked"]
        self.assertGreater(4 * BULK_BYTES / tracked, 1500, f"no aggregates in {tracked} packets: the path lost GSO")

    def echo_bulk(self, probe, total):
        """Bytes that came back; sends and receives at once, so that neither end waits for the other."""
        chunk, sent, received = bytes(1 << 16), 0, 0

        def ready(sock):
            nonlocal sent, received
            try:
                if sent < total:
                    sent += sock.send(chunk[:total - sent])
            except BlockingIOError:
                pass
            try:
                received += len(sock.recv(1 << 20))
            except BlockingIOError:
                pass

        self.lab.loop.modify(probe.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, ready)
        self.lab.loop.run_until(lambda: received >= total, 60)
        return received

    def test_a_spoofed_source_is_dropped_before_it_can_make_state(self):  # SG-1.32
        self.world.apply(worlds.ANY, worlds.ANY)
        self.send_from_guest(frames.udp("10.0.1.99", self.peer_address, 4000, 53, b"x"))
        self.assert_counts("out", "source-dest-check", 1)
        self.assertEqual(self.lab.sgbpf("show", "flows", "--json").json()["Flows"], [])

    def test_one_vlan_tag_on_the_wire_does_not_pass_the_rules_by(self):  # SG-13.17
        self.world.apply([], [])
        packet = frames.udp(self.guest_address, self.peer_address, 4000, 53, b"x")
        self.send_from_guest(packet, vlans=(5,))
        self.assert_counts("out", "no-rule", 1)

    def test_two_vlan_tags_on_the_wire_are_dropped_for_that_reason(self):  # SG-13.17
        self.world.apply(worlds.ANY, worlds.ANY)
        packet = frames.udp(self.guest_address, self.peer_address, 4000, 53, b"x")
        self.send_from_guest(packet, vlans=(5, 6))
        self.assert_counts("out", "vlan-tags", 1)

    def test_arp_of_another_sender_is_dropped(self):  # SG-6.6
        self.world.apply([], [])
        guest = self.world.guest
        guest.packet_socket().send(frames.arp(guest.mac, "10.0.1.99", lab.GATEWAY_V4))
        self.assert_counts("out", "exempt-sender", 1)
        guest.packet_socket().send(frames.arp("52:54:00:00:00:99", self.guest_address, lab.GATEWAY_V4))
        self.assert_counts("out", "source-mac", 1)

    def test_an_advertisement_for_the_router_is_dropped_and_for_oneself_passes(self):  # SG-6.6
        self.world.apply(worlds.ANY, worlds.ANY)
        own, before = self.world.guest.link_local, self.reasons().get(("out", "unfiltered"), 0)
        self.send_from_guest(frames.advertisement(own, lab.GATEWAY_V6), kind=frames.ETH_IPV6)
        self.assert_counts("out", "exempt-sender", 1)
        self.send_from_guest(frames.advertisement(own, own), kind=frames.ETH_IPV6)
        self.assert_counts("out", "unfiltered", before + 1)

    def test_other_ethertypes_are_dropped(self):  # SG-6.8
        self.world.apply(worlds.ANY, worlds.ANY)
        self.send_from_guest(bytes(50), kind=0x88B5)  # IEEE 802, for local experiments
        self.assert_counts("out", "not-ip", 1)

    def test_a_cut_header_is_dropped_even_when_all_is_admitted(self):  # SG-13.21
        self.world.apply(worlds.ANY, worlds.ANY)
        packet = frames.tcp(self.guest_address, self.peer_address, 4000, 80, frames.SYN)
        self.send_from_guest(packet[:24])
        self.assert_counts("out", "truncated", 1)

    def test_a_stray_ack_is_judged_by_rules_and_makes_no_state(self):  # SG-5.8
        self.world.apply([], ["{protocol: tcp, port: 80, cidr: 192.0.2.0/24}"])
        self.send_from_guest(frames.tcp(self.guest_address, self.peer_address, 4000, 80, frames.ACK))
        self.assert_counts("out", "rule", 1)
        self.assertEqual(self.lab.sgbpf("show", "flows", "--json").json()["Flows"], [])

    def test_other_protocols_follow_their_number(self):  # SG-2.11
        self.world.apply(["{protocol: 47, cidr: 192.0.2.0/24}"], [])
        w = self.world
        with w.peer.inside():
            sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, 47)
            other = socket.socket(socket.AF_INET, socket.SOCK_RAW, 50)
        self.lab.sockets += [sender, other]
        sender.sendto(bytes(8), (self.guest_address, 0))
        other.sendto(bytes(8), (self.guest_address, 0))
        self.assert_counts("in", "rule", 1)
        self.assert_counts("in", "no-rule", 1)

    def send_large(self, size):
        """A datagram of the peer to port 53 of the guest, in fragments when it is larger than the MTU."""
        with self.world.peer.inside():
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.lab.sockets.append(sock)
        sock.sendto(bytes(size), (self.guest_address, 53))

    def test_fragments_pass_where_nothing_but_addresses_and_protocol_is_asked(self):  # SG-5.60
        self.world.apply(["{protocol: all, cidr: 192.0.2.0/24}"], [])
        server = self.world.guest.serve_udp(53)
        self.send_large(4000)
        self.assertTrue(self.lab.loop.run_until(lambda: server.received == 1, net.DEADLINE_S), self.reasons())

    def test_later_fragments_follow_their_first(self):  # SG-5.54
        self.world.apply(["{protocol: udp, port: 53, cidr: 192.0.2.0/24}"], [])
        server = self.world.guest.serve_udp(53)
        self.send_large(4000)
        self.assertTrue(self.lab.loop.run_until(lambda: server.received == 1, net.DEADLINE_S), self.reasons())
        self.assert_counts("in", "fragment-context", 2)

    def test_a_port_rule_never_admits_a_later_fragment(self):  # SG-5.53
        self.world.apply(["{protocol: udp, port: 54, cidr: 192.0.2.0/24}"], [])
        server = self.world.guest.serve_udp(53)
        self.send_large(2000)
        self.assert_counts("in", "no-rule", 1)
        self.assert_counts("in", "fragment-without-context", 1)
        self.assertEqual(server.received, 0)

    def test_a_lone_fragment_is_dropped(self):  # SG-5.53
        w = self.world
        w.apply(["{protocol: udp, port: 53, cidr: 192.0.2.0/24}"], ["{protocol: udp, port: 53, cidr: 192.0.2.0/24}"])
        packet = bytearray(frames.udp(self.guest_address, self.peer_address, 4000, 53, bytes(16)))
        packet[6:8] = struct.pack(">H", 100)  # offset 800
        packet[10:12] = b"\0\0"
        packet[10:12] = struct.pack(">H", frames.checksum(bytes(packet[:20])))
        self.send_from_guest(bytes(packet))
        self.assert_counts("out", "fragment-without-context", 1)


if __name__ == "__main__":
    lab.main()
