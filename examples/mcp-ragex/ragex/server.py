"""Speaks the Model Context Protocol: JSON-RPC 2.0 messages, one per line, on two streams.

One request after the other. Knows the tools only by their names, descriptions and results.
"""

import json
import sys
from typing import Any, BinaryIO

from . import __version__
from .errors import RagexError
from .tools import Tools

VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""Revisions of the protocol that this server speaks, newest first."""

BATCHES = "2025-03-26"
"""The only revision in which one line may hold several messages."""

MAX_LINE = 4 << 20
"""Bytes of a message; a longer line is refused."""

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL_ERROR = -32700, -32600, -32601, -32602, -32603

Message = dict[str, Any]


class ProtocolError(Exception):
    """A request that cannot be answered: a JSON-RPC error code and a message."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data


class Server:
    """One session with one client."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._version: str | None = None
        """The revision agreed on; none before `initialize`."""

    def serve(self, source: BinaryIO, sink: BinaryIO) -> None:
        """Answers messages until `source` ends."""
        while line := source.readline(MAX_LINE + 1):
            if len(line) > MAX_LINE:
                while line and not line.endswith(b"\n"):
                    line = source.readline(MAX_LINE)
                reply: Message | list[Message] | None = _error(None, INVALID_REQUEST, "the message is too long")
            elif line.strip():
                reply = self.answer(line)
            else:
                continue
            if reply is not None:
                sink.write(json.dumps(reply, separators=(",", ":")).encode() + b"\n")
                sink.flush()

    def answer(self, line: bytes) -> Message | list[Message] | None:
        """The reply to one line, or none where the protocol wants silence."""
        try:
            message = json.loads(line)
        except (ValueError, RecursionError) as cause:
            return _error(None, PARSE_ERROR, f"not a JSON text: {cause}")
        if not isinstance(message, list):
            return self._answer_one(message)
        if self._version != BATCHES or not message:
            return _error(None, INVALID_REQUEST, f"a batch is allowed only in revision {BATCHES}, and not empty")
        replies = [reply for part in message if (reply := self._answer_one(part)) is not None]
        return replies or None

    def _answer_one(self, message: Any) -> Message | None:
        """The reply to one message; none to a notification or a response."""
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            return _error(None, INVALID_REQUEST, "not a JSON-RPC 2.0 message")
        if "method" not in message and ("result" in message or "error" in message):
            return None  # this server asks nothing, so no answer is awaited
        identity = message.get("id")
        if "id" in message and (isinstance(identity, bool) or not isinstance(identity, (str, int, float))):
            return _error(None, INVALID_REQUEST, "`id` must be a string or a number")
        method, params = message.get("method"), message.get("params", {})
        if not isinstance(method, str):
            return _error(identity, INVALID_REQUEST, "`method` must be a string")
        if "id" not in message:
            return None  # notifications/initialized, notifications/cancelled and others ask for nothing
        try:
            if not isinstance(params, dict):
                raise ProtocolError(INVALID_PARAMS, "`params` must be an object")
            return {"jsonrpc": "2.0", "id": identity, "result": self._call(method, params)}
        except ProtocolError as error:
            return _error(identity, error.code, error.message, error.data)
        except Exception as error:  # one request must not end the session
            print(f"ragex: {method} failed: {error!r}", file=sys.stderr)
            return _error(identity, INTERNAL_ERROR, f"internal error: {type(error).__name__}")

    def _call(self, method: str, params: Message) -> Message:
        """The `result` of a request."""
        if method == "ping":
            return {}
        if method == "initialize":
            return self._initialize(params)
        if self._version is None:
            raise ProtocolError(INVALID_REQUEST, f"`{method}` before `initialize`")
        if method == "tools/list":
            return {"tools": self._tools.describe()}
        if method == "tools/call":
            return self._call_tool(params)
        raise ProtocolError(METHOD_NOT_FOUND, f"unknown method `{method}`")

    def _initialize(self, params: Message) -> Message:
        """Agrees on the client's revision where the server speaks it, else offers the newest that it speaks."""
        if self._version is not None:
            raise ProtocolError(INVALID_REQUEST, "already initialized")
        wanted = params.get("protocolVersion")
        if not isinstance(wanted, str):
            raise ProtocolError(INVALID_PARAMS, "`protocolVersion` must be a string", {"supported": VERSIONS})
        self._version = wanted if wanted in VERSIONS else VERSIONS[0]
        return {
            "protocolVersion": self._version,
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "ragex", "title": "Code search", "version": __version__},
            "instructions": "search_regex finds exact text; search_semantic finds code by what it does.",
        }

    def _call_tool(self, params: Message) -> Message:
        """A tool's answer. Wrong arguments and failures are answers too, for the model to read."""
        name, arguments = params.get("name"), params.get("arguments", {})
        if not isinstance(name, str) or name not in self._tools:
            raise ProtocolError(INVALID_PARAMS, f"unknown tool {name!r}")
        if not isinstance(arguments, dict):
            raise ProtocolError(INVALID_PARAMS, "`arguments` must be an object")
        try:
            result = self._tools.call(name, arguments)
        except RagexError as error:
            return {"content": [{"type": "text", "text": str(error)}], "isError": True}
        content = [{"type": "text", "text": result.text}]
        return {"content": content, "structuredContent": result.data, "isError": False}


def _error(identity: Any, code: int, message: str, data: Any = None) -> Message:
    error = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return {"jsonrpc": "2.0", "id": identity, "error": error}
