# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Role host: a machine filters its own NIC. The guest's namespace plays the machine; nothing sits at the tap."""

import selectors
import socket

import lab
import worlds

IN = ['{protocol: tcp, port: 80, cidr: [0.0.0.0/0, "::/0"]}', '{protocol: udp, port: 53, cidr: [192.0.2.0/24, "::/0"]}',
      "{protocol: icmp, icmp: echo-request, cidr: 0.0.0.0/0}", '{protocol: icmpv6, icmp: echo-request, cidr: "::/0"}']
OUT = ['{protocol: tcp, port: 443, cidr: [0.0.0.0/0, "::/0"]}', '{protocol: udp, port: 123, cidr: [192.0.2.0/24, "::/0"]}']
BULK_BYTES = 4 << 20


class HostTest(lab.LabTest):
    def setUp(self):
        super().setUp()
        self.world = worlds.OneGuest(self.lab)
        self.machine, self.peer = self.world.guest, self.world.peer
        self.machine.role = "host"
        self.match("eth0")

    def match(self, device):
        self.machine.match = f"netns: {self.machine.namespace}, device: {device}"

    def probes(self):
        """By IN and OUT: what must pass, what must not."""
        machine, peer = self.machine, self.peer
        passing, denied = [], []
        for family in (4, 6):
            passing += [self.lab.tcp(peer, machine, 80, family), self.lab.udp(peer, machine, 53, family),
                        self.lab.ping(peer, machine, family), self.lab.tcp(machine, peer, 443, family),
                        self.lab.udp(machine, peer, 123, family)]
            denied += [self.lab.tcp(peer, machine, 22, family), self.lab.udp(peer, machine, 123, family),
                       self.lab.tcp(machine, peer, 80, family), self.lab.udp(machine, peer, 53, family),
                       self.lab.ping(machine, peer, family)]
        return passing, denied

    def assert_judged(self):
        """Rules and replies both ways, each counted in the machine's own direction."""
        before = self.reasons()
        self.lab.traffic(*self.probes())
        grown = {key: packets - before.get(key, 0) for key, packets in self.reasons().items()}
        # Six kinds of opener in, four out; tries again are counted as well.
        self.assertGreaterEqual(grown["in", "no-rule"], 4, grown)
        self.assertGreaterEqual(grown["out", "no-rule"], 6, grown)
        self.assertGreaterEqual(grown["out", "tracked"], 6, f"replies to what came in: {grown}")
        self.assertGreaterEqual(grown["in", "tracked"], 4, f"replies to what went out: {grown}")


    def assert_why(self):
        """Asked of the programs that judge here: XDP for what comes in."""
        probe = self.lab.connect(self.lab.tcp(self.peer, self.machine, 80, source_port=40000))
        self.assert_says(self.lab.sgbpf("why", "web0", "in", "tcp 192.0.2.7:40000 -> 10.0.1.10:80 A"),
                         "PASS tracked by rule ", "established flow, opened by 192.0.2.7:40000")
        self.assert_says(self.lab.sgbpf("why", "web0", "in", "tcp 192.0.2.7:40000 -> 10.0.1.10:22", code=1),
                         "DROP no-rule: inbound of web admits only", "another port")
        self.assert_says(self.lab.sgbpf("why", "web0", "out", "tcp 10.0.1.10:40000 -> 192.0.2.7:443"),
                         "would be tracked: no 0/0 inbound rule covers all tcp ports")
        probe.close()


class Hooks(HostTest):
    def test_its_rules_hold_at_the_hook_that_sgbpf_chooses(self):
        outcome = self.world.apply(IN, OUT)
        self.assertRegex(outcome.out, r"eth0 in netns \S+ \(ifindex \d+\) (tcx|clsact) in\+out")
        self.assert_judged()

    def test_its_rules_hold_at_xdp(self):
        for hook in ("native", "generic"):
            with self.subTest(hook=hook):
                outcome = self.world.apply(IN, OUT, options=("--hook", hook))
                self.assertRegex(outcome.out, rf"eth0 in netns \S+ \(ifindex \d+\) xdp {hook} \+ tcx in\+out")
                self.assert_judged()
                self.assert_why()
                status = self.lab.sgbpf("status", code=0)
                self.assertRegex(status.out, rf"web0 +eth0 in netns \S+ +host +xdp {hook} \+ tcx")
                row = self.lab.sgbpf("status", "--json").json()["Interfaces"][0]
                self.assertEqual((row["Role"], row["Hook"]), ("host", f"xdp {hook} + tcx"))
                self.lab.sgbpf("detach", "web0", "--yes")
                self.lab.traffic([self.lab.tcp(self.peer, self.machine, 22), self.lab.tcp(self.machine, self.peer, 80, 6)])

    def test_large_transfers_come_through_xdp_whole(self):
        for hook in ("native", "generic"):
            with self.subTest(hook=hook):
                self.world.apply(IN, OUT, options=("--hook", hook))
                for client, server, port in ((self.peer, self.machine, 80), (self.machine, self.peer, 443)):
                    self.assertEqual(self.echo_bulk(self.lab.connect(self.lab.tcp(client, server, port))), BULK_BYTES)
                self.lab.sgbpf("detach", "web0", "--yes")

    def echo_bulk(self, probe):
        """Bytes that came back; sends and receives at once, so that neither end waits for the other."""
        chunk, sent, received = bytes(1 << 16), 0, 0

        def ready(sock):
            nonlocal sent, received
            try:
                if sent < BULK_BYTES:
                    sent += sock.send(chunk[:BULK_BYTES - sent])
            except BlockingIOError:
                pass
            try:
                received += len(sock.recv(1 << 20))
            except BlockingIOError:
                pass

        self.lab.loop.modify(probe.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, ready)
        self.lab.loop.run_until(lambda: received >= BULK_BYTES, 60)
        return received

    def test_a_workload_takes_tcx_where_xdp_was_asked_for_and_says_why(self):
        self.machine.role, self.machine.match = "workload", None
        outcome = self.world.apply(IN, OUT, options=("--hook", "generic"))
        self.assert_says(outcome, f"{self.machine.device}: xdp generic refused (it judges what arrives", "; tcx")
        self.assert_judged()

    # What the README warns of: without state, each direction needs a rule of its own.
    def test_a_connection_older_than_the_filter_goes_on_only_as_far_as_rules_admit_both_directions(self):
        connection = self.lab.connect(self.lab.tcp(self.peer, self.machine, 80))
        self.world.apply(IN, worlds.ANY)
        self.assertTrue(connection.exchange())
        self.world.apply(IN, OUT)
        self.assertFalse(connection.exchange(0.5))

    def test_what_it_would_only_forward_is_dropped_until_the_source_dest_check_is_off(self):
        lab.ip_batch([f"route add 203.0.113.0/24 via {self.machine.address(4)} dev {self.machine.device} onlink"])
        forwarded = ['{protocol: all, cidr: 0.0.0.0/0}']
        self.world.apply(forwarded, forwarded)
        self.ask_behind()
        self.assert_counts("in", "source-dest-check", 1)
        before = self.reasons().get(("in", "rule"), 0)
        self.world.apply(forwarded, forwarded, extra="    source_dest_check: false\n")
        self.ask_behind()
        self.assert_counts("in", "rule", before + 1)

    def ask_behind(self):
        with self.peer.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"x", ("203.0.113.77", 9))

    def test_connections_outlive_a_new_apply_and_a_change_of_rules(self):
        self.world.apply(IN, OUT, options=("--hook", "generic"))
        connection = self.lab.connect(self.lab.tcp(self.peer, self.machine, 80))
        self.world.apply(IN[1:], OUT)
        self.assertTrue(connection.exchange(), "the tracked connection died")
        self.lab.traffic(denied=[self.lab.tcp(self.peer, self.machine, 80)])


class Devices(HostTest):
    def bridge(self):
        """The machine's addresses move to a bridge whose port is eth0."""
        machine = self.machine
        hosts = [a + ("/128" if ":" in a else "/32") for a in machine.addresses]
        commands = [f"link add br0 address {machine.mac} type bridge", "link set br0 addrgenmode none up",
                    "link set eth0 master br0", "addr flush dev eth0", f"addr add {machine.link_local}/64 dev br0 nodad",
                    *[f"addr add {host} dev br0 {'nodad' if ':' in host else ''}" for host in hosts],
                    f"route add {lab.GATEWAY_V4} dev br0", f"route add default via {lab.GATEWAY_V4} dev br0",
                    f"route replace default via {lab.GATEWAY_V6} dev br0"]
        with machine.inside():
            lab.ip_batch(commands)

    def test_a_bridge_with_the_address_on_it_is_filtered_and_its_port_is_refused(self):
        self.bridge()
        refused = self.world.apply(IN, OUT, code=4)
        self.assert_says(refused, "eth0 cannot be filtered as the host's interface", "port of a bridge", "nothing changed")
        self.match("br0")
        for options in ((), ("--hook", "generic"), ("--hook", "tcx")):
            with self.subTest(options=options):
                self.assert_says(self.world.apply(IN, OUT, options=options), "br0 in netns")
                self.assert_judged()
                self.lab.sgbpf("detach", "web0", "--yes")

    def test_native_at_a_bridge_is_an_error_and_not_another_hook(self):
        self.bridge()
        self.match("br0")
        outcome = self.world.apply(IN, OUT, options=("--hook", "native"), code=4)
        self.assert_says(outcome, "br0", "NOT filtered", "XDP (native)", "not supported")

    def test_another_role_is_refused_while_the_device_filters(self):
        self.world.apply(IN, OUT)
        self.machine.role = "workload"
        outcome = self.world.apply(IN, OUT, code=3)
        self.assert_says(outcome, "eth0", "is attached in role host", "sgbpf detach eth0", "nothing changed")
        self.assert_judged()

    def test_the_device_of_an_interface_that_left_drops_and_is_taken_up_again(self):
        for options in ((), ("--hook", "generic")):
            with self.subTest(options=options):
                self.world.apply(IN, OUT, options=options)
                lab.write(self.lab.state_file, "schema: sgbpf/v1\nvpcs:\n  prod:\n    cidrs: [10.0.0.0/16]\ninterfaces: {}\n")
                self.lab.sgbpf("apply", self.lab.state_file, "--prune")
                self.lab.traffic(denied=self.probes()[0])
                self.assert_says(self.lab.sgbpf("status", code=0), "eth0", "host", "drops all but ARP, ND and DHCP")
                self.world.apply(IN, OUT, options=options)
                self.assert_judged()
                self.lab.sgbpf("detach", "web0", "--yes")


class Shared(HostTest):
    def test_a_workload_and_the_machine_share_one_host_and_its_flow_table(self):
        db = self.lab.guest("db", "10.0.1.20", "2001:db8:a:1::20")
        groups = ("  web:\n    vpc: prod\n    description: x\n    inbound:\n"
                  "      - {protocol: tcp, port: 80, group: db}\n    outbound: []\n"
                  "  db:\n    vpc: prod\n    description: x\n    inbound: []\n    outbound:\n"
                  "      - {protocol: tcp, port: 80, group: web}\n")
        self.lab.apply(groups, {self.machine: ["web"], db: ["db"]})
        connection = self.lab.connect(self.lab.tcp(db, self.machine, 80))
        self.lab.traffic([self.lab.tcp(db, self.machine, 80, 6)],
                         [self.lab.tcp(self.machine, db, 80), self.lab.tcp(self.peer, self.machine, 80),
                          self.lab.tcp(db, self.machine, 22)])
        port = connection.socket.getsockname()[1]
        flows = [flow for flow in self.lab.sgbpf("show", "flows", "--json").json()["Flows"]
                 if any(end.endswith(f":{port}") for end in (flow["Local"], flow["Remote"]))]
        self.assertEqual({flow["Interface"]: flow["OpenedBy"] for flow in flows}, {"web0": "remote", "db0": "local"})


if __name__ == "__main__":
    lab.main()
