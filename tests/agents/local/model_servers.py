"""Servers for the parts of a mind: llmock, which we did not write; streams of models that are written by hand; and a
Wyoming server."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Model = Callable[..., str]


@contextmanager
def models() -> Iterator[Model]:
    """Starts llmock with options, in its own process; returns its base URL."""
    with ExitStack() as stack:

        def start(*options: str) -> str:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            command = [str(Path(sys.executable).with_name("llmock")), "serve", "--host", "127.0.0.1", "-p", str(port)]
            process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
            until_s = time.monotonic() + 60
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        return f"http://127.0.0.1:{port}/v1"
                assert process.poll() is None, "llmock has ended"
                assert time.monotonic() < until_s
                # llmock tells nobody when it listens.
                time.sleep(0.05)

        yield start


class Odd:
    """A server of chat completions with streams that are written by hand: a stand-in for the oddities of servers.

    An answer is a list of chunks; an Event in it holds the rest back until it is set, text is sent as it is, and a
    number as the only chunk is the status of a refusal; 429 comes with a Retry-After of half a minute. left: set when a
    client has gone away before the end of its stream.
    """

    def __init__(self, *answers: list[Any]) -> None:
        self.asked: list[dict[str, Any]] = []
        self.asked_event = threading.Event()
        self.left = threading.Event()
        self._answers = list(answers)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append(body)
                outer.asked_event.set()
                chunks = outer._answers.pop(0) if outer._answers else [words("Yes."), {"finish": "stop"}]
                if chunks and isinstance(chunks[0], int):
                    self.send_response(chunks[0])
                    if chunks[0] == 429:
                        self.send_header("Retry-After", "30")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                try:
                    self.send_response(200)
                    self.send_header("Content-Type", "text/event-stream")
                    self.end_headers()
                    for chunk in chunks:
                        self.write(chunk)
                    self.wfile.write(b"data: [DONE]\n\n")
                except OSError:
                    outer.left.set()

            def write(self, chunk: Any) -> None:
                if isinstance(chunk, threading.Event):
                    while not chunk.wait(0.02):
                        # A comment, which tells whether somebody still reads.
                        self.wfile.write(b": wait\n\n")
                    return
                if isinstance(chunk, str):
                    self.wfile.write(chunk.encode())
                    return
                if "finish" in chunk:
                    chunk = {"choices": [{"index": 0, "delta": {}, "finish_reason": chunk["finish"]}]}
                self.wfile.write(f"data: {json.dumps({'id': 'x', 'model': 'm', **chunk})}\n\n".encode())

            def do_GET(self) -> None:
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Odd:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def words(text: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}


def call(id_: str, name: str, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    tool = {"index": 0, "id": id_, "type": "function", "function": function}
    return {"choices": [{"index": 0, "delta": {"tool_calls": [tool]}, "finish_reason": None}]}


@contextmanager
def wyoming(words: str, *more: str) -> Iterator[str]:
    """See wyoming_parts.py; its address."""
    program = [sys.executable, str(Path(__file__).with_name("wyoming_parts.py")), words, *more]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"tcp://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()
