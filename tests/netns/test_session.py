# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The operator's own connection (SSH_CONNECTION) is not cut by accident: the guard asks the real routes."""

import lab
import worlds

TO_HOST = '{protocol: tcp, port: 22, cidr: [0.0.0.0/0, "::/0"]}'


class OperatorInAGuest(lab.LabTest):
    """Who works from inside a guest reaches the host through the guest's own tap."""

    def setUp(self):
        super().setUp()
        self.world = worlds.OneGuest(self.lab)
        self.session = f"{self.world.guest.address(4)} 50122 {lab.GATEWAY_V4} 22"

    def apply(self, outbound, *options, inbound=worlds.ANY, code=0, session=None):
        return self.lab.sgbpf("apply", self.world.write(inbound, outbound), *options, code=code,
                              SSH_CONNECTION=session or self.session)

    def test_apply_that_would_cut_it_is_refused_unless_forced(self):
        refused = self.apply([], code=3)
        self.assert_says(refused, f"your session {self.world.guest.address(4)}:50122 -> :22 runs over tap-web",
                         "no rule admits it", "--force", "nothing changed")
        self.assert_says(self.lab.sgbpf("status", code=None), "nothing is applied")
        self.apply([TO_HOST])
        self.apply([], code=3)
        self.lab.sgbpf("status", code=0)
        self.apply([], "--force")
        self.assert_says(self.lab.sgbpf("detach", "web0", "--quarantine", code=3, SSH_CONNECTION=self.session),
                         "a quarantine drops everything")

    def test_a_connection_from_before_needs_a_way_for_its_answers(self):
        """Answers of the host come in at the guest: without an inbound rule only tracking admits them."""
        refused = self.apply([TO_HOST], inbound=[], code=3)
        self.assert_says(refused, "no rule admits its answers, and a connection from before is not tracked")

    def test_a_session_elsewhere_is_no_concern(self):
        self.apply([], session=f"{self.world.peer.address(4)} 50122 127.0.0.1 22")
        self.apply([TO_HOST], session="garbage")

    def test_sudo_hides_the_variable_but_not_the_shell_above(self):
        path = self.world.write([], [])
        outcome = self.lab.sgbpf("apply", path, code=3, SSH_CONNECTION=self.session,
                                 before=["sh", "-c", 'env -u SSH_CONNECTION "$@"; exit $?', "sh"])
        self.assert_says(outcome, "your session")


class OperatorAtTheHostsOwnNic(lab.LabTest):
    """The lab's own namespace is the host; the operator's machine is behind tap-peer."""

    def setUp(self):
        super().setUp()
        self.peer = self.lab.guest("peer", "192.0.2.7", "2001:db8:ffff::7")
        self.session = f"192.0.2.7 50122 {lab.GATEWAY_V4} 22"

    def apply(self, inbound, outbound, *options, address=lab.GATEWAY_V4, code=0):
        rules = "".join(f"    {direction}:" + ("".join(f"\n      - {rule}" for rule in rows) or " []") + "\n"
                        for direction, rows in (("inbound", inbound), ("outbound", outbound)))
        path = lab.write(self.lab.state_file,
                         "schema: sgbpf/v1\nvpcs:\n  prod: {cidrs: [10.0.0.0/16]}\n"
                         f"groups:\n  mgmt:\n    vpc: prod\n    description: This host\n{rules}"
                         "interfaces:\n  mgmt0:\n    vpc: prod\n    role: host\n    match: {device: tap-peer}\n"
                         f"    addresses: [{address}]\n    groups: [mgmt]\n")
        return self.lab.sgbpf("apply", path, *options, code=code, SSH_CONNECTION=self.session)

    def test_a_policy_without_a_way_in_is_refused(self):
        ssh = "{type: ssh, cidr: 192.0.2.0/24}"
        self.assert_says(self.apply([], worlds.ANY, code=3), "192.0.2.7:50122 -> :22 runs over tap-peer", "no rule admits it")
        self.assert_says(self.apply([ssh], [], code=3), "no rule admits its answers")
        self.assert_says(self.apply([ssh], worlds.ANY, address="10.0.0.1", code=3), "not one of the interface")
        self.apply([ssh], worlds.ANY)
        self.assert_says(self.apply(["{type: ssh, cidr: 203.0.113.0/24}"], worlds.ANY, code=3), "no rule admits it")
        self.lab.sgbpf("status", code=0)

    def test_a_forced_mistake_is_undone_by_the_kernel(self):
        """The whole promise: cut off, nobody can confirm, and the way is open again."""
        self.apply([], worlds.ANY, "--force", "--confirm", "5")
        self.assertFalse(self.reachable())
        self.assertTrue(self.lab.wait_until(self.reachable, 9), "still cut off")

    def reachable(self):
        with self.peer.inside():
            return lab.run(["ping", "-c1", "-W1", lab.GATEWAY_V4], check=False).returncode == 0


if __name__ == "__main__":
    lab.main()
