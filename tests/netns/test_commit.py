# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Applying while packets flow: killed anywhere, run twice at once, refused for size; the old rules or the new."""

import fcntl
import os
import random
import signal
import subprocess
import time

import lab
import worlds

KILLS = 16
FILLER = 120  # rules and list entries that make a commit long enough to be hit in the middle


class KilledApply(lab.LabTest):
    """Two policies with one port each; list, members and rules all change between them."""

    def setUp(self):
        super().setUp()
        self.world = worlds.OneGuest(self.lab)
        self.files = [self.policy(0), self.policy(1)]

    def policy(self, number):
        """Port 1000 + number from the peer through a list; ports 22 and 23 always, 24 never."""
        mine, other = (("192.0.2.0/24", "203.0.113.0/24"), ("203.0.113.0/24", "192.0.2.0/24"))[number]
        filler = ", ".join(f"10.{number}.{i}.0/24" for i in range(FILLER))
        rules = [f"{{protocol: tcp, port: {5000 + 2 * i + number}, cidr: 198.51.{i}.0/24}}" for i in range(FILLER)]
        rules = ["{protocol: tcp, port: 22, cidr: 192.0.2.0/24}", "{protocol: tcp, port: 23, cidr: 192.0.2.7/32}",
                 "{protocol: tcp, port: 1000, prefix_list: first}", "{protocol: tcp, port: 1001, prefix_list: second}",
                 *rules]
        lists = (f"prefix_lists:\n  first: {{family: ipv4, max_entries: 500, entries: [{mine}, {filler}]}}\n"
                 f"  second: {{family: ipv4, max_entries: 500, entries: [{other}, {filler}]}}\n")
        groups = "  web:\n    vpc: prod\n    description: x\n    inbound:\n"
        groups += "".join(f"      - {rule}\n" for rule in rules) + "    outbound: []\n"
        text = self.lab.write_state(groups, {self.world.guest: ["web"]}, lists)
        return os.rename(text, f"{self.lab.folder}/{number}.yaml") or f"{self.lab.folder}/{number}.yaml"

    def kill_an_apply(self, path, seconds):
        """True when it was killed before it ended."""
        process = subprocess.Popen([self.lab.binary, "apply", path], env=self.lab.environment,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.lab.loop.run_until(lambda: process.poll() is not None, seconds)
        process.send_signal(signal.SIGKILL)
        return process.wait() == -signal.SIGKILL

    def assert_old_or_new(self):
        """Never both lists' ports, never the closed one; the tracked connection goes on."""
        w = self.world
        first, second = self.lab.tcp(w.peer, w.guest, 1000), self.lab.tcp(w.peer, w.guest, 1001)
        never = self.lab.tcp(w.peer, w.guest, 24)
        always = [self.lab.tcp(w.peer, w.guest, 22), self.lab.tcp(w.peer, w.guest, 23)]
        lab.net.run_probes(self.lab.loop, always, [first, second, never])
        outcomes = [probe.outcome for probe in (first, second, never, *always)]
        for probe in (first, second, never, *always):
            probe.close()
        self.assertEqual(outcomes[2:], ["silent", "open", "open"])
        self.assertIn(outcomes[:2], (["open", "silent"], ["silent", "open"]), "a mixture of two policies")
        self.assertTrue(self.connection.exchange(), "the tracked connection died")

    def test_any_kill_leaves_the_old_policy_or_the_new_and_the_next_apply_repairs(self):
        self.lab.sgbpf("apply", self.files[0])
        self.connection = self.lab.connect(self.lab.tcp(self.world.peer, self.world.guest, 22))
        started = time.monotonic()
        self.lab.sgbpf("apply", self.files[1])
        duration = time.monotonic() - started
        seed = int(os.environ.get("SGBPF_SEED", random.SystemRandom().randrange(1 << 32)))
        print(f"seed {seed} (set SGBPF_SEED to repeat), one apply takes {duration * 1000:.0f} ms")
        generator = random.Random(seed)
        killed = 0
        for attempt in range(KILLS):
            killed += self.kill_an_apply(self.files[attempt % 2], generator.uniform(0, duration))
            self.assert_old_or_new()
        self.assertGreater(killed, 0, "no apply was hit")
        self.lab.sgbpf("apply", self.files[0])
        self.assert_says(self.lab.sgbpf("apply", self.files[0]), "no changes")
        self.lab.sgbpf("status", code=0)
        w = self.world
        self.lab.traffic([self.lab.tcp(w.peer, w.guest, 1000)], [self.lab.tcp(w.peer, w.guest, 1001)])

    def test_the_very_first_apply_may_be_killed_too(self):
        generator = random.Random(7)
        for _ in range(6):
            self.kill_an_apply(self.files[0], generator.uniform(0, 0.5))
        self.lab.sgbpf("apply", self.files[0])
        self.lab.sgbpf("status", code=0)
        w = self.world
        self.lab.traffic([self.lab.tcp(w.peer, w.guest, 1000)], [self.lab.tcp(w.peer, w.guest, 1001)])


class TwoAtOnce(lab.LabTest):
    def setUp(self):
        super().setUp()
        self.world = worlds.OneGuest(self.lab)
        self.world.apply(['{protocol: tcp, port: 80, cidr: 192.0.2.0/24}'], [])

    def test_a_change_is_refused_while_another_holds_the_lock(self):
        with open(f"{self.lab.state_dir}/lock", "a", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            outcome = self.world.apply(worlds.ANY, [], code=3)
        self.assert_says(outcome, "another sgbpf", "lock")
        w = self.world
        self.lab.traffic([self.lab.tcp(w.peer, w.guest, 80)], [self.lab.tcp(w.peer, w.guest, 22)])

    def test_of_many_applies_at_once_each_wins_whole_or_is_refused(self):
        processes = [subprocess.Popen([self.lab.binary, "apply", self.lab.state_file], env=self.lab.environment,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                     for _ in range(4)]
        for process in processes:
            out, err = process.communicate(timeout=lab.COMMAND_S)
            self.assertIn(process.returncode, (0, 3), out + err)
        self.assert_says(self.lab.sgbpf("apply", self.lab.state_file), "no changes")


class Journal(lab.LabTest):
    def test_every_change_leaves_one_line_and_no_change_none(self):
        world = worlds.OneGuest(self.lab)
        world.apply([], [])
        before = self.lines()
        self.lab.environment["SUDO_USER"] = "alice"
        world.apply(['{protocol: tcp, port: 80, cidr: 192.0.2.0/24}'], [])
        self.lab.sgbpf("apply", self.lab.state_file)
        added = self.lines()[len(before):]
        self.assertEqual(len(added), 1, added)
        for word in ("alice uid 0", "apply", "generation 2", "digest="):
            self.assertIn(word, added[0])

    def lines(self):
        with open(f"{self.lab.state_dir}/journal.log", encoding="utf-8") as stream:
            return stream.read().splitlines()


if __name__ == "__main__":
    lab.main()
