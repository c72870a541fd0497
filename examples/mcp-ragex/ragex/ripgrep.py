"""Runs ripgrep: the files below a root, and the lines that match a regular expression.

The only module that starts ripgrep. What ripgrep ignores (.gitignore, hidden
files), ragex ignores, for both tools alike.
"""

import base64
import json
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import RagexError

TIMEOUT = 30.0
"""Seconds for one search, after which ripgrep is ended."""

SNIPPET = 300
"""Characters of a matching line that are shown."""

COMMON = ("rg", "--no-config", "--no-require-git", "--no-messages")


@dataclass(frozen=True)
class Match:
    """One matching line; `line` counts from 1."""

    path: str
    line: int
    text: str


@dataclass(frozen=True)
class Matches:
    """What a search found, and whether there was more than was asked for."""

    found: list[Match]
    truncated: bool


def list_files(root: Path) -> list[str]:
    """The paths of the files below `root`, relative to it, sorted; without those that have no name in UTF-8."""
    result = _run([*COMMON, "--files", "--null"], root)
    if result.returncode == 2 and not result.stdout:
        raise RagexError(f"cannot list the files below {root}: {_message(result.stderr)}")
    names = (name.decode("utf-8") for name in result.stdout.split(b"\0") if _is_utf8(name))
    return sorted(name.removeprefix("./") for name in names if name)


def search(root: Path, pattern: str, glob: str | None, ignore_case: bool, limit: int) -> Matches:
    """The first `limit` lines below `root`, by path, that match the regular expression `pattern`."""
    command = [*COMMON, "--json", "--sort=path"]
    if ignore_case:
        command.append("--ignore-case")
    if glob is not None:
        command.append(f"--glob={glob}")
    # The pattern and the path are given so that neither can be taken for an option or for standard input.
    process = _start([*command, f"--regexp={pattern}", "--", "."], root)
    timer = threading.Timer(TIMEOUT, process.kill)
    timer.start()
    found: list[Match] = []
    truncated = False
    assert process.stdout is not None and process.stderr is not None
    with process:
        for line in process.stdout:
            event = json.loads(line)
            if event["type"] != "match":
                continue
            if len(found) == limit:
                truncated = True
                process.kill()
                break
            found.append(_match(event["data"]))
        errors = process.stderr.read()
    expired = not timer.is_alive()
    timer.cancel()
    if process.returncode < 0 and expired:
        raise RagexError(f"the search took longer than {TIMEOUT:.0f} s; use a narrower pattern or glob")
    # Without a message, status 2 means that some file could not be opened; the rest was searched.
    if not truncated and (process.returncode < 0 or (process.returncode > 1 and errors)):
        raise RagexError(f"ripgrep refused the search: {_message(errors)}")
    return Matches(found, truncated)


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _match(data: dict[str, Any]) -> Match:
    text = _text(data["lines"]).rstrip("\r\n")
    return Match(_text(data["path"]).removeprefix("./"), data["line_number"], text[:SNIPPET])


def _text(value: dict[str, str]) -> str:
    """ripgrep writes what is not UTF-8 in base64."""
    if "text" in value:
        return value["text"]
    return base64.b64decode(value["bytes"]).decode("utf-8", "replace")


def _message(errors: bytes) -> str:
    return errors.decode("utf-8", "replace").strip() or "it gave no reason"


def _start(command: list[str], root: Path) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command, cwd=root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except FileNotFoundError as cause:
        missing = "ripgrep (rg) is not installed" if root.is_dir() else f"no directory {root}"
        raise RagexError(missing) from cause
    except OSError as cause:
        raise RagexError(f"cannot search below {root}: {cause.strerror}") from cause
    except ValueError as cause:  # a NUL in an argument
        raise RagexError(f"cannot search for that: {cause}") from cause


def _run(command: list[str], root: Path) -> subprocess.CompletedProcess[bytes]:
    with _start(command, root) as process:
        stdout, stderr = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)
