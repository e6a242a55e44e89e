# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`sgbpf why` on live interfaces: what it says is what happens, and asking changes nothing."""

import os

import lab

LISTS = ("prefix_lists:\n  office: {family: ipv4, max_entries: 5, entries: [198.51.0.0/16, 198.51.100.0/24]}\n")
GROUPS = """\
  web:
    vpc: prod
    description: Web servers
    inbound:
      - {protocol: tcp, port: 443, cidr: [0.0.0.0/0, "::/0"]}
      - {protocol: tcp, port: 22, prefix_list: office}
      - {protocol: udp, port: 53, cidr: 0.0.0.0/0}
    outbound:
      - {protocol: tcp, port: 1433, cidr: 10.0.9.0/24}
      - {protocol: tcp, port: 3306, group: db}
  db:
    vpc: prod
    description: Databases
    inbound:
      - {protocol: tcp, port: 3306, group: web}
    outbound: []
"""
HOST = ("schema: sgbpf-host/v1\ncapacities: {interfaces: 64, policy_slots: 64, policies: 64, prefixes: 512, "
        "list_prefixes: 512, members: 512, local_prefixes: 512, set_classes: 512, classes: 512, intervals: 512, "
        "rule_refs: 512, rules: 512, flows: 512, ifindexes: 512}\n")


class Why(lab.LabTest):
    def setUp(self):
        super().setUp()
        lab.write(self.lab.host_config, HOST)
        self.peer = self.lab.guest("peer", "192.0.2.7", "2001:db8:ffff::7")
        self.office = self.lab.guest("office", "198.51.100.7")
        self.web = self.lab.guest("web", "10.0.1.10", "2001:db8:a:1::10")
        self.db = self.lab.guest("db", "10.0.2.20", "2001:db8:a:2::20")
        self.lab.apply(GROUPS, {self.web: ["web"], self.db: ["db"]}, LISTS)

    def why(self, *words, code=0):
        return self.lab.sgbpf("why", *words, code=code)

    def rule(self, interface, port):
        rows = self.lab.sgbpf("show", "rules", interface, "--json").json()["SecurityGroupRules"]
        return next(r["SecurityGroupRuleId"] for r in rows if r["FromPort"] == port)

    def test_a_rule_admits(self):
        said = self.why("web0", "in", "tcp 192.0.2.7:40000 -> 10.0.1.10:443")
        self.assertEqual(said.out, f"PASS rule {self.rule('web0', 443)} (web, tcp 443 from 0.0.0.0/0); would be tracked: "
                                   "no 0/0 outbound rule; generation 1\n", str(said))
        self.assertEqual(said.err, "", str(said))
        self.lab.traffic([self.lab.tcp(self.peer, self.web, 443)])
        v6 = self.why("web0", "in", "tcp [2001:db8:ffff::7]:40000 -> [2001:db8:a:1::10]:443")
        self.assert_says(v6, "PASS rule", "no ::/0 outbound rule")

    def test_a_drop_names_the_nearest_rule(self):
        said = self.why("web0", "out", "tcp", "10.0.1.10:50000", "10.0.9.9:443", code=1)
        self.assertEqual(said.out, "DROP no-rule: outbound of web admits only tcp 1433, 3306; nearest: "
                                   f"{self.rule('web0', 1433)} (web, tcp 1433 to 10.0.9.0/24: another port); "
                                   "generation 1\n", str(said))
        said = self.why("web0", "in", "tcp", "192.0.2.7:40000", "10.0.1.10:22", code=1)
        self.assert_says(said, "inbound of web admits tcp 22 only from prefix list office", ": another peer)")
        self.lab.traffic(denied=[self.lab.tcp(self.peer, self.web, 22)])

    def test_the_entry_of_a_prefix_list_is_the_longest(self):
        said = self.why("web0", "in", "tcp 198.51.100.7:40000 -> 10.0.1.10:22")
        self.assert_says(said, "(web, tcp 22 from prefix list office: entry 198.51.100.0/24)",
                         "would be tracked: its rule is not for 0/0, no 0/0 outbound rule")
        self.lab.traffic([self.lab.tcp(self.office, self.web, 22)])

    def test_a_tracked_flow_is_described(self):
        self.lab.connect(self.lab.tcp(self.peer, self.web, 443, source_port=40000))
        said = self.why("web0", "out", "tcp 10.0.1.10:443 -> 192.0.2.7:40000 A")
        self.assert_says(said, f"PASS tracked by rule {self.rule('web0', 443)} (web, tcp 443 from 0.0.0.0/0)",
                         "established flow, opened by 192.0.2.7:40000 ", " left; generation 1")
        json = self.why("web0", "in", "tcp 192.0.2.7:40000 -> 10.0.1.10:443 A", "--json").json()
        self.assertEqual((json["Verdict"], json["Reason"], json["Tracking"]["State"]), ("pass", "tracked", "tracked"))
        self.assertEqual(json["Flow"]["Remote"], "192.0.2.7:40000")
        # Another port pair is another flow, and a segment in the middle of nothing opens none.
        self.assert_says(self.why("web0", "out", "tcp 10.0.1.10:443 -> 192.0.2.7:40001 A", code=1), "DROP no-rule")
        self.assert_says(self.why("web0", "in", "tcp 192.0.2.7:40001 -> 10.0.1.10:443 A"),
                         "not tracked: only a SYN opens a TCP flow")

    def test_two_interfaces_are_judged_at_both_ends(self):
        said = self.why("web0", "db0", "tcp", "3306")
        lines = said.out.splitlines()
        self.assertEqual(len(lines), 5, str(said))
        self.assertTrue(lines[0].startswith("web0 out tcp 10.0.1.10:49152 > 10.0.2.20:3306 S: PASS rule "), str(said))
        self.assertIn("tcp 3306 to group prod/db: db0)", lines[0])
        self.assertTrue(lines[3].startswith("db0 in tcp [2001:db8:a:1::10]:49152 > [2001:db8:a:2::20]:3306 S: PASS"))
        self.assertEqual(lines[4], "yes: web0 reaches db0 on tcp 3306 (ipv4, ipv6); replies: tracked at both ends; "
                                   "both are in VPC prod")
        self.lab.traffic([self.lab.tcp(self.web, self.db, 3306, family) for family in (4, 6)])
        said = self.why("web0", "db0", "tcp", "3307", "--family", "ipv4", code=1)
        self.assertEqual(len(said.out.splitlines()), 3, str(said))
        self.assert_says(said, "no: web0 does not reach db0 on tcp 3307: ipv4 refused at web0 and at db0")
        self.assert_says(self.why("db0", "web0", "tcp", "443", code=1), "ipv4 refused at db0, ipv6 refused at db0",
                         "db has no outbound rule")

    def test_a_captured_frame(self):
        frame = net_frame(self.web.mac, "c0000207", "0a00010a", 40000, 443)
        self.assert_says(self.why("web0", "in", "--frame", frame), "PASS rule")
        self.assert_says(self.why("web0", "in", "--frame", frame[:80], code=1), "DROP truncated")
        self.assert_says(self.why("web0", "in", "--frame", frame[:60], code=1), "DROP truncated")
        self.assert_says(self.why("web0", "out", "--frame", frame, code=1), "DROP source-mac")
        said = self.why("web0", "out", "--frame", frame[12:24] + frame[:12] + frame[24:], code=1)
        self.assert_says(said, "DROP source-dest-check: source 192.0.2.7 is not an address of web0, which has 10.0.1.10")

    def test_what_is_not_attached_is_judged_with_a_note(self):
        self.lab.sgbpf("detach", "web0", "--yes")
        said = self.why("web0", "in", "tcp 192.0.2.7:40000 -> 10.0.1.10:443")
        self.assert_says(said, "PASS rule", "note: web0 is not attached", "passes ALL traffic")
        self.lab.sgbpf("detach", "db0", "--quarantine")
        self.assert_says(self.why("db0", "in", "tcp 10.0.1.10:40000 -> 10.0.2.20:3306", code=1),
                         "DROP quarantine: db0 is quarantined; `sgbpf attach db0` ends that")

    def test_bad_input_is_one_sentence_and_exit_2(self):
        for words, sentence in (
                (("wbe0", "in", "tcp 192.0.2.7:1 -> 10.0.1.10:443"), "did you mean web0?"),
                (("web0", "in"), "which packet?"),
                (("web0", "in", "tcp", "192.0.2.7:1", "-"), "the shell took"),
                (("web0", "in", "tcp 192.0.2.7 -> 10.0.1.10"), "lacks the port"),
                (("web0", "in", "--frame", "52540"), "5 digits are not whole bytes"),
                (("web0", "in", "--frame", "zz"), "\"z\" is no hexadecimal digit"),
                (("web0", "in", "--frame", "5254"), "shorter than an Ethernet header"),
                (("web0", "db0"), "neither a direction"),
                (("web0", "web0", "tcp", "80"), "to itself"),
                (("web0", "db0", "tcp"), "a port from 0 to 65535"),
                (("web0", "db0", "tcp", "3306", "--family", "ipx"), "ipv4 or ipv6"),
                (("web0", "sideways", "tcp", "3306"), "no interface sideways")):
            said = self.why(*words, code=2)
            self.assert_says(said, sentence)
            self.assertEqual(said.out, "", str(said))
            self.assertEqual(len(said.err.splitlines()), 1, str(said))

    def dump(self):
        """Every pinned map. Not those that change by themselves: the sweeper counts its own passes and recounts, and
        the guests' neighbour discovery, which is unfiltered, counts and takes tokens whenever it likes."""
        folder = f"{self.lab.bpffs}/sgbpf/v3/maps"
        dumps = {}
        for name in sorted(os.listdir(folder)):
            if name not in ("sg_sweep", "sg_confirm", "sg_events", "sg_flow_free", "sg_counters", "sg_accounts"):
                dumps[name] = lab.run(["/usr/sbin/bpftool", "map", "dump", "pinned", f"{folder}/{name}"]).stdout
        for interface in ("web0", "db0"):
            dumps[interface] = {key: packets for key, packets in self.reasons(interface).items()
                                if key[1] != "unfiltered"}
        return dumps

    def test_asking_changes_no_map(self):
        self.lab.connect(self.lab.tcp(self.peer, self.web, 443, source_port=40000))
        before = self.dump()
        self.assertGreater(len(before), 20)
        self.why("web0", "in", "tcp 192.0.2.7:40000 -> 10.0.1.10:443 A")
        self.why("web0", "out", "tcp 10.0.1.10:443 -> 192.0.2.7:40000 R")
        self.why("web0", "in", "udp 192.0.2.7:40000 -> 10.0.1.10:53")
        self.why("web0", "out", "tcp 10.0.1.10:443 -> 192.0.2.7:22", code=1)
        self.why("web0", "db0", "tcp", "3306")
        after = self.dump()
        self.assertEqual([name for name in before if before[name] != after[name]], [])
        self.lab.traffic([self.lab.tcp(self.peer, self.web, 443)])


def net_frame(mac, source, destination, source_port, port):
    """An Ethernet frame with a TCP SYN, as hexadecimal digits; checksums are not judged (SG-13.18)."""
    return (mac.replace(":", "") + "020000000002" + "0800" + "4500002800004000" + "40060000" + source + destination
            + f"{source_port:04x}{port:04x}" + "00000001" + "00000000" + "5002faf000000000")


if __name__ == "__main__":
    lab.main()
