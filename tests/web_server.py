"""A small HTTP server whose answers a test sets, in the place of an agent's server or of somebody between."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import NamedTuple


class Answer(NamedTuple):
    status: int
    body: str = ""
    headers: Mapping[str, str] = MappingProxyType({})


class WebServer:
    """asked: the requests so far, each with its path and its headers in lower case."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self._server = server
        self.asked: list[tuple[str, dict[str, str]]] = []

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def wrap(self, tls: ssl.SSLContext) -> None:
        """From now on it speaks TLS."""
        self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def web_server(answer: Callable[[str], Answer], port: int = 0) -> Iterator[WebServer]:
    """answer: to a GET or POST of this path, with its query; one that waits is silence."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            web.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            status, body, headers = answer(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """The test's output is not for this."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    web = WebServer(server)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
