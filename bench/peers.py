#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""CPU per packet beside what people use today: nftables with conntrack.

A guest namespace sends UDP datagrams of one answered flow through a forwarding namespace to a sink. Everything
runs on one CPU in the sender's context, so its CPU time (getrusage) holds the whole path: sending, the filter,
forwarding, receiving. Three configurations take turns: no filter, sgbpf on the guest's veth, nftables with
conntrack in the forward hook, each admitting just this flow. Needs nftables (apt-get install nftables).

    bench/peers.py [--build build] [--rounds 7] [--packets 150000]
"""
import argparse
import ctypes
import os
import socket
import subprocess
import sys
import tempfile
import time

STATE = """schema: sgbpf/v1
vpcs: {v: {cidrs: [10.9.0.0/16]}}
groups:
  g: {vpc: v, description: bench, inbound: [], outbound: [{protocol: udp, port: 9000, cidr: 10.9.2.0/24}]}
interfaces:
  a0: {vpc: v, match: {device: tap-a}, addresses: [10.9.1.2], groups: [g]}
"""
RULES = """table inet bench {
  chain forward {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    ip saddr 10.9.1.2 ip daddr 10.9.2.0/24 udp dport 9000 ct state new accept
  }
}
"""


def run(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


def enter(name):
    with open(f"/run/netns/{name}", "rb") as file:
        setns(file.fileno())


def setns(descriptor):
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def build_network():
    for name, third in (("a", 1), ("c", 2)):
        run("ip", "netns", "add", name)
        run("ip", "link", "add", f"tap-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "addr", "add", f"10.9.{third}.1/24", "dev", f"tap-{name}")
        run("ip", "link", "set", f"tap-{name}", "up")
        run("ip", "-n", name, "addr", "add", f"10.9.{third}.2/24", "dev", "eth0")
        run("ip", "-n", name, "link", "set", "eth0", "up")
        run("ip", "-n", name, "route", "add", "default", "via", f"10.9.{third}.1")
    with open("/proc/sys/net/ipv4/ip_forward", "w", encoding="ascii") as file:
        file.write("1")


def socket_in(name):
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        enter(name)
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    finally:
        setns(home)
        os.close(home)


def measure(packets):
    """Nanoseconds of CPU per datagram; the flow is answered once first."""
    sender, sink = socket_in("a"), socket_in("c")
    sink.bind(("10.9.2.2", 9000))
    sink.settimeout(2)
    sender.settimeout(2)
    sender.connect(("10.9.2.2", 9000))
    for _ in range(2):
        sender.send(b"x" * 18)
        _, peer = sink.recvfrom(64)
        sink.sendto(b"y", peer)
        sender.recv(64)
    payload, send = b"x" * 18, sender.send
    begin = time.process_time_ns()
    for _ in range(packets):
        send(payload)
    spent = time.process_time_ns() - begin
    sender.close()
    sink.close()
    return spent / packets


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--packets", type=int, default=150000)
    options = parser.parse_args()
    if os.environ.get("SGBPF_BENCH_INSIDE") != "1":
        os.environ["SGBPF_BENCH_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--net", sys.executable, os.path.abspath(__file__)] + sys.argv[1:])
    os.makedirs("/run/netns", exist_ok=True)
    run("mount", "-t", "tmpfs", "tmpfs", "/run/netns")
    os.sched_setaffinity(0, {0})
    build_network()
    with tempfile.TemporaryDirectory(prefix="sgbpf-bench-") as folder:
        bpffs, state, rules = (os.path.join(folder, name) for name in ("bpf", "state.yaml", "rules.nft"))
        os.mkdir(bpffs)
        run("mount", "-t", "bpf", "bpf", bpffs)
        for path, text in ((state, STATE), (rules, RULES)):
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
        sgbpf = [os.path.abspath(os.path.join(options.build, "userspace/cli/sgbpf")), "--bpffs", bpffs,
                 "--state-dir", os.path.join(folder, "state")]
        steps = {
            "no filter": ([], []),
            "sgbpf": ([*sgbpf, "apply", state], [*sgbpf, "remove-all", "--yes"]),
            "nftables, conntrack": (["nft", "-f", rules], ["nft", "flush", "ruleset"]),
        }
        samples = {name: [] for name in steps}
        try:
            for _ in range(options.rounds):
                for name, (start, stop) in steps.items():
                    if start:
                        run(*start)
                    samples[name].append(measure(options.packets))
                    if stop:
                        run(*stop)
        finally:
            run("umount", "-l", bpffs)
    base = sorted(samples["no filter"])[options.rounds // 2]
    print(f"median of {options.rounds} interleaved rounds of {options.packets} datagrams; lowest and highest in brackets")
    for name, values in samples.items():
        values.sort()
        middle = values[options.rounds // 2]
        print(f"{name:<22} {middle:7.0f} ns   filter {middle - base:+6.0f} ns   [{values[0]:.0f}, {values[-1]:.0f}]")


if __name__ == "__main__":
    main()
