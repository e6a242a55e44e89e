# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Section 5 on live connections: replies without rules, what a removed rule does, expiry, flushing."""

import socket

import lab
import net
import worlds

FROM_PEER = "{protocol: tcp, port: 22, cidr: 192.0.2.0/24}"
FROM_ANY = "{protocol: tcp, port: 22, cidr: 0.0.0.0/0}"
DEAD_S = 0.4  # long enough for an exchange over veth by orders of magnitude; a retransmission comes at 200 ms


class TrackedFlows(lab.LabTest):
    def setUp(self):
        super().setUp()
        self.world = worlds.OneGuest(self.lab)

    def flows(self):
        return self.lab.sgbpf("show", "flows", "--json").json()["Flows"]

    def test_replies_need_no_rule(self):  # SG-5.1
        w = self.world
        w.apply(['{protocol: tcp, port: 22, cidr: [0.0.0.0/0, "::/0"]}',
                 '{protocol: udp, port: 53, cidr: [0.0.0.0/0, "::/0"]}',
                 "{protocol: icmp, icmp: echo-request, cidr: 0.0.0.0/0}",
                 '{protocol: icmpv6, icmp: echo-request, cidr: "::/0"}'], [])
        self.lab.traffic([probe for family in (4, 6)
                          for probe in (self.lab.tcp(w.peer, w.guest, 22, family),
                                        self.lab.udp(w.peer, w.guest, 53, family),
                                        self.lab.ping(w.peer, w.guest, family))],
                         [self.lab.tcp(w.guest, w.peer, 22), self.lab.udp(w.guest, w.peer, 53, 6),
                          self.lab.ping(w.guest, w.peer)])

    def test_requests_get_their_answers_without_inbound_rules(self):  # SG-5.1
        w = self.world
        w.apply([], worlds.ANY)
        self.lab.traffic([probe for family in (4, 6)
                          for probe in (self.lab.tcp(w.guest, w.peer, 443, family),
                                        self.lab.udp(w.guest, w.peer, 53, family),
                                        self.lab.ping(w.guest, w.peer, family))],
                         [self.lab.tcp(w.peer, w.guest, 443), self.lab.udp(w.peer, w.guest, 53, 6),
                          self.lab.ping(w.peer, w.guest, 6)])

    def test_the_promise_covers_the_flow_not_the_peer(self):  # SG-5.2
        w = self.world
        w.apply([], ["{protocol: udp, port: 53, cidr: 0.0.0.0/0}"])
        self.lab.connect(self.lab.udp(w.guest, w.peer, 53, source_port=40000))
        self.lab.traffic(denied=[self.lab.udp(w.peer, w.guest, 40001)])
        with w.peer.inside():
            other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.lab.sockets.append(other)
        other.bind((w.peer.address(4), 54))
        other.sendto(b"not port 53", (w.guest.address(4), 40000))
        self.assert_counts("in", "no-rule", 2)

    def test_a_tracked_connection_survives_the_removal_of_its_rule(self):  # SG-5.21
        w = self.world
        w.apply([FROM_PEER], worlds.ANY)
        connection = self.lab.connect(self.lab.tcp(w.peer, w.guest, 22))
        w.apply([], worlds.ANY)
        self.assertTrue(connection.exchange(), "the old connection goes on")
        self.lab.traffic(denied=[self.lab.tcp(w.peer, w.guest, 22)])

    def test_an_untracked_connection_breaks_with_the_removal_of_its_rule(self):  # SG-5.20
        w = self.world
        w.apply([FROM_ANY], worlds.ANY)
        connection = self.lab.connect(self.lab.tcp(w.peer, w.guest, 22))
        self.assertEqual(self.flows(), [], "an untracked flow has no entry (SG-5.47)")
        w.apply([], worlds.ANY)
        self.assertFalse(connection.exchange(DEAD_S), "the old connection is cut")
        w.apply([FROM_ANY], worlds.ANY)
        self.assertTrue(connection.exchange(), "and goes on when the rule is back")

    def test_a_connection_out_survives_the_removal_of_the_outbound_rule(self):  # SG-5.22
        w = self.world
        w.apply([], worlds.ANY)
        connections = [self.lab.connect(self.lab.tcp(w.guest, w.peer, 443, family)) for family in (4, 6)]
        w.apply([], [])
        for connection in connections:
            self.assertTrue(connection.exchange())
        self.lab.traffic(denied=[self.lab.tcp(w.guest, w.peer, 443, family) for family in (4, 6)])

    def test_an_untracked_flow_that_would_need_tracking_loses_its_replies(self):  # SG-5.24
        w = self.world
        w.apply([FROM_ANY], worlds.ANY)
        connection = self.lab.connect(self.lab.tcp(w.peer, w.guest, 22))
        w.apply([FROM_ANY], [])
        self.assertFalse(connection.exchange(DEAD_S))
        self.lab.connect(self.lab.tcp(w.peer, w.guest, 22))

    def test_a_live_ping_and_a_live_udp_flow_survive_too(self):
        w = self.world
        w.apply(["{protocol: udp, port: 53, cidr: 192.0.2.0/24}", "{protocol: icmp, icmp: echo-request, cidr: 0.0.0.0/0}"],
                [])
        probes = [self.lab.connect(self.lab.udp(w.peer, w.guest, 53)), self.lab.connect(self.lab.ping(w.peer, w.guest))]
        w.apply([], [])
        for probe in probes:
            self.assertTrue(probe.exchange(), str(probe))
        self.lab.traffic(denied=[self.lab.udp(w.peer, w.guest, 53), self.lab.ping(w.peer, w.guest)])

    def test_show_flows_tells_who_opened_and_what_is_tracked(self):
        w = self.world
        w.apply([FROM_PEER], [])
        self.lab.connect(self.lab.tcp(w.peer, w.guest, 22, source_port=40022))
        rows = self.flows()
        self.assertEqual(len(rows), 1, rows)
        text = self.lab.sgbpf("show", "flows").out
        for word in ("web0", "tcp", "10.0.1.10:22", "192.0.2.7:40022", "established"):
            self.assertIn(word, text)

    def test_flush_ends_a_tracked_flow(self):  # SG-5.26
        w = self.world
        w.apply([FROM_PEER], worlds.ANY)
        connection = self.lab.connect(self.lab.tcp(w.peer, w.guest, 22))
        w.apply([], [])
        self.assertTrue(connection.exchange())
        outcome = self.lab.sgbpf("flows", "flush", "--interface", "web0", "--peer", "192.0.2.0/24")
        self.assert_says(outcome, "removed 1 flow")
        self.assertFalse(connection.exchange(DEAD_S))
        self.assertEqual(self.flows(), [])

    def test_the_sweeper_frees_expired_flows_with_no_process_of_ours(self):  # SG-13.9
        w = self.world
        w.apply([], [], extra="    timeouts: {udp: 30}\n")
        w.apply(["{protocol: icmp, icmp: echo-request, cidr: 0.0.0.0/0}"], [])
        self.lab.connect(self.lab.ping(w.peer, w.guest))
        self.assertEqual(len(self.flows()), 1)
        # An ICMP flow idles out after 30 s (5.5), the shortest timer there is: wait for the entry to go.
        gone = self.lab.wait_until(lambda: self.used_flows() == 0, 45)
        self.assertTrue(gone, "the entry is still there")

    def used_flows(self):
        rows = self.lab.sgbpf("show", "maps", "--json").json()["Maps"]
        return next(row["Used"] for row in rows if row["Map"] == "sg_flow_index")


class Changes(lab.LabTest):
    """Section 4: what a change of membership, of a list or of an association does to new flows."""

    def test_a_member_that_joins_is_admitted_by_the_groups_that_refer_to_it(self):
        w = worlds.WebWorld(self.lab)
        late = self.lab.guest("late", "10.0.1.11", "2001:db8:a:1::11")
        w.apply()
        late_probes = [(late, w.mysql, 3306, 4), (late, w.mysql, 3306, 6), (late, w.mssql, 1433, 4)]
        self.lab.traffic(denied=[self.lab.tcp(*probe) for probe in late_probes])
        self.lab.apply(worlds.WEB_GROUPS, {**w.members, late: ["web"]})
        self.lab.traffic([self.lab.tcp(*probe) for probe in late_probes] + [self.lab.tcp(w.internet, late, 80)])

    def test_a_member_that_leaves_is_refused_but_keeps_its_connections(self):  # SG-5.22
        w = worlds.WebWorld(self.lab)
        w.apply()
        connection = self.lab.connect(self.lab.tcp(w.web, w.mysql, 3306))
        groups = worlds.WEB_GROUPS + "  other:\n    vpc: prod\n    description: Elsewhere\n"
        self.lab.apply(groups, {**w.members, w.web: ["other"]})
        self.assertTrue(connection.exchange())
        self.lab.traffic(denied=[self.lab.tcp(w.web, w.mysql, 3306)])

    def test_an_entry_of_a_prefix_list_admits_and_its_removal_refuses(self):
        w = worlds.OneGuest(self.lab)
        rule = ["{protocol: tcp, port: 22, prefix_list: office}"]

        def with_entries(entries):
            w.apply(rule, [], f"prefix_lists:\n  office: {{family: ipv4, max_entries: 20, entries: [{entries}]}}\n")

        with_entries("198.51.100.0/24")
        self.lab.traffic(denied=[self.lab.tcp(w.peer, w.guest, 22)])
        with_entries("198.51.100.0/24, 192.0.2.0/25")
        connection = self.lab.connect(self.lab.tcp(w.peer, w.guest, 22))
        with_entries("198.51.100.0/24")
        self.assertTrue(connection.exchange(), "a tracked flow survives a list update (SG-5.22)")
        self.lab.traffic(denied=[self.lab.tcp(w.peer, w.guest, 22)])

    def test_a_v6_prefix_list_admits_v6_only(self):
        w = worlds.OneGuest(self.lab)
        w.apply(["{protocol: tcp, port: 22, prefix_list: office}"], [],
                'prefix_lists:\n  office: {family: ipv6, max_entries: 20, entries: ["2001:db8:ffff::/64"]}\n')
        self.lab.traffic([self.lab.tcp(w.peer, w.guest, 22, 6)], [self.lab.tcp(w.peer, w.guest, 22, 4)])


if __name__ == "__main__":
    assert net.DENIED_S < DEAD_S
    lab.main()
