#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`sgbpf replay` of a generated capture: packets per second with all output written to a file. As root.

    bench/replay.py [--packets N] [--flows N] [--seconds S]

TCP connections of a web server, handshake and data, spread over S seconds; one packet in ten is refused.
"""

import argparse
import os
import struct
import subprocess
import tempfile
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
STATE = """schema: sgbpf/v1
vpcs: {prod: {cidrs: [10.0.0.0/16]}}
groups: {web: {vpc: prod, description: x, inbound: [{type: http, cidr: 0.0.0.0/0}], outbound: []}}
interfaces: {web0: {vpc: prod, match: {device: tap0}, addresses: [10.0.1.10], groups: [web]}}
"""
SYN, ACK = 0x02, 0x10
SERVER = b"\x0a\x00\x01\x0a"


def frame(source, destination, source_port, destination_port, flags):
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40, 0, 0x4000, 64, 6, 0, source, destination)
    tcp = struct.pack(">HHIIBBHHH", source_port, destination_port, 1, 1, 0x50, flags, 64240, 0, 0)
    return b"\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02\x08\x00" + ip + tcp


def packets(count, flows):
    """Connection after connection, interleaved: number n is packet n // flows of connection n % flows."""
    for number in range(count):
        flow, step = number % flows, number // flows
        client, port = struct.pack(">I", 0xc6120000 + flow % 65536), 1024 + flow // 65536
        if number % 10 == 9:
            yield frame(client, SERVER, port, 22, SYN)
        elif step % 2 == 1:
            yield frame(SERVER, client, 80, port, SYN | ACK if step == 1 else ACK)
        else:
            yield frame(client, SERVER, port, 80, SYN if step == 0 else ACK)


def write_capture(path, arguments):
    step_us = arguments.seconds * 1_000_000 // arguments.packets
    with open(path, "wb") as stream:
        stream.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, 1))
        for number, data in enumerate(packets(arguments.packets, arguments.flows)):
            now = number * step_us
            stream.write(struct.pack("<IIII", now // 1_000_000, now % 1_000_000, len(data), len(data)) + data)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packets", type=int, default=200_000)
    parser.add_argument("--flows", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=200, help="from the first packet to the last")
    arguments = parser.parse_args()
    binary = os.environ.get("SGBPF_BIN", f"{ROOT}/build/userspace/cli/sgbpf")
    with tempfile.TemporaryDirectory() as folder:
        state, capture = f"{folder}/s.yaml", f"{folder}/capture.pcap"
        with open(state, "w", encoding="utf-8") as stream:
            stream.write(STATE)
        write_capture(capture, arguments)
        print(f"{'':24} {'seconds':>8} {'packets/s':>10}")
        for program in ("tc", "xdp"):
            for output in ("--text", "--json", "--quiet"):
                options = [] if output == "--text" else [output]
                with open(f"{folder}/out", "w", encoding="utf-8") as out:
                    start = time.monotonic()
                    subprocess.run([binary, "replay", state, capture, "--interface", "web0", "--program", program, *options],
                                   stdout=out, check=True)
                    seconds = time.monotonic() - start
                print(f"{program + ' ' + output[2:]:24} {seconds:8.2f} {arguments.packets / seconds:10,.0f}")


if __name__ == "__main__":
    main()
