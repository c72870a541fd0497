"""Cuts a source text into chunks: functions and classes of Python, windows of lines for the rest.

Pure: text in, chunks out.
"""

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

WINDOW = 40
"""Lines of a window."""

OVERLAP = 8
"""Lines that a window shares with the one before."""

LONGEST = 60
"""Lines of a function beyond which it is cut into windows."""


@dataclass(frozen=True)
class Chunk:
    """Lines `start` to `end` (from 1, both included) of a file. `name` is empty for a plain window."""

    path: str
    start: int
    end: int
    name: str
    text: str

    def passage(self) -> str:
        """What the model reads: the name as words, then the text."""
        return f"{words(self.name)}\n{self.text}" if self.name else self.text


def words(identifier: str) -> str:
    """`Index.nearest_rows` and `parseHTTPBody` as lower-case words."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", identifier)
    return " ".join(part.lower() for part in parts)


def cut(path: str, text: str) -> list[Chunk]:
    """The chunks of the file `path` with the content `text`, in the order of their lines."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    spans = _python_spans(text) if path.endswith(".py") else []
    chunks: list[Chunk] = []
    free = 1
    for name, start, end in sorted(spans, key=lambda span: span[1]):
        chunks.extend(_windows(path, lines, "", free, start - 1))
        if end - start + 1 > LONGEST:
            chunks.extend(_windows(path, lines, name, start, end))
        else:
            chunks.append(Chunk(path, start, end, name, "\n".join(lines[start - 1 : end])))
        free = max(free, end + 1)
    chunks.extend(_windows(path, lines, "", free, len(lines)))
    return chunks


def _windows(path: str, lines: list[str], name: str, start: int, end: int) -> Iterator[Chunk]:
    """Windows over lines `start` to `end`, without the blank lines around them; none where all are blank."""
    while start <= end and not lines[start - 1].strip():
        start += 1
    while end >= start and not lines[end - 1].strip():
        end -= 1
    while start <= end:
        last = min(start + WINDOW - 1, end)
        yield Chunk(path, start, last, name, "\n".join(lines[start - 1 : last]))
        if last == end:
            return
        start = last + 1 - OVERLAP


def _python_spans(text: str) -> list[tuple[str, int, int]]:
    """Name, first and last line of each function, method and class head; nothing for text that is not Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return list(_definitions(module.body, ""))


def _definitions(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, int, int]]:
    for node in body:
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        start = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        end = node.end_lineno or node.lineno
        if isinstance(node, ast.ClassDef):
            inner = list(_definitions(node.body, f"{prefix}{node.name}."))
            first = min((span[1] for span in inner), default=end + 1)
            # A method on the line of its class leaves no line for a head.
            if first > start:
                yield f"{prefix}{node.name}", start, first - 1
            yield from inner
        else:
            yield f"{prefix}{node.name}", start, end
