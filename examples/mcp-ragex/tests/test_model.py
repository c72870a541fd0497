"""Reading weights, and vectors that agree with what is published for the model."""

import json
import struct
import tempfile
import unittest
from pathlib import Path

import numpy

from ragex.errors import RagexError
from ragex.graph import sentence_encoder
from ragex.model import BATCH, WEIGHTS_FILE, Encoder, model_directory
from ragex.weights import Tensor, read_header


class Weights(unittest.TestCase):
    def read(self, content: bytes) -> dict[str, Tensor]:
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / WEIGHTS_FILE
            file.write_bytes(content)
            return read_header(file)

    def test_offsets_count_from_the_start_of_the_file(self) -> None:
        entry = {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}
        header = json.dumps({"__metadata__": {"format": "pt"}, "t": entry}).encode()
        found = self.read(struct.pack("<Q", len(header)) + header + bytes(12))
        self.assertEqual(found, {"t": Tensor("F32", (2,), 8 + len(header) + 4, 8)})

    def test_damaged_files_are_reported(self) -> None:
        entry = b'{"t": {"dtype": "F32", "shape": [2]}}'
        for content in (
            b"",
            b"\x01",
            struct.pack("<Q", 1 << 60),
            struct.pack("<Q", 2) + b"[]",
            struct.pack("<Q", 9) + b'{"t": ',
            struct.pack("<Q", len(entry)) + entry,
        ):
            with self.subTest(content=content), self.assertRaisesRegex(RagexError, "cannot read the weights"):
                self.read(content)


class Graph(unittest.TestCase):
    def test_a_missing_tensor_and_a_foreign_architecture_are_named(self) -> None:
        config = json.loads((model_directory() / "config.json").read_text("utf-8"))
        with self.assertRaisesRegex(RagexError, "no tensor embeddings.word_embeddings.weight"):
            sentence_encoder(config, {}, WEIGHTS_FILE)
        with self.assertRaisesRegex(RagexError, "not a BERT"):
            sentence_encoder({**config, "hidden_act": "relu"}, {}, WEIGHTS_FILE)


class Vectors(unittest.TestCase):
    encoder: Encoder

    @classmethod
    def setUpClass(cls) -> None:
        cls.encoder = Encoder(model_directory(), "cpu")

    def test_similarities_are_those_published_for_the_model(self) -> None:
        source = "That is a happy person"
        others = ["That is a happy dog", "That is a very happy person", "Today is a sunny day"]
        vectors = self.encoder.encode([source, *others])
        numpy.testing.assert_allclose(vectors[1:] @ vectors[0], [0.695, 0.943, 0.257], atol=0.001)

    def test_vectors_have_length_one(self) -> None:
        vectors = self.encoder.encode(["", "word", "def f(): return 1\n" * 500])
        numpy.testing.assert_allclose(numpy.linalg.norm(vectors, axis=1), 1, atol=1e-5)

    def test_order_and_neighbours_in_a_batch_do_not_matter(self) -> None:
        texts = [f"sentence number {n} " * (1 + n % 7) for n in range(BATCH + 5)]
        together = self.encoder.encode(texts)
        for n in (0, 6, BATCH + 4):
            numpy.testing.assert_allclose(self.encoder.encode([texts[n]])[0], together[n], atol=1e-5)

    def test_no_texts_give_no_vectors(self) -> None:
        self.assertEqual(self.encoder.encode([]).shape, (0, self.encoder.size))

    def test_an_unknown_device_and_a_missing_model_are_refused(self) -> None:
        with self.assertRaisesRegex(RagexError, "unknown device 'tpu'"):
            Encoder(model_directory(), "tpu")
        with self.assertRaisesRegex(RagexError, "cannot read the model"):
            Encoder(Path("/nonexistent"))


if __name__ == "__main__":
    unittest.main()
