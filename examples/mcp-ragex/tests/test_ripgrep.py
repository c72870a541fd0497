"""Listing and searching files with ripgrep."""

import os
import tempfile
import unittest
from pathlib import Path

from ragex import ripgrep
from ragex.errors import RagexError


class Ripgrep(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name)

    def write(self, path: str, content: str | bytes) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)

    def find(self, pattern: str, glob: str | None = None, ignore_case: bool = False, limit: int = 10) -> list[str]:
        matches = ripgrep.search(self.root, pattern, glob, ignore_case, limit)
        return [f"{match.path}:{match.line}:{match.text}" for match in matches.found]

    def test_files_come_sorted_and_without_the_ignored_ones(self) -> None:
        for path in ("b.py", "a/c.py", "build/x.o", ".hidden"):
            self.write(path, "x")
        self.write(".gitignore", "build/\n")
        self.assertEqual(ripgrep.list_files(self.root), ["a/c.py", "b.py"])

    def test_a_file_without_a_name_in_utf_8_is_left_out(self) -> None:
        self.write("good.txt", "x")
        (self.root / os.fsdecode(b"bad\xff.txt")).write_text("x")
        self.assertEqual(ripgrep.list_files(self.root), ["good.txt"])

    def test_an_empty_directory_has_no_files_and_no_matches(self) -> None:
        self.assertEqual(ripgrep.list_files(self.root), [])
        self.assertEqual(self.find("x"), [])

    def test_matches_name_path_line_and_text(self) -> None:
        self.write("a.txt", "one\ntwo\r\n")
        self.assertEqual(self.find("t.o"), ["a.txt:2:two"])

    def test_glob_and_case_narrow_and_widen(self) -> None:
        self.write("a.py", "Name\n")
        self.write("a.md", "name\n")
        self.assertEqual(self.find("name"), ["a.md:1:name"])
        self.assertEqual(self.find("name", ignore_case=True), ["a.md:1:name", "a.py:1:Name"])
        self.assertEqual(self.find("name", glob="*.py", ignore_case=True), ["a.py:1:Name"])

    def test_the_limit_is_kept_and_said(self) -> None:
        self.write("a.txt", "x\n" * 5000)
        matches = ripgrep.search(self.root, "x", None, False, 3)
        self.assertEqual(([match.line for match in matches.found], matches.truncated), ([1, 2, 3], True))
        self.assertFalse(ripgrep.search(self.root, "x", None, False, 5000).truncated)

    def test_a_pattern_or_glob_that_looks_like_an_option_is_none(self) -> None:
        self.write("a.txt", "--files\n")
        self.assertEqual(self.find("--files"), ["a.txt:1:--files"])
        self.assertEqual(self.find("x", glob="--files"), [])

    def test_text_that_is_not_utf_8_is_shown_with_replacements(self) -> None:
        self.write("a.txt", b"caf\xe9\n")
        self.assertEqual(self.find("caf"), ["a.txt:1:caf\N{REPLACEMENT CHARACTER}"])

    def test_a_wrong_pattern_is_reported_in_ripgreps_words(self) -> None:
        self.write("a.txt", "x\n")
        with self.assertRaisesRegex(RagexError, "unclosed group"):
            self.find("(")

    def test_a_nul_in_the_pattern_is_refused(self) -> None:
        with self.assertRaisesRegex(RagexError, "cannot search for that"):
            self.find("a\0b")

    def test_a_missing_root_is_named(self) -> None:
        with self.assertRaisesRegex(RagexError, "no directory .*gone"):
            ripgrep.list_files(self.root / "gone")


if __name__ == "__main__":
    unittest.main()
