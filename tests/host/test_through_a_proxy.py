"""Every kind of connection through a real proxy: the tests' own, and tinyproxy, which others have written."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from own_proxy import proxy
from parleyd.agents.elevenlabs.address import post, signed_address, speech_address
from parleyd.agents.elevenlabs.agent import ElevenLabsAgent
from parleyd.agents.elevenlabs.endings import judge_http
from parleyd.agents.openai.agent import OpenAIAgent
from parleyd.agents.provider import Address, Agent
from parleyd.config.openai_section import OpenAI
from parleyd.config.schema import Config, ElevenLabs
from parleyd.conversation.session.connecting import connect
from parleyd.conversation.session.probing import answers
from parleyd.core.endings import DialError, EndingKind
from parleyd.core.findings import Severity
from parleyd.doctor import network
from parleyd.doctor.examination import Examination
from parleyd.host.stopping import Stop
from parleyd.tools.http import Http
from parleyd.tools.result import ToolError

HOST = "agent.example"
KEY = "sk_0123456789abcdef"
WAIT_S = 60.0


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        for spelled in (name, name.upper()):
            monkeypatch.delenv(spelled, raising=False)


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return authority


@pytest.fixture
def agent(authority: trustme.CA) -> Iterator[int]:
    """The port of a TLS server for HOST: signed URLs, speech and WebSockets."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)

    def answer(connection: ServerConnection, request: Request) -> Response | None:
        if "get-signed-url" in request.path:
            assert request.headers["xi-api-key"] == KEY
            return connection.respond(200, json.dumps({"signed_url": f"wss://{HOST}/v1/convai/conversation?s=x"}))
        return None

    def echo(connection: ServerConnection) -> None:
        connection.send(connection.request.path if connection.request else "")

    with serve(echo, "127.0.0.1", 0, ssl=context, process_request=answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.socket.getsockname()[1]
        server.shutdown()
        thread.join(WAIT_S)


@pytest.fixture
def plain() -> Iterator[int]:
    """The port of a web server without TLS, which repeats what it was sent."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(200)
            self.end_headers()
            secret = self.headers.get("Proxy-Authorization", "")
            self.wfile.write(f"{self.path} {self.headers['Host']} {secret}".encode() + body)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join(WAIT_S)


def websocket_says(address: Address) -> str:
    connection = connect(address, WAIT_S, judge_http, key="elevenlabs.base_url")
    try:
        return str(connection.recv())
    finally:
        connection.shutdown()


@pytest.mark.parametrize(
    "agent",
    [
        ElevenLabsAgent(ElevenLabs(agent_id="a", base_url=f"http://{HOST}"), None),
        OpenAIAgent(OpenAI(base_url=f"http://{HOST}/v1", model=None), None),
    ],
    ids=["elevenlabs", "openai"],
)
def test_an_agent_without_tls_is_there_behind_a_proxy_that_passes_no_handshake_on(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(lambda _: None, "127.0.0.1", 0, process_request=only_websockets) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with proxy("open", server.socket.getsockname()[1]) as running:
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{running.port}")
            assert answers(agent, WAIT_S)
        server.shutdown()
        thread.join(WAIT_S)


def only_websockets(connection: ServerConnection, request: Request) -> Response | None:
    return None if "Upgrade" in request.headers else connection.respond(404, "Not Found")


def ask_tool(url: str) -> str:
    tool = Http("GET", url, headers={}, secrets={}, body=None, allowed_status=[200], timeout_s=WAIT_S)
    return tool.run({}, Stop())


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize(
    "value", ["http://127.0.0.1:{}", "127.0.0.1:{}", "localhost:{}", "http://me:p%40ss@127.0.0.1:{}"]
)
def test_the_signed_url_and_the_websocket_take_the_same_way(
    agent: int, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxy("basic:me:p@ss" if "@" in value else "open", agent) as way:
        monkeypatch.setenv(variable, value.format(way.port))
        address = signed_address(f"https://{HOST}", "a", KEY, WAIT_S)
        assert websocket_says(address) == "/v1/convai/conversation?s=x"
        speech = speech_address(f"https://{HOST}:8443", "v", "m", "pcm_16000", KEY)
        assert websocket_says(speech).startswith("/v1/text-to-speech/v/stream-input")
    assert way.asked() == [f"CONNECT {HOST}:443 HTTP/1.1"] * 2 + [f"CONNECT {HOST}:8443 HTTP/1.1"]


def test_what_is_not_encrypted_is_asked_of_the_proxy_itself(plain: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy("basic:me:pass", plain) as way:
        monkeypatch.setenv("http_proxy", f"http://me:pass@127.0.0.1:{way.port}")
        # The proxy's password is for the proxy alone.
        assert ask_tool(f"http://{HOST}/a?b=c") == f"/a?b=c {HOST} "
        sent = io.BytesIO(b"file")
        assert post(f"http://{HOST}", "/files", sent, 4, "text/plain", None, WAIT_S) == (200, f"/files {HOST} file")
    assert way.asked() == [f"GET http://{HOST}/a?b=c HTTP/1.1", f"POST http://{HOST}/files HTTP/1.1"]


def test_what_only_a_proxy_answers_is_not_taken_for_the_hosts_answer(
    plain: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxy("basic:me:pass", plain) as way:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{way.port}")
        with pytest.raises(ToolError, match=r"^The proxy 127.0.0.1:\d+ \(http_proxy\) wants a user and a password"):
            ask_tool(f"http://{HOST}/a")
        with pytest.raises(DialError, match="wants a user and a password"):
            post(f"http://{HOST}", "/files", io.BytesIO(b"file"), 4, "text/plain", None, WAIT_S)
        # A WebSocket goes through a tunnel, also without TLS.
        monkeypatch.setenv("http_proxy", f"http://me:pass@127.0.0.1:{way.port}")
        with pytest.raises(DialError, match="HTTP 200"):
            connect(Address(f"ws://{HOST}/socket"), WAIT_S, judge_http, key="elevenlabs.base_url")
    assert way.asked()[-1] == f"CONNECT {HOST}:80 HTTP/1.1"


def test_tools_over_tls_go_through_it_too(agent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy("open", agent) as way:
        monkeypatch.setenv("https_proxy", f"127.0.0.1:{way.port}")
        with pytest.raises(ToolError, match="answered with status 426"):
            ask_tool(f"https://{HOST}/")
    assert way.asked() == [f"CONNECT {HOST}:443 HTTP/1.1"]


def test_loopback_does_not_go_through_it(plain: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy("open", plain) as way:
        for name in ("http_proxy", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{way.port}")
        assert ask_tool(f"http://127.0.0.1:{plain}/x").startswith("/x ")
        with serve(lambda line: line.send("hello"), "127.0.0.1", 0) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            port = server.socket.getsockname()[1]
            assert websocket_says(Address(f"ws://127.0.0.1:{port}/")) == "hello"
            assert websocket_says(Address(f"ws://localhost:{port}/")) == "hello"
            server.shutdown()
            thread.join(WAIT_S)
    assert way.asked() == []


REFUSALS = [
    ("407", "", "wants a user and a password (HTTP 407)", EndingKind.FINAL, "http://USER:PASSWORD@HOST:PORT"),
    ("basic:me:other", "me:hunter2@", "does not accept the user and the password (HTTP 407)", EndingKind.FINAL, "%40"),
    ("403", "", f"forbids the way to {HOST}:443 (HTTP 403)", EndingKind.FINAL, "no_proxy"),
    ("502", "", f"did not connect us with {HOST}:443: HTTP 502 No", EndingKind.RETRY, "https_proxy"),
    ("garbage", "", "answered something that is not HTTP", EndingKind.RETRY, "https_proxy"),
    ("silent", "", "does not answer", EndingKind.RETRY, "https_proxy"),
    ("drip", "", "does not answer", EndingKind.RETRY, "https_proxy"),
]


@pytest.mark.parametrize(("mode", "user", "said", "kind", "hint"), REFUSALS)
def test_a_proxy_that_does_not_serve_is_told_as_such(
    mode: str, user: str, said: str, kind: EndingKind, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeout_s = 0.7 if mode in ("silent", "drip") else WAIT_S
    with proxy(mode) as way:
        monkeypatch.setenv("https_proxy", f"http://{user}127.0.0.1:{way.port}")
        asked: list[Callable[[], object]] = [
            lambda: signed_address(f"https://{HOST}", "a", KEY, timeout_s),
            lambda: connect(Address(f"wss://{HOST}/"), timeout_s, judge_http, key="elevenlabs.base_url"),
        ]
        for ask in asked:
            with pytest.raises(DialError) as caught:
                ask()
            ending = caught.value.ending
            assert ending.reason == f"the proxy 127.0.0.1:{way.port} (https_proxy) {said}"
            assert ending.kind is kind
            assert hint in (ending.hint or "")
            assert "hunter2" not in ending.reason + (ending.hint or "")


def test_a_proxy_that_is_not_there_and_one_that_is_not_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy("open") as way:
        port = way.port
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
    with pytest.raises(DialError) as caught:
        connect(Address(f"wss://{HOST}/"), WAIT_S, judge_http, key="elevenlabs.base_url")
    assert caught.value.ending.reason.endswith("(https_proxy) cannot be reached: nothing listens there")
    monkeypatch.setenv("https_proxy", f"socks5h://127.0.0.1:{port}")
    with pytest.raises(DialError) as caught:
        signed_address(f"https://{HOST}", "a", KEY, WAIT_S)
    assert caught.value.ending.reason == f"the proxy socks5h://127.0.0.1:{port} (https_proxy) is not supported"
    assert caught.value.ending.kind is EndingKind.FINAL
    with pytest.raises(ToolError, match=r"^The proxy socks5h://127.0.0.1:\d+ \(https_proxy\) is not supported\.$"):
        ask_tool(f"https://{HOST}/")


# ---------------------------------------------------------------- the doctor


def examination() -> Examination:
    return Examination(config=Config(elevenlabs=ElevenLabs(agent_id="agent_1", base_url=f"https://{HOST}")))


def test_the_doctor_goes_the_way_of_the_daemon(agent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (without,) = network.proxy(examination())
    assert (without.severity, without.text) == (Severity.SKIPPED, "this environment names none")
    with proxy("basic:me:hunter2", agent) as way:
        monkeypatch.setenv("https_proxy", f"http://me:hunter2@127.0.0.1:{way.port}")
        (opened,) = network.proxy(examination())
        assert (opened.severity, opened.text) == (
            Severity.GOOD, f"127.0.0.1:{way.port} (https_proxy), with a user opens the way to {HOST}:443"
        )  # fmt: skip
        assert [one.severity for one in network.name(examination())] == [Severity.SKIPPED]
        assert [one.severity for one in network.tcp(examination())] == [Severity.SKIPPED]
        assert next(iter(network.tls(examination()))).text.startswith(f"TLSv1.3 to {HOST}:443")
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{way.port}")
        (refused,) = network.proxy(examination())
        assert refused.severity is Severity.ERROR
        assert "wants a user and a password" in refused.text
        monkeypatch.setenv("no_proxy", HOST)
        (excepted,) = network.proxy(examination())
        assert excepted.text == f"https_proxy does not count for {HOST}: see no_proxy"


# ---------------------------------------------------------------- tinyproxy


@pytest.fixture
def tinyproxy(tmp_path: Path) -> Iterator[int]:
    """Its port. It asks for a user, and finds HOST on this machine, by a table of hosts that only it sees."""
    if (program := shutil.which("tinyproxy")) is None:
        pytest.skip("tinyproxy is not installed: scripts/setup test does it")
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "hosts").write_text(f"127.0.0.1 localhost {HOST}\n")
    settings = tmp_path / "tinyproxy.conf"
    settings.write_text(f"Port {port}\nListen 127.0.0.1\nTimeout 60\nAllow 127.0.0.1\nBasicAuth me pass-word\n")
    inside = 'mount --bind "$1" /etc/hosts && exec "$2" -d -c "$3"'
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine allows no namespaces, in which tinyproxy would find the host")
    command = [*unshare, "sh", "-c", inside, "sh", str(tmp_path / "hosts"), program, str(settings)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "Accepting connections" in line:
                break
        try:
            yield port
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=60)


def test_through_tinyproxy(tinyproxy: int, agent: int, plain: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", f"http://me:pass%2Dword@127.0.0.1:{tinyproxy}")
    assert signed_address(f"https://{HOST}:{agent}", "a", KEY, WAIT_S).url.startswith(f"wss://{HOST}/")
    assert websocket_says(Address(f"wss://{HOST}:{agent}/x")) == "/x"
    assert ask_tool(f"http://{HOST}:{plain}/a").startswith(f"/a {HOST}:{plain} ")
    monkeypatch.setenv("ALL_PROXY", f"http://me:wrong@127.0.0.1:{tinyproxy}")
    with pytest.raises(DialError) as caught:
        connect(Address(f"wss://{HOST}:{agent}/"), WAIT_S, judge_http, key="elevenlabs.base_url")
    # It answers 401 where 407 is meant.
    said = f"the proxy 127.0.0.1:{tinyproxy} (ALL_PROXY) does not accept the user and the password (HTTP 401)"
    assert caught.value.ending.reason == said
