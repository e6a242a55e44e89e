#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""House rules that a program can check (ARCHITECTURE.md, "Layers"); one finding per line, exit 1.

    lint.py RULE [ROOT]     RULE: format, layering, spdx, paths, length, statements

Every rule has a test that plants a violation: tests/check/lint_test.py.
"""

import os
import re
import subprocess
import sys

SOURCE_ENDINGS = (".c", ".h", ".cpp", ".hpp")
SCRIPT_ENDINGS = (".py", ".sh", ".cmake", "CMakeLists.txt")
SKIPPED_FOLDERS = re.compile(r"^(build.*|\.git|__pycache__|\.cache)$")
MAX_LINES = 500

# Which layers a layer may include (`userspace/` folders); include/ and its own folder are always free.
LAYERS = {
    "base": (),
    "model": ("base",),
    "frame": ("base", "model"),
    "image": ("base",),
    "compiler": ("base", "model", "image"),
    "store": ("base", "model"),
    "datapath": ("base", "image"),
    "api": ("base", "model", "image", "frame", "store", "compiler", "datapath"),
    "replay": ("base", "model", "frame", "image", "compiler", "datapath", "api"),  # of api, run_commit
    "cli": ("base", "model", "frame", "store", "datapath", "api", "replay"),  # main() builds what the engine is given
}
# Headers of the outside world that only these layers may see.
CONFINED = {
    "bpf/": ("datapath",),
    "linux/bpf.h": ("datapath",),
    "libmnl/": ("datapath",),
    "pcap/": ("replay",),
    "CLI/": ("cli",),
    "yaml-cpp/": ("model",),
    "iostream": ("cli",),
}
BPF_MAY_INCLUDE = re.compile(r"^(sgbpf/abi/[\w.]+|linux/[\w./]+|bpf/bpf_(helpers|endian)\.h|bpf/[\w.]+\.h)$")
# The one header that makes the pure halves compile for the host as well.
BPF_HOST_ADAPTER = "bpf/compiler.h"
BPF_LIBBPF = ("bpf/bpf_helpers.h", "bpf/bpf_endian.h")
# Statements of the specification that have a test of their own: section, first, last (5.53 to 5.61: fragments).
STATEMENTS = (("5", 1, 65), ("6", 1, 10))
STATEMENT_TESTS = "tests/bpf"
STATEMENT_TABLE = "tests/bpf/statements.md"
TEST_NAME = re.compile(r"TEST(?:_[FP])?\(\s*\w+,\s*(\w+)\)")
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^">]+)[">]')


def files(root):
    """Paths of all our files, relative to root, without build directories."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if not SKIPPED_FOLDERS.match(f))
        found += [os.path.relpath(os.path.join(folder, name), root) for name in sorted(names)]
    return found


def text_of(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as stream:
        return stream.read()


def is_script(root, path):
    if path.endswith(SCRIPT_ENDINGS):
        return True
    return "." not in os.path.basename(path) and text_of(root, path).startswith("#!")


def includes(text):
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if match:
            yield number, match.group(1) == "<", match.group(2)


def check_format(root):
    sources = [p for p in files(root) if p.endswith(SOURCE_ENDINGS)]
    if not sources:
        return []
    tool = subprocess.run(["clang-format-19", "--dry-run", "-Werror", *sources], cwd=root, capture_output=True, text=True)
    return [line for line in tool.stderr.splitlines() if " error: " in line]


def layering_of_userspace(path, number, header, angled):
    layer = path.split("/")[1]
    if layer not in LAYERS:
        return f"{path}:{number}: userspace/{layer} is no layer that LAYERS knows"
    first = header.split("/")[0]
    if not angled and first in LAYERS and first != layer and first not in LAYERS[layer]:
        return f"{path}:{number}: {layer} may not include {header}; it may use {', '.join(LAYERS[layer]) or 'nothing'}"
    if header.endswith(".skel.h") and layer != "datapath":
        return f"{path}:{number}: only datapath includes skeletons, not {header}"
    for prefix, allowed in CONFINED.items():
        confined = header.startswith(prefix) if prefix.endswith("/") else header == prefix
        if angled and confined and layer not in allowed:
            return f"{path}:{number}: only {', '.join(allowed)} may include <{header}>"
    return None


def layering_of_bpf(root, path, number, header):
    if not BPF_MAY_INCLUDE.match(header):
        return f"{path}:{number}: bpf/ includes only sgbpf/abi, linux/ and the two libbpf headers, not {header}"
    ours = os.path.exists(os.path.join(root, header))
    if header.startswith("bpf/") and not ours and header not in BPF_LIBBPF:
        return f"{path}:{number}: bpf/ uses only {' and '.join(BPF_LIBBPF)} of libbpf, not {header}"
    if header == "linux/icmp.h":
        return f"{path}:{number}: linux/icmp.h pulls in linux/if.h, which breaks -target bpf; declare the header"
    return None


def check_layering(root):
    findings = []
    for path in files(root):
        if not path.endswith(SOURCE_ENDINGS):
            continue
        for number, angled, header in includes(text_of(root, path)):
            finding = None
            if path.startswith("userspace/"):
                finding = layering_of_userspace(path, number, header, angled)
            elif path.startswith("bpf/") and path != BPF_HOST_ADAPTER:
                finding = layering_of_bpf(root, path, number, header)
            elif path.startswith("include/sgbpf/abi/") and not header.startswith(("linux/types.h", "sgbpf/abi/")):
                finding = f"{path}:{number}: the ABI includes only <linux/types.h>, not {header}"
            elif path.startswith("include/") and header.split("/")[0] in LAYERS:
                finding = f"{path}:{number}: a public header includes {header} of a layer"
            if finding:
                findings.append(finding)
    return findings


def check_spdx(root):
    findings = []
    for path in files(root):
        if not (path.endswith(SOURCE_ENDINGS) or is_script(root, path)):
            continue
        lines = text_of(root, path).splitlines()
        if not lines:
            continue
        first = lines[1] if lines[0].startswith("#!") and len(lines) > 1 else lines[0]
        if "SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause" not in first:
            findings.append(f"{path}:1: first line lacks SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause")
    return findings


def check_paths(root):
    """Absolute paths of one machine: home directories and the folders people check out into."""
    machine = re.compile(r"(?<![\w.])/(work|home|root|Users|farm)/[\w.]")
    findings = []
    for path in files(root):
        if path.endswith((".png", ".pcap", ".gz", ".xz")):
            continue
        for number, line in enumerate(text_of(root, path).splitlines(), 1):
            if machine.search(line):
                findings.append(f"{path}:{number}: path of one machine: {line.strip()[:80]}")
    return findings


def check_length(root):
    """A file above MAX_LINES says why in its first ten lines: a sentence with the words "long because"."""
    findings = []
    for path in files(root):
        if not (path.endswith(SOURCE_ENDINGS) or is_script(root, path)):
            continue
        lines = text_of(root, path).splitlines()
        if len(lines) > MAX_LINES and "long because" not in " ".join(lines[:10]).lower():
            findings.append(f"{path}:1: {len(lines)} lines and no reason (\"long because ...\") at its head")
    return findings


def wanted_statements():
    return [f"{section}.{number}" for section, first, last in STATEMENTS for number in range(first, last + 1)]


def check_statements(root):
    """Every statement of STATEMENTS is in the name of a test in STATEMENT_TESTS or in its table of exceptions."""
    tests, table = {}, {}
    for path in files(root):
        if path.startswith(STATEMENT_TESTS + "/") and path.endswith(".cpp"):
            for name in TEST_NAME.findall(text_of(root, path)):
                tests.update({f"{a}.{b}": path for a, b in re.findall(r"SG_(\d+)_(\d+)", name)})
    findings = []
    for number, line in enumerate(text_of(root, STATEMENT_TABLE).splitlines(), 1):
        row = re.match(r"\| SG-(\d+\.\d+) \| (.{20,}) \|$", line)
        if row:
            table[row[1]] = number
        elif line.startswith("| SG-"):
            findings.append(f"{STATEMENT_TABLE}:{number}: not `| SG-x.y | reason |`")
    for statement in wanted_statements():
        if statement not in tests and statement not in table:
            findings.append(f"{STATEMENT_TESTS}:1: SG-{statement} is in no test's name and not in {STATEMENT_TABLE}")
        if statement in tests and statement in table:
            findings.append(f"{STATEMENT_TABLE}:{table[statement]}: SG-{statement} has a test: {tests[statement]}")
    findings += [f"{STATEMENT_TABLE}:{number}: SG-{one} is not asked for"
                 for one, number in table.items() if one not in wanted_statements()]
    return findings


RULES = {
    "format": check_format,
    "layering": check_layering,
    "spdx": check_spdx,
    "paths": check_paths,
    "length": check_length,
    "statements": check_statements,
}


def main(arguments):
    if len(arguments) not in (1, 2) or arguments[0] not in RULES:
        print(__doc__, file=sys.stderr)
        return 2
    root = arguments[1] if len(arguments) == 2 else os.path.join(os.path.dirname(__file__), "..", "..")
    findings = RULES[arguments[0]](os.path.abspath(root))
    for finding in findings:
        print(finding)
    print(f"{arguments[0]}: {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
