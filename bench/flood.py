#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A SYN flood from random sources at the rig's full rate, beside flows that must not notice.

Interface a has many established connections (real frames through the hooks, by packet sockets: a guest that answers
nothing of its own). SYNs from random sources fill its opening tier and go on. All connections of a must still be
tracked, during the flood and after it. Interface b is a guest with a real TCP server: connections that were open
before the flood go on talking, and new ones are opened, talked over and closed all the while. Exits 1 when a
connection was lost, or a new one failed.

    bench/flood.py [--build build] [--seconds 60] [--flows 100000] [--opening 32768]
    bench/flood.py --short      5 seconds, 20,000 flows
"""
import argparse
import ctypes
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time

STATE = """schema: sgbpf/v1
vpcs: {{v: {{cidrs: [10.9.0.0/16]}}}}
groups:
  g: {{vpc: v, description: flooded, inbound: [{{protocol: tcp, port: 80, cidr: 0.0.0.0/0}}], outbound: []}}
  h: {{vpc: v, description: beside it, inbound: [{{protocol: tcp, port: 7, cidr: 10.9.2.0/24}}], outbound: []}}
interfaces:
  a0:
    {{vpc: v, match: {{device: tap-a}}, addresses: [10.9.1.2], groups: [g],
     tracking: {{max_flows: {flows}, max_opening: {opening}, reserved: 1000}}}}
  b0: {{vpc: v, match: {{device: tap-b}}, addresses: [10.9.2.2], groups: [h], tracking: {{reserved: 1000}}}}
"""
HOST = """schema: sgbpf-host/v1
capacities: {{flows: {flows}}}
"""
TALKERS = 50  # connections of b that stay open
PAUSE_S = 0.005  # between new connections of b
DEADLINE_S = 10.0
SLOW_S = 0.9  # below the first retransmission of a SYN


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def setns(descriptor):
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def build_network():
    run("ip", "link", "set", "lo", "up")
    for name in ("a", "b"):
        run("ip", "netns", "add", name)
        run("ip", "link", "add", f"tap-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", f"tap-{name}", "addrgenmode", "none", "up")
        run("ip", "-n", name, "link", "set", "eth0", "addrgenmode", "none", "up")
    run("ip", "addr", "add", "10.9.2.1/24", "dev", "tap-b")
    run("ip", "-n", "b", "addr", "add", "10.9.2.2/24", "dev", "eth0")


def serve_echo():
    """In namespace b, a thread for each connection."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    inside = os.open("/run/netns/b", os.O_RDONLY)
    setns(inside)
    listener = socket.create_server(("10.9.2.2", 7), backlog=256)
    setns(home)

    def echo(connection):
        with connection:
            while data := connection.recv(64):
                connection.sendall(data)

    def accept():
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=echo, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def talk(connection):
    """Seconds that an answer took."""
    begin = time.perf_counter()
    connection.sendall(b"x")
    if connection.recv(64) != b"x":
        raise OSError("wrong answer")
    return time.perf_counter() - begin


class Rig:
    def __init__(self, options, folder):
        self.options = options
        built = os.path.abspath(options.build)
        self.sender = os.path.join(built, "bench/sgbpf_bench_flood_sender")
        paths = {name: os.path.join(folder, name) for name in ("bpf", "state", "state.yaml", "host.yaml")}
        os.mkdir(paths["bpf"])
        run("mount", "-t", "bpf", "bpf", paths["bpf"])
        self.bpffs = paths["bpf"]
        self.sgbpf = [os.path.join(built, "userspace/cli/sgbpf"), "--bpffs", paths["bpf"], "--state-dir", paths["state"],
                      "--host-config", paths["host.yaml"]]
        room = options.flows + options.opening + 1000
        with open(paths["host.yaml"], "w", encoding="ascii") as file:
            file.write(HOST.format(flows=room + 50000))
        with open(paths["state.yaml"], "w", encoding="ascii") as file:
            file.write(STATE.format(flows=room, opening=options.opening))
        run(*self.sgbpf, "apply", paths["state.yaml"])

    def counted(self, interface):
        rows = json.loads(run(*self.sgbpf, "show", "counters", interface, "--json"))["Counters"][0]["Reasons"]
        reasons = {}
        for row in rows:
            reasons[row["Reason"]] = reasons.get(row["Reason"], 0) + row["Packets"]
        return reasons

    def send(self, what, count, processor=None):
        pin = ["taskset", "-c", str(processor)] if processor is not None else []
        return subprocess.Popen([*pin, self.sender, what, "tap-a", "a", str(count)], stdout=subprocess.PIPE, text=True)

    def lost(self):
        """Of one segment each way of every connection of a: how many did not pass as its own, and how many were sent."""
        before = self.counted("a0").get("tracked", 0)
        sent = sum(map(int, self.send("probe", self.options.flows).communicate()[0].split()))
        return sent - (self.counted("a0").get("tracked", 0) - before), sent


def dropped(reasons):
    """Packets of an interface that sgbpf refused."""
    return sum(packets for reason, packets in reasons.items() if reason not in ("rule", "tracked", "unfiltered"))


def softnet_drops():
    """Packets that found a CPU's receive queue full: they never came to a filter, or came after it."""
    with open("/proc/net/softnet_stat", encoding="ascii") as file:
        return sum(int(line.split()[1], 16) for line in file)


def open_beside(until, results):
    """New connections of b, one after another."""
    while time.monotonic() < until:
        results["new"] += 1
        try:
            begin = time.monotonic()
            with socket.create_connection(("10.9.2.2", 7), timeout=DEADLINE_S) as connection:
                talk(connection)
            results["times"].append(time.monotonic() - begin)
        except OSError:
            results["failed"] += 1
        time.sleep(PAUSE_S)


def flood(rig):
    options = rig.options
    rig.send("establish", options.flows).communicate()
    missing, sent = rig.lost()
    print(f"{options.flows} connections of a established, {missing} of {sent} segments not theirs before the flood")
    serve_echo()
    talkers = [socket.create_connection(("10.9.2.2", 7), timeout=DEADLINE_S) for _ in range(TALKERS)]
    before = rig.counted("a0")
    refused, overrun = dropped(rig.counted("b0")), softnet_drops()
    results = {"new": 0, "failed": 0, "times": []}
    sender = rig.send("flood", options.seconds, processor=os.cpu_count() - 1)
    began = time.monotonic()
    until = began + options.seconds - 0.5
    client = threading.Thread(target=open_beside, args=(until, results))
    client.start()
    during, probes, silent, rounds, waits = 0, 0, set(), 0, []
    while time.monotonic() < until - options.seconds / 4:
        one, sent = rig.lost()
        during, probes = during + one, probes + sent
        for talker in talkers:
            try:
                waits.append(talk(talker))
            except OSError:
                silent.add(talker)
        rounds += 1
    client.join()
    flooded = int(sender.communicate()[0].split()[0])
    after, sent = rig.lost()
    drops = {reason: packets - before.get(reason, 0) for reason, packets in rig.counted("a0").items()}
    print(f"flood: {flooded} SYNs in {options.seconds} s, {flooded / options.seconds:,.0f} a second")
    print("judged: " + ", ".join(f"{reason} {packets}" for reason, packets in sorted(drops.items()) if packets))
    print(f"connections of a: {during} of {probes} segments lost during the flood, {after} of {sent} after it")
    print(f"connections of b, open before: {len(silent)} of {TALKERS} lost in {rounds} rounds; "
          f"slowest answer {max(waits) * 1000:.1f} ms")
    refused = dropped(rig.counted("b0")) - refused
    print(f"connections of b, new: {results['failed']} of {results['new']} failed, {refused} of their packets refused by "
          f"sgbpf; slowest {max(results['times']) * 1000:.0f} ms, "
          f"{sum(time > SLOW_S for time in results['times'])} above {SLOW_S} s")
    print(f"receive queues that overran (the kernel's, any device): {softnet_drops() - overrun}")
    full = drops.get("opening-limit", 0) > 0
    if not full:
        print("the opening tier was never full: the flood says nothing")
    return 0 if full and not (missing or during or after or silent or results["failed"] or refused) else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--flows", type=int, default=100000)
    parser.add_argument("--opening", type=int, default=32768)
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args()
    if options.short:
        options.seconds, options.flows, options.opening = 5, 20000, 4096
    if os.environ.get("SGBPF_BENCH_INSIDE") != "1":
        os.environ["SGBPF_BENCH_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--net", sys.executable, os.path.abspath(__file__)] + sys.argv[1:])
    os.makedirs("/run/netns", exist_ok=True)
    run("mount", "-t", "tmpfs", "tmpfs", "/run/netns")
    build_network()
    with tempfile.TemporaryDirectory(prefix="sgbpf-bench-") as folder:
        rig = None
        try:
            rig = Rig(options, folder)
            code = flood(rig)
        finally:
            run("umount", "-l", os.path.join(folder, "bpf"))
    sys.stdout.flush()
    os._exit(code)  # threads of the server may still wait for a client


if __name__ == "__main__":
    main()
