# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Traffic that groups never filter, on real interfaces: services of host.yaml, and whose MAC sends it."""

import frames
import lab
import worlds

SERVICES = """\
schema: sgbpf-host/v1
services:
  - {vpc: prod, address: 192.0.2.7, protocol: udp, port: 53, comment: resolver}
  - {vpc: prod, address: "2001:db8:ffff::7", protocol: udp, port: 53}
  - {address: 192.0.2.7, protocol: tcp, port: 80, comment: metadata}
"""


class Services(lab.LabTest):
    def setUp(self):
        super().setUp()
        self.world = worlds.OneGuest(self.lab)
        lab.write(self.lab.host_config, SERVICES)

    def test_a_guest_without_any_rule_reaches_them_and_nothing_else(self):  # SG-6.1, 6.2
        w = self.world
        w.apply([], [])
        self.lab.traffic([self.lab.udp(w.guest, w.peer, 53), self.lab.udp(w.guest, w.peer, 53, 6),
                          self.lab.tcp(w.guest, w.peer, 80)],
                         [self.lab.udp(w.guest, w.peer, 54), self.lab.tcp(w.guest, w.peer, 81),
                          self.lab.tcp(w.guest, w.peer, 53, 6), self.lab.tcp(w.peer, w.guest, 80)])
        self.assertEqual(self.lab.sgbpf("show", "flows", "--json").json()["Flows"], [])

    def test_another_host_yaml_with_the_same_state_is_a_change(self):  # SG-6.4
        w = self.world
        w.apply([], [])
        self.lab.traffic([self.lab.udp(w.guest, w.peer, 53)])
        lab.write(self.lab.host_config, SERVICES.replace("port: 53", "port: 54"))
        self.assert_says(w.apply([], []), "applied generation 2")
        self.lab.traffic([self.lab.udp(w.guest, w.peer, 54, 6), self.lab.tcp(w.guest, w.peer, 80)],
                         [self.lab.udp(w.guest, w.peer, 53)])

    def test_a_service_of_another_vpc_is_filtered_and_said(self):  # SG-6.4
        lab.write(self.lab.host_config, SERVICES.replace("prod", "prd"))
        w = self.world
        self.assert_says(w.apply([], []), "services[0].vpc: the state has no VPC prd; did you mean prod?")
        self.lab.traffic([self.lab.tcp(w.guest, w.peer, 80)], [self.lab.udp(w.guest, w.peer, 53)])

    def test_a_frame_with_another_mac_is_dropped_whatever_the_rules(self):  # SG-6.6
        w = self.world
        w.apply(worlds.ANY, worlds.ANY)
        payload = frames.udp("10.0.1.10", "192.0.2.7", 4000, 53, b"query")
        wire = w.guest.packet_socket()
        for mac in ("52:54:00:00:00:99", w.guest.mac):
            wire.send(frames.ethernet(mac, "ff:ff:ff:ff:ff:ff", frames.ETH_IPV4, payload))
        wire.send(frames.ethernet("52:54:00:00:00:99", "ff:ff:ff:ff:ff:ff", 0x88CC, bytes(46)))
        self.assert_counts("out", "source-mac", 2)


if __name__ == "__main__":
    lab.main()
