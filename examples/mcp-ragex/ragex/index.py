"""Keeps a vector for each chunk below a root and answers which chunks are nearest to a question.

Vectors are kept by the digest of the passage they stand for, in memory and in
one cache file per root, so that only what changed is read by the model again.
"""

import hashlib
import os
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy

from . import ripgrep
from .chunks import Chunk, cut
from .model import BATCH, MODEL_NAME, Encoder, Vectors

MAX_FILE = 512 << 10
"""Bytes; a larger file is data rather than source and is left out."""


@dataclass(frozen=True)
class Hit:
    """A chunk and the cosine of the angle between its vector and the question's."""

    chunk: Chunk
    score: float


@dataclass(frozen=True)
class Refreshed:
    """What an index holds, and how many passages the model had to read for it."""

    files: int
    chunks: int
    encoded: int


class Index:
    """The semantic index of one root directory."""

    def __init__(self, root: Path, encoder: Encoder, cache: Path | None = None) -> None:
        """An empty index of `root`; `cache` is the directory for its cache file, if there is to be one."""
        self.root = root.resolve()
        self._encoder = encoder
        self._cache = cache / f"{_digest(str(self.root))[:16]}.npz" if cache else None
        self._files: dict[str, tuple[tuple[int, int], list[Chunk]]] = {}
        self._known: dict[str, numpy.ndarray] = _read_cache(self._cache, encoder.size)
        self._chunks: list[Chunk] = []
        self._vectors: Vectors = numpy.zeros((0, encoder.size), dtype=numpy.float32)

    @property
    def provider(self) -> str:
        """The onnxruntime execution provider that runs the model."""
        return self._encoder.provider

    def refresh(self) -> Refreshed:
        """Brings the index to the present state of the files."""
        self._files = {path: entry for path in ripgrep.list_files(self.root) if (entry := self._read(path))}
        self._chunks = [chunk for _, chunks in self._files.values() for chunk in chunks]
        passages = {_digest(passage): passage for passage in map(Chunk.passage, self._chunks)}
        unknown = [digest for digest in passages if digest not in self._known]
        for start in range(0, len(unknown), BATCH * 8):
            part = unknown[start : start + BATCH * 8]
            vectors = self._encoder.encode([passages[digest] for digest in part])
            self._known.update(zip(part, vectors, strict=True))
            if len(unknown) > BATCH * 8:
                print(f"ragex: read {start + len(part)} of {len(unknown)} passages", file=sys.stderr)
        stale = self._known.keys() - passages.keys()
        for digest in stale:
            del self._known[digest]
        if unknown or stale:
            _write_cache(self._cache, self._known, self._encoder.size)
        if self._chunks:
            self._vectors = numpy.stack([self._known[_digest(chunk.passage())] for chunk in self._chunks])
        else:
            self._vectors = numpy.zeros((0, self._encoder.size), dtype=numpy.float32)
        return Refreshed(len(self._files), len(self._chunks), len(unknown))

    def nearest(self, question: str, limit: int) -> list[Hit]:
        """The `limit` chunks whose vectors are most similar to the question's, best first."""
        scores = self._vectors @ self._encoder.encode([question])[0]
        best = numpy.argsort(-scores, kind="stable")[:limit]
        return [Hit(self._chunks[i], float(scores[i])) for i in best]

    def _read(self, path: str) -> tuple[tuple[int, int], list[Chunk]] | None:
        """The chunks of one file, cut again only if it was touched; none for what is not text."""
        full = self.root / path
        try:
            status = full.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            before = self._files.get(path)
            if before and before[0] == stamp:
                return before
            if status.st_size > MAX_FILE:
                return None
            data = full.read_bytes()
        except OSError:  # gone or unreadable: not part of what can be searched
            return None
        if b"\0" in data:
            return None
        try:
            return stamp, cut(path, data.decode("utf-8"))
        except UnicodeDecodeError:
            return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _read_cache(file: Path | None, size: int) -> dict[str, numpy.ndarray]:
    """The vectors of an earlier run; none if there is no file, or it is damaged or of another model."""
    if file is None or not file.exists():
        return {}
    try:
        with numpy.load(file, allow_pickle=False) as data:
            digests, vectors, model = data["digests"], data["vectors"], str(data["model"])
        if model != MODEL_NAME or vectors.shape != (len(digests), size) or vectors.dtype != numpy.float32:
            raise ValueError("it was written for another model")
        return dict(zip(map(str, digests), vectors, strict=True))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as cause:
        print(f"ragex: not using the cache {file}: {cause}", file=sys.stderr)
        return {}


def _write_cache(file: Path | None, known: dict[str, numpy.ndarray], size: int) -> None:
    """Replaces the cache file in one step. Without it the next run is slow and not wrong, so failure is only said."""
    if file is None:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".tmp", delete=False) as temporary:
            try:
                digests = numpy.array(list(known), dtype="U64")
                vectors = numpy.array(list(known.values()), dtype=numpy.float32).reshape(len(known), size)
                numpy.savez(temporary, digests=digests, vectors=vectors, model=numpy.array(MODEL_NAME))
                temporary.flush()
                os.replace(temporary.name, file)
            except BaseException:
                os.unlink(temporary.name)
                raise
    except OSError as cause:
        print(f"ragex: cannot keep the index in {file}: {cause.strerror}", file=sys.stderr)
