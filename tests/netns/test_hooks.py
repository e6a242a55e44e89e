# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Where the filter sits: beside programs of others, on devices that come and go, and where it refuses to sit."""

import fcntl
import os
import shutil
import socket
import struct

import frames
import kernel
import lab
import net
import worlds

HTTP = ['{protocol: tcp, port: 80, cidr: [0.0.0.0/0, "::/0"]}']
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000  # linux/if_tun.h


class Fails(lab.LabTest):
    """Fail static and fail closed."""

    def setUp(self):
        super().setUp()
        self.world = worlds.OneGuest(self.lab)

    def probes(self):
        w = self.world
        return ([self.lab.tcp(w.peer, w.guest, 80), self.lab.tcp(w.peer, w.guest, 80, 6)],
                [self.lab.tcp(w.peer, w.guest, 22), self.lab.tcp(w.guest, w.peer, 443, 6), self.lab.ping(w.peer, w.guest)])

    def test_it_filters_on_when_nothing_of_ours_is_left_but_pins(self):
        copy = shutil.copy(self.lab.binary, f"{self.lab.folder}/sgbpf")
        self.lab.binary = copy
        self.world.apply(HTTP, [])
        os.unlink(copy)
        shutil.rmtree(self.lab.state_dir)
        running = [pid for pid in os.listdir("/proc") if pid.isdigit() and lab.process_name(pid) == "sgbpf"]
        self.assertEqual(running, [])
        self.lab.traffic(*self.probes())

    def test_a_device_whose_interface_left_drops_all_but_the_exempt_list(self):
        w = self.world
        w.apply(worlds.ANY, worlds.ANY)
        text = "schema: sgbpf/v1\nvpcs:\n  prod:\n    cidrs: [10.0.0.0/16]\ninterfaces: {}\n"
        refused = self.lab.sgbpf("apply", lab.write(self.lab.state_file, text), code=3)
        self.assert_says(refused, "web0")
        self.lab.traffic([self.lab.tcp(w.peer, w.guest, 80)])
        self.lab.sgbpf("apply", self.lab.state_file, "--prune")
        self.lab.traffic(denied=[self.lab.tcp(w.peer, w.guest, 80), self.lab.udp(w.guest, w.peer, 53, 6),
                                 self.lab.ping(w.peer, w.guest), self.lab.ping(w.peer, w.guest, 6)])
        self.assert_neighbours_resolve()
        self.assert_dhcp_passes()

    def assert_neighbours_resolve(self):
        guest = self.world.guest
        for gateway in (lab.GATEWAY_V4, lab.GATEWAY_V6):
            guest.run("ip", "neigh", "flush", "dev", "eth0")
            self.lab.traffic(denied=[self.lab.ping(guest, self.world.peer, 6 if ":" in gateway else 4)])
            found = guest.run("ip", "neigh", "show", gateway, "dev", "eth0").stdout
            self.assertIn("lladdr", found, f"{gateway} was not resolved")

    def assert_dhcp_passes(self):
        guest = self.world.guest
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.lab.sockets.append(server)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, guest.device.encode())
        server.bind(("0.0.0.0", 67))
        server.settimeout(net.DEADLINE_S)
        discover = frames.udp("0.0.0.0", "255.255.255.255", 68, 67, b"discover")
        frame = frames.ethernet(guest.mac, "ff:ff:ff:ff:ff:ff", frames.ETH_IPV4, discover)
        guest.packet_socket().send(frame)
        self.assertEqual(server.recv(100), b"discover")

    def test_a_quarantined_interface_drops_all_until_it_is_attached_again(self):
        w = self.world
        w.apply(worlds.ANY, worlds.ANY)
        self.lab.sgbpf("detach", "web0", "--quarantine")
        self.lab.traffic(denied=[self.lab.tcp(w.peer, w.guest, 80), self.lab.ping(w.guest, w.peer, 6)])
        self.lab.sgbpf("attach", "web0")
        self.lab.traffic([self.lab.tcp(w.peer, w.guest, 80), self.lab.ping(w.guest, w.peer, 6)])

    def test_detach_asks_before_all_traffic_passes(self):
        w = self.world
        w.apply([], [])
        refused = self.lab.sgbpf("detach", "web0", code=3, text="")
        self.assert_says(refused, "tap-web", "ALL traffic", "nothing changed")
        self.lab.traffic(denied=[self.lab.tcp(w.peer, w.guest, 80)])
        self.lab.sgbpf("detach", "web0", "--yes")
        self.lab.traffic([self.lab.tcp(w.peer, w.guest, 80)])

    def test_remove_all_leaves_no_pin_and_passes_everything(self):
        w = self.world
        w.apply([], [])
        self.lab.sgbpf("remove-all", code=3, text="")
        self.lab.sgbpf("remove-all", "--yes")
        self.assertEqual(kernel.pinned_ids(self.lab.bpffs), set())
        self.lab.traffic([self.lab.tcp(w.peer, w.guest, 80), self.lab.ping(w.guest, w.peer)])
        w.apply(HTTP, [])
        self.lab.traffic(*self.probes())

    def test_status_is_healthy_while_all_is_filtered(self):
        self.world.apply(HTTP, [])
        self.assert_says(self.lab.sgbpf("status", code=0), "web0", "tap-web", "workload")


class Devices(lab.LabTest):
    def setUp(self):
        super().setUp()
        self.world = worlds.OneGuest(self.lab)

    def test_a_device_that_comes_back_with_the_same_name_is_filtered_by_the_next_apply(self):
        w = self.world
        w.apply(HTTP, [])
        lab.run(["ip", "link", "del", w.guest.device])
        gone = self.lab.sgbpf("status", code=None)
        self.assert_says(gone, "waiting")
        w.guest.connect_host_end()
        self.assert_says(self.lab.sgbpf("status", code=1), "web0")  # present and not filtered: unhealthy
        w.apply(HTTP, [])
        self.lab.traffic([self.lab.tcp(w.peer, w.guest, 80)], [self.lab.tcp(w.peer, w.guest, 22)])
        self.lab.sgbpf("status", code=0)

    def test_an_absent_device_waits_and_is_an_error_only_when_required(self):
        w = self.world
        lab.run(["ip", "link", "del", w.guest.device])
        outcome = w.apply(HTTP, [])
        self.assert_says(outcome, "waiting", "tap-web")
        self.assert_says(self.lab.sgbpf("status", code=0), "1 waiting")
        required = self.lab.sgbpf("apply", self.lab.state_file, "--require-devices", code=None)
        self.assertIn(required.code, (2, 3), str(required))
        self.assert_says(required, "tap-web")
        w.guest.connect_host_end()
        self.lab.sgbpf("attach", "web0")
        self.lab.traffic([self.lab.tcp(w.peer, w.guest, 80)], [self.lab.tcp(w.peer, w.guest, 22)])

    def test_an_unknown_interface_is_bad_input(self):
        self.world.apply(HTTP, [])
        self.assert_says(self.lab.sgbpf("attach", "wbe0", code=2), "wbe0")
        self.assert_says(self.lab.sgbpf("detach", "wbe0", "--yes", code=2), "wbe0")
        self.assert_says(self.lab.sgbpf("show", "counters", "wbe0", code=2), "wbe0")

    def test_devices_that_cannot_be_filtered_here_are_refused_with_a_sentence(self):
        w = self.world
        lab.ip_batch([f"link add link {w.peer.device} name mvt0 type macvtap", "link add br0 type bridge",
                      "link set mvt0 up", "link set br0 up"])
        for device, word in (("mvt0", "macvtap"), ("br0", "bridge"), ("lo", "loopback")):
            with self.subTest(device=device):
                w.guest.device, kept = device, w.guest.device
                outcome = w.apply(HTTP, [], code=None)
                w.guest.device = kept
                self.assertIn(outcome.code, (2, 3, 4), str(outcome))
                self.assert_says(outcome, device, word)

    def test_a_guest_behind_a_bridge_is_filtered_at_its_port(self):
        w = self.world
        lab.ip_batch(["link add br0 type bridge", "link set br0 up", "addr add 10.0.9.1/24 dev br0",
                      f"link set {w.guest.device} master br0"])
        w.guest.run("ip", "addr", "add", "10.0.9.10/24", "dev", "eth0")
        w.guest.addresses = ("10.0.9.10", "2001:db8:a:1::10")
        lab.ip_batch([f"addr del {lab.GATEWAY_V4}/32 dev {w.guest.device}"])
        w.guest.run("ip", "route", "replace", "default", "via", "10.0.9.1")
        w.apply(HTTP, [])
        self.lab.traffic([self.lab.tcp(w.peer, w.guest, 80)],
                         [self.lab.tcp(w.peer, w.guest, 22), self.lab.tcp(w.guest, w.peer, 443)])

    def test_a_device_in_another_namespace_is_found_and_filtered_there(self):
        blue, green = self.lab.guest("blue", "192.0.2.50"), self.lab.guest("green", "10.0.9.9")
        lab.ip_batch([f"link add vblue netns {blue.namespace} type veth peer name vgreen address {green.mac} "
                      f"netns {green.namespace}"])
        for guest, device, address in ((blue, "vblue", "10.0.8.1"), (green, "vgreen", "10.0.8.2")):
            guest.run("ip", "link", "set", device, "up")
            guest.run("ip", "addr", "add", f"{address}/24", "dev", device)
            guest.addresses = (address,)
        green.match = f"netns: {blue.namespace}, device: vblue"
        groups = ("  web:\n    vpc: prod\n    description: x\n    inbound:\n"
                  "      - {protocol: tcp, port: 80, cidr: 10.0.0.0/16}\n    outbound: []\n")
        self.assert_says(self.lab.apply(groups, {green: ["web"], self.world.guest: ["web"]}), "vblue", blue.namespace)
        self.lab.traffic([self.lab.tcp(blue, green, 80)], [self.lab.tcp(blue, green, 22), self.lab.tcp(green, blue, 80)])
        self.assert_says(self.lab.sgbpf("status", code=0), "vblue")

    def test_a_device_is_found_by_its_alias_and_by_its_mac_too(self):
        w = self.world
        lab.run(["ip", "link", "set", w.guest.device, "alias", "nic-of-web"])
        for match in ("alias: nic-of-web", 'mac: "fe:54:00:00:00:01"'):
            with self.subTest(match=match):
                w.guest.match = match
                w.apply(HTTP, [])
                self.lab.traffic([self.lab.tcp(w.peer, w.guest, 80)], [self.lab.tcp(w.peer, w.guest, 22)])
                self.assert_says(self.lab.sgbpf("status", code=0), w.guest.device)

    def test_an_ingress_qdisc_in_the_way_of_clsact_is_refused_with_a_sentence(self):
        w = self.world
        lab.run(["tc", "qdisc", "add", "dev", w.guest.device, "ingress"])
        outcome = w.apply(HTTP, [], options=("--hook", "clsact"), code=4)
        self.assert_says(outcome, w.guest.device, "ingress", "NOT filtered")
        lab.run(["tc", "qdisc", "del", "dev", w.guest.device, "ingress"])
        w.apply(HTTP, [], options=("--hook", "clsact"))
        self.lab.traffic([self.lab.tcp(w.peer, w.guest, 80)], [self.lab.tcp(w.peer, w.guest, 22)])

    def test_a_tap_with_a_guest_in_user_space_is_filtered_the_right_way_round(self):
        w = self.world
        tap = os.open("/dev/net/tun", os.O_RDWR)
        self.addCleanup(os.close, tap)
        lab.run(["ip", "link", "del", w.guest.device])
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", b"tap-web", IFF_TAP | IFF_NO_PI))
        lab.ip_batch(["link set tap-web addrgenmode none up", f"neigh add 10.0.1.10 lladdr {w.guest.mac} dev tap-web",
                      "route add 10.0.1.10/32 dev tap-web"])
        w.apply(['{protocol: udp, port: 7, cidr: "192.0.2.0/24"}'], [])
        host_mac = device_mac("tap-web")

        peer = net.dual_stack(w.peer, socket.SOCK_DGRAM)
        self.lab.sockets.append(peer)
        peer.bind(("::", 4007))
        for port in (9, 7):  # 9 is denied: the first frame that arrives must be the one to 7
            peer.sendto(b"ask", ("::ffff:10.0.1.10", port))
        packet = self.next_packet(tap)
        self.assertEqual(struct.unpack(">HH", packet[20:24]), (4007, 7))

        def from_guest(source_port, target_port):
            payload = frames.udp("10.0.1.10", "192.0.2.7", source_port, target_port, bytes([source_port]))
            os.write(tap, frames.ethernet(w.guest.mac, host_mac, frames.ETH_IPV4, payload))

        from_guest(9, 4007)  # a new flow out, which no rule admits
        from_guest(7, 4007)  # the reply
        self.assertTrue(self.lab.wait_until(lambda: readable(peer), net.DEADLINE_S))
        self.assertEqual(peer.recv(10), b"\x07")

    def next_packet(self, tap):
        """The next IPv4 packet that the host sends into the tap, without its Ethernet header."""
        os.set_blocking(tap, False)
        found = []

        def poll():
            try:
                frame = os.read(tap, 2000)
            except BlockingIOError:
                return False
            if frame[12:14] == b"\x08\x00":
                found.append(frame[14:])
            return bool(found)

        self.assertTrue(self.lab.wait_until(poll, net.DEADLINE_S), "nothing arrived at the tap")
        return found[0]


def readable(sock):
    try:
        return bool(sock.recv(10, socket.MSG_PEEK))
    except BlockingIOError:
        return False


def device_mac(name):
    words = lab.run(["ip", "-o", "link", "show", name]).stdout.split()
    return words[words.index("link/ether") + 1]


class ForeignPrograms(lab.LabTest):
    def setUp(self):
        super().setUp()
        self.world = worlds.OneGuest(self.lab)

    def program(self, returns):
        program = kernel.Program(returns)
        self.addCleanup(program.close)
        return program

    def clsact_filter(self, program, direction, preference):
        device = self.world.guest.device
        path = f"{self.lab.bpffs}/foreign-{direction}"
        program.pin(path)
        lab.run(["tc", "qdisc", "add", "dev", device, "clsact"], check=False)  # there already, if ours is clsact
        lab.run(["tc", "filter", "add", "dev", device, direction, "pref", str(preference), "bpf", "direct-action",
                 "object-pinned", path])
        os.unlink(path)

    def test_accepted_packets_go_on_to_programs_of_others_and_dropped_ones_do_not(self):
        w = self.world
        w.apply(HTTP, [])
        behind = {direction: self.program(kernel.TCX_NEXT) for direction in ("ingress", "egress")}
        for direction, program in behind.items():
            self.clsact_filter(program, direction, 100)
        self.lab.traffic([self.lab.tcp(w.peer, w.guest, 80)])
        seen = {direction: program.packets() for direction, program in behind.items()}
        self.assertGreaterEqual(seen["ingress"], 3, "SYN-ACK, data, FIN of the guest")
        self.assertGreaterEqual(seen["egress"], 3, "SYN, ACK, data towards the guest")
        self.lab.traffic(denied=[self.lab.udp(w.peer, w.guest, 53), self.lab.udp(w.guest, w.peer, 53)])
        after = {direction: program.packets() for direction, program in behind.items()}
        self.assertLessEqual(after["egress"] - seen["egress"], 3, "closing of the old connection at most")

    def test_a_filter_of_others_keeps_dropping_what_ours_accepts(self):
        w = self.world
        w.apply(HTTP, [])
        self.lab.traffic([self.lab.tcp(w.peer, w.guest, 80)], [self.lab.tcp(w.peer, w.guest, 22)])
        self.clsact_filter(self.program(2), "egress", 100)  # TC_ACT_SHOT
        self.lab.traffic(denied=[self.lab.tcp(w.peer, w.guest, 80)])

    def test_a_program_in_front_that_accepts_makes_status_unhealthy(self):
        w = self.world
        w.apply([], worlds.ANY)
        program = self.program(kernel.TCX_PASS)
        ifindex = socket.if_nametoindex(w.guest.device)
        program.attach_tcx(ifindex, kernel.TCX_EGRESS, kernel.F_BEFORE)
        self.lab.traffic([self.lab.udp(w.peer, w.guest, 53)])  # one way is open; the answer rides on nothing of ours
        outcome = self.lab.sgbpf("status", code=1)
        self.assert_says(outcome, "web0", "foreign")

    def test_attaching_again_keeps_the_filters_of_others(self):
        w = self.world
        w.apply(HTTP, [])
        program = self.program(kernel.TCX_NEXT)
        self.clsact_filter(program, "egress", 100)
        self.lab.sgbpf("detach", "web0", "--yes")
        before = program.packets()
        self.lab.traffic([self.lab.tcp(w.peer, w.guest, 22)])
        self.assertGreater(program.packets(), before, "detach took the other's filter away")
        self.lab.sgbpf("attach", "web0")
        self.lab.traffic([self.lab.tcp(w.peer, w.guest, 80)], [self.lab.tcp(w.peer, w.guest, 22)])


if __name__ == "__main__":
    lab.main()
