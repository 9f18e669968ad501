"""Where to connect: URLs, and what servers answer to the request for a signed one. All on loopback."""

from __future__ import annotations

import io
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from elevenlabs.url_utils import build_ws_url

from parleyd.agents.elevenlabs.address import conversation_address, place_of, post, signed_address
from parleyd.config.schema import ElevenLabs
from parleyd.core.endings import DialError, Ending, EndingKind
from several_addresses import addresses, silent

KEY = "sk_0123456789abcdef"
SIGNED = "wss://api.elevenlabs.io/v1/convai/conversation?agent_id=a&conversation_signature=cvtkn_secret"
RETRY, FINAL = EndingKind.RETRY, EndingKind.FINAL


class Server(ThreadingHTTPServer):
    """Answers every request with the same; remembers what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        self.status = 200
        self.body = json.dumps({"signed_url": SIGNED}).encode()
        self.headers: dict[str, str] = {}
        self.hold = threading.Event()
        self.slow = False
        self.drip = False
        self.asked: list[tuple[str, dict[str, str]]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        if server.slow:
            server.hold.wait(10)
            return
        self.send_response(server.status)
        for name, value in server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if server.drip:
            for _ in range(100):
                if server.hold.wait(0.05):
                    return
                self.wfile.write(b" ")
                self.wfile.flush()
            return
        self.wfile.write(server.body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.hold.set()
            server.shutdown()
            thread.join(60)
        assert not thread.is_alive()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def refusal(base_url: str, key: str = KEY, timeout_s: float = 5.0) -> Ending:
    with pytest.raises(DialError) as caught:
        signed_address(base_url, "agent_1", key, timeout_s)
    ending = caught.value.ending
    assert KEY not in repr(ending)
    assert KEY not in str(caught.value)
    # The chain of a traceback is shown with --debug.
    assert caught.value.__cause__ is None
    return ending


# ---------------------------------------------------------------- public agents


@pytest.mark.parametrize(
    ("base_url", "agent_id", "url"),
    [
        ("https://api.elevenlabs.io", "agent_1", "wss://api.elevenlabs.io/v1/convai/conversation?agent_id=agent_1"),
        ("https://api.elevenlabs.io/", "agent_1", "wss://api.elevenlabs.io/v1/convai/conversation?agent_id=agent_1"),
        ("http://127.0.0.1:8765", "a", "ws://127.0.0.1:8765/v1/convai/conversation?agent_id=a"),
        ("http://[::1]:8765", "a", "ws://[::1]:8765/v1/convai/conversation?agent_id=a"),
        ("https://example.com/voice/x/", "a", "wss://example.com/voice/x/v1/convai/conversation?agent_id=a"),
        ("https://example.com/a%20b", "a", "wss://example.com/a%20b/v1/convai/conversation?agent_id=a"),
        ("https://example.com/ä", "a", "wss://example.com/%C3%A4/v1/convai/conversation?agent_id=a"),
        (
            "HTTPS://example.com",
            "a b&c=d/ü",
            "wss://example.com/v1/convai/conversation?agent_id=a%20b%26c%3Dd%2F%C3%BC",
        ),
    ],
)
def test_the_address_of_a_public_agent(base_url: str, agent_id: str, url: str) -> None:
    address = conversation_address(base_url, agent_id)
    assert address.url == url
    assert address.headers == ()
    assert url not in repr(address)


def test_the_version_of_the_agent_is_asked_for_in_both_addresses(server: Server) -> None:
    config = ElevenLabs(agent_id="a", branch_id="agtbrch_1", environment="staging")
    address = conversation_address("https://h", "a", place_of(config))
    assert parse_qs(urlsplit(address.url).query) == {
        "agent_id": ["a"],
        "branch_id": ["agtbrch_1"],
        "environment": ["staging"],
    }
    signed_address(server.url, "a", KEY, 5.0, place_of(config))
    assert urlsplit(server.asked[0][0]).query == urlsplit(address.url).query
    assert urlsplit(conversation_address("https://h", "a", place_of(ElevenLabs())).url).query == "agent_id=a"


@pytest.mark.parametrize("base_url", ["https://api.elevenlabs.io", "http://127.0.0.1:1/x/", "https://h:444"])
def test_the_official_sdk_dials_the_same_address(base_url: str) -> None:
    theirs = build_ws_url(base_url, ["v1", "convai", "conversation"], [("agent_id", "a /&?")])
    assert conversation_address(base_url, "a /&?").url == theirs


@pytest.mark.parametrize(
    "base_url",
    ["ftp://example.com", "https://", "example.com", "http://h:99999", "http://[::1", "https://u:pw@h", "http://a b"],
)
def test_a_base_url_that_is_none(base_url: str) -> None:
    dials: list[Callable[[], object]] = [
        lambda: conversation_address(base_url, "a"),
        lambda: signed_address(base_url, "a", KEY, 1.0),
    ]
    for dial in dials:
        with pytest.raises(DialError) as caught:
            dial()
        assert caught.value.ending.kind is FINAL
        assert "base_url" in caught.value.ending.reason
        assert caught.value.ending.hint
        assert "pw" not in repr(caught.value.ending)


# ---------------------------------------------------------------- signed URLs


def test_a_signed_url_is_asked_for_with_the_key_and_taken_as_it_is(server: Server) -> None:
    address = signed_address(server.url + "/prefix", "agent 1&x", KEY, 5.0)
    assert address.url == SIGNED
    assert address.headers == ()
    assert "secret" not in repr(address)
    [(path, headers)] = server.asked
    assert urlsplit(path).path == "/prefix/v1/convai/conversation/get-signed-url"
    assert parse_qs(urlsplit(path).query) == {"agent_id": ["agent 1&x"]}
    assert headers["xi-api-key"] == KEY
    assert "urllib" not in headers["user-agent"].lower()


@pytest.mark.parametrize("signed", ["ws://127.0.0.1:9/x?conversation_signature=a%2Fb", "wss://other.example/y"])
def test_an_unencrypted_server_may_sign_for_any_websocket(server: Server, signed: str) -> None:
    server.body = json.dumps({"signed_url": signed, "more": 1}).encode()
    assert signed_address(server.url, "a", KEY, 5.0).url == signed


@pytest.mark.parametrize(
    ("status", "detail", "kind", "words"),
    [
        (401, {"status": "invalid_api_key", "message": "Invalid API key"}, FINAL, "not accepted"),
        (401, {"status": "missing_permissions", "message": "no convai_read"}, FINAL, "may not"),
        (403, "Forbidden", FINAL, "forbids"),
        (404, {"status": "document_not_found", "message": "gone"}, FINAL, "no such agent"),
        (422, [{"msg": "bad agent id"}], FINAL, "bad agent id"),
        (429, {"status": "too_many_concurrent_requests", "message": "m"}, RETRY, "too many"),
        (500, "oops", RETRY, "trouble"),
        (503, "oops", RETRY, "trouble"),
    ],
)
def test_a_server_that_refuses(server: Server, status: int, detail: object, kind: EndingKind, words: str) -> None:
    server.status = status
    server.body = json.dumps({"detail": detail}).encode()
    ending = refusal(server.url)
    assert (ending.kind, ending.code) == (kind, status)
    assert words in ending.reason


def test_a_key_that_the_server_repeats_is_not_shown(server: Server) -> None:
    server.status = 401
    server.body = json.dumps({"detail": f"the key {KEY} is wrong"}).encode()
    assert "the key *** is wrong" in refusal(server.url).reason


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>welcome</html>",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"[" * 50_000,
        b'{"signed_url": 5}',
        b'{"signed_url": ""}',
        b'{"signed_url": "https://example.com"}',
        b'{"signed_url": "wss://"}',
        b'{"signed_url": "wss://h:99999/"}',
        b'{"signed_url": "wss://h/\\r\\nX-Evil: 1"}',
        b'{"signed_url": "wss://h/ x"}',
        json.dumps({"signed_url": "wss://h/" + "x" * 10_000}).encode(),
        b" " * 300_000 + b'{"signed_url": "wss://h/"}',
    ],
)
def test_a_server_that_answers_something_else(server: Server, body: bytes) -> None:
    server.body = body
    ending = refusal(server.url)
    assert ending.kind is RETRY
    assert "answered something that is not a signed URL" in ending.reason
    assert "base_url" in (ending.hint or "")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_key_is_not_carried_along_a_redirect(server: Server, status: int) -> None:
    with serving() as elsewhere:
        server.status = status
        server.headers = {"Location": elsewhere.url + "/v1/convai/conversation/get-signed-url"}
        ending = refusal(server.url)
    assert ending.kind is FINAL
    assert "another address" in ending.reason
    assert elsewhere.asked == []


def test_the_key_does_not_go_through_a_proxy(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "")
        assert signed_address(server.url, "a", KEY, 5.0).url == SIGNED
        assert proxy.asked == []


def test_a_server_that_is_silent(server: Server) -> None:
    server.slow = True
    ending = refusal(server.url, timeout_s=0.3)
    assert ending.kind is RETRY
    assert "did not answer within 0.3 s" in ending.reason


def test_a_server_that_never_finishes(server: Server) -> None:
    server.drip = True
    ending = refusal(server.url, timeout_s=0.3)
    assert ending.kind is RETRY
    assert "did not answer within 0.3 s" in ending.reason


def test_an_address_that_does_not_answer_keeps_nobody_from_the_next(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with silent() as one, silent() as other:
        addresses(monkeypatch, one, other, server.server_port)
        assert signed_address("http://localhost:1", "a", KEY, 60.0).url == SIGNED


def test_nor_does_one_of_the_proxys(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "")
    with silent() as one, silent() as other:
        addresses(monkeypatch, one, other, server.server_port)
        reason = refusal("https://host.example", timeout_s=60.0).reason
    assert reason == (
        "the proxy proxy.example:3128 (https_proxy) did not connect us with host.example:443: "
        "HTTP 501 Unsupported method ('CONNECT')"
    )


def test_a_body_that_takes_longer_than_its_answer_may(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    real, later_s = time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: real() + later_s[0])

    class Slow(io.BytesIO):
        def read(self, most_bytes: int | None = -1, /) -> bytes:
            later_s[0] += 60.0
            return super().read(most_bytes)

    assert post(server.url, "/files", Slow(b"x" * 1000), 1000, "text/plain", None, 20.0) == (200, server.body.decode())


def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening
        ending = refusal(f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert ending.kind is RETRY
    assert "nothing listens at 127.0.0.1:" in ending.reason


@pytest.mark.parametrize(
    ("reply", "words"),
    [(b"SSH-2.0-x\r\n\r\n", "not HTTP"), (b"", "hung up"), (b"HTTP/1.1 abc\r\n\r\n", "not HTTP")],
)
def test_a_server_that_speaks_something_else(reply: bytes, words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)

        def answer() -> None:
            line, _ = listener.accept()
            with line:
                line.recv(4096)
                line.sendall(reply)

        thread = threading.Thread(target=answer)
        thread.start()
        ending = refusal(f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread.join(60)
    assert ending.kind is RETRY
    assert words in ending.reason


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """For 127.0.0.1, signed by nobody; key and certificate in one file."""
    both = tmp_path / "server.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1"
    made = subprocess.run([*command.split(), "-keyout", "-"], capture_output=True, check=True, timeout=60)
    both.write_bytes(made.stdout)
    return both


@pytest.fixture
def tls_server(server: Server, certificate: Path) -> Server:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


def test_a_certificate_that_nobody_signed(tls_server: Server) -> None:
    ending = refusal(tls_server.url.replace("http://", "https://"))
    assert ending.kind is RETRY
    assert "certificate of 127.0.0.1:" in ending.reason
    assert "from nobody whom this machine trusts" in ending.reason
    assert "ca-certificates" in (ending.hint or "")
    assert "clock" not in (ending.hint or "")
    assert tls_server.asked == []


def test_over_tls_the_signed_url_is_for_tls_too(
    tls_server: Server, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("no_proxy", "*")
    url = tls_server.url.replace("http://", "https://")
    assert signed_address(url, "a", KEY, 5.0).url == SIGNED
    tls_server.body = b'{"signed_url": "ws://127.0.0.1/"}'
    ending = refusal(url)
    assert ending.kind is FINAL
    assert "unencrypted" in ending.reason


def test_https_to_a_server_without_tls(server: Server) -> None:
    ending = refusal(server.url.replace("http://", "https://"))
    assert ending.kind is RETRY
    assert "no encrypted connection" in ending.reason


@pytest.mark.parametrize("host", ["example.com", "192.168.1.5", "127.0.0.1.example.com", "localhost.example.com"])
def test_the_key_never_crosses_the_network_in_clear(host: str) -> None:
    ending = refusal(f"http://{host}:1")
    assert ending.kind is FINAL
    assert "unencrypted" in ending.reason
    assert "https" in (ending.hint or "")


@pytest.mark.parametrize("key", ["", "a b", "a\nb", "schlüssel", "a\r\nX-Evil: 1", "\x00"])
def test_a_key_that_is_none(key: str) -> None:
    ending = refusal("http://127.0.0.1:1", key=key)
    assert ending.kind is FINAL
    assert "elevenlabs.api_key" in (ending.hint or "")
    assert not key or key not in ending.reason
