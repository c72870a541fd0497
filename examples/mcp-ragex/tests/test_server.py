"""The protocol, message by message, and one conversation with a real process."""

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

from ragex.index import Index
from ragex.server import MAX_LINE, VERSIONS, Server
from ragex.tools import Tools


def no_index() -> Index:
    raise AssertionError("the model was loaded, though nothing asked for it")


class Protocol(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name)
        (self.root / "a.py").write_text("alpha\nbeta\n")
        self.server = Server(Tools(self.root, no_index))

    def ask(self, method: str, params: Any = None) -> dict[str, Any]:
        request = {"jsonrpc": "2.0", "id": 7, "method": method, **({} if params is None else {"params": params})}
        reply = self.server.answer(json.dumps(request).encode())
        assert isinstance(reply, dict)
        self.assertEqual(reply["id"], 7)
        return reply

    def initialize(self, version: str = VERSIONS[0]) -> str:
        return self.ask("initialize", {"protocolVersion": version, "capabilities": {}})["result"]["protocolVersion"]

    def call(self, name: str, arguments: Any) -> dict[str, Any]:
        return self.ask("tools/call", {"name": name, "arguments": arguments})

    def code(self, line: bytes) -> int:
        reply = self.server.answer(line)
        assert isinstance(reply, dict)
        self.assertIsNone(reply["id"])
        return reply["error"]["code"]

    def test_a_known_revision_is_agreed_on_and_an_unknown_one_answered_with_the_newest(self) -> None:
        for version in VERSIONS:
            self.server = Server(Tools(self.root, no_index))
            self.assertEqual(self.initialize(version), version)
        self.server = Server(Tools(self.root, no_index))
        self.assertEqual(self.initialize("1999-01-01"), VERSIONS[0])

    def test_before_initialize_only_ping_is_answered(self) -> None:
        self.assertEqual(self.ask("ping")["result"], {})
        self.assertEqual(self.ask("tools/list")["error"]["code"], -32600)
        self.assertEqual(self.ask("initialize", {})["error"]["code"], -32602)

    def test_initialize_happens_once(self) -> None:
        self.initialize()
        again = self.ask("initialize", {"protocolVersion": VERSIONS[0]})
        self.assertEqual(again["error"]["code"], -32600)

    def test_every_tool_listed_can_be_called_by_its_schema(self) -> None:
        self.initialize()
        for tool in self.ask("tools/list")["result"]["tools"]:
            reply = self.call(tool["name"], {})
            self.assertTrue(reply["result"]["isError"], reply)
            self.assertIn(tool["inputSchema"]["required"][0], reply["result"]["content"][0]["text"])

    def test_notifications_and_responses_get_no_reply(self) -> None:
        for message in ({"method": "notifications/initialized"}, {"id": 1, "result": {}}):
            self.assertIsNone(self.server.answer(json.dumps({"jsonrpc": "2.0", **message}).encode()))

    def test_what_is_no_request_has_the_code_that_json_rpc_gives_it(self) -> None:
        for line, code in (
            (b"{", -32700),
            (b"\xff", -32700),
            (b"[" * 100000, -32700),
            (b"1", -32600),
            (b"{}", -32600),
            (b"[]", -32600),
            (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
            (b'{"jsonrpc":"2.0","id":[],"method":"ping"}', -32600),
        ):
            with self.subTest(line=line[:50]):
                self.assertEqual(self.code(line), code)

    def test_errors_in_a_request_carry_its_id(self) -> None:
        self.initialize()
        self.assertEqual(self.ask("no/such")["error"]["code"], -32601)
        self.assertEqual(self.ask("ping", [1])["error"]["code"], -32602)
        self.assertEqual(self.call("no_such", {})["error"]["code"], -32602)
        self.assertEqual(self.call("search_regex", [])["error"]["code"], -32602)

    def test_a_batch_is_answered_in_the_one_revision_that_has_it(self) -> None:
        batch = b'[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"notifications/x"},5]'
        self.assertEqual(self.code(batch), -32600)
        self.initialize("2025-03-26")
        replies = self.server.answer(batch)
        assert isinstance(replies, list)
        self.assertEqual([reply["id"] for reply in replies], [1, None])
        self.assertIsNone(self.server.answer(b'[{"jsonrpc":"2.0","method":"notifications/x"}]'))

    def test_a_regex_search_answers_with_text_and_data(self) -> None:
        self.initialize()
        result = self.call("search_regex", {"pattern": "^b"})["result"]
        self.assertEqual(result["content"], [{"type": "text", "text": "a.py:2: beta"}])
        place = {"path": "a.py", "start_line": 2, "end_line": 2, "snippet": "beta"}
        self.assertEqual(result["structuredContent"], {"results": [place], "truncated": False})

    def test_wrong_arguments_are_an_answer_that_says_what_is_right(self) -> None:
        self.initialize()
        for name, arguments, text in (
            ("search_regex", {"pattern": 1}, "`pattern` must be a string"),
            ("search_regex", {"pattern": "x", "limit": 0}, "from 1 to 100"),
            ("search_regex", {"pattern": "x", "limit": True}, "from 1 to 100"),
            ("search_regex", {"pattern": "x", "ignore_case": 1}, "true or false"),
            ("search_regex", {"pattern": "x", "path": "/"}, "unknown argument `path`"),
            ("search_regex", {"pattern": "("}, "unclosed group"),
            ("search_semantic", {"query": " "}, "`query` is empty"),
        ):
            with self.subTest(arguments=arguments):
                result = self.call(name, arguments)["result"]
                self.assertTrue(result["isError"])
                self.assertIn(text, result["content"][0]["text"])

    def test_a_failure_inside_is_an_error_and_the_session_goes_on(self) -> None:
        self.initialize()
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.assertEqual(self.call("search_semantic", {"query": "x"})["error"]["code"], -32603)
        self.assertIn("tools/call failed", said.getvalue())
        self.assertEqual(self.ask("ping")["result"], {})

    def test_a_line_that_is_too_long_is_refused_and_the_next_one_answered(self) -> None:
        sink = io.BytesIO()
        ping = b'{"jsonrpc":"2.0","id":2,"method":"ping"}\n'
        self.server.serve(io.BytesIO(b'"' + b"x" * (2 * MAX_LINE) + b'"\n\n' + ping), sink)
        replies = [json.loads(line) for line in sink.getvalue().splitlines()]
        self.assertEqual([reply.get("error", {}).get("code") for reply in replies], [-32600, None])


class Process(unittest.TestCase):
    def run_ragex(self, *arguments: str, text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run_python("-m", "ragex", *arguments, text=text, **environment)

    def run_python(self, *arguments: str, text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        top = str(Path(__file__).resolve().parent.parent)
        env = {**os.environ, "PYTHONPATH": top, **environment}
        return subprocess.run(command, input=text, capture_output=True, text=True, env=env, timeout=300, check=False)

    def test_only_messages_are_written_to_standard_output(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            (Path(directory) / "tax.py").write_text("def vat(net):\n    return net * 0.2\n")
            lines = [
                {"id": 1, "method": "initialize", "params": {"protocolVersion": VERSIONS[0]}},
                {"method": "notifications/initialized"},
                {
                    "id": 2,
                    "method": "tools/call",
                    "params": {"name": "search_semantic", "arguments": {"query": "sales tax"}},
                },
            ]
            text = "".join(json.dumps({"jsonrpc": "2.0", **line}) + "\n" for line in lines)
            # A cache that cannot be written makes ragex complain, which must not reach standard output.
            done = self.run_ragex("serve", directory, text=text, RAGEX_CACHE="/dev/null/cache")
        self.assertEqual(done.returncode, 0, done.stderr)
        replies = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([reply["id"] for reply in replies], [1, 2])
        (result,) = replies[1]["result"]["structuredContent"]["results"]
        self.assertEqual((result["path"], result["start_line"], result["name"]), ("tax.py", 1, "vat"))
        self.assertIn("cannot keep the index", done.stderr)

    def test_what_a_library_prints_goes_to_standard_error(self) -> None:
        chatty = (
            "import os, sys, ragex.__main__ as main\n"
            "class Chatty(main.Server):\n"
            "    def answer(self, line):\n"
            "        os.write(1, b'hello from C\\n')\n"
            "        print('hello from Python', flush=True)\n"
            "        return super().answer(line)\n"
            "main.Server = Chatty\n"
            "sys.exit(main.main(['serve', '/']))\n"
        )
        done = self.run_python("-c", chatty, text='{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
        self.assertEqual(json.loads(done.stdout), {"jsonrpc": "2.0", "id": 1, "result": {}})
        self.assertEqual(done.stderr, "hello from C\nhello from Python\n")

    def test_exit_status_and_message_of_a_failure(self) -> None:
        done = self.run_ragex("serve", "/nonexistent")
        self.assertEqual((done.returncode, done.stderr), (1, "ragex: no directory /nonexistent\n"))
        done = self.run_ragex("index", ".", RAGEX_THREADS="many")
        self.assertEqual(done.returncode, 1)
        self.assertIn("RAGEX_THREADS is 'many'", done.stderr)
        self.assertEqual(self.run_ragex("frobnicate").returncode, 2)


if __name__ == "__main__":
    unittest.main()
