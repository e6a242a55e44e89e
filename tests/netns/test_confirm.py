# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""apply --confirm on real devices: the kernel goes back by itself, with no process of ours left."""

import time

import lab
import worlds

OLD, NEW = "{protocol: tcp, port: 80, cidr: 192.0.2.0/24}", "{protocol: tcp, port: 443, cidr: 192.0.2.0/24}"
SHORT = "5"  # the least that --confirm takes


class Confirm(lab.LabTest):
    def setUp(self):
        super().setUp()
        self.world = worlds.OneGuest(self.lab)

    def write(self, rule):
        return self.world.write([rule], [])

    def open_ports(self):
        """Which of 80 and 443 answer."""
        w = self.world
        probes = {port: self.lab.tcp(w.peer, w.guest, port) for port in (80, 443)}
        lab.net.run_probes(self.lab.loop, [], list(probes.values()))
        outcomes = {port for port, probe in probes.items() if probe.outcome == lab.net.OPEN}
        for probe in probes.values():
            probe.close()
        return outcomes

    def wait_for(self, ports, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.open_ports() == ports:
                return True
        return False

    def test_goes_back_by_itself_and_keeps_connections(self):
        self.lab.sgbpf("apply", self.write(OLD))
        connection = self.lab.connect(self.lab.tcp(self.world.peer, self.world.guest, 80))
        started = time.monotonic()
        said = self.lab.sgbpf("apply", self.write(NEW), "--confirm", SHORT)
        self.assert_says(said, "generation 2 active", "rolls back at", "unless: sgbpf confirm")
        self.assertEqual(self.open_ports(), {443})
        self.assert_says(self.lab.sgbpf("status"), "waits for its confirmation until")
        self.assert_says(self.lab.sgbpf("apply", self.write(OLD), code=3), "waits for its confirmation", "nothing changed")
        self.assertTrue(self.wait_for({80}, 8), "the kernel did not go back")
        self.assertGreaterEqual(time.monotonic() - started, 4.9)
        self.assertTrue(connection.exchange(), "the tracked connection died")
        self.assert_says(self.lab.sgbpf("status", code=1), "was not confirmed and is undone")
        late = self.lab.sgbpf("confirm", code=1)
        self.assert_says(late, "generation 2 was not confirmed and is undone", "in force, as generation 3", "too late")
        self.lab.sgbpf("status", code=0)
        self.assert_says(self.lab.sgbpf("apply", self.write(OLD)), "no changes")
        self.lab.sgbpf("apply", self.write(NEW))
        self.assertEqual(self.open_ports(), {443})

    def test_stays_when_confirmed(self):
        self.lab.sgbpf("apply", self.write(OLD))
        self.lab.sgbpf("apply", self.write(NEW), "--confirm", SHORT)
        self.assert_says(self.lab.sgbpf("confirm"), "generation 2 is confirmed and stays")
        time.sleep(float(SHORT) + 1.5)
        self.assertEqual(self.open_ports(), {443})
        self.lab.sgbpf("status", code=0)
        self.assert_says(self.lab.sgbpf("apply", self.write(NEW)), "no changes")
        self.assert_says(self.lab.sgbpf("confirm", code=3), "nothing waits for a confirmation")

    def test_undo_goes_back_at_once(self):
        self.lab.sgbpf("apply", self.write(OLD))
        self.lab.sgbpf("apply", self.write(NEW), "--confirm", "3600")
        self.assert_says(self.lab.sgbpf("confirm", "--undo"), "the rules from before are in force, as generation 3")
        self.assertEqual(self.open_ports(), {80})
        self.lab.sgbpf("status", code=0)

    def test_a_device_attached_by_it_passes_again(self):
        """Fail closed would lock out the operator whom the time is meant to save."""
        self.lab.sgbpf("apply", self.write(NEW), "--confirm", SHORT)
        self.assertEqual(self.open_ports(), {443})
        self.assertTrue(self.wait_for({80, 443}, 8), "the device is still filtered")
        self.assert_says(self.lab.sgbpf("status", code=1), "NOT filtered")
        said = self.lab.sgbpf("confirm", code=1)
        self.assert_says(said, "is detached again")
        self.assertEqual(self.open_ports(), {80, 443})
        self.lab.sgbpf("apply", self.write(OLD))
        self.assertEqual(self.open_ports(), {80})
        self.lab.sgbpf("status", code=0)

    def test_bad_input(self):
        path = self.write(OLD)
        for seconds in ("", "0", "4", "86401", "x", "-1", "6.5"):
            self.assert_says(self.lab.sgbpf("apply", path, "--confirm", seconds, code=2), "--confirm", "5 to 86400")
        self.assert_says(self.lab.sgbpf("confirm", code=None), "nothing")


if __name__ == "__main__":
    lab.main()
