"""Reads the header of a safetensors file: which tensor lies where.

The tensors themselves stay in the file; onnxruntime maps them from there.
"""

import json
import struct
from dataclasses import dataclass
from pathlib import Path

from .errors import RagexError

MAX_HEADER = 16 << 20
"""Bytes; a longer header is taken for a damaged file."""


@dataclass(frozen=True)
class Tensor:
    """One tensor: element type as safetensors names it, shape, and place in the file in bytes."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    length: int


def read_header(path: Path) -> dict[str, Tensor]:
    """Maps tensor names to their places in the safetensors file at `path`."""
    try:
        with path.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            if size > MAX_HEADER:
                raise ValueError(f"header of {size} bytes")
            header = json.loads(file.read(size))
        if not isinstance(header, dict):
            raise ValueError("the header is not a JSON object")
        tensors = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            tensors[name] = Tensor(entry["dtype"], tuple(entry["shape"]), 8 + size + begin, end - begin)
        return tensors
    except (OSError, ValueError, KeyError, TypeError, RecursionError, struct.error) as cause:
        raise RagexError(f"cannot read the weights {path}: {cause}") from cause
