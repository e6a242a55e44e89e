# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`sgbpf replay` beside a live instance: its answers, its exit codes, and that nothing live is touched."""

import json
import os
import struct

import lab
import worlds

HTTP = ['{protocol: tcp, port: 80, cidr: 192.0.2.0/24}']
ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
# Maps that are dumped in no time.
SMALL = ("schema: sgbpf-host/v1\ncapacities: {interfaces: 64, policy_slots: 128, policies: 256, prefixes: 1024, "
         "list_prefixes: 1024, members: 1024, local_prefixes: 1024, set_classes: 1024, classes: 256, intervals: 1024, "
         "rule_refs: 1024, rules: 256, flows: 1024, ifindexes: 1024}\n")
# Counters of the live traffic that goes on meanwhile, and what cannot be dumped (queue, ring).
MOVING = ("sg_sweep", "sg_confirm", "sg_events", "sg_event_counts", "sg_flow_free", "sg_counters", "sg_accounts")


class Replay(lab.LabTest):
    def setUp(self):
        super().setUp()
        lab.write(self.lab.host_config, SMALL)
        self.world = worlds.OneGuest(self.lab)
        self.world.apply(HTTP, [])

    def scenario(self, *lines):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        return lab.write(f"{self.lab.folder}/t.jsonl", text)

    def packet(self, text, direction="in", **more):
        return {"text": text, "interface": self.world.guest.interface, "direction": direction, **more}

    def apply(self):
        return {"apply": os.path.basename(self.lab.state_file)}

    def syn(self, port, **more):
        return self.packet(f"tcp 192.0.2.7:40000 -> {self.world.guest.address(4)}:{port}", **more)

    def dump(self):
        """What the live maps hold."""
        dumps = {}
        for folder, _, names in os.walk(self.lab.bpffs):
            for name in names:
                if name.startswith("sg_") and name not in MOVING:
                    done = lab.run(["/usr/sbin/bpftool", "map", "dump", "pinned", f"{folder}/{name}"], check=False)
                    dumps[f"{folder}/{name}"] = done.stdout
        return dumps

    def test_expectations_decide_the_exit_code(self):
        good = self.scenario(self.apply(), self.syn(80, expect="pass"), self.syn(22, expect="drop", reason="no-rule"))
        for program in ("tc", "xdp"):
            outcome = self.lab.sgbpf("replay", good, "--program", program)
            self.assertEqual(outcome.out.splitlines()[-1], "ok 2, failed 0")
        bad = self.scenario(self.apply(), self.syn(80, expect="drop"), self.syn(22, expect="drop"))
        outcome = self.lab.sgbpf("replay", bad, code=1)
        self.assertRegex(outcome.out.splitlines()[-1],
                         r"^ok 1, failed 1: line 2: expected drop, got pass \(sgr-[0-9a-f]{17}\)$")
        quiet = self.lab.sgbpf("replay", bad, "--quiet", code=1).out
        self.assertIn("FAILED: expected drop", quiet)
        self.assertNotIn("no-rule      -", quiet)

    def test_every_line_of_json_is_an_object(self):
        path = self.scenario(self.apply(), self.syn(80, t_ms=5, expect="pass"), self.syn(22))
        rows = [json.loads(line) for line in self.lab.sgbpf("replay", path, "--json").out.splitlines()]
        self.assertEqual([(row["Line"], row["TimeMs"], row["Verdict"], row["Reason"], row["FlowState"])
                          for row in rows[:-1]], [(2, 5, "pass", "rule", "syn-sent"), (3, 5, "drop", "no-rule", None)])
        self.assertEqual((rows[-1]["Summary"]["Ok"], rows[-1]["Summary"]["WithoutExpectation"]), (1, 1))

    def test_a_state_that_does_not_fit_is_refused(self):
        config = lab.write(f"{self.lab.folder}/small.yaml", "schema: sgbpf-host/v1\ncapacities: {rules: 2}\n")
        self.world.write([f"{{protocol: tcp, port: {port}, cidr: 192.0.2.0/24}}" for port in (80, 81, 82)], [])
        outcome = self.lab.sgbpf("--host-config", config, "replay", self.scenario(self.apply(), self.syn(80)), code=3)
        self.assert_says(outcome, "t.jsonl:1: ")

    def test_a_capture_tells_what_would_have_happened(self):
        def record(second, length, data):
            return struct.pack("<IIII", second, 0, len(data), length) + data

        guest = self.world.guest
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, bytes([192, 0, 2, 7]),
                         bytes(int(part) for part in guest.address(4).split(".")))
        frame = bytes.fromhex(guest.mac.replace(":", "") + "0200000000020800") + ip
        tcp = struct.pack(">HHIIBBHHH", 40000, 80, 1, 0, 0x50, 2, 64240, 0, 0)
        path = f"{self.lab.folder}/c.pcap"
        with open(path, "wb") as stream:
            stream.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, 1))
            stream.write(record(1, 54, frame + tcp) + record(2, 54, frame + tcp)[:-1])
        outcome = self.lab.sgbpf("replay", self.lab.state_file, path, code=2)
        self.assert_says(outcome, "1 packet: 1 passed, 0 dropped", "is broken after packet 1")

    def test_the_live_instance_is_not_touched(self):
        w = self.world
        w.guest.serve_tcp(80)
        connection = self.lab.connect(self.lab.tcp(w.peer, w.guest, 80))
        before, pins = self.dump(), lab.run(["find", self.lab.bpffs]).stdout
        self.assertGreater(len(before), 15)
        state = {name: os.stat(f"{self.lab.state_dir}/{name}").st_mtime_ns for name in os.listdir(self.lab.state_dir)}
        path = self.scenario(self.apply(), self.syn(80), self.syn(22), {"apply": self.other_state()}, self.syn(22))
        for program in ("tc", "xdp"):
            self.lab.sgbpf("replay", path, "--program", program)
        after = self.dump()
        self.assertEqual([name for name in before if before[name] != after[name]], [])
        self.assertEqual(lab.run(["find", self.lab.bpffs]).stdout, pins)
        self.assertEqual({name: os.stat(f"{self.lab.state_dir}/{name}").st_mtime_ns
                          for name in os.listdir(self.lab.state_dir)}, state)
        self.assertTrue(connection.exchange())

    def other_state(self):
        """The state in force with port 22 instead of 80."""
        with open(self.lab.state_file, encoding="utf-8") as stream:
            text = stream.read()
        return os.path.basename(lab.write(f"{self.lab.folder}/other.yaml", text.replace("port: 80", "port: 22")))

    def test_nothing_of_the_host_is_needed(self):
        path = self.scenario(self.apply(), self.syn(80, expect="pass"))
        self.lab.sgbpf("replay", path, SGBPF_STATE_DIR="/nonexistent/state", SGBPF_BPFFS="/nonexistent/bpf")

    def test_the_example_passes(self):
        for program in ("tc", "xdp"):
            outcome = self.lab.sgbpf("replay", f"{ROOT}/examples/policy-test.jsonl", "--program", program)
            self.assert_says(outcome, "failed 0")

    def test_the_readme_shows_lines_of_the_example(self):
        with open(f"{ROOT}/examples/policy-test.jsonl", encoding="utf-8") as stream:
            example = [json.loads(line) for line in stream]
        with open(f"{ROOT}/README.md", encoding="utf-8") as stream:
            section = stream.read().split("## Unit tests for a policy")[1].split("\n## ")[0]
        shown = [json.loads(line) for line in section.splitlines() if line.startswith('{"')]
        self.assertGreater(len(shown), 2)
        for line in shown:
            self.assertTrue(any(line.items() <= whole.items() for whole in example), line)
        out = self.lab.sgbpf("replay", f"{ROOT}/examples/policy-test.jsonl").out
        for line in section.split("# sgbpf replay examples/policy-test.jsonl\n")[1].split("```")[0].splitlines():
            self.assertIn(line.strip(), out)


if __name__ == "__main__":
    lab.main()
