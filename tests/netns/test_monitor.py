# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""monitor: live verdicts with rule ids and filters; bursts are survived and losses counted."""

import json
import os
import re
import signal
import struct
import subprocess
import threading
import time

import frames
import lab
import worlds

BURST = 60000
MONITOR_OFFSET, TICKS_OFFSET = 16, 28  # struct sg_control
SECONDS_AHEAD = 60                     # SG_MONITOR_SECONDS_AHEAD


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

    def frame(self, port=4444):
        packet = frames.tcp(self.world.peer.address(4), self.world.guest.address(4), port, 81, frames.SYN)
        mac = f"fe:54:00:00:00:{self.world.peer.number:02x}"
        return frames.ethernet(self.world.peer.mac, mac, frames.ETH_IPV4, packet)

    @staticmethod
    def totals(err):
        return tuple(int(number) for number in re.search(r"shown (\d+), lost (\d+)\n$", err).groups())

    def test_a_burst_is_counted_to_the_last_packet(self):
        """Shown and lost together are what the counters say; the rate limit loses most of it."""
        before = self.reasons().get(("in", "no-rule"), 0)
        process = self.start("--drops")
        sender = self.world.peer.packet_socket()
        frame = self.frame()
        for _ in range(BURST):
            sender.send(frame)
        self.assert_counts("in", "no-rule", before + BURST)
        out, err = self.finish(process)
        shown, lost = self.totals(err)
        self.assertEqual(shown, len(out.splitlines()))
        self.assertEqual(shown + lost, self.reasons()["in", "no-rule"] - before)

    def test_many_unread_events_are_each_shown_once_and_not_eaten_by_another(self):
        """More than one reading takes, while the listener sleeps and a second one is refused."""
        before = self.reasons().get(("in", "no-rule"), 0)
        process = self.start("--drops", "--seconds", "20")
        process.send_signal(signal.SIGSTOP)
        sender = self.world.peer.packet_socket()
        ports = range(10001, 30001)
        for port in ports:
            sender.send(self.frame(port))
            if port % 1000 == 0:
                time.sleep(0.05)  # below the rate
        self.assert_counts("in", "no-rule", before + len(ports))
        self.assert_says(self.lab.sgbpf("monitor", "--seconds", "1", code=3), "another `sgbpf monitor` listens")
        process.send_signal(signal.SIGCONT)
        lines = [process.stdout.readline() for _ in range(5000)]
        process.send_signal(signal.SIGINT)
        lines += process.stdout.readlines()
        err = self.finish(process)[1]
        seen = [int(re.search(r":(\d+) > ", line)[1]) for line in lines]
        self.assertEqual(len(set(seen)), len(seen), "shown twice")
        shown, lost = self.totals(err)
        self.assertEqual((shown, shown + lost), (len(seen), self.reasons()["in", "no-rule"] - before))

    def test_a_flood_does_not_keep_it_from_ending(self):
        """The reader is slower than what comes, so there is always more."""
        process = self.start("--drops", "--json")
        ended = threading.Event()
        sender, frame = self.world.peer.packet_socket(), self.frame()

        def flood():
            while not ended.is_set():
                sender.send(frame)

        def read_slowly():
            while os.read(process.stdout.fileno(), 65536):
                time.sleep(0.02)

        threads = [threading.Thread(target=work) for work in (flood, read_slowly)]
        for thread in threads:
            thread.start()
        try:
            time.sleep(3)
            process.send_signal(signal.SIGINT)
            asked = time.monotonic()
            process.wait(timeout=10)
            self.assertLess(time.monotonic() - asked, 2)
        finally:
            ended.set()
            process.kill()
            for thread in threads:
                thread.join()
            process.stdout.close()
            err = process.stderr.read()
            process.stderr.close()
        self.assertEqual(process.returncode, 0, err)
        self.assertGreater(self.totals(err)[0], 4096)

    def test_one_listens_and_a_killed_one_is_forgotten(self):
        process = self.start("--drops")
        self.assert_says(self.lab.sgbpf("monitor", "--seconds", "1", code=3), "another `sgbpf monitor` listens")
        process.kill()
        process.communicate()
        self.assertTrue(self.lab.wait_until(self.free_again, 8), "still asked for after its death")

    def test_the_word_of_a_dead_listener_is_cleared_by_the_next_packet(self):
        """Both when its time is over, and when the ticks have come round to before it."""
        process = self.start("--drops")
        word, rate = self.control_word()
        process.kill()
        process.communicate()
        until = word >> 32
        for seconds in (-3600, SECONDS_AHEAD + 3600):
            self.set_control_word(word & 0xffffffff | (until + seconds * rate & 0xffffffff) << 32)
            self.world.peer.packet_socket().send(self.frame())
            self.assertTrue(self.lab.wait_until(lambda: self.control_word()[0] == 0, 3), f"{seconds} s from its end")
        self.set_control_word(word & 0xffffffff | (until + (SECONDS_AHEAD + 3600) * rate & 0xffffffff) << 32)
        self.assertTrue(self.free_again(), "a word from before the ticks came round keeps others out")

    def bpftool(self, *arguments):
        pin = f"{self.lab.bpffs}/sgbpf/v3/maps/sg_control"
        return lab.run(["/usr/sbin/bpftool", "-j", "map", arguments[0], "pinned", pin, "key", "0", "0", "0", "0", *arguments[1:]])

    def control_bytes(self):
        answer = json.loads(self.bpftool("lookup").stdout)
        return bytes(int(byte, 16) for byte in answer["value"])

    def control_word(self):
        """(sg_control.monitor, ticks per second)"""
        value = self.control_bytes()
        return struct.unpack_from("<Q", value, MONITOR_OFFSET)[0], struct.unpack_from("<I", value, TICKS_OFFSET)[0]

    def set_control_word(self, word):
        value = bytearray(self.control_bytes())
        struct.pack_into("<Q", value, MONITOR_OFFSET, word)
        self.bpftool("update", "value", *(str(byte) for byte in value))

    def free_again(self):
        return self.lab.sgbpf("monitor", "--seconds", "1", code=None).code == 0

    def test_bad_input(self):
        for options, words in ((["--direction", "up"], "in or out"), (["--port", "99999"], "0 to 65535"),
                               (["--reason", "no-ruel"], "did you mean no-rule"), (["--interface", "web1"], "did you mean web0"),
                               (["--peer", "x"], "--peer"), (["--protocol", "tpc"], "--protocol")):
            self.assert_says(self.lab.sgbpf("monitor", "--seconds", "1", *options, code=2), words)


if __name__ == "__main__":
    lab.main()
