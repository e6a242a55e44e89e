# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The few system calls that the lab needs and Python lacks: setns, and bpf() for programs of "others".

Numbers are from linux/bpf.h and linux/sched.h. The programs are written as instructions, so that a
test needs no compiler; they stand for foreign software on the same hook, never for ours.
"""

import ctypes
import errno
import os
import struct

CLONE_NEWNET = 0x40000000
SYS_BPF = 321  # x86-64
BPF_MAP_CREATE, BPF_MAP_LOOKUP, BPF_PROG_LOAD, BPF_OBJ_PIN, BPF_OBJ_GET = 0, 1, 5, 6, 7
BPF_PROG_GET_FD_BY_ID, BPF_MAP_GET_FD_BY_ID, BPF_LINK_CREATE, BPF_LINK_GET_FD_BY_ID = 13, 14, 28, 30
MAP_TYPE_ARRAY, PROG_TYPE_SCHED_CLS = 2, 3
TCX_INGRESS, TCX_EGRESS = 46, 47
F_BEFORE, F_AFTER = 1 << 3, 1 << 4
TCX_NEXT, TCX_PASS = -1, 0

_libc = ctypes.CDLL(None, use_errno=True)


def setns(fd):
    """Moves the calling thread into the network namespace of fd."""
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes, max(len(attributes), 128))
    result = _libc.syscall(SYS_BPF, command, buffer, len(buffer))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"bpf({command})")
    return result


def _pointer(data):
    holder = ctypes.create_string_buffer(data, len(data) + 1)
    return holder, ctypes.addressof(holder)


def _instruction(code, dst=0, src=0, offset=0, immediate=0):
    return struct.pack("<BBhi", code, dst | src << 4, offset, immediate)


class Program:
    """A TC program that counts the packets it sees, then returns a constant."""

    def __init__(self, returns, name=b"foreign"):
        self.map_fd = _bpf(BPF_MAP_CREATE, struct.pack("<5I", MAP_TYPE_ARRAY, 4, 8, 1, 0))
        code = (
            _instruction(0x18, dst=1, src=2, immediate=self.map_fd) + _instruction(0)  # r1 = &value
            + _instruction(0xB7, dst=2, immediate=1)  # r2 = 1
            + _instruction(0xDB, dst=1, src=2)  # atomic *(u64*)r1 += r2
            + _instruction(0xB7, dst=0, immediate=returns)  # r0 = returns
            + _instruction(0x95)  # exit
        )
        code_holder, code_at = _pointer(code)
        license_holder, license_at = _pointer(b"Dual BSD/GPL")
        attributes = struct.pack("<IIQQIIQII16s", PROG_TYPE_SCHED_CLS, len(code) // 8, code_at, license_at, 0, 0, 0, 0,
                                 0, name)
        self.fd = _bpf(BPF_PROG_LOAD, attributes)
        del code_holder, license_holder
        self.links = []

    def attach_tcx(self, ifindex, hook, flags=0):
        """By link, first (F_BEFORE) or last (F_AFTER) on the hook."""
        self.links.append(_bpf(BPF_LINK_CREATE, struct.pack("<4IIIQ", self.fd, ifindex, hook, flags, 0, 0, 0)))

    def pin(self, path):
        holder, at = _pointer(os.fsencode(path))
        _bpf(BPF_OBJ_PIN, struct.pack("<QII", at, self.fd, 0))
        del holder

    def packets(self):
        key, key_at = _pointer(struct.pack("<I", 0))
        value = ctypes.create_string_buffer(8)
        _bpf(BPF_MAP_LOOKUP, struct.pack("<IIQQQ", self.map_fd, 0, key_at, ctypes.addressof(value), 0))
        del key
        return struct.unpack("<Q", value.raw)[0]

    def close(self):
        for fd in [*self.links, self.fd, self.map_fd]:
            os.close(fd)
        self.links = []


def kernel_has_tcx():
    """True when this kernel knows tcx (6.6 and later); asked, not guessed from the version."""
    program = Program(TCX_NEXT)
    try:
        program.attach_tcx(1, TCX_INGRESS)
        return True
    except OSError:
        return False
    finally:
        program.close()


def pinned_ids(folder):
    """{("map" | "prog" | "link", id)} of everything pinned below folder, a pinned link's program included."""
    found = set()
    for path, _, names in os.walk(folder):
        for name in [n for n in names if "." not in n]:  # with a dot: the kernel's own, like progs.debug
            holder, at = _pointer(os.fsencode(os.path.join(path, name)))
            fd = _bpf(BPF_OBJ_GET, struct.pack("<QII", at, 0, 0))
            del holder
            with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as stream:
                for line in stream:
                    field, _, value = line.partition(":")
                    if field in ("map_id", "prog_id", "link_id"):
                        found.add((field[:-3], int(value)))
            os.close(fd)
    return found


def exists(kind, identifier):
    command = {"map": BPF_MAP_GET_FD_BY_ID, "prog": BPF_PROG_GET_FD_BY_ID, "link": BPF_LINK_GET_FD_BY_ID}[kind]
    try:
        os.close(_bpf(command, struct.pack("<I", identifier)))
        return True
    except OSError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
