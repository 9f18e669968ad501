"""Requests, against a real server on loopback."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from parleyd.host.stopping import Stop
from parleyd.tools.http import MAX_BODY_BYTES, Http
from parleyd.tools.result import Fault, ToolError, failed
from several_addresses import addresses, silent

WAIT_S = 60.0


class Server:
    """Answers as `answer` says, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answer: Callable[[BaseHTTPRequestHandler], None] = lambda handler: reply(handler, 200, b"fine")
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                server.asked.append((self.command, self.path, dict(self.headers), body))
                server.answer(self)

            do_POST = do_PUT = do_DELETE = do_PATCH = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}"

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join(WAIT_S)


def reply(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def tool(url: str, method: str = "GET", **more: Any) -> Http:
    settings: dict[str, Any] = {"headers": {}, "secrets": {}, "body": None, "allowed_status": [200], "timeout_s": 5.0}
    return Http(method, url, **(settings | more))


def ask(tool: Http, **parameters: object) -> str:
    return tool.run(parameters, Stop())


def test_values_are_escaped_and_secrets_are_in_the_header_only(server: Server) -> None:
    server.answer = lambda handler: reply(handler, 200, "Régen, t0ps3cret".encode(), Content_Type="text/plain")
    weather = tool(
        server.url + "/v1/{place}?q={q}",
        headers={"Authorization": "Bearer {secret:token}"},
        secrets={"token": "t0ps3cret"},
    )
    assert ask(weather, place="a b: ü", q="1&admin=true\r\nX: y/../") == "Régen, ********"
    ((method, path, headers, body),) = server.asked
    assert (method, path, body) == ("GET", "/v1/a%20b%3A%20%C3%BC?q=1%26admin%3Dtrue%0D%0AX%3A%20y%2F..%2F", b"")
    assert headers["Authorization"] == "Bearer t0ps3cret"
    assert "X" not in headers


def test_a_value_that_a_server_would_decode_to_another_path_is_not_sent(server: Server) -> None:
    weather = tool(server.url + "/v1/weather/{town}", headers={"Authorization": "Bearer t0ps3cret"})
    with pytest.raises(ToolError, match="town cannot stand in the path"):
        ask(weather, town="../../admin/users")
    assert server.asked == []


def test_bodies(server: Server) -> None:
    ask(tool(server.url, "POST"), a=1, b=["ü"])
    ask(tool(server.url, "PUT", body={"wanted": "{a}", "note": "for {b}"}), a=1, b="you")
    ask(tool(server.url, "DELETE"), a=1)
    assert [(method, json.loads(body or "null")) for method, _, _, body in server.asked] == [
        ("POST", {"a": 1, "b": ["ü"]}), ("PUT", {"wanted": 1, "note": "for you"}), ("DELETE", None),
    ]  # fmt: skip
    assert server.asked[0][2]["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("status", "fault"),
    [(404, Fault.SERVER), (500, Fault.SERVER), (401, Fault.NOT_AUTHORISED), (403, Fault.NOT_AUTHORISED),
     (204, Fault.SERVER)],
)  # fmt: skip
def test_only_the_allowed_status_is_good(server: Server, status: int, fault: Fault) -> None:
    body = b"" if status == 204 else b"no\n  t0ps3cret" + b"x" * 9000
    server.answer = lambda handler: reply(handler, status, body)
    with pytest.raises(ToolError, match=f"answered with status {status}") as caught:
        ask(tool(server.url, secrets={"t": "t0ps3cret"}))
    assert caught.value.fault is fault
    assert failed(caught.value).fault is fault
    assert "t0ps3cret" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_redirects_stay_with_their_host(server: Server) -> None:
    def redirect(handler: BaseHTTPRequestHandler) -> None:
        if handler.path == "/a":
            reply(handler, 302, Location="/b?x=1")
        else:
            reply(handler, 200, b"here")

    server.answer = redirect
    assert ask(tool(server.url + "/a")) == "here"
    server.answer = lambda handler: (
        reply(handler, 302, Location="/München und mehr".encode().decode("latin-1"))
        if handler.path == "/%C3%A4"
        else reply(handler, 200, handler.path.encode())
    )
    assert ask(tool(server.url + "/ä")) == "/M%C3%BCnchen%20und%20mehr"
    other = Server()
    try:
        for target in (other.url, f"http://localhost:{server.http.server_port}/", "https://127.0.0.1/", "//evil.test/"):
            server.answer = lambda handler, target=target: reply(handler, 302, Location=target)  # type: ignore[misc]
            with pytest.raises(ToolError, match="another host"):
                ask(tool(server.url, headers={"K": "{secret:k}"}, secrets={"k": "t0ps3cret"}))
        assert other.asked == []
    finally:
        other.close()
    server.answer = lambda handler: reply(handler, 302, Location="/again")
    with pytest.raises(ToolError, match="without end"):
        ask(tool(server.url))
    with pytest.raises(ToolError, match="status 302"):
        ask(tool(server.url, "POST"))


def test_a_body_without_end_is_cut(server: Server) -> None:
    server.answer = lambda handler: reply(handler, 200, b"x" * 3_000_000)
    assert len(ask(tool(server.url))) == MAX_BODY_BYTES


@pytest.mark.parametrize(
    ("body", "headers", "text"),
    [
        (
            gzip.compress(b"0" * 10**7),
            {"Content_Encoding": "gzip"},
            "The answer is compressed (gzip) and cannot be read.",
        ),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", {"Content_Type": "image/png"}, "The answer is not text (image/png)."),
        ("ä".encode("utf-16"), {"Content_Type": "text/plain; charset=utf-16"}, "ä"),
        (b"", {"Content_Encoding": "gzip"}, ""),
    ],
)
def test_what_is_no_text_is_told_to_be_none(server: Server, body: bytes, headers: dict[str, str], text: str) -> None:
    server.answer = lambda handler: reply(handler, 200, body, **headers)
    assert ask(tool(server.url)) == text


def test_a_server_that_drips_is_cut_off(server: Server) -> None:
    dripping = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        while True:
            try:
                handler.wfile.write(b"x")
            except OSError:
                return
            dripping.set()
            time.sleep(0.02)  # A server that is slow for ever.

    server.answer = drip
    stop, outcome = Stop(), []

    def run() -> None:
        try:
            tool(server.url).run({}, stop)
        except ToolError as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert dripping.wait(WAIT_S)
    stop.set()
    thread.join(WAIT_S)
    assert not thread.is_alive()
    assert outcome[0].fault is Fault.SERVER


@pytest.mark.parametrize("junk", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"])
def test_what_is_no_http(junk: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(junk)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(ToolError) as caught:
            ask(tool(f"http://127.0.0.1:{listener.getsockname()[1]}/"))
        thread.join(WAIT_S)
    assert caught.value.fault is Fault.SERVER


def test_an_address_that_does_not_answer_keeps_nobody_from_the_next(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with silent() as one, silent() as other:
        addresses(monkeypatch, one, other, server.http.server_port)
        assert ask(tool("http://host.example/", timeout_s=60.0)) == "fine"


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ToolError, match=f"Nothing listens at 127.0.0.1:{port}"):
        ask(tool(f"http://127.0.0.1:{port}/"))
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ToolError, match="did not answer in time"):
        ask(tool(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout_s=0.1))


# ---------------------------------------------------------------- TLS


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """One that this process believes."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return authority


def over_tls(server: Server, certificate: trustme.LeafCert) -> str:
    """→ its URL from now on."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    # Who hangs up in the handshake is what is tested.
    server.http.handle_error = lambda *_: None  # type: ignore[method-assign]
    server.http.socket = context.wrap_socket(server.http.socket, server_side=True, do_handshake_on_connect=False)
    return server.url.replace("http:", "https:")


def test_over_tls(server: Server, authority: trustme.CA) -> None:
    assert ask(tool(over_tls(server, authority.issue_cert("127.0.0.1")))) == "fine"


def test_an_authority_that_was_taken_away_counts_no_more(server: Server, authority: trustme.CA, tmp_path: Path) -> None:
    """For the same tool, without a new start."""
    asked = tool(over_tls(server, authority.issue_cert("127.0.0.1")))
    assert ask(asked) == "fine"
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    with pytest.raises(ToolError, match="nobody whom this machine trusts"):
        ask(asked)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("elsewhere.example", r"The certificate is not for 127.0.0.1:\d+: [^.].*[^.]\.$"),
        (None, r"The certificate of 127.0.0.1:\d+ is from nobody whom this machine trusts: [^.].*[^.]\.$"),
    ],
)
def test_a_certificate_that_is_not_good(server: Server, authority: trustme.CA, name: str | None, said: str) -> None:
    stranger = trustme.CA().issue_cert("127.0.0.1") if name is None else authority.issue_cert(name)
    url = over_tls(server, stranger)
    with pytest.raises(ToolError, match=said) as caught:
        ask(tool(url, headers={"K": "{secret:k}"}, secrets={"k": "t0ps3cret"}))
    assert caught.value.fault is Fault.SERVER
    assert server.asked == []


def test_no_tls_where_it_is_wanted(server: Server) -> None:
    with pytest.raises(ToolError, match=r"No encrypted connection to 127.0.0.1:\d+: [a-z ]+\.$"):
        ask(tool(server.url.replace("http:", "https:")))


def test_a_handshake_that_hangs_is_cut_off() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop, outcome = Stop(), []

        def run() -> None:
            try:
                tool(f"https://127.0.0.1:{listener.getsockname()[1]}/", timeout_s=60).run({}, stop)
            except ToolError as error:
                outcome.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        connection, _ = listener.accept()
        with connection:
            connection.recv(1)
            stop.set()
            thread.join(WAIT_S)
        assert not thread.is_alive()
    assert outcome[0].fault is Fault.SERVER


@pytest.mark.parametrize(
    ("path", "picked"),
    [
        ("response.speech.plain.speech", "It is 21 °C."),
        ("rooms.1.name", "pantry"),
        ("rooms.0", '{"name":"hall"}'),
        ("is_on", "true"),
        (None, None),
    ],
)
def test_one_field_of_the_answer_is_the_result(server: Server, path: str | None, picked: str | None) -> None:
    content = {
        "response": {"speech": {"plain": {"speech": "It is 21 °C."}}},
        "rooms": [{"name": "hall"}, {"name": "pantry"}],
        "is_on": True,
    }
    whole = json.dumps(content, ensure_ascii=False)
    server.answer = lambda handler: reply(handler, 200, whole.encode(), Content_Type="application/json")
    assert ask(tool(server.url, result=path)) == (whole if picked is None else picked)


@pytest.mark.parametrize(
    ("content", "path", "said"),
    [
        (b'{"a": {"b": 1}}', "a.c", "answered, but its answer has no a.c."),
        (b'{"a": [1]}', "a.1", "answered, but its answer has no a.1."),
        (b'{"a": [1]}', "a.x", "answered, but its answer has no a.x."),
        (b"<html>", "a", "answered, but its answer is not JSON."),
        (b"[" * 100_000, "a", "answered, but its answer is not JSON."),
    ],
)
def test_an_answer_without_the_field_is_an_error(server: Server, content: bytes, path: str, said: str) -> None:
    server.answer = lambda handler: reply(handler, 200, content)
    with pytest.raises(ToolError) as caught:
        ask(tool(server.url, result=path))
    assert caught.value.fault is Fault.SERVER
    assert str(caught.value).endswith(said)


def test_what_is_remembered_goes_into_the_next_request_for_a_while(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = iter(
        [
            {"conversation_id": "01J", "n": 1, "text": "Which room?"},
            {"conversation_id": None, "n": "x" * 2000, "text": "Done."},
            {"conversation_id": "01K", "text": "Hello."},
            {"text": "Later."},
        ]
    )
    server.answer = lambda handler: reply(handler, 200, json.dumps(next(contents)).encode())
    house = tool(
        server.url,
        "POST",
        body={"text": "{text}", "conversation_id": "{conversation_id}", "n": "{n}"},
        result="text",
        remember={"conversation_id": "conversation_id", "n": "n"},
        remember_s=300.0,
    )
    assert ask(house, text="turn on the light") == "Which room?"
    assert ask(house, text="the hall") == "Done."
    assert ask(house, text="hello") == "Hello."
    later_s = time.monotonic() + 301
    monkeypatch.setattr("parleyd.tools.http.time.monotonic", lambda: later_s)
    assert ask(house, text="and now") == "Later."
    assert [json.loads(body) for *_, body in server.asked] == [
        {"text": "turn on the light"},
        {"text": "the hall", "conversation_id": "01J", "n": 1},
        {"text": "hello"},
        {"text": "and now"},
    ]


def test_a_refusal_forgets_nothing(server: Server) -> None:
    server.answer = lambda handler: reply(handler, 200, b'{"id": "a"}')
    house = tool(server.url, "POST", body={"id": "{id}"}, remember={"id": "id"}, remember_s=300.0)
    assert ask(house) == '{"id": "a"}'
    server.answer = lambda handler: reply(handler, 500, b"no")
    with pytest.raises(ToolError):
        ask(house)
    server.answer = lambda handler: reply(handler, 200, b"not JSON")
    assert ask(house) == "not JSON"
    assert [json.loads(body) for *_, body in server.asked] == [{}, {"id": "a"}, {"id": "a"}]
