# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What becomes of live connections when rules go (revocation), and of those that ran before (adoption)."""

import selectors
import socket
import subprocess

import lab
import net
import worlds

FROM_PEER = "{protocol: tcp, port: 22, cidr: 192.0.2.0/24}"
WEB_FROM_PEER = "{protocol: tcp, port: 80, cidr: 192.0.2.0/24}"
DEAD_S = 0.4  # as in test_state.py
TCP_REPAIR = 19


class Live(lab.LabTest):
    def setUp(self):
        super().setUp()
        self.world = worlds.OneGuest(self.lab)

    def flows(self):
        return self.lab.sgbpf("show", "flows", "--json").json()["Flows"]

    def ssh_and_web(self):
        w = self.world
        return [self.lab.connect(self.lab.tcp(w.peer, w.guest, port)) for port in (22, 80)]

    def allowance(self):
        return self.lab.sgbpf("show", "counters", "web0", "--json").json()["Counters"][0]["Allowance"]


class Revocation(Live):
    def test_keep_is_the_default(self):  # SG-5.21
        w = self.world
        w.apply([FROM_PEER, WEB_FROM_PEER], [])
        ssh, web = self.ssh_and_web()
        w.apply([WEB_FROM_PEER], [])
        self.assertTrue(ssh.exchange())
        self.assertTrue(web.exchange())

    def test_recheck_ends_what_no_rule_admits_any_more_at_its_next_packet(self):
        w = self.world
        w.apply([FROM_PEER, WEB_FROM_PEER], [])
        ssh, web = self.ssh_and_web()
        w.apply([WEB_FROM_PEER], [], options=("--revoke", "recheck"))
        self.assertFalse(ssh.exchange(DEAD_S))
        self.assertTrue(web.exchange())

    def test_recheck_keeps_what_another_rule_admits(self):
        w = self.world
        w.apply([FROM_PEER], [])
        ssh = self.lab.connect(self.lab.tcp(w.peer, w.guest, 22))
        w.apply(["{protocol: tcp, port: 20-30, cidr: 192.0.2.0/24}"], [], options=("--revoke", "recheck"))
        self.assertTrue(ssh.exchange())

    def test_kill_ends_the_flows_of_a_removed_rule_now(self):
        w = self.world
        w.apply([FROM_PEER, WEB_FROM_PEER], [])
        ssh, web = self.ssh_and_web()
        outcome = w.apply([WEB_FROM_PEER], [], options=("--revoke", "kill"))
        self.assert_says(outcome, "ended 1 flow")
        self.assertEqual([row["Local"] for row in self.flows()], ["10.0.1.10:80"])
        self.assertFalse(ssh.exchange(DEAD_S))
        self.assertTrue(web.exchange())

    def test_the_interface_may_say_it_once_for_all(self):
        w = self.world
        extra = "    tracking: {revocation: kill}\n"
        w.apply([FROM_PEER, WEB_FROM_PEER], [], extra=extra)
        ssh, web = self.ssh_and_web()
        w.apply([WEB_FROM_PEER], [], extra=extra)
        self.assertFalse(ssh.exchange(DEAD_S))
        self.assertTrue(web.exchange())

    def test_an_unconfirmed_apply_ends_nothing_its_confirmation_does(self):
        w = self.world
        extra = "    tracking: {revocation: kill}\n"
        w.apply([FROM_PEER], [], extra=extra)
        ssh = self.lab.connect(self.lab.tcp(w.peer, w.guest, 22))
        w.apply([FROM_PEER], [], extra=extra, options=("--confirm", "60", "--revoke", "kill"), code=2)
        w.apply([], [], extra=extra, options=("--confirm", "60"))
        self.assertTrue(ssh.exchange(), "nothing that a rollback could not bring back")
        self.lab.sgbpf("confirm", "--undo")
        self.assertTrue(ssh.exchange())
        w.apply([], [], extra=extra, options=("--confirm", "60"))
        self.lab.sgbpf("confirm")
        self.assertFalse(ssh.exchange(DEAD_S))


class Flush(Live):
    def test_by_group_and_by_rule(self):  # SG-5.26
        w = self.world
        w.apply([FROM_PEER, WEB_FROM_PEER], [])
        self.ssh_and_web()
        rule = next(row["SecurityGroupRuleId"] for row in self.flows() if row["Local"].endswith(":22"))
        self.assert_says(self.lab.sgbpf("flows", "flush", "--rule", rule), "removed 1 flow")
        self.assertEqual(len(self.flows()), 1)
        self.assert_says(self.lab.sgbpf("flows", "flush", "--group", "web"), "removed 1 flow")
        self.assertEqual(self.flows(), [])
        self.assertEqual(self.allowance()["Flows"], 0, "what was ended is given back")


class Reset(Live):
    """--reset: both ends learn at once, also of a connection that is idle."""

    def pair(self, client, server, port=22, family=4, talk=True):
        """Both sockets of a connection; of its segments in the open, one went each way."""
        kind = socket.AF_INET if family == 4 else socket.AF_INET6
        with server.inside():
            listener = socket.create_server((server.address(family), port), family=kind)
        with client.inside():
            near = socket.socket(kind)
        near.settimeout(net.DEADLINE_S)
        near.bind((client.address(family), 0))
        near.connect((server.address(family), port))
        listener.settimeout(net.DEADLINE_S)
        far, _ = listener.accept()
        self.lab.sockets += [listener, near, far]
        far.settimeout(net.DEADLINE_S)
        if talk:
            self.talk(near, far)
        return near, far

    def talk(self, near, far):
        for sender, receiver in ((near, far), (far, near)):
            sender.sendall(b"hello")
            self.assertEqual(receiver.recv(5), b"hello")

    def assert_over(self, *sockets, error=ConnectionResetError):
        for sock in sockets:
            with self.assertRaises(error):
                sock.recv(1)

    def test_kill_tells_both_ends(self):  # SG-5.21
        w = self.world
        both = ['{protocol: tcp, port: 22, cidr: ["192.0.2.0/24", "2001:db8:ffff::/48"]}']
        for mode in ("normal", "strict"):
            with self.subTest(mode=mode):
                extra = f"    tracking: {{mode: {mode}}}\n"
                w.apply([*both, WEB_FROM_PEER], both, extra=extra)
                pairs = [self.pair(w.peer, w.guest, 22, family) for family in (4, 6)]
                pairs += [self.pair(w.guest, w.peer, 22, family) for family in (4, 6)]
                other = self.pair(w.peer, w.guest, 80)
                outcome = w.apply([WEB_FROM_PEER], [], extra=extra, options=("--revoke", "kill", "--reset"))
                self.assert_says(outcome, "ended 4 flows of rules that are gone; reset sent for 4\n")
                for pair in pairs:
                    self.assert_over(*pair)
                self.talk(*other)
                for sock in self.lab.sockets:
                    sock.close()

    def test_a_connection_under_traffic_is_over_too(self):
        w = self.world
        w.apply([FROM_PEER], [])
        near, far = self.pair(w.peer, w.guest)
        near.setblocking(False)
        far.setblocking(False)
        errors = {}
        for sock in (near, far):
            self.lab.loop.add(sock, selectors.EVENT_READ | selectors.EVENT_WRITE, lambda s: flood(s))

        def flood(sock):
            for step in (lambda: sock.send(bytes(1 << 16)), lambda: sock.recv(1 << 20)):
                try:
                    step()
                except BlockingIOError:
                    pass
                except OSError as failure:
                    errors[sock] = failure
                    self.lab.loop.remove(sock)

        self.lab.loop.run_until(lambda: False, 0.2)
        with subprocess.Popen([self.lab.binary, "apply", w.write([], []), "--revoke", "kill", "--reset"],
                              env=self.lab.environment, stdout=subprocess.DEVNULL) as process:
            self.lab.loop.run_until(lambda: len(errors) == 2, net.DEADLINE_S)
            self.assertEqual(process.wait(net.DEADLINE_S), 0)
        self.assertEqual(len(errors), 2, errors)

    def test_the_interface_may_say_kill(self):
        w = self.world
        extra = "    tracking: {revocation: kill}\n"
        w.apply([FROM_PEER], [], extra=extra)
        pair = self.pair(w.peer, w.guest)
        self.assert_says(w.apply([], [], extra=extra, options=("--reset",)), "ended 1 flow", "reset sent for 1\n")
        self.assert_over(*pair)

    def test_without_a_configured_mac_the_neighbour_table_knows_the_guest(self):
        w = self.world

        def without_mac(*rules):
            with open(w.write([*rules], []), encoding="utf-8") as stream:
                lines = [line for line in stream if not line.strip().startswith("mac:")]
            return lab.write(self.lab.state_file, "".join(lines))

        self.lab.sgbpf("apply", without_mac(FROM_PEER))
        pair = self.pair(w.peer, w.guest)
        self.lab.sgbpf("apply", without_mac(), "--revoke", "kill", "--reset")
        self.assert_over(*pair)

    def test_flush_tells_both_ends_and_counts_what_it_cannot_tell(self):
        w = self.world
        w.apply([FROM_PEER, WEB_FROM_PEER], [])
        pair = self.pair(w.peer, w.guest)
        silent = self.pair(w.peer, w.guest, 80, talk=False)  # its handshake alone is not remembered
        self.assert_says(self.lab.sgbpf("flows", "flush", "--interface", "web0", "--reset"),
                         "removed 2 flows; reset sent for 1, 1 without known sequence numbers\n")
        self.assert_over(*pair)
        self.assertEqual(self.flows(), [])
        silent[0].settimeout(DEAD_S)
        with self.assertRaises(TimeoutError):
            silent[0].recv(1)

    def test_an_end_without_a_route_is_counted(self):
        w = self.world
        w.apply([FROM_PEER], [])
        _, far = self.pair(w.peer, w.guest)
        lab.ip_batch([f"link set {w.peer.device} down"])
        self.assert_says(self.lab.sgbpf("flows", "flush", "--all", "--reset"),
                         "removed 1 flow; reset sent for 0, 1 not to both ends (to the remote end: ")
        self.assert_over(far)

    def test_sockets_of_the_host_itself_are_closed_but_no_listener(self):
        w = self.world
        w.guest.role, w.guest.match = "host", f"netns: {w.guest.namespace}, device: eth0"
        w.apply([FROM_PEER, WEB_FROM_PEER], [])
        near, far = self.pair(w.peer, w.guest)
        gone, orphan = self.pair(w.peer, w.guest, 80)
        orphan.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        orphan.close()  # without a word: the kernel finds the listener instead
        outcome = w.apply([], [], options=("--revoke", "kill", "--reset"))
        self.assert_says(outcome, "ended 2 flows of rules that are gone; reset sent for 1, 1 not to both ends (this "
                         "network namespace has no such socket)\n")
        self.assert_over(near)
        self.assert_over(far, error=ConnectionAbortedError)
        gone.close()
        w.apply([FROM_PEER, WEB_FROM_PEER], [])
        with w.peer.inside():
            for port in (22, 80):
                socket.create_connection((w.guest.address(4), port), net.DEADLINE_S).close()

    def test_it_is_refused_where_no_flow_ends(self):
        w = self.world
        w.apply([FROM_PEER], [])
        for options in (("--reset",), ("--reset", "--revoke", "recheck"), ("--reset", "--confirm", "60")):
            with self.subTest(options=options):
                outcome = w.apply([], [], options=options, code=2)
                self.assert_says(outcome, "--reset is for flows that end", "nothing changed")


class Adoption(Live):
    def test_a_connection_that_runs_is_taken_up(self):
        w = self.world
        ssh = self.lab.connect(self.lab.tcp(w.peer, w.guest, 22))
        w.apply([FROM_PEER], [], options=("--adopt", "60"))
        self.assertTrue(ssh.exchange())
        row, = self.flows()
        self.assertTrue(row["Adopted"])
        self.assertFalse(row["SequenceKnown"])
        self.assertEqual(self.allowance()["Adopted"], 1)
        self.assert_says(self.lab.sgbpf("status"), "takes up connections that run already")
        w.apply([], [])
        self.assertTrue(ssh.exchange(), "tracked as any other")

    def test_without_a_window_it_is_not(self):  # SG-5.8
        w = self.world
        ssh = self.lab.connect(self.lab.tcp(w.peer, w.guest, 22))
        w.apply([FROM_PEER], [])
        self.assertFalse(ssh.exchange(DEAD_S))
        self.assert_says(self.lab.sgbpf("attach", "web0", "--adopt", "60"), "adopting existing connections for 60 s")
        self.assertTrue(ssh.exchange(), "also later, at a device that is attached")

    def test_what_no_rule_admits_is_not(self):
        w = self.world
        ssh = self.lab.connect(self.lab.tcp(w.peer, w.guest, 22))
        w.apply([WEB_FROM_PEER], [], options=("--adopt", "60"))
        self.assertFalse(ssh.exchange(DEAD_S))
        self.assertEqual(self.flows(), [])


class Allowance(Live):
    def test_a_full_allowance_refuses_new_flows_and_says_so(self):  # SG-5.46, 5.48, 5.51
        w = self.world
        w.apply([FROM_PEER], [], extra="    tracking: {max_flows: 1, reserved: 1}\n")
        first = self.lab.connect(self.lab.tcp(w.peer, w.guest, 22))
        self.assertEqual(self.allowance()["conntrack_allowance_available"], 0)
        self.lab.traffic(denied=[self.lab.tcp(w.peer, w.guest, 22)])
        self.assertTrue(first.exchange())
        self.assertGreaterEqual(self.allowance()["conntrack_allowance_exceeded"], 1)
        self.assert_says(self.lab.sgbpf("status", code=1), "web0 has 1 of at most 1 flows", "lack of an entry")


if __name__ == "__main__":
    lab.main()
