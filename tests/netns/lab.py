# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A hypervisor in a box: network namespaces joined by veth, with `sgbpf` filtering the host's ends.

The process runs itself again in mount, network and PID namespaces of its own (`isolate`). Its network
namespace plays the hypervisor, which routes between the guests; /run is a private tmpfs with its own
bpffs, state directory and /run/netns. Whatever happens to the process, nothing outlives it.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import unittest

import kernel
import net

GATEWAY_V4, GATEWAY_V6 = "169.254.1.1", "fe80::1"
COMMAND_S = 60  # bound of one command, for a machine that is busy with other tests
ISOLATED = "SGBPF_LAB_PID"


def isolate():
    """Runs this program again in its own namespaces, unless that was done; returns the outer PID."""
    if ISOLATED not in os.environ:
        if os.geteuid() != 0:
            sys.exit("the lab makes namespaces and loads BPF programs: run it as root")
        os.environ[ISOLATED] = str(os.getpid())
        os.execvp("unshare", ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
                              sys.executable, *sys.argv])
    return int(os.environ[ISOLATED])


def run(command, text=None, check=True, **options):
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=COMMAND_S, check=False, **options)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}\n{text or ''}{done.stderr}")
    return done


def ip_batch(lines):
    run(["ip", "-batch", "-"], text="\n".join(lines) + "\n")


def write(path, text):
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)
    return path


class Guest:
    """A namespace with one device, eth0; its other end on the host is what gets filtered."""

    def __init__(self, lab, name, number, addresses, device):
        self.lab, self.name, self.device = lab, name, device
        self.interface = f"{name}0"
        self.match = None  # YAML of another match than by the device's name
        self.role = "workload"
        self.namespace = f"{lab.prefix}-{name}"
        self.addresses = addresses
        self.mac = f"52:54:00:00:00:{number:02x}"
        self.link_local = f"fe80::5054:ff:fe00:{number:x}"  # made of the MAC, RFC 4291 appendix A
        self.number = number
        self.fd = None
        self.servers = {}

    def address(self, family):
        for address in self.addresses:
            if (":" in address) == (family == 6):
                return address
        raise LookupError(f"{self.name} has no IPv{family} address")

    @contextlib.contextmanager
    def inside(self):
        """Sockets made and commands run within belong to the guest's namespace."""
        kernel.setns(self.fd)
        try:
            yield self
        finally:
            kernel.setns(self.lab.host_fd)

    def serve_tcp(self, port):
        if ("tcp", port) not in self.servers:
            self.servers["tcp", port] = net.TcpEchoServer(self.lab.loop, self, port)
        return self.servers["tcp", port]

    def serve_udp(self, port):
        if ("udp", port) not in self.servers:
            self.servers["udp", port] = net.UdpEchoServer(self.lab.loop, self, port)
        return self.servers["udp", port]

    def run(self, *command):
        with self.inside():
            return run(list(command))

    def packet_socket(self):
        """AF_PACKET on eth0: sends and receives whole frames."""
        with self.inside():
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
            sock.bind(("eth0", 0))
        sock.settimeout(net.DEADLINE_S)
        self.lab.sockets.append(sock)
        return sock

    def connect_host_end(self):
        """Makes the veth pair; also used again after the device was deleted."""
        hosts = [a + ("/128" if ":" in a else "/32") for a in self.addresses]
        ip_batch([
            f"link add {self.device} address fe:54:00:00:00:{self.number:02x} type veth peer name eth0 "
            f"address {self.mac} netns {self.namespace}",
            f"link set {self.device} addrgenmode none up",
            f"addr add {GATEWAY_V4}/32 dev {self.device}",
            f"addr add {GATEWAY_V6}/64 dev {self.device} nodad",
        ])
        with self.inside():
            ip_batch([
                "link set lo up",
                "link set eth0 addrgenmode none up",
                f"addr add {self.link_local}/64 dev eth0 nodad",
                *[f"addr add {host} dev eth0 {'nodad' if ':' in host else ''}" for host in hosts],
                f"route add {GATEWAY_V4} dev eth0",
                f"route add default via {GATEWAY_V4} dev eth0",
                f"route add default via {GATEWAY_V6} dev eth0",
            ])
            write("/proc/sys/net/ipv4/ping_group_range", "0 0")
        ip_batch([f"route add {host} dev {self.device}" for host in hosts])

    def interface_yaml(self, groups, more=""):
        quoted = ", ".join(f'"{a}"' for a in self.addresses)
        names = "" if groups is None else f"    groups: [{', '.join(groups)}]\n"
        match = self.match or f"device: {self.device}"
        return (f"  {self.interface}:\n    vpc: prod\n    role: {self.role}\n    match: {{{match}}}\n"
                f'    mac: "{self.mac}"\n    addresses: [{quoted}]\n{names}{more}')


class Outcome:
    """What a run of sgbpf did."""

    def __init__(self, command, done):
        self.command = " ".join(command)
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    def json(self):
        return json.loads(self.out)

    def __str__(self):
        return f"$ {self.command}\nexit {self.code}\n{self.out}{self.err}"


class Lab:
    """Namespaces, guests and one sgbpf installation; `close` removes all and checks that nothing stays."""

    _labs = 0

    def __init__(self, prefix="sgt", binary=None, hook=None):
        Lab._labs += 1
        self.prefix = f"{prefix}-{isolate()}"
        self.binary = binary or os.environ["SGBPF_BIN"]
        self.loop = net.Loop()
        self.guests = {}
        self.sockets = []
        self.host_fd = os.open("/proc/self/ns/net", os.O_RDONLY)
        run(["mount", "-t", "tmpfs", "lab", "/run"])
        self.folder = "/run/sgbpf-lab"
        self.bpffs, self.state_dir = f"{self.folder}/bpf", f"{self.folder}/state"
        for folder in ("/run/netns", self.bpffs):
            os.makedirs(folder)
        run(["mount", "-t", "bpf", "bpf", self.bpffs])
        self.host_config = write(f"{self.folder}/host.yaml", "schema: sgbpf-host/v1\n")
        self.state_file = f"{self.folder}/state.yaml"
        self.environment = {**os.environ, "SGBPF_STATE_DIR": self.state_dir, "SGBPF_BPFFS": self.bpffs,
                            "SGBPF_HOST_CONFIG": self.host_config}
        if hook:
            self.environment["SGBPF_HOOK"] = hook
        ip_batch(["link set lo up"])
        for name, value in (("ipv4/ip_forward", 1), ("ipv6/conf/all/forwarding", 1), ("ipv4/conf/all/rp_filter", 0),
                            ("ipv4/conf/default/rp_filter", 0), ("ipv4/conf/all/send_redirects", 0),
                            ("ipv4/conf/default/send_redirects", 0)):
            write(f"/proc/sys/net/{name}", str(value))

    def guest(self, name, *addresses, device=None):
        guest = Guest(self, name, len(self.guests) + 1, addresses, device or f"tap-{name}")
        ip_batch([f"netns add {guest.namespace}"])
        guest.fd = os.open(f"/run/netns/{guest.namespace}", os.O_RDONLY)
        guest.connect_host_end()
        self.guests[name] = guest
        return guest

    # sgbpf -------------------------------------------------------------------------------------------

    def sgbpf(self, *arguments, code=0, text=None, binary=None, before=(), **environment):
        """Runs sgbpf; an exit code other than `code` (None = any) is an error that shows all it said."""
        command = [*before, binary or self.binary, *arguments]
        done = run(command, text=text, check=False, env={**self.environment, **environment})
        outcome = Outcome(["sgbpf", *arguments], done)
        if code is not None and outcome.code != code:
            raise AssertionError(f"expected exit {code}\n{outcome}")
        return outcome

    def write_state(self, groups, members, more="", cidrs='10.0.0.0/16, "2001:db8:a::/48"', extra=None):
        """`members`: {guest: [group, ...] or None for the default group}; `groups`: YAML under groups:"""
        interfaces = "".join(g.interface_yaml(names, (extra or {}).get(g.name, "")) for g, names in members.items())
        return write(self.state_file, f"schema: sgbpf/v1\nvpcs:\n  prod:\n    cidrs: [{cidrs}]\n{more}"
                     + (f"groups:\n{groups}" if groups else "") + f"interfaces:\n{interfaces}")

    def apply(self, groups, members, more="", extra=None, options=(), code=0):
        return self.sgbpf("apply", self.write_state(groups, members, more, extra=extra), *options, code=code)

    # Traffic -----------------------------------------------------------------------------------------

    def tcp(self, client, server, port, family=4, source_port=0):
        return net.TcpProbe(self.loop, client, server, port, family, source_port)

    def udp(self, client, server, port, family=4, source_port=0):
        return net.UdpProbe(self.loop, client, server, port, family, source_port)

    def ping(self, client, server, family=4):
        return net.PingProbe(self.loop, client, server, family)

    def wait_until(self, done, seconds):
        """Asks done() every 50 ms, while sockets are served; for what has no event of its own."""
        while not done():
            seconds -= 0.05
            if seconds < 0:
                return False
            self.loop.run_until(lambda: False, 0.05)
        return True

    def connect(self, probe):
        """Runs one probe that must pass, and keeps it open."""
        net.run_probes(self.loop, [probe], [])
        if probe.outcome != net.OPEN:
            raise AssertionError(f"{probe}: {probe.outcome}, wanted an open connection")
        return probe

    def traffic(self, passing=(), denied=()):
        """All at once; raises with every probe that went otherwise."""
        passing, denied = list(passing), list(denied)
        net.run_probes(self.loop, passing, denied)
        wrong = [f"{p}: {p.outcome}, expected open" for p in passing if p.outcome != net.OPEN]
        wrong += [f"{p}: {p.outcome}, expected silent" for p in denied if p.outcome != net.SILENT]
        for probe in [*passing, *denied]:
            probe.close()
        if wrong:
            raise AssertionError("\n".join(wrong))

    # End ---------------------------------------------------------------------------------------------

    def close(self):
        """Removes everything; returns what outlived it (nothing, if all is well)."""
        self.loop.close()
        self.loop = net.Loop()
        for sock in self.sockets:
            sock.close()
        identifiers = kernel.pinned_ids(self.bpffs)
        for guest in self.guests.values():
            os.close(guest.fd)
            run(["ip", "link", "del", guest.device], check=False)
            run(["ip", "netns", "del", guest.namespace], check=False)
        others = [line.split(":")[1].split("@")[0].strip()
                  for line in run(["ip", "-o", "link"]).stdout.splitlines()]
        for name in others:
            if name != "lo":
                run(["ip", "link", "del", name], check=False)
        run(["umount", self.bpffs])
        # Maps and programs are freed after a grace period of the kernel's.
        left = self.still_there(identifiers)
        self.loop.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        run(["umount", "--lazy", "/run"])  # a failed test may still hold a file in it
        os.close(self.host_fd)
        left += [f"process {pid}" for pid in os.listdir("/proc") if pid.isdigit() and int(pid) != os.getpid()
                 and "sgbpf" in process_name(pid)]
        return left

    def still_there(self, identifiers):
        left = set(identifiers)

        def freed():
            left.intersection_update({i for i in left if kernel.exists(*i)})
            return not left

        self.wait_until(freed, 5)
        return [f"{kind} {number}" for kind, number in sorted(left)]


def process_name(pid):
    try:
        with open(f"/proc/{pid}/comm", encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return ""


class LabTest(unittest.TestCase):
    """Each test gets a lab of its own, which must vanish without a trace."""

    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.close_lab)

    def close_lab(self):
        self.assertEqual(self.lab.close(), [], "outlived the lab")

    def reasons(self, interface="web0"):
        """{(direction, reason): packets}"""
        rows = self.lab.sgbpf("show", "counters", interface, "--json").json()["Counters"][0]["Reasons"]
        return {(row["Direction"], row["Reason"]): row["Packets"] for row in rows}

    def assert_counts(self, direction, reason, wanted):
        """Waits until the reason was counted that often; the counter is the proof that the packet was judged."""
        seen = self.lab.wait_until(lambda: self.reasons().get((direction, reason), 0) >= wanted, net.DEADLINE_S)
        self.assertTrue(seen, f"{direction} {reason}: {self.reasons()}")

    def assert_says(self, outcome, *words):
        for word in words:
            self.assertIn(word, outcome.out + outcome.err, str(outcome))


def main():
    isolate()
    unittest.main(module="__main__", verbosity=2)
