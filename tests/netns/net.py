# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Servers, clients and probes whose sockets live in guests' namespaces, driven by one event loop.

A socket belongs to the namespace it was made in, so one process plays all guests. Nothing sleeps:
everything waits for an event with a deadline. An answer is proof of passing; for a refusal the wait is
DENIED_S after every probe that must pass has passed, far above a veth's round trip of some 50 us.
"""

import errno
import os
import selectors
import socket
import struct
import time

import frames

DEADLINE_S = 10.0
DENIED_S = 0.25
OPEN, SILENT, REFUSED = "open", "silent", "refused"


class Loop:
    """Calls back when a registered socket is ready."""

    def __init__(self):
        self.selector = selectors.DefaultSelector()

    def add(self, sock, events, callback):
        self.selector.register(sock, events, callback)

    def modify(self, sock, events, callback):
        self.selector.modify(sock, events, callback)

    def remove(self, sock):
        try:
            self.selector.unregister(sock)
        except (KeyError, ValueError):
            pass

    def run_until(self, done, seconds):
        """True as soon as done() holds; False when it did not within that time."""
        end = time.monotonic() + seconds
        while not done():
            left = end - time.monotonic()
            if left <= 0:
                return False
            for key, _ in self.selector.select(left):
                key.data(key.fileobj)
        return True

    def close(self):
        for key in list((self.selector.get_map() or {}).values()):
            key.fileobj.close()
        self.selector.close()


def dual_stack(guest, kind):
    """A socket on both families, bound to nothing yet."""
    with guest.inside():
        sock = socket.socket(socket.AF_INET6, kind)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setblocking(False)
    return sock


class TcpEchoServer:
    """Accepts on every address of the guest and sends back what comes."""

    def __init__(self, loop, guest, port):
        self.loop = loop
        self.listener = dual_stack(guest, socket.SOCK_STREAM)
        self.listener.bind(("::", port))
        self.listener.listen(64)
        self.received = 0
        loop.add(self.listener, selectors.EVENT_READ, self.accept)

    def accept(self, _):
        try:
            connection, _ = self.listener.accept()
        except BlockingIOError:
            return
        connection.setblocking(False)
        self.loop.add(connection, selectors.EVENT_READ, self.echo)

    def echo(self, connection):
        try:
            data = connection.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.received += len(data)
        self.answer(connection, data)

    def answer(self, connection, data):
        """Sends all of it before more is read: a full send buffer takes only a part."""
        if not data:
            self.loop.remove(connection)
            connection.close()
            return
        try:
            data = data[connection.send(data):]
        except BlockingIOError:
            pass
        except OSError:
            self.answer(connection, b"")
            return
        if data:
            self.loop.modify(connection, selectors.EVENT_WRITE, lambda _: self.answer(connection, data))
        else:
            self.loop.modify(connection, selectors.EVENT_READ, self.echo)


class UdpEchoServer:
    def __init__(self, loop, guest, port):
        self.socket = dual_stack(guest, socket.SOCK_DGRAM)
        self.socket.bind(("::", port))
        self.received = 0
        loop.add(self.socket, selectors.EVENT_READ, self.echo)

    def echo(self, sock):
        try:
            data, peer = sock.recvfrom(65536)
            self.received += 1
            sock.sendto(data, peer)
        except OSError:
            pass


class Probe:
    """One attempt of a client to reach a server; `outcome` is None until something came back."""

    def __init__(self, loop, client, server, family, what):
        self.loop = loop
        self.client, self.server, self.family = client, server, family
        self.what = what
        self.outcome = None
        self.socket = None

    def __str__(self):
        return f"{self.client.name} -> {self.server.name} {self.what} IPv{self.family}"

    def address_family(self):
        return socket.AF_INET if self.family == 4 else socket.AF_INET6

    def source(self):
        return self.client.address(self.family)

    def target(self):
        return self.server.address(self.family)

    def finish(self, outcome):
        if self.outcome is None:
            self.outcome = outcome

    def open_socket(self, kind, protocol=0):
        with self.client.inside():
            self.socket = socket.socket(self.address_family(), kind, protocol)
        self.socket.setblocking(False)
        return self.socket

    def close(self):
        if self.socket is not None:
            self.loop.remove(self.socket)
            self.socket.close()
            self.socket = None


class TcpProbe(Probe):
    """Connects, sends a few bytes and wants them back."""

    def __init__(self, loop, client, server, port, family=4, source_port=0):
        super().__init__(loop, client, server, family, f"tcp {port}")
        self.port, self.source_port = port, source_port
        self.sent = os.urandom(8)
        self.answer = b""

    def start(self):
        self.server.serve_tcp(self.port)
        sock = self.open_socket(socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((self.source(), self.source_port))
        self.loop.add(sock, selectors.EVENT_WRITE, self.connected)
        sock.connect_ex((self.target(), self.port))

    def connected(self, sock):
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self.loop.remove(sock)
            self.finish(REFUSED if error == 111 else os.strerror(error))
            return
        try:
            sock.send(self.sent)
        except OSError as failure:
            self.finish(str(failure))
        self.loop.modify(sock, selectors.EVENT_READ, self.readable)

    def readable(self, sock):
        try:
            data = sock.recv(4096)
        except BlockingIOError:
            return
        except OSError as failure:
            self.loop.remove(sock)
            self.finish(os.strerror(failure.errno))
            return
        self.answer += data
        if self.answer == self.sent:
            self.finish(OPEN)
        elif not data:
            self.loop.remove(sock)
            self.finish("closed")

    # An open probe stays a live connection, which may be asked again later.
    def exchange(self, seconds=DEADLINE_S):
        """True when fresh bytes come back on the same connection within that time."""
        fresh, self.outcome = os.urandom(8), None
        self.sent += fresh
        try:
            self.socket.send(fresh)
        except OSError:
            return False
        return self.loop.run_until(lambda: self.outcome is not None, seconds) and self.outcome == OPEN


class UdpProbe(Probe):
    """Sends a datagram and wants it back."""

    def __init__(self, loop, client, server, port, family=4, source_port=0):
        super().__init__(loop, client, server, family, f"udp {port}")
        self.port, self.source_port = port, source_port
        self.token = os.urandom(8)

    def start(self):
        self.server.serve_udp(self.port)
        sock = self.open_socket(socket.SOCK_DGRAM)
        sock.bind((self.source(), self.source_port))
        sock.connect((self.target(), self.port))
        self.loop.add(sock, selectors.EVENT_READ, self.readable)
        self.send()

    def send(self):
        try:
            self.socket.send(self.token)
        except OSError as failure:
            self.finish(os.strerror(failure.errno))

    def readable(self, sock):
        try:
            if sock.recv(4096) == self.token:
                self.finish(OPEN)
        except OSError as failure:
            self.finish(REFUSED if failure.errno == 111 else os.strerror(failure.errno))

    def exchange(self, seconds=DEADLINE_S):
        self.token, self.outcome = os.urandom(8), None
        self.send()
        return self.loop.run_until(lambda: self.outcome is not None, seconds) and self.outcome == OPEN


class PingProbe(Probe):
    """ICMP or ICMPv6 echo through the kernel's ping socket, which fills in the identifier."""

    def __init__(self, loop, client, server, family=4):
        super().__init__(loop, client, server, family, "ping")
        self.token = os.urandom(8)

    def start(self):
        protocol = frames.ICMP if self.family == 4 else frames.ICMPV6
        sock = self.open_socket(socket.SOCK_DGRAM, protocol)
        sock.bind((self.source(), 0))
        self.loop.add(sock, selectors.EVENT_READ, self.readable)
        self.send()

    def send(self):
        kind = 8 if self.family == 4 else 128
        try:
            self.socket.sendto(struct.pack(">BBHHH", kind, 0, 0, 0, 1) + self.token, (self.target(), 0))
        except OSError as failure:
            if failure.errno != errno.ENOBUFS:  # what a drop at the machine's own egress hook looks like
                self.finish(os.strerror(failure.errno))

    def readable(self, sock):
        try:
            data = sock.recv(4096)
        except OSError as failure:
            self.finish(os.strerror(failure.errno))
            return
        if data[0] in (0, 129) and data[8:] == self.token:
            self.finish(OPEN)

    def exchange(self, seconds=DEADLINE_S):
        self.token, self.outcome = os.urandom(8), None
        self.send()
        return self.loop.run_until(lambda: self.outcome is not None, seconds) and self.outcome == OPEN


def run_probes(loop, passing, denied):
    """Starts all, waits for those that should pass, then DENIED_S for the others; fills `outcome`."""
    for probe in [*passing, *denied]:
        probe.start()
    loop.run_until(lambda: all(p.outcome is not None for p in passing), DEADLINE_S)
    if denied:
        loop.run_until(lambda: all(p.outcome is not None for p in denied), DENIED_S)
    for probe in [*passing, *denied]:
        if probe.outcome is None:
            probe.outcome = SILENT
