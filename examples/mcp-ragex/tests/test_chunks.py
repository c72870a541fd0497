"""Cutting source texts into chunks."""

import itertools
import unittest

from ragex.chunks import LONGEST, OVERLAP, WINDOW, cut, words


def places(path: str, text: str) -> list[str]:
    """The chunks of a text as `first-last name`."""
    return [f"{chunk.start}-{chunk.end} {chunk.name}".rstrip() for chunk in cut(path, text)]


class Words(unittest.TestCase):
    def test_identifiers_fall_apart_at_case_underscore_and_dot(self) -> None:
        self.assertEqual(words("Index.nearest_rows"), "index nearest rows")
        self.assertEqual(words("parseHTTPBody2"), "parse http body 2")
        self.assertEqual(words("MAX_FILE"), "max file")
        self.assertEqual(words(""), "")


class Python(unittest.TestCase):
    def test_functions_methods_class_heads_and_the_rest_are_chunks(self) -> None:
        text = (
            "import os\n\n@cache\ndef first():\n    pass\n\n"
            "class Noun:\n    '''Doc.'''\n    def verb(self):\n        pass\n\nX = 1\n"
        )
        self.assertEqual(places("a.py", text), ["1-1", "3-5 first", "7-8 Noun", "9-10 Noun.verb", "12-12"])

    def test_a_class_without_methods_is_one_chunk(self) -> None:
        self.assertEqual(places("a.py", "class Point:\n    x: int\n    y: int\n"), ["1-3 Point"])

    def test_a_class_and_its_method_on_one_line_are_one_chunk(self) -> None:
        self.assertEqual(places("a.py", "class Noun: x = 1\ndef verb(): pass\n"), ["1-1 Noun", "2-2 verb"])

    def test_a_long_function_becomes_windows_that_keep_its_name(self) -> None:
        text = "def long():\n" + "    step()\n" * LONGEST
        found = cut("a.py", text)
        self.assertEqual([(chunk.start, chunk.name) for chunk in found], [(1, "long"), (WINDOW - OVERLAP + 1, "long")])
        self.assertEqual(found[-1].end, LONGEST + 1)

    def test_text_that_is_not_python_after_all_is_cut_into_windows(self) -> None:
        self.assertEqual(places("a.py", "def broken(:\n    pass\n"), ["1-2"])

    def test_line_numbers_survive_windows_line_ends_and_form_feeds(self) -> None:
        self.assertEqual(places("a.py", "x = 1\r\n\x0c\r\ndef f():\r\n    pass\r\n"), ["1-1", "3-4 f"])

    def test_the_passage_begins_with_the_name_as_words(self) -> None:
        (chunk,) = cut("a.py", "def read_header(): pass\n")
        self.assertEqual(chunk.passage(), "read header\ndef read_header(): pass")


class Text(unittest.TestCase):
    def test_blank_text_has_no_chunks(self) -> None:
        self.assertEqual(places("a.md", ""), [])
        self.assertEqual(places("a.md", "\n  \n\t\n"), [])

    def test_windows_overlap_and_cover_every_line(self) -> None:
        lines = WINDOW * 3
        found = cut("a.md", "line\n" * lines)
        covered = {line for chunk in found for line in range(chunk.start, chunk.end + 1)}
        self.assertEqual(covered, set(range(1, lines + 1)))
        for before, after in itertools.pairwise(found):
            self.assertEqual(before.end - after.start + 1, OVERLAP)


if __name__ == "__main__":
    unittest.main()
