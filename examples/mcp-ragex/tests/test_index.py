"""The semantic index: what it reads again, what it keeps, what it finds."""

import contextlib
import io
import tempfile
import unittest
from pathlib import Path

from ragex.index import MAX_FILE, Index, Refreshed
from ragex.model import Encoder, model_directory

FILES = {
    "money.py": "def convert(amount, rate):\n    '''Currency exchange.'''\n    return amount * rate\n",
    "mail.py": "def deliver(letter):\n    '''Sends an e-mail over SMTP.'''\n    smtp.send(letter)\n",
}


class IndexTest(unittest.TestCase):
    encoder: Encoder

    @classmethod
    def setUpClass(cls) -> None:
        cls.encoder = Encoder(model_directory(), "cpu")

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root, self.cache = Path(directory.name) / "source", Path(directory.name) / "cache"
        self.root.mkdir()
        for path, text in FILES.items():
            (self.root / path).write_text(text)

    def open(self) -> Index:
        return Index(self.root, self.encoder, self.cache)

    def test_the_nearest_chunk_answers_the_question(self) -> None:
        index = self.open()
        self.assertEqual(index.refresh(), Refreshed(files=2, chunks=2, encoded=2))
        hits = index.nearest("how much is this in dollars", 5)
        self.assertEqual([hit.chunk.path for hit in hits], ["money.py", "mail.py"])
        self.assertGreater(hits[0].score, hits[1].score)

    def test_only_what_changed_is_read_again(self) -> None:
        index = self.open()
        index.refresh()
        (self.root / "mail.py").write_text("def burn(letter):\n    fire.add(letter, matches=3)\n")
        self.assertEqual(index.refresh(), Refreshed(2, 2, 1))
        (self.root / "mail.py").touch()
        self.assertEqual(index.refresh(), Refreshed(2, 2, 0))

    def test_a_removed_file_is_found_no_more(self) -> None:
        index = self.open()
        index.refresh()
        (self.root / "money.py").unlink()
        self.assertEqual(index.refresh(), Refreshed(1, 1, 0))
        self.assertEqual([hit.chunk.path for hit in index.nearest("currency exchange", 5)], ["mail.py"])

    def test_what_is_gone_is_forgotten_so_that_the_cache_does_not_grow(self) -> None:
        index = self.open()
        index.refresh()
        (self.root / "money.py").unlink()
        index.refresh()
        (self.root / "money.py").write_text(FILES["money.py"])
        self.assertEqual(index.refresh(), Refreshed(2, 2, 1))

    def test_a_second_process_reads_nothing_again(self) -> None:
        self.open().refresh()
        self.assertEqual(self.open().refresh(), Refreshed(2, 2, 0))

    def test_a_damaged_cache_is_said_and_replaced(self) -> None:
        self.open().refresh()
        (file,) = self.cache.iterdir()
        file.write_bytes(file.read_bytes()[:100])
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            self.assertEqual(self.open().refresh().encoded, 2)
        self.assertIn("not using the cache", said.getvalue())
        self.assertEqual(self.open().refresh().encoded, 0)

    def test_an_emptied_directory_leaves_a_readable_cache(self) -> None:
        self.open().refresh()
        for path in FILES:
            (self.root / path).unlink()
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            self.assertEqual(self.open().refresh(), Refreshed(0, 0, 0))
            self.assertEqual(self.open().nearest("anything", 5), [])
        self.assertEqual(said.getvalue(), "")

    def test_a_cache_that_cannot_be_written_is_said_and_does_no_harm(self) -> None:
        self.cache.write_text("a file where the directory should be")
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            self.assertEqual(self.open().refresh().chunks, 2)
        self.assertIn("cannot keep the index", said.getvalue())

    def test_binary_foreign_and_huge_files_are_left_out(self) -> None:
        (self.root / "image.bin").write_bytes(b"PNG\0text")
        (self.root / "latin.txt").write_bytes(b"caf\xe9")
        (self.root / "huge.txt").write_bytes(b"x" * (MAX_FILE + 1))
        self.assertEqual(self.open().refresh().files, 2)


if __name__ == "__main__":
    unittest.main()
