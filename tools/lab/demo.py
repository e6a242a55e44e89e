#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The demo behind tools/demo: a web server, its databases and two members of a default group."""

import os
import selectors
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "netns"))
import lab  # noqa: E402  (found through the path above)
import net  # noqa: E402

GROUPS = """\
  web:
    vpc: prod
    description: Web servers
    inbound:
      - {type: http, cidr: [0.0.0.0/0, "::/0"]}
      - {type: https, cidr: [0.0.0.0/0, "::/0"]}
      - {type: ssh, prefix_list: office}
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
WITHOUT_MYSQL_RULES = GROUPS.replace("      - {type: mysql, group: mysql}\n", "").replace(
    "    inbound:\n      - {type: mysql, group: web}\n", "    inbound: []\n")

# A real HTTP server in a guest's namespace; says "ready" when it listens on both families.
HTTP_SERVER = """
import http.server, socket
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello from " + socket.gethostname().encode())
    def log_message(self, *ignored):
        pass
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
server = Server(("::", 80), Handler)
print("ready", flush=True)
server.serve_forever()
"""


class HttpProbe(net.Probe):
    """GET / wants 200 from the guest's HTTP server."""

    def __init__(self, loop, client, server, family=4):
        super().__init__(loop, client, server, family, "http")
        self.answer = b""

    def start(self):
        sock = self.open_socket(socket.SOCK_STREAM)
        self.loop.add(sock, selectors.EVENT_WRITE, self.connected)
        sock.connect_ex((self.target(), 80))

    def connected(self, sock):
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.loop.remove(sock)
            self.finish(net.REFUSED)
            return
        sock.send(b"GET / HTTP/1.0\r\n\r\n")
        self.loop.modify(sock, selectors.EVENT_READ, self.readable)

    def readable(self, sock):
        data = sock.recv(4096)
        self.answer += data
        if not data:
            self.loop.remove(sock)
            self.finish(net.OPEN if self.answer.startswith(b"HTTP/1.0 200") else "not HTTP 200")


class Demo:
    def __init__(self):
        self.lab = lab.Lab(prefix="sgdemo")
        self.servers = []
        self.checks = self.differences = 0
        guest = self.lab.guest
        self.internet = guest("internet", "192.0.2.7", "2001:db8:ffff::7")
        self.office = guest("office", "198.51.100.7", "2001:db8:eeee::7")
        self.web = guest("web", "10.0.1.10", "2001:db8:a:1::10")
        self.shop = guest("shop", "10.0.1.11", "2001:db8:a:1::11")
        self.mssql = guest("mssql", "10.0.2.30", "2001:db8:a:2::30")
        self.mysql = guest("mysql", "10.0.2.20", "2001:db8:a:2::20")
        self.alice = guest("alice", "10.0.3.1", "2001:db8:a:3::1")
        self.bob = guest("bob", "10.0.3.2", "2001:db8:a:3::2")
        for server in (self.web, self.shop):
            self.serve_http(server)

    def serve_http(self, guest):
        with guest.inside():
            process = subprocess.Popen([sys.executable, "-c", HTTP_SERVER], stdout=subprocess.PIPE, text=True)
        self.servers.append(process)
        guest.servers["tcp", 80] = process
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"the HTTP server of {guest.name} did not start")

    def http(self, client, server, family=4):
        return HttpProbe(self.lab.loop, client, server, family)

    def title(self, text):
        print(f"\n== {text}")

    def line(self, what, expected, seen):
        self.checks += 1
        self.differences += expected != seen
        print(f"  {'ok     ' if expected == seen else 'DIFFERS'}  {what:44} expected {expected:8} seen {seen}", flush=True)

    def traffic(self, passing=(), denied=()):
        """All at once; one line each."""
        passing, denied = list(passing), list(denied)
        net.run_probes(self.lab.loop, passing, denied)
        for expected, probes in ((net.OPEN, passing), (net.SILENT, denied)):
            for probe in probes:
                self.line(str(probe), expected, probe.outcome)
                probe.close()

    def keep_open(self, probe):
        net.run_probes(self.lab.loop, [probe], [])
        self.line(f"{probe}, kept open", net.OPEN, probe.outcome)
        return probe

    def still_alive(self, probe, why):
        self.line(f"{probe}: {why}", "alive", "alive" if probe.exchange() else "dead")

    def sgbpf(self, *arguments):
        outcome = self.lab.sgbpf(*arguments, code=None)
        shown = " ".join(os.path.basename(a) for a in arguments)
        print(f"$ sgbpf {shown}\n{outcome.out}{outcome.err}".rstrip(), flush=True)
        if outcome.code != 0:
            self.line(f"exit code of sgbpf {shown}", "0", str(outcome.code))

    def apply(self, groups=GROUPS, office="198.51.100.0/24", shop=False):
        members = {self.web: ["web"], self.mssql: ["mssql"], self.mysql: ["mysql"], self.alice: None, self.bob: None}
        members[self.shop] = ["web"] if shop else ["mssql"]
        lists = f"prefix_lists:\n  office: {{family: ipv4, max_entries: 20, entries: [{office}]}}\n"
        self.sgbpf("apply", self.lab.write_state(groups, members, lists))

    # The story ---------------------------------------------------------------------------------------

    def unfiltered(self):
        self.title("before: nothing is filtered")
        self.traffic([self.lab.tcp(self.internet, self.mysql, 3306), self.lab.tcp(self.web, self.internet, 443, 6)])

    def web_and_databases(self):
        tcp = self.lab.tcp
        self.title("the web server and its databases (section 12 of the specification)")
        self.apply()
        both = (4, 6)
        self.traffic([self.http(client, self.web, f) for client in (self.internet, self.office) for f in both]
                     + [tcp(self.internet, self.web, 443, f) for f in both]
                     + [tcp(self.office, self.web, 22), tcp(self.office, self.web, 3389)]
                     + [tcp(self.web, self.mysql, 3306, f) for f in both]
                     + [tcp(self.web, self.mssql, 1433, f) for f in both]
                     + [tcp(self.mssql, self.internet, 443), self.lab.ping(self.mssql, self.internet, 6)],
                     [tcp(self.internet, self.web, 22), tcp(self.internet, self.web, 22, 6)]
                     + [tcp(self.web, self.internet, 443, f) for f in both]
                     + [tcp(self.internet, self.mysql, 3306, f) for f in both]
                     + [tcp(self.office, self.mssql, 1433), tcp(self.mysql, self.web, 80), tcp(self.mysql, self.web, 80, 6),
                        self.lab.udp(self.internet, self.web, 53), self.lab.ping(self.internet, self.web),
                        self.lab.ping(self.mysql, self.internet, 6)])

    def replies(self):
        self.title("mysql has no outbound rule; its answers ride on state")
        connection = self.keep_open(self.lab.tcp(self.web, self.mysql, 3306))
        self.still_alive(connection, "answer")
        connection.close()

    def default_group(self):
        self.title("the default group: members reach each other and anyone, nobody reaches them")
        make = self.lab
        self.traffic([probe for a, b in ((self.alice, self.bob), (self.bob, self.alice), (self.alice, self.internet))
                      for f in (4, 6)
                      for probe in (make.tcp(a, b, 8080, f), make.udp(a, b, 5353, f), make.ping(a, b, f))],
                     [probe for f in (4, 6) for probe in (make.tcp(self.internet, self.alice, 8080, f),
                                                          make.udp(self.web, self.bob, 5353, f),
                                                          make.ping(self.internet, self.bob, f))])

    def member_joins(self):
        self.title("shop joins the group web")
        probes = [(self.shop, self.mysql, 3306, 4), (self.shop, self.mysql, 3306, 6), (self.shop, self.mssql, 1433, 4)]
        self.traffic(denied=[self.lab.tcp(*probe) for probe in probes] + [self.http(self.internet, self.shop)])
        self.apply(shop=True)
        self.traffic([self.lab.tcp(*probe) for probe in probes] + [self.http(self.internet, self.shop)])

    def list_edit(self):
        self.title("the prefix list office gets 192.0.2.0/25, then loses it")
        self.apply(shop=True, office="198.51.100.0/24, 192.0.2.0/25")
        connection = self.keep_open(self.lab.tcp(self.internet, self.web, 22))
        self.apply(shop=True)
        self.traffic(denied=[self.lab.tcp(self.internet, self.web, 22)])
        self.still_alive(connection, "tracked")
        connection.close()

    def rule_removed(self):
        self.title("the rules for 3306 are removed under a live, tracked connection")
        connections = [self.keep_open(self.lab.tcp(self.web, self.mysql, 3306, family)) for family in (4, 6)]
        self.apply(groups=WITHOUT_MYSQL_RULES, shop=True)
        for connection in connections:
            self.still_alive(connection, "tracked")
        self.traffic(denied=[self.lab.tcp(self.web, self.mysql, 3306, family) for family in (4, 6)])

    def run(self):
        self.unfiltered()
        self.web_and_databases()
        self.replies()
        self.default_group()
        self.member_joins()
        self.list_edit()
        self.rule_removed()
        self.title("what the kernel enforces now")
        self.sgbpf("status")
        self.sgbpf("show", "flows", "--limit", "12")

    def end(self):
        for process in self.servers:
            process.kill()
            process.wait()
            process.stdout.close()
        self.title("end")
        left = self.lab.close()
        self.line("namespaces, devices, pins, processes left", "none", ", ".join(left) or "none")
        print(f"\n{self.checks} checks, {self.differences} differ")


def main():
    lab.isolate()
    demo = Demo()
    try:
        demo.run()
    finally:
        demo.end()
    return 1 if demo.differences else 0


if __name__ == "__main__":
    sys.exit(main())
