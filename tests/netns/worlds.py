# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The specification's examples as namespaces and state files; used by the tests and by tools/demo."""

# Section 12, worked example: a web server and its two databases. Ping is not in the seed's tables.
WEB_GROUPS = """\
  web:
    vpc: prod
    description: Web servers
    inbound:
      - {type: http, cidr: [0.0.0.0/0, "::/0"]}
      - {type: https, cidr: [0.0.0.0/0, "::/0"]}
      - {type: ssh, cidr: 198.51.100.0/24}
      - {type: rdp, cidr: 198.51.100.0/24}
    outbound:
      - {type: mssql, group: mssql}
      - {type: mysql, group: mysql}
  mssql:
    vpc: prod
    description: SQL Server
    inbound:
      - {type: mssql, group: web}
  mysql:
    vpc: prod
    description: MySQL servers
    inbound:
      - {type: mysql, group: web}
    outbound: []
"""


class WebWorld:
    """Filtered: web, mssql, mysql. Not filtered, as the outside world: internet, office."""

    def __init__(self, lab):
        self.lab = lab
        self.internet = lab.guest("internet", "192.0.2.7", "2001:db8:ffff::7")
        self.office = lab.guest("office", "198.51.100.7", "2001:db8:eeee::7")
        self.web = lab.guest("web", "10.0.1.10", "2001:db8:a:1::10")
        self.mssql = lab.guest("mssql", "10.0.2.30", "2001:db8:a:2::30")
        self.mysql = lab.guest("mysql", "10.0.2.20", "2001:db8:a:2::20")
        self.members = {self.web: ["web"], self.mssql: ["mssql"], self.mysql: ["mysql"]}

    def apply(self):
        return self.lab.apply(WEB_GROUPS, self.members)


class DefaultWorld:
    """Two members of the VPC's default group, and an outsider."""

    def __init__(self, lab):
        self.lab = lab
        self.first = lab.guest("first", "10.0.3.1", "2001:db8:a:3::1")
        self.second = lab.guest("second", "10.0.3.2", "2001:db8:a:3::2")
        self.outsider = lab.guest("outsider", "192.0.2.9", "2001:db8:ffff::9")
        self.members = {self.first: None, self.second: None}

    def apply(self, groups=""):
        return self.lab.apply(groups, self.members)


# What most tests need: one filtered guest and its rules, and a stranger who is not filtered.
class OneGuest:
    def __init__(self, lab):
        self.lab = lab
        self.guest = lab.guest("web", "10.0.1.10", "2001:db8:a:1::10")
        self.peer = lab.guest("peer", "192.0.2.7", "2001:db8:ffff::7")

    def write(self, inbound, outbound, more="", extra=""):
        """Rules as YAML flow mappings, one a string: '{protocol: tcp, port: 80, cidr: 0.0.0.0/0}'."""
        groups = "  web:\n    vpc: prod\n    description: The rules of this test\n"
        for direction, rules in (("inbound", inbound), ("outbound", outbound)):
            rows = "".join(f"\n      - {rule}" for rule in rules) or " []"
            groups += f"    {direction}:{rows}\n"
        return self.lab.write_state(groups, {self.guest: ["web"]}, more, extra={self.guest.name: extra})

    def apply(self, inbound, outbound, more="", extra="", options=(), code=0):
        return self.lab.sgbpf("apply", self.write(inbound, outbound, more, extra), *options, code=code)


ANY = ['{protocol: all, cidr: [0.0.0.0/0, "::/0"]}']
