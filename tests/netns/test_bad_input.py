# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What goes wrong around a change: each its own sentence and exit code, and nothing changed."""

import os
import shutil

import lab
import worlds

HTTP = ['{protocol: tcp, port: 80, cidr: 192.0.2.0/24}']


class BadSurroundings(lab.LabTest):
    """Port 80 is open before; port 22 would be after, if any of this went through."""

    def setUp(self):
        super().setUp()
        self.world = worlds.OneGuest(self.lab)
        self.world.apply(HTTP, [])
        self.good = shutil.copy(self.lab.state_file, f"{self.lab.folder}/good.yaml")
        self.world.guest.serve_tcp(22)

    def wanted(self):
        """A file that would open port 22 and close port 80."""
        w = self.world
        groups = ("  web:\n    vpc: prod\n    description: x\n    inbound:\n"
                  "      - {protocol: tcp, port: 22, cidr: 192.0.2.0/24}\n    outbound: []\n")
        return self.lab.write_state(groups, {w.guest: ["web"]})

    def assert_nothing_changed(self):
        w = self.world
        self.lab.traffic([self.lab.tcp(w.peer, w.guest, 80)], [self.lab.tcp(w.peer, w.guest, 22)])
        self.assert_says(self.lab.sgbpf("apply", self.good), "no changes")

    def refuse(self, code, *words, arguments=None, **options):
        outcome = self.lab.sgbpf(*(arguments or ("apply", self.wanted())), code=code, **options)
        self.assert_says(outcome, *words)
        self.assertEqual(outcome.out.count("applied"), 0)
        return outcome

    def test_a_missing_file(self):
        self.refuse(2, "no-such.yaml", arguments=("apply", "no-such.yaml"))
        self.assert_nothing_changed()

    def test_a_directory(self):
        self.refuse(2, "directory", arguments=("apply", self.lab.folder))
        self.assert_nothing_changed()

    def test_a_file_of_100_megabytes(self):
        path = f"{self.lab.folder}/big.yaml"
        with open(path, "wb") as stream:
            stream.write(b"# padding padding padding padding padding padding padding padding\n" * (100_000_000 // 66))
        self.refuse(2, "big.yaml", "MiB", arguments=("apply", path))
        self.assert_nothing_changed()

    def test_a_binary_file(self):
        with open(self.lab.binary, "rb") as program, open(f"{self.lab.folder}/binary.yaml", "wb") as stream:
            stream.write(program.read(1 << 20))
        self.refuse(2, "binary.yaml", "nothing changed", arguments=("apply", f"{self.lab.folder}/binary.yaml"))
        self.assert_nothing_changed()

    def test_an_empty_file_never_means_delete_all(self):
        self.refuse(2, "empty", arguments=("apply", lab.write(f"{self.lab.folder}/empty.yaml", "")))
        self.assert_nothing_changed()

    def test_all_errors_of_a_file_are_told_at_once_with_their_places(self):
        path = self.wanted()
        with open(path, encoding="utf-8") as stream:
            text = stream.read()
        lab.write(path, text.replace("port: 22", "port: 70000").replace("role:", "rolle:"))
        self.refuse(2, "70000", "rolle", "nothing changed", "2 errors", arguments=("apply", path))
        self.assert_nothing_changed()

    def test_no_privilege(self):
        path = self.wanted()
        os.chmod(path, 0o644)
        self.refuse(4, "root", arguments=("apply", path),
                    before=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"))
        checked = self.lab.sgbpf("check", path, before=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"))
        self.assert_says(checked, "ok:")
        self.assert_nothing_changed()

    def test_no_bpffs(self):
        folder = f"{self.lab.folder}/no-bpffs"
        os.mkdir(folder)
        self.refuse(4, "no-bpffs", "bpffs", SGBPF_BPFFS=folder)
        self.assert_nothing_changed()

    def test_pins_of_another_abi_version(self):
        root = f"{self.lab.bpffs}/sgbpf"
        version = next(name for name in os.listdir(root) if name.startswith("v"))
        os.rename(f"{root}/{version}", f"{root}/v999")
        self.refuse(4, "v999")
        os.rename(f"{root}/v999", f"{root}/{version}")
        self.assert_nothing_changed()

    def test_a_full_disk(self):
        small = f"{self.lab.folder}/small"
        os.mkdir(small)
        lab.run(["mount", "-t", "tmpfs", "-o", "size=64k", "small", small])
        for name in os.listdir(self.lab.state_dir):
            shutil.copy(f"{self.lab.state_dir}/{name}", small)
        with open(f"{small}/filler", "wb", buffering=0) as stream:
            try:
                while True:
                    stream.write(bytes(512))
            except OSError:
                pass
        outcome = self.refuse(None, "No space left", SGBPF_STATE_DIR=small)
        self.assertIn(outcome.code, (3, 4), str(outcome))
        w = self.world
        self.lab.traffic([self.lab.tcp(w.peer, w.guest, 80)], [self.lab.tcp(w.peer, w.guest, 22)])
        lab.run(["umount", small])
        self.assert_nothing_changed()

    def test_a_broken_host_configuration(self):
        broken = lab.write(f"{self.lab.folder}/broken.yaml", "capacitys: {flows: 100}\n")
        self.refuse(2, "broken.yaml", "capacitys", SGBPF_HOST_CONFIG=broken)
        self.assert_nothing_changed()

    def test_words_that_are_no_command(self):
        self.refuse(2, "aply", arguments=("aply",))
        self.refuse(2, arguments=("apply",))


class TooLarge(lab.LabTest):
    def test_a_policy_larger_than_a_map_is_refused_before_the_first_write(self):
        lab.write(self.lab.host_config, "schema: sgbpf-host/v1\ncapacities: {prefixes: 50}\n")
        world = worlds.OneGuest(self.lab)
        world.apply(HTTP, [])
        many = [f"{{protocol: tcp, port: 22, cidr: 192.0.2.{i}/32}}" for i in range(60)]
        outcome = world.apply(many, [], code=3)
        self.assert_says(outcome, "sg_cidr4", "61 of 50", "nothing changed")  # 60 new ones beside the old
        self.lab.traffic([self.lab.tcp(world.peer, world.guest, 80)], [self.lab.tcp(world.peer, world.guest, 22)])
        self.assert_says(self.lab.sgbpf("check", self.lab.state_file, code=3), "sg_cidr4")
        # A larger host.yaml alone does not make the maps larger, and that is said.
        lab.write(self.lab.host_config, "schema: sgbpf-host/v1\ncapacities: {prefixes: 5000}\n")
        self.assert_says(world.apply(many, [], code=3), "sg_cidr4", "remove-all")
        world.apply(many[:40], [])
        self.lab.traffic([self.lab.tcp(world.peer, world.guest, 22)], [self.lab.tcp(world.peer, world.guest, 80)])


if __name__ == "__main__":
    lab.main()
