# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The worked example of section 12, row by row, on real interfaces; and the seed's default group."""

import lab
import worlds


class WebExample(lab.LabTest):
    def setUp(self):
        super().setUp()
        self.world = worlds.WebWorld(self.lab)
        self.world.apply()

    def test_anyone_reaches_http_and_https_on_both_families(self):
        w, tcp = self.world, self.lab.tcp
        self.lab.traffic(tcp(client, w.web, port, family)
                         for client in (w.internet, w.office) for port in (80, 443) for family in (4, 6))

    def test_only_the_own_network_reaches_ssh_and_rdp(self):
        w, tcp = self.world, self.lab.tcp
        self.lab.traffic([tcp(w.office, w.web, 22), tcp(w.office, w.web, 3389)],
                         [tcp(w.internet, w.web, 22), tcp(w.internet, w.web, 3389), tcp(w.office, w.web, 22, 6)])

    def test_web_reaches_its_databases_through_the_groups_of_both_ends(self):
        w, tcp = self.world, self.lab.tcp
        self.lab.traffic([tcp(w.web, w.mysql, 3306, family) for family in (4, 6)]
                         + [tcp(w.web, w.mssql, 1433, family) for family in (4, 6)],
                         [tcp(w.web, w.mysql, 1433), tcp(w.web, w.mssql, 3306, 6), tcp(w.web, w.mysql, 22)])

    def test_web_cannot_open_connections_to_the_internet(self):
        w = self.world
        self.lab.traffic(denied=[self.lab.tcp(w.web, w.internet, 443), self.lab.tcp(w.web, w.internet, 443, 6),
                                 self.lab.udp(w.web, w.internet, 53), self.lab.ping(w.web, w.internet)])

    def test_mysql_answers_but_opens_nothing(self):
        w = self.world
        connection = self.lab.connect(self.lab.tcp(w.web, w.mysql, 3306))
        self.assertTrue(connection.exchange(), "the reply of 3306 rides on state (SG-5.1)")
        self.lab.traffic(denied=[self.lab.tcp(w.mysql, w.web, 80), self.lab.tcp(w.mysql, w.internet, 443, 6),
                                 self.lab.ping(w.mysql, w.web)])

    def test_databases_are_closed_to_the_internet(self):
        w = self.world
        self.lab.traffic(denied=[self.lab.tcp(w.internet, w.mysql, 3306), self.lab.tcp(w.office, w.mssql, 1433),
                                 self.lab.udp(w.internet, w.mysql, 3306), self.lab.ping(w.internet, w.mssql, 6)])

    def test_mssql_keeps_the_default_outbound_rules_because_its_key_is_absent(self):
        w = self.world
        self.lab.traffic([self.lab.tcp(w.mssql, w.internet, 443), self.lab.tcp(w.mssql, w.internet, 443, 6),
                          self.lab.udp(w.mssql, w.internet, 53, 6), self.lab.ping(w.mssql, w.internet)])

    def test_a_second_apply_of_the_same_file_changes_nothing(self):
        outcome = self.lab.sgbpf("apply", self.lab.state_file)
        self.assert_says(outcome, "no changes")
        self.lab.sgbpf("diff", self.lab.state_file, code=0)


class DefaultGroup(lab.LabTest):
    def setUp(self):
        super().setUp()
        self.world = worlds.DefaultWorld(self.lab)

    def everything(self, client, server):
        probes = self.lab
        return [make for family in (4, 6)
                for make in (probes.tcp(client, server, 8080, family), probes.udp(client, server, 5353, family),
                             probes.ping(client, server, family))]

    def test_members_reach_each_other_and_outsiders_reach_none(self):
        w = self.world
        w.apply()
        self.lab.traffic(self.everything(w.first, w.second) + self.everything(w.second, w.first),
                         self.everything(w.outsider, w.first) + self.everything(w.outsider, w.second))

    def test_members_reach_anyone(self):
        w = self.world
        w.apply()
        self.lab.traffic(self.everything(w.first, w.outsider))

    def test_members_without_the_self_rule_are_isolated_from_each_other(self):  # SG-3.16
        w = self.world
        w.apply("  default:\n    vpc: prod\n    inbound: []\n")
        self.lab.traffic(self.everything(w.first, w.outsider), self.everything(w.first, w.second))

    def test_a_new_group_admits_nothing_in_and_everything_out(self):  # SG-3.1 .. SG-3.3
        w = self.world
        self.lab.apply("  fresh:\n    vpc: prod\n    description: as created\n", {w.first: ["fresh"]})
        self.lab.traffic(self.everything(w.first, w.outsider), self.everything(w.outsider, w.first))


if __name__ == "__main__":
    lab.main()
