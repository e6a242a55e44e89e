#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Help, completion and man page name the same commands and options; completion completes.

    completion_test.py SGBPF SOURCE_FOLDER
"""

import os
import re
import subprocess
import sys
import tempfile
import unittest

SGBPF, SOURCES = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
# Asked for by every command, told once.
GLOBALS = {"--help", "--json", "--state-dir", "--bpffs", "--host-config", "--hook", "--version"}


def help_of(*command):
    done = subprocess.run([SGBPF, *command, "--help"], capture_output=True, text=True, timeout=20, check=True)
    return done.stdout


def commands(text):
    """Names below "Subcommands:"."""
    listed = text.split("Subcommands:\n")[1] if "Subcommands:\n" in text else ""
    return re.findall(r"^  ([a-z][a-z-]*) ", listed.split("\n\n")[0], re.M)


def options(text):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text.split("Options:\n")[1].split("\n\n")[0])) - GLOBALS


def every_command():
    for verb in commands(help_of()):
        nested = commands(help_of(verb))
        yield from ((verb, noun) for noun in nested) if nested else ((verb,),)


class Words(unittest.TestCase):
    def complete(self, line, state=""):
        """What bash offers for the last word of a line."""
        with tempfile.TemporaryDirectory() as folder:
            os.symlink(SGBPF, f"{folder}/sgbpf")
            words = line.split(" ")
            script = (f'source {SOURCES}/sgbpf.bash; COMP_WORDS=({" ".join(map(repr, words))}); '
                      f'COMP_CWORD={len(words) - 1}; _sgbpf; printf "%s\\n" "${{COMPREPLY[@]}}"')
            done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=20, check=True,
                                  cwd=state or folder,
                                  env={"PATH": f"{folder}:{os.environ['PATH']}", "SGBPF_STATE_DIR": state or folder})
        self.assertEqual(done.stderr, "")
        return set(done.stdout.split("\n")) - {""}

    def test_help_names_every_command_with_an_example(self):
        self.assertGreaterEqual(len(list(every_command())), 19)
        for command in every_command():
            with self.subTest(command=command):
                text = help_of(*command)
                self.assertIn("Example", text)
                self.assertIn(f"sgbpf {command[0]}", text.split("Example")[1])

    def test_completion_offers_every_command_and_option(self):
        self.assertLessEqual(set(commands(help_of())), self.complete("sgbpf "))
        for command in every_command():
            with self.subTest(command=command):
                offered = self.complete(f"sgbpf {' '.join(command)} --")
                self.assertEqual(options(help_of(*command)) - offered, set(), "not completed")
                self.assertEqual({o for o in offered if o.startswith("--")} - options(help_of(*command)) - GLOBALS, set(),
                                 "completed, but unknown to the command")
        self.assertLessEqual(set(commands(help_of("show"))), self.complete("sgbpf show "))

    def test_completion_offers_values(self):
        self.assertEqual(self.complete("sgbpf status --hook "), {"auto", "native", "generic", "tcx", "clsact"})
        self.assertEqual(self.complete("sgbpf mon"), {"monitor"})
        with tempfile.TemporaryDirectory() as folder:
            open(f"{folder}/shop.yaml", "w", encoding="utf-8").close()
            self.assertIn("shop.yaml", self.complete("sgbpf check sh", folder))

    def test_the_manual_names_every_command_and_option(self):
        with open(f"{SOURCES}/sgbpf.8", encoding="utf-8") as page:
            manual = page.read().replace("\\-", "-")
        for command in every_command():
            with self.subTest(command=command):
                self.assertIn(command[-1], manual)
                missing = {o for o in options(help_of(*command)) if o not in manual}
                self.assertEqual(missing, set())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
