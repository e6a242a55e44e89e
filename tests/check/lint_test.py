#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Each house rule of tools/lint/lint.py finds a planted violation and accepts the right form."""

import os
import sys
import tempfile
import unittest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "tools", "lint"))
import lint  # noqa: E402  (found through the path above)

SPDX = "// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause\n"


class LintRules(unittest.TestCase):
    def findings(self, rule, path, text, others=()):
        with tempfile.TemporaryDirectory() as root:
            for name, content in [(path, text), *others]:
                os.makedirs(os.path.dirname(os.path.join(root, name)) or root, exist_ok=True)
                with open(os.path.join(root, name), "w", encoding="utf-8") as stream:
                    stream.write(content)
            return lint.RULES[rule](root)

    def assert_caught(self, rule, path, text, others=()):
        found = self.findings(rule, path, text, others)
        self.assertEqual(len(found), 1, found)
        self.assertTrue(found[0].startswith(path), found)

    def assert_accepted(self, rule, path, text, others=()):
        self.assertEqual(self.findings(rule, path, text, others), [])

    def test_format_finds_a_badly_indented_line(self):
        style = [(".clang-format", "BasedOnStyle: LLVM\n")]
        self.assert_caught("format", "a.cpp", "int  main() { return 0; }\n", style)
        self.assert_accepted("format", "a.cpp", "int main() { return 0; }\n", style)

    def test_layering_keeps_the_compiler_away_from_the_datapath(self):
        self.assert_caught("layering", "userspace/compiler/a.cpp", '#include "datapath/datapath.hpp"\n')
        self.assert_accepted("layering", "userspace/api/a.cpp", '#include "datapath/datapath.hpp"\n')

    def test_layering_shows_libbpf_to_the_datapath_only(self):
        self.assert_caught("layering", "userspace/api/a.cpp", "#include <bpf/libbpf.h>\n")
        self.assert_accepted("layering", "userspace/datapath/a.cpp", "#include <bpf/libbpf.h>\n")

    def test_layering_lets_only_the_cli_print(self):
        self.assert_caught("layering", "userspace/store/a.cpp", "#include <iostream>\n")
        self.assert_accepted("layering", "userspace/cli/a.cpp", "#include <iostream>\n")

    def test_layering_gives_skeletons_to_the_datapath_only(self):
        self.assert_caught("layering", "userspace/api/a.cpp", '#include "sg_tc.skel.h"\n')

    def test_layering_refuses_an_unknown_layer(self):
        self.assert_caught("layering", "userspace/misc/a.cpp", '#include "misc/a.hpp"\n')

    def test_layering_keeps_bpf_code_pure(self):
        self.assert_caught("layering", "bpf/a.h", "#include <string.h>\n")
        self.assert_caught("layering", "bpf/a.h", "#include <bpf/bpf_core_read.h>\n")
        self.assert_caught("layering", "bpf/a.h", "#include <linux/icmp.h>\n")
        self.assert_accepted("layering", "bpf/a.h", "#include <linux/ip.h>\n#include <bpf/bpf_helpers.h>\n")
        self.assert_accepted("layering", "bpf/compiler.h", "#include <string.h>\n")
        self.assert_accepted("layering", "bpf/a.h", '#include "bpf/b.h"\n', [("bpf/b.h", "")])

    def test_layering_keeps_the_abi_alone(self):
        self.assert_caught("layering", "include/sgbpf/abi/a.h", "#include <stdint.h>\n")
        self.assert_caught("layering", "include/sgbpf/a.hpp", '#include "model/a.hpp"\n')
        self.assert_accepted("layering", "include/sgbpf/abi/a.h", "#include <linux/types.h>\n")

    def test_spdx_must_be_the_first_line(self):
        self.assert_caught("spdx", "a.cpp", "int a;\n")
        self.assert_caught("spdx", "tool", "#!/bin/sh\necho\n")
        self.assert_accepted("spdx", "a.cpp", SPDX + "int a;\n")
        self.assert_accepted("spdx", "tool", "#!/bin/sh\n" + SPDX.replace("//", "#"))

    def test_paths_of_one_machine_are_found(self):
        self.assert_caught("paths", "README.md", "see /ho" + "me/me/notes\n")
        self.assert_accepted("paths", "README.md", "see ../home/me and /etc/sgbpf and a/work/b\n")

    def test_length_wants_a_reason(self):
        long_text = SPDX + "int a;\n" * 600
        self.assert_caught("length", "a.cpp", long_text)
        self.assert_accepted("length", "a.cpp", SPDX + "// Long because it is one table.\n" + long_text)

    def test_statements_need_a_test_or_a_reason(self):
        table = "tests/bpf/statements.md"
        reason = "a reason that is long enough"
        rows = [f"| SG-{one} | {reason} |" for one in lint.wanted_statements()]
        test = "TEST_P(A, SG_5_1_SG_5_2_Holds) {}\n"
        without = [row for row in rows if not row.startswith(("| SG-5.1 |", "| SG-5.2 |"))]
        self.assertEqual(self.findings("statements", table, "\n".join(without), [("tests/bpf/a.cpp", test)]), [])
        self.assertEqual(len(self.findings("statements", table, "\n".join(without))), 2)
        self.assertEqual(len(self.findings("statements", table, "\n".join(rows), [("tests/bpf/a.cpp", test)])), 2)
        self.assert_caught("statements", table, "\n".join([*rows, f"| SG-1.1 | {reason} |"]))
        self.assertEqual(len(self.findings("statements", table, "\n".join([*rows[1:], "| SG-5.1 | no |"]))), 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
