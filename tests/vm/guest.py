#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Boots Debian's stock kernel in QEMU (TCG) and runs commands in it; the guest is an initramfs.

    guest.py --cache DIR [--package linux-image-cloud-amd64] [--module veth ...] [--binary FILE ...]
             [--file FILE=/path/in/guest ...] [--expect REGEX ...] [--timeout SECONDS] [--nic] -- COMMAND...

COMMAND is a line for the guest's shell: dash, because busybox's prefers its own `ip` and `ping` to
real ones. --nic gives the guest a virtio NIC, eth0, whose network is QEMU's own and answers pings at 10.0.2.2
(modules virtio_pci and virtio_net). Binaries land in /usr/bin with the shared libraries they need. Exits 0 only when the guest reports that COMMAND ended with 0 and every REGEX was printed.
The kernel comes from Debian's archive, resolved through the meta-package, and is kept in DIR.
"""

import argparse
import glob
import lzma
import os
import re
import shutil
import subprocess
import sys
import tempfile

SUCCESS = "SGBPF-GUEST-EXIT:0"
MEMORY_MIB = 2048  # a flow table for a million flows takes 128 MiB; the rest is head room

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/usr/bin:/bin HOME=/tmp TERM=dumb GTEST_COLOR=no
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev 2>/dev/null
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mount -t bpf bpf /sys/fs/bpf
mkdir -p /var/lib /etc /run/netns
ip link set lo up
while read module; do insmod "/modules/$module" || echo "cannot load $module"; done < /modules/order
echo "kernel $(uname -r)"
dash /command
echo "SGBPF-GUEST-EXIT:$?"
poweroff -f
"""


def fail(sentence):
    print(f"guest.py: {sentence}", file=sys.stderr)
    sys.exit(1)


def run(command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


def resolve(meta_package):
    """The newest kernel package that the meta-package depends on."""
    found = re.findall(r"Depends: (linux-image-\S+)", run(["apt-cache", "depends", meta_package]))
    if not found:
        fail(f"{meta_package} depends on no kernel; is Debian 12's archive configured?")
    return found[0]


def fetch_kernel(cache, meta_package):
    """Folder with boot/ and lib/modules/ of the kernel; downloads it once."""
    known = sorted(glob.glob(os.path.join(cache, f"{meta_package}.d", "*", "complete")))
    if known:
        return os.path.dirname(known[-1])
    folder = os.path.join(cache, f"{meta_package}.d")
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as staging:
        os.chmod(staging, 0o777)  # apt's own user writes there
        try:
            package = resolve(meta_package)
            run(["apt-get", "download", "-qq", package], cwd=staging)
        except (subprocess.CalledProcessError, FileNotFoundError):
            subprocess.run(["apt-get", "update", "-qq"], check=False, capture_output=True)
            package = resolve(meta_package)
            run(["apt-get", "download", "-qq", package], cwd=staging)
        root = os.path.join(staging, package)
        run(["dpkg-deb", "-x", glob.glob(os.path.join(staging, "*.deb"))[0], root])
        open(os.path.join(root, "complete"), "w", encoding="utf-8").close()
        target = os.path.join(folder, package)
        shutil.rmtree(target, ignore_errors=True)
        os.rename(root, target)
    return target


def shared_libraries(binary):
    listing = subprocess.run(["ldd", binary], capture_output=True, text=True, check=False).stdout
    return re.findall(r"(/\S+) \(0x", listing)


def plain_module(path):
    """The module as insmod of busybox takes it; Debian's 6.12 compresses its modules."""
    if not path.endswith(".xz"):
        return path
    plain = path[:-len(".xz")]
    if not os.path.exists(plain):
        with lzma.open(path) as packed, tempfile.NamedTemporaryFile(dir=os.path.dirname(path), delete=False) as unpacked:
            shutil.copyfileobj(packed, unpacked)
        os.rename(unpacked.name, plain)  # several guests may be made at once
    return plain


def modules_in_order(kernel, wanted):
    """Paths of the wanted modules and what they depend on, dependencies first."""
    tree = glob.glob(os.path.join(kernel, "lib", "modules", "*"))[0]
    paths, needs = {}, {}
    for path in glob.glob(os.path.join(tree, "kernel", "**", "*.ko*"), recursive=True):
        paths[os.path.basename(path).split(".")[0].replace("-", "_")] = path
    order = []

    def add(name):
        if name not in paths:
            return  # built into this kernel
        if name not in needs:
            paths[name] = plain_module(paths[name])
            line = run(["/usr/sbin/modinfo", "-F", "depends", paths[name]]).strip()
            needs[name] = [n.replace("-", "_") for n in line.split(",") if n]
            for dependency in needs[name]:
                add(dependency)
            order.append(paths[name])

    for module in wanted:
        add(module)
    return order


def copy_into(root, source, target):
    path = os.path.join(root, target.lstrip("/"))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return shutil.copy(os.path.realpath(source), path)


def build_initramfs(folder, kernel, options):
    root = os.path.join(folder, "root")
    for name in ("bin", "proc", "sys", "dev", "tmp", "run", "modules", "etc", "var"):
        os.makedirs(os.path.join(root, name))
    copy_into(root, "/bin/busybox", "/bin/busybox")
    order = modules_in_order(kernel, options.module)
    for module in order:
        copy_into(root, module, "/modules/" + os.path.basename(module))
    with open(os.path.join(root, "modules", "order"), "w", encoding="utf-8") as stream:
        stream.writelines(os.path.basename(m) + "\n" for m in order)
    for binary in ["/usr/bin/dash", *options.binary]:
        target = copy_into(root, binary, "/usr/bin/" + os.path.basename(binary))
        run(["strip", "--strip-debug", target])  # the guest unpacks all of it into memory
        for library in shared_libraries(binary):
            copy_into(root, library, library)
    for pair in options.file:
        source, _, target = pair.partition("=")
        copy_into(root, source, target)
    for name, text in (("init", INIT), ("command", " ".join(options.command) + "\n")):
        with open(os.path.join(root, name), "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chmod(os.path.join(root, name), 0o755)
    archive = os.path.join(folder, "initramfs")
    with open(archive, "wb") as stream:
        listing = subprocess.run(["find", ".", "-print0"], cwd=root, check=True, capture_output=True).stdout
        subprocess.run(["cpio", "--null", "--create", "--format=newc", "--quiet"], cwd=root, check=True, input=listing,
                       stdout=stream)
    return archive


def boot(kernel, archive, timeout, nic):
    image = glob.glob(os.path.join(kernel, "boot", "vmlinuz-*"))[0]
    command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", str(MEMORY_MIB),
               "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", image,
               "-initrd", archive, "-append", "console=ttyS0 quiet panic=-1 mitigations=off"]
    if nic:  # restrict: the guest reaches nothing outside
        command += ["-netdev", "user,id=net,restrict=on", "-device", "virtio-net-pci,netdev=net,romfile="]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as expired:
        print((expired.stdout or b"").decode(errors="replace"))
        fail(f"the guest did not end within {timeout} s")
    if done.stderr.strip():
        print(done.stderr.decode(errors="replace"), file=sys.stderr)
    return done.stdout.decode(errors="replace").replace("\r", "")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", required=True)
    parser.add_argument("--package", default="linux-image-cloud-amd64")
    parser.add_argument("--module", action="append", default=[])
    parser.add_argument("--binary", action="append", default=[])
    parser.add_argument("--file", action="append", default=[])
    parser.add_argument("--expect", action="append", default=[])
    parser.add_argument("--timeout", type=int, default=120)
    parser.add_argument("--nic", action="store_true")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()

    kernel = fetch_kernel(options.cache, options.package)
    with tempfile.TemporaryDirectory() as folder:
        output = boot(kernel, build_initramfs(folder, kernel, options), options.timeout, options.nic)
    print(output)
    if SUCCESS not in output:
        fail("the guest's command failed or the guest died before its end")
    for pattern in options.expect:
        if not re.search(pattern, output):
            fail(f"the guest never printed {pattern!r}")


if __name__ == "__main__":
    main()
