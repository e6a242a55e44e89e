# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""monitor: live verdicts with rule ids and filters; bursts are survived and losses counted."""

import json
import signal
import subprocess

import frames
import lab
import worlds

BURST = 60000


class Monitor(lab.LabTest):
    def setUp(self):
        super().setUp()
        self.world = worlds.OneGuest(self.lab)
        self.world.apply(["{protocol: tcp, port: 80, cidr: 192.0.2.0/24}"], [])

    def start(self, *options):
        process = subprocess.Popen([self.lab.binary, "monitor", *options], env=self.lab.environment, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(lambda: process.poll() is None and process.kill())
        self.assertIn("listening", process.stderr.readline())
        return process

    def finish(self, process):
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
        self.assertEqual(process.returncode, 0, err)
        return out, err

    def traffic(self):
        w = self.world
        self.lab.traffic([self.lab.tcp(w.peer, w.guest, 80)], [self.lab.tcp(w.peer, w.guest, 81)])

    def test_passes_name_their_rule_and_drops_their_reason(self):
        process = self.start()
        self.traffic()
        out, err = self.finish(process)
        rule = self.lab.sgbpf("show", "rules", "web0", "--json").json()["SecurityGroupRules"][0]["SecurityGroupRuleId"]
        self.assertRegex(out, rf"\d\d:\d\d:\d\d\.\d\d\d web0 in PASS rule {rule} tcp 192\.0\.2\.7:\d+ > 10\.0\.1\.10:80 S gen 1\n")
        self.assertRegex(out, r"web0 in DROP no-rule tcp 192\.0\.2\.7:\d+ > 10\.0\.1\.10:81 S gen 1\n")
        self.assertNotIn(" A ", out, "packets of tracked flows are shown with --all only")
        self.assertRegex(err, r"shown \d+, lost 0\n")

    def test_filters_and_json(self):
        process = self.start("--drops", "--json", "--interface", "web0", "--port", "81", "--protocol", "tcp", "--peer",
                             "192.0.2.0/24", "--direction", "in", "--reason", "no-rule")
        self.traffic()
        rows = [json.loads(line) for line in self.finish(process)[0].splitlines()]
        self.assertTrue(rows)
        for row in rows:
            self.assertEqual((row["Verdict"], row["Reason"], row["Interface"], row["Direction"], row["SecurityGroupRuleId"]),
                             ("drop", "no-rule", "web0", "in", None))
            self.assertIn(":81 S", row["Packet"])

    def test_all_shows_packets_of_tracked_flows_and_ends_after_count(self):
        process = self.start("--all", "--count", "4")
        self.traffic()
        out, err = process.communicate(timeout=10)
        self.assertEqual((process.returncode, len(out.splitlines())), (0, 4), err)
        self.assertIn("PASS tracked by sgr-", out)

    def test_a_burst_is_counted_to_the_last_packet(self):
        """Shown and lost together are what the counters say; the rate limit loses most of it."""
        before = self.reasons().get(("in", "no-rule"), 0)
        process = self.start("--drops")
        sender = self.world.peer.packet_socket()
        packet = frames.tcp(self.world.peer.address(4), self.world.guest.address(4), 4444, 81, frames.SYN)
        frame = frames.ethernet(self.world.peer.mac, f"fe:54:00:00:00:{self.world.peer.number:02x}", frames.ETH_IPV4, packet)
        for _ in range(BURST):
            sender.send(frame)
        self.assert_counts("in", "no-rule", before + BURST)
        out, err = self.finish(process)
        shown, lost = (int(word.rstrip(",")) for word in err.splitlines()[-1].split()[1::2])
        self.assertEqual(shown, len(out.splitlines()))
        self.assertEqual(shown + lost, self.reasons()["in", "no-rule"] - before)

    def test_one_listens_and_a_killed_one_is_forgotten(self):
        process = self.start("--drops")
        self.assert_says(self.lab.sgbpf("monitor", "--seconds", "1", code=3), "another `sgbpf monitor` listens")
        process.kill()
        process.communicate()
        self.assertTrue(self.lab.wait_until(self.free_again, 8), "still asked for after its death")

    def free_again(self):
        return self.lab.sgbpf("monitor", "--seconds", "1", code=None).code == 0

    def test_bad_input(self):
        for options, words in ((["--direction", "up"], "in or out"), (["--port", "99999"], "0 to 65535"),
                               (["--reason", "no-ruel"], "did you mean no-rule"), (["--interface", "web1"], "did you mean web0"),
                               (["--peer", "x"], "--peer"), (["--protocol", "tpc"], "--protocol")):
            self.assert_says(self.lab.sgbpf("monitor", "--seconds", "1", *options, code=2), words)


if __name__ == "__main__":
    lab.main()
