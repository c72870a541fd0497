"""The command line of ragex. The only module that reads arguments, environment and standard streams."""

import argparse
import os
import signal
import sys
from pathlib import Path

from . import __version__
from .errors import RagexError
from .index import Index
from .model import Encoder, model_directory
from .selftest import selftest
from .server import Server
from .tools import Tools

ENVIRONMENT = """environment:
  RAGEX_CACHE    directory for indexes (default: ragex in the user's cache directory)
  RAGEX_DEVICE   auto, cpu or cuda (default: auto)
  RAGEX_THREADS  threads of the model (default: one per core that the process may use)
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs one verb; the exit status is 0 when done, 1 when it failed, 2 for a wrong command line."""
    options = _parser().parse_args(arguments)
    # As the first process of a container, ragex would otherwise not be ended by this signal.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        if options.verb == "selftest":
            return selftest(_encoder(), options.quick)
        root = Path(options.root)
        if not root.is_dir():
            raise RagexError(f"no directory {root}")
        if options.verb == "index":
            index = _open_index(root)
            done = index.refresh()
            print(f"{done.files} files, {done.chunks} chunks, {done.encoded} passages read by {index.provider}")
            return 0
        return _serve(root)
    except RagexError as error:
        print(f"ragex: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ragex",
        description="An MCP server for code search, by regular expression and by meaning.",
        epilog=ENVIRONMENT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ragex {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, text in (
        ("serve", "answer an MCP client on standard input and output"),
        ("index", "bring the index of a directory up to date"),
    ):
        verbs.add_parser(verb, help=text, description=text).add_argument(
            "root", nargs="?", default=".", metavar="ROOT", help="the directory to search (default: this one)"
        )
    text = "check search and protocol on a copy of ragex's own source"
    verbs.add_parser("selftest", help=text, description=text).add_argument(
        "--quick", action="store_true", help="search two files only, for a processor that is emulated"
    )
    return parser


def _serve(root: Path) -> int:
    """Answers the client; whatever a library prints goes to standard error, so that only messages reach it."""
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        Server(Tools(root.resolve(), lambda: _open_index(root))).serve(sys.stdin.buffer, sink)
        sink.close()
    except BrokenPipeError:  # the client is gone
        return 0
    return 0


def _open_index(root: Path) -> Index:
    return Index(root, _encoder(), _cache())


def _encoder() -> Encoder:
    threads = os.environ.get("RAGEX_THREADS", "")
    if threads and not (threads.isascii() and threads.isdigit() and int(threads) > 0):
        raise RagexError(f"RAGEX_THREADS is {threads!r}, not a number of threads")
    device = os.environ.get("RAGEX_DEVICE") or "auto"
    return Encoder(model_directory(), device, int(threads) if threads else None)


def _cache() -> Path:
    if chosen := os.environ.get("RAGEX_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "ragex"


if __name__ == "__main__":
    sys.exit(main())
