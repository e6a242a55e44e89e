#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a one-rule change costs on a loaded host, through the `sgbpf` command and the real maps.

Two shapes with 1,000 interfaces and 10,000 rules: all interfaces on one set of groups, and 1,000 different
sets. Parse time and grace period stand beside the engine's time, as `sgbpf apply --json` reports them.
Runs in a mount and network namespace of its own; nothing is left.

    bench/commits.py [--build build] [--rounds 5] [--interfaces 1000] [--rules 10000]
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile


def group_lines(name, rules, offset):
    lines = [f"  {name}:", "    vpc: v", f"    description: {name}", "    inbound:"]
    for index in range(rules):
        number = offset + index
        cidr = f"{100 + number // 65536}.{number // 256 % 256}.{number % 256}.0/24"
        lines.append(f"      - {{protocol: tcp, port: {1000 + number % 500}, cidr: {cidr}}}")
    lines += ["    outbound:", "      - {protocol: all, cidr: 0.0.0.0/0}"]
    return lines


def state_text(shape, interfaces, rules, extra_port):
    """The state file; `extra_port` is the one rule that differs between rounds."""
    groups = 5 if shape == "one set" else interfaces
    per_group = rules // groups
    lines = ["schema: sgbpf/v1", "vpcs:", "  v: {cidrs: [10.0.0.0/8]}", "groups:"]
    for group in range(groups):
        text = group_lines(f"g{group}", per_group, group * per_group)
        if group == 0:
            text.insert(4, f"      - {{protocol: tcp, port: {extra_port}, cidr: 192.0.2.0/24}}")
        lines += text
    lines.append("interfaces:")
    for index in range(interfaces):
        names = ", ".join(f"g{group}" for group in range(groups)) if shape == "one set" else f"g{index}"
        address = f"10.{index // 65536}.{index // 256 % 256}.{index % 256}"
        lines.append(f"  if{index}: {{vpc: v, match: {{device: none{index}}}, addresses: [{address}], groups: [{names}]}}")
    return "\n".join(lines) + "\n"


def apply(sgbpf, folder, text):
    path = os.path.join(folder, "state.yaml")
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    run = subprocess.run(
        [sgbpf, "--state-dir", os.path.join(folder, "state"), "--bpffs", os.path.join(folder, "bpf"), "--json",
         "apply", path], capture_output=True, text=True, check=False)
    if run.returncode != 0:
        sys.exit(f"bench: apply failed ({run.returncode}): {run.stderr}")
    return json.loads(run.stdout)


def measure(options, folder, shape):
    rows = []
    for number in range(options.rounds + 1):
        report = apply(options.sgbpf, folder, state_text(shape, options.interfaces, options.rules, 2000 + number))
        times = report["Milliseconds"]
        rows.append((report["MapWrites"], times["Engine"], times["Parse"], times["Grace"]))
    first, changes = rows[0], sorted(rows[1:], key=lambda row: row[1])
    middle = changes[len(changes) // 2]
    print(f"{shape:>18}  first load   {first[0]:>7} writes  engine {first[1]:8.1f} ms  parse {first[2]:7.1f} ms  "
          f"grace and clean-up {first[3]:7.1f} ms")
    print(f"{shape:>18}  one rule     {middle[0]:>7} writes  engine {middle[1]:8.1f} ms  parse {middle[2]:7.1f} ms  "
          f"grace and clean-up {middle[3]:7.1f} ms   (engine {changes[0][1]:.1f}..{changes[-1][1]:.1f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--interfaces", type=int, default=1000)
    parser.add_argument("--rules", type=int, default=10000)
    options = parser.parse_args()
    options.sgbpf = os.path.abspath(os.path.join(options.build, "userspace/cli/sgbpf"))
    if os.environ.get("SGBPF_BENCH_INSIDE") != "1":
        os.environ["SGBPF_BENCH_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--net", sys.executable, os.path.abspath(__file__)] + sys.argv[1:])
    for shape in ("one set", "a set each"):
        with tempfile.TemporaryDirectory(prefix="sgbpf-bench-") as folder:
            bpffs = os.path.join(folder, "bpf")
            os.mkdir(bpffs)
            subprocess.run(["mount", "-t", "bpf", "bpf", bpffs], check=True)
            try:
                measure(options, folder, shape)
            finally:
                subprocess.run(["umount", "-l", bpffs], check=True)


if __name__ == "__main__":
    main()
