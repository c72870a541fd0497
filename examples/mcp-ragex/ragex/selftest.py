"""Checks an installation: search by meaning, search by pattern, and a conversation with a server process.

Everything runs on a copy of ragex's own source, from which this file is left
out, because the questions stand in it word for word.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import ripgrep
from .chunks import words
from .errors import RagexError
from .index import Index
from .model import Encoder
from .server import VERSIONS

SOURCE = Path(__file__).resolve().parent

FILE, FUNCTION = "chunks.py", "words"
"""What the first question asks for."""

QUESTION = "split camel-cased or underscored naming into its separate pieces of plain vocabulary"
"""Describes FUNCTION in FILE and shares no word with its source, be it name, comment or code."""

CALL_FILE, CALL_QUESTION = "server.py", "negotiating which revision of the protocol to speak with a client"
"""What the server is asked, and the file that must come first."""

PATTERN, PATTERN_FILE = r"^def read_\w+\(", "weights.py"
"""A pattern and the only file in which it matches, once."""

COMMON_WORDS = frozenset("a an and as for in into is it its of or the to".split())
QUICK_FILES = (FILE, PATTERN_FILE)
"""What a quick test searches: few passages, for a processor that is emulated."""

TIMEOUT = 600
"""Seconds for the conversation; an emulated processor may need many."""


def selftest(encoder: Encoder, quick: bool = False) -> int:
    """Runs every check and prints what it did; the exit status is 0 if all passed, else 1.

    The quick one makes the same checks on two files only.
    """
    with tempfile.TemporaryDirectory(prefix="ragex-selftest-") as directory:
        root = Path(directory) / "source"
        root.mkdir()
        for file in sorted(SOURCE.glob("*.py")):
            if file.name in QUICK_FILES if quick else file.name != Path(__file__).name:
                shutil.copyfile(file, root / file.name)
        cache = Path(directory) / "cache"
        checks: tuple[tuple[str, Callable[[], str]], ...] = (
            ("search by meaning", lambda: _by_meaning(root, encoder, cache)),
            ("search by pattern", lambda: _by_pattern(root)),
            ("MCP conversation", lambda: _conversation(root, cache, quick)),
        )
        print(f"model on {encoder.provider}, source copied from {SOURCE}", flush=True)
        failed = 0
        for name, check in checks:
            try:
                print(f"ok: {name}: {check()}", flush=True)
            except (RagexError, OSError, KeyError, ValueError, subprocess.SubprocessError) as cause:
                failed += 1
                print(f"FAILED: {name}: {cause!r}")
    print(f"{failed} of {len(checks)} checks failed" if failed else f"all {len(checks)} checks passed")
    return 1 if failed else 0


def _by_meaning(root: Path, encoder: Encoder, cache: Path) -> str:
    shared = _words(_source(root / FILE, FUNCTION)) & _words(QUESTION)
    _expect(not shared, f"the question shares {sorted(shared)} with the source of {FUNCTION}")
    index = Index(root, encoder, cache)
    done = index.refresh()
    first, second = index.nearest(QUESTION, 2)
    found = (first.chunk.path, first.chunk.name)
    _expect(found == (FILE, FUNCTION), f"expected {FUNCTION} in {FILE}, found {found} with {first.score:.3f}")
    _expect(index.refresh().encoded == 0, "the second refresh read passages again")
    return (
        f"of {done.chunks} chunks in {done.files} files, {QUESTION!r} found {FUNCTION} in {FILE} "
        f"(score {first.score:.3f}, next {second.chunk.name or second.chunk.path} with {second.score:.3f})"
    )


def _by_pattern(root: Path) -> str:
    matches = ripgrep.search(root, PATTERN, "*.py", ignore_case=False, limit=10).found
    _expect(
        [match.path for match in matches] == [PATTERN_FILE], f"expected one match in {PATTERN_FILE}, found {matches}"
    )
    return f"{PATTERN!r} found {matches[0].path}:{matches[0].line}"


def _conversation(root: Path, cache: Path, quick: bool) -> str:
    """Starts a server on `root` and talks to it as a client does.

    The server finds the vectors of the first check in `cache`: reading every passage twice would take minutes on an
    emulated processor.
    """
    question, file = (QUESTION, FILE) if quick else (CALL_QUESTION, CALL_FILE)
    arguments = {"query": question, "limit": 3}
    client = {"protocolVersion": VERSIONS[0], "capabilities": {}, "clientInfo": {"name": "selftest", "version": "0"}}
    requests: list[dict[str, Any]] = [
        {"id": 1, "method": "initialize", "params": client},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "ping"},
        {"id": 3, "method": "tools/list"},
        {"id": 4, "method": "tools/call", "params": {"name": "search_semantic", "arguments": arguments}},
        {"id": 5, "method": "tools/call", "params": {"name": "search_regex", "arguments": {"pattern": PATTERN}}},
        {"id": 6, "method": "tools/call", "params": {"name": "search_regex", "arguments": {"pattern": "("}}},
        {"id": 7, "method": "no/such/method"},
    ]
    text = "".join(json.dumps({"jsonrpc": "2.0", **request}) + "\n" for request in requests)
    command = [sys.executable, "-m", "ragex", "serve", str(root)]
    environment = _environment(cache)
    server = subprocess.run(
        command, input=text.encode(), stdout=subprocess.PIPE, timeout=TIMEOUT, env=environment, check=True
    )
    replies: dict[int, dict[str, Any]] = {}
    for line in server.stdout.splitlines():
        reply = json.loads(line)
        replies[reply["id"]] = reply
    _expect(sorted(replies) == [1, 2, 3, 4, 5, 6, 7], f"expected replies 1 to 7, got {sorted(replies)}")
    _expect(replies[1]["result"]["protocolVersion"] == VERSIONS[0], f"initialize answered {replies[1]}")
    _expect(replies[2]["result"] == {}, f"ping answered {replies[2]}")
    names = [tool["name"] for tool in replies[3]["result"]["tools"]]
    _expect(names == ["search_regex", "search_semantic"], f"tools/list answered {names}")
    nearest = replies[4]["result"]["structuredContent"]["results"]
    _expect(nearest[0]["path"] == file, f"search_semantic answered {nearest}")
    lines = replies[5]["result"]["structuredContent"]["results"]
    _expect([line["path"] for line in lines] == [PATTERN_FILE], f"search_regex answered {lines}")
    _expect(replies[6]["result"]["isError"] is True, f"a wrong pattern was answered with {replies[6]}")
    _expect(replies[7]["error"]["code"] == -32601, f"an unknown method was answered with {replies[7]}")
    return (
        f"{len(requests)} messages, {len(replies)} replies; search_semantic {question!r} found "
        f"{nearest[0]['path']}:{nearest[0]['start_line']} (score {nearest[0]['score']:.3f})"
    )


def _environment(cache: Path) -> dict[str, str]:
    """This process's environment, with ragex importable and a cache of its own."""
    path = os.pathsep.join(filter(None, [str(SOURCE.parent), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "RAGEX_CACHE": str(cache)}


def _source(file: Path, function: str) -> str:
    """The text of a top-level function."""
    text = file.read_text("utf-8")
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            return ast.get_source_segment(text, node) or ""
    raise RagexError(f"no function {function} in {file.name}")


def _words(text: str) -> set[str]:
    return set(words(text).split()) - COMMON_WORDS


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise RagexError(otherwise)
