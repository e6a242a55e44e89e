#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The JSON Schema of the state file against the corpus the parser is tested with.

schemas/state.schema.json must accept tests/data/state/good and refuse those files of bad that say
`# schema: refuses` in their second line. Files that say `# schema: cannot see` break rules a schema has no
words for; should it learn to refuse one, the test asks for the mark to be changed. YAML is read as 1.2,
as editors do. What the program writes must moreover be the same to readers of YAML 1.1 and 1.2: no `no`,
no 22:22, no MAC that is a number. Arguments: the root of the repository, the program print_state.
"""
import json
import pathlib
import subprocess
import sys
import unittest

import jsonschema
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

PRINT_STATE = sys.argv.pop()
ROOT = pathlib.Path(sys.argv.pop()).resolve()
STATE = ROOT / "tests/data/state"
MARK = "# schema: "


def documents(text, version):
    reader = YAML(typ="safe", pure=True)
    reader.version = version
    return list(reader.load_all(text))


def keys_are_text(value):
    if isinstance(value, dict):
        return all(isinstance(key, str) and keys_are_text(element) for key, element in value.items())
    return not isinstance(value, list) or all(keys_are_text(element) for element in value)


class StateSchema(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        schema = json.loads((ROOT / "schemas/state.schema.json").read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        cls.validator = jsonschema.Draft202012Validator(schema)

    def problem(self, path):
        """What is wrong with the file as an editor would see it, or None."""
        try:
            document = YAML(typ="safe", pure=True).load(path.read_bytes())
            if not keys_are_text(document):
                return "a key is not text"
        except (YAMLError, UnicodeDecodeError, TypeError, RecursionError) as error:
            return f"not YAML: {error}"
        error = jsonschema.exceptions.best_match(self.validator.iter_errors(document))
        return None if error is None else f"{error.json_path}: {error.message[:200]}"

    def test_accepts_every_good_file(self):
        files = sorted((STATE / "good").glob("*.yaml"))
        self.assertGreaterEqual(len(files), 15)
        for path in files:
            with self.subTest(path.name):
                self.assertIsNone(self.problem(path))

    def test_refuses_the_bad_files_it_can_see(self):
        files = sorted((STATE / "bad").glob("*.yaml"))
        self.assertGreaterEqual(len(files), 60)
        for path in files:
            with self.subTest(path.name):
                mark = path.read_bytes().split(b"\n")[1].decode()
                self.assertIn(mark, (MARK + "refuses", MARK + "cannot see"))
                problem = self.problem(path)
                if mark == MARK + "refuses":
                    self.assertIsNotNone(problem)
                else:
                    self.assertIsNone(problem, "the schema sees it: change the mark to refuses")

    def test_what_is_written_means_the_same_to_every_reader(self):
        files = sorted((STATE / "good").glob("*.yaml"))
        written = subprocess.run([PRINT_STATE, *files], check=True, capture_output=True, text=True).stdout
        new = documents(written, (1, 2))
        old = documents(written, (1, 1))
        self.assertEqual(len(new), len(files))
        for path, new_document, old_document in zip(files, new, old):
            with self.subTest(path.name):
                self.assertEqual(new_document, old_document)
                self.assertTrue(keys_are_text(new_document))
                error = jsonschema.exceptions.best_match(self.validator.iter_errors(new_document))
                self.assertIsNone(error, error and f"{error.json_path}: {error.message[:200]}")


if __name__ == "__main__":
    unittest.main()
