# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What becomes of live connections when rules go (revocation), and of those that ran before (adoption)."""

import lab
import worlds

FROM_PEER = "{protocol: tcp, port: 22, cidr: 192.0.2.0/24}"
WEB_FROM_PEER = "{protocol: tcp, port: 80, cidr: 192.0.2.0/24}"
DEAD_S = 0.4  # as in test_state.py


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
        self.lab.sgbpf("attach", "web0", "--adopt", "60")
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
