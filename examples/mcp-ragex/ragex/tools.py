"""The two tools: their descriptions for the client, and calls with checked arguments.

Knows nothing of JSON-RPC. The model is loaded at the first semantic search, so
that a server answers at once and regex search works without it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import ripgrep
from .errors import RagexError
from .index import Index

Arguments = dict[str, Any]

LIMIT = {"type": "integer", "minimum": 1, "maximum": 100, "description": "At most this many results."}
PLACE = {"path": {"type": "string"}, "start_line": {"type": "integer"}, "end_line": {"type": "integer"}}
SNIPPET_LINES = 12
"""Lines of a chunk that are shown."""


@dataclass(frozen=True)
class ToolResult:
    """What a tool answers: text for a model to read, and the same as data."""

    text: str
    data: dict[str, Any]


class Tools:
    """The tools over one root directory."""

    def __init__(self, root: Path, open_index: Callable[[], Index]) -> None:
        """`open_index` loads the model; it is called once, when it is first needed."""
        self._root = root
        self._open_index = open_index
        self._index: Index | None = None
        self._calls = {"search_regex": self._search_regex, "search_semantic": self._search_semantic}

    def __contains__(self, name: object) -> bool:
        return name in self._calls

    def describe(self) -> list[dict[str, Any]]:
        """The `tools` of an MCP `tools/list` result."""
        return [
            {
                "name": "search_regex",
                "title": "Search by regular expression",
                "description": "Finds the lines of the source tree that match a regular expression (Rust syntax).",
                "inputSchema": _object(
                    {
                        "pattern": {"type": "string", "description": "The regular expression."},
                        "glob": {"type": "string", "description": "Only files whose path matches, such as *.py."},
                        "ignore_case": {"type": "boolean", "description": "Whether case is ignored; default false."},
                        "limit": {**LIMIT, "default": 50},
                    },
                    ["pattern"],
                ),
                "outputSchema": _results({**PLACE, "snippet": {"type": "string"}}, {"truncated": {"type": "boolean"}}),
                "annotations": {"readOnlyHint": True, "openWorldHint": False},
            },
            {
                "name": "search_semantic",
                "title": "Search by meaning",
                "description": "Finds the functions, classes and passages whose meaning is nearest to a description "
                "in plain words. The first call reads the whole tree and may take a while.",
                "inputSchema": _object(
                    {
                        "query": {"type": "string", "description": "What the code does, in plain words."},
                        "limit": {**LIMIT, "default": 5},
                    },
                    ["query"],
                ),
                "outputSchema": _results(
                    {**PLACE, "name": {"type": "string"}, "score": {"type": "number"}, "snippet": {"type": "string"}},
                    {},
                ),
                "annotations": {"readOnlyHint": True, "openWorldHint": False},
            },
        ]

    def call(self, name: str, arguments: Arguments) -> ToolResult:
        """Runs the tool `name`, which must be one of these."""
        return self._calls[name](arguments)

    def _search_regex(self, arguments: Arguments) -> ToolResult:
        _only(arguments, "pattern", "glob", "ignore_case", "limit")
        pattern = _text(arguments, "pattern")
        glob = _text(arguments, "glob") if arguments.get("glob") is not None else None
        ignore_case = arguments.get("ignore_case", False)
        if not isinstance(ignore_case, bool):
            raise RagexError("argument `ignore_case` must be true or false")
        matches = ripgrep.search(self._root, pattern, glob, ignore_case, _limit(arguments, 50))
        lines = [f"{match.path}:{match.line}: {match.text}" for match in matches.found]
        if matches.truncated:
            lines.append("(more matches were left out)")
        results = [
            {"path": match.path, "start_line": match.line, "end_line": match.line, "snippet": match.text}
            for match in matches.found
        ]
        data = {"results": results, "truncated": matches.truncated}
        return ToolResult("\n".join(lines) or "no line matches", data)

    def _search_semantic(self, arguments: Arguments) -> ToolResult:
        _only(arguments, "query", "limit")
        query, limit = _text(arguments, "query"), _limit(arguments, 5)
        if not query.strip():
            raise RagexError("argument `query` is empty; say what the code does")
        if self._index is None:
            self._index = self._open_index()
        self._index.refresh()
        results, blocks = [], []
        for hit in self._index.nearest(query, limit):
            chunk = hit.chunk
            snippet = "\n".join(chunk.text.split("\n")[:SNIPPET_LINES])
            score = round(hit.score, 4)
            results.append(
                {
                    "path": chunk.path,
                    "start_line": chunk.start,
                    "end_line": chunk.end,
                    "name": chunk.name,
                    "score": score,
                    "snippet": snippet,
                }
            )
            blocks.append(f"{chunk.path}:{chunk.start}-{chunk.end} {chunk.name} (score {score:.3f})\n{snippet}")
        return ToolResult("\n\n".join(blocks) or "there is no text to search", {"results": results})


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _results(properties: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    results = {"type": "array", "items": _object(properties, list(properties))}
    return _object({"results": results, **more}, ["results", *more])


def _only(arguments: Arguments, *names: str) -> None:
    for name in arguments:
        if name not in names:
            raise RagexError(f"unknown argument `{name}`; there are {', '.join(names)}")


def _text(arguments: Arguments, name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str):
        raise RagexError(f"argument `{name}` must be a string")
    return value


def _limit(arguments: Arguments, default: int) -> int:
    value = arguments.get("limit", default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 100:
        raise RagexError("argument `limit` must be a whole number from 1 to 100")
    return value
