"""Two embedded agents behind HAProxy, with the configuration that is in packaging/replicas: each in its own process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trustme
from local_client import Client, spoken
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from parleyd.embedded.server import LocalAgent
from parleyd.embedded.settings import AgentSettings

HAPROXY = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
CONFIGURATION = Path(__file__).parents[3] / "packaging/replicas/haproxy.cfg"
WAIT_S = 60.0
KEY = "the-key-of-the-house"
SCENARIO = "agent: {first_message: '', stream_speed: 1, end_of_speech_ms: 300}"
WRITTEN = {
    "type": "conversation_initiation_client_data",
    "conversation_config_override": {"conversation": {"text_only": True}},
}


class Replica:
    """A process of `parleyd agent`."""

    def __init__(self, name: str, folder: Path, *options: str) -> None:
        self.name = name
        (folder / "key").write_text(f"{KEY}\n")
        (folder / "secret").write_text("a-secret-that-all-replicas-have\n")
        (folder / "scenario.yaml").write_text(SCENARIO)
        for file in ("key", "secret"):
            (folder / file).chmod(0o600)
        command = [
            sys.executable, "-m", "parleyd", "agent", "--json", "--port", "0", "--replica", name, "--key-file", "key",
            "--signing-secret-file", "secret", "--scenario", "scenario.yaml", *options,
        ]  # fmt: skip
        self.process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        told = self.process.stdout.readline()
        assert told, "the replica has ended"
        self.base_url = str(json.loads(told)["base_url"])

    def __enter__(self) -> Replica:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    @property
    def address(self) -> str:
        return self.base_url.partition("//")[2]


def ask(base_url: str, path: str, key: str | None = KEY, data: bytes | None = None, **headers: str) -> tuple[int, str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(base_url + path, data, {**({"xi-api-key": key} if key else {}), **named})
    try:
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def until(test: Callable[[], object], what: str) -> None:
    until_s = time.monotonic() + WAIT_S
    while not test():
        assert time.monotonic() < until_s, what
        # The balancer tells nobody what it has noticed.
        time.sleep(0.05)


def signed_query(base_url: str, more: str = "") -> str:
    status, answer = ask(base_url, f"/v1/convai/conversation/get-signed-url?agent_id=a{more}")
    assert status == 200, answer
    return str(json.loads(answer)["signed_url"]).partition("?")[2]


def dial(base_url: str, query: str, opening: dict[str, Any] | None = WRITTEN) -> Client:
    """A session by the signed URL alone, without the key."""
    place = SimpleNamespace(url=base_url.replace("http:", "ws:"), settings=AgentSettings())
    return Client(cast(LocalAgent, place), opening, query)


def conversation_id(client: Client) -> str:
    told = client.until("conversation_initiation_metadata")["conversation_initiation_metadata_event"]
    return str(told["conversation_id"])


def answer_to(client: Client, text: str) -> str:
    client.send({"type": "user_message", "text": text})
    return str(client.until("agent_response")["agent_response_event"]["agent_response"])


def upload(base_url: str, conversation: str) -> tuple[int, str]:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="cat.png"\r\nContent-Type: image/png\r\n\r\n'
        b"PNG\r\n--x--\r\n"
    )
    path = f"/v1/convai/conversations/{conversation}/files"
    return ask(base_url, path, None, body, Content_Type="multipart/form-data; boundary=x")


@contextmanager
def balanced(a: str, b: str) -> Iterator[str]:
    """HAProxy before two addresses; its own as a base URL."""
    assert HAPROXY is not None, "haproxy is not installed; scripts/setup test installs it"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = {"PARLEYD_BIND": f"127.0.0.1:{port}", "PARLEYD_A": a, "PARLEYD_B": b}
    process = subprocess.Popen(
        [HAPROXY, "-f", str(CONFIGURATION)], env={**os.environ, **places}, stdout=subprocess.DEVNULL
    )
    try:
        base_url = f"http://127.0.0.1:{port}"

        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        until(listens, "HAProxy does not listen")
        yield base_url
    finally:
        process.kill()
        process.wait()


UPGRADE = (
    b"Host: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def raw(stack: ExitStack, replica: Replica, request: bytes) -> socket.socket:
    """A connection on which this was sent, as no client's library would."""
    host, _, port = replica.address.partition(":")
    client = stack.enter_context(socket.create_connection((host, int(port)), WAIT_S))
    client.sendall(request + b"\r\n")
    return client


def to_the_end(client: socket.socket) -> bytes:
    received = b""
    while data := client.recv(4096):
        received += data
    return received


@pytest.fixture
def house(tmp_path: Path) -> Iterator[tuple[str, dict[str, Replica]]]:
    """The balancer's base URL, and the replicas by their names."""
    with ExitStack() as stack:
        replicas = {}
        for name in ("a", "b"):
            folder = tmp_path / name
            folder.mkdir()
            replicas[name] = stack.enter_context(Replica(name, folder))
        yield stack.enter_context(balanced(replicas["a"].address, replicas["b"].address)), replicas


def test_every_signed_url_leads_to_a_session_and_every_file_to_its_conversation(
    house: tuple[str, dict[str, Replica]],
) -> None:
    base_url, _ = house
    with ExitStack() as stack:
        clients = [stack.enter_context(dial(base_url, signed_query(base_url))) for _ in range(8)]
        ids = [conversation_id(client) for client in clients]
        assert len(set(ids)) == 8
        assert {one.split("_")[1] for one in ids} == {"a", "b"}, ids
        for client, one in zip(clients, ids, strict=True):
            status, answer = upload(base_url, one)
            assert status == 200, answer
            assert answer_to(client, "What time is it?").startswith("It is ")
    assert upload(base_url, "conv_a_0123456789abcd")[0] == 404
    for path in ("/metrics", "/metrics/", "/metrics?x"):
        assert ask(base_url, path)[0] == 404, "the figures are asked of each replica"


def test_a_signature_of_one_replica_is_taken_by_the_other_for_its_agent_alone(
    house: tuple[str, dict[str, Replica]],
) -> None:
    _, replicas = house
    query = signed_query(replicas["a"].base_url)
    with dial(replicas["b"].base_url, query) as client:
        assert conversation_id(client).startswith("conv_b_")
    for wrong in (query.replace("agent_id=a", "agent_id=other"), query[:-1] + ("A" if query[-1] != "A" else "B")):
        with dial(replicas["b"].base_url, wrong, None) as client:
            assert client.until_closed()[0] == 3000


def test_when_a_replica_is_killed_its_clients_go_on_with_the_other(house: tuple[str, dict[str, Replica]]) -> None:
    base_url, replicas = house
    query = signed_query(base_url)
    with ExitStack() as stack:
        clients: dict[str, Client] = {}
        while set(clients) != {"a", "b"}:
            client = stack.enter_context(dial(base_url, query))
            clients[conversation_id(client).split("_")[1]] = client
        replicas["a"].process.kill()
        assert clients["a"].until_closed()[0] == 1006
        again = stack.enter_context(dial(base_url, query))
        assert conversation_id(again).startswith("conv_b_")
        for client in (again, clients["b"]):
            assert answer_to(client, "What time is it?").startswith("It is ")


def test_a_replica_that_is_drained_ends_its_turns_first_and_takes_no_new_ones(
    house: tuple[str, dict[str, Replica]],
) -> None:
    base_url, replicas = house
    query = signed_query(base_url)
    opening = {"type": "conversation_initiation_client_data"}
    with ExitStack() as stack:
        idle = stack.enter_context(dial(replicas["a"].base_url, query))
        talking = stack.enter_context(dial(replicas["a"].base_url, query, opening))
        conversation_id(idle)
        conversation_id(talking)
        talking.say(spoken("What time is it?"))
        talking.until("agent_response")
        talking.until("audio")
        replicas["a"].process.send_signal(signal.SIGTERM)
        assert idle.until_closed()[0] == 1001
        again = stack.enter_context(dial(base_url, query))
        assert conversation_id(again).startswith("conv_b_"), "the balancer asks the other one, even before it knows"
        assert answer_to(again, "What time is it?").startswith("It is ")
        before = sum(len(pcm) for _, pcm in talking.audio)
        assert talking.until_closed()[0] == 1001
        whole = sum(len(pcm) for _, pcm in talking.audio)
        assert whole > before, "the sound of the answer has come to its end"
        assert replicas["a"].process.wait(WAIT_S) == 0
        status, answer = ask(replicas["b"].base_url, "/health/ready", None)
        assert (status, answer) == (200, "ready\n")


def test_a_turn_that_does_not_end_holds_up_no_end(tmp_path: Path) -> None:
    with Replica("a", tmp_path, "--drain", "0.5") as replica:
        query = signed_query(replica.base_url)
        with dial(replica.base_url, query, {"type": "conversation_initiation_client_data"}) as client:
            conversation_id(client)
            client.send({"type": "user_message", "text": "Tell me a story."})
            client.until("audio")
            replica.process.send_signal(signal.SIGTERM)
            until(lambda: ask(replica.base_url, "/health/ready", None)[0] == 503, "still ready")
            assert client.until_closed()[0] == 1001
            assert replica.process.wait(WAIT_S) == 0


def test_figures_need_the_key_and_a_full_server_refuses(tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client")
    with Replica("a", tmp_path, "--most-sessions", "1") as replica:
        query = signed_query(replica.base_url)
        assert ask(replica.base_url, "/metrics", None)[0] == 401
        assert ask(replica.base_url, "/metrics", "wrong")[0] == 401
        with dial(replica.base_url, query) as client:
            conversation_id(client)
            assert answer_to(client, "What time is it?").startswith("It is ")
            assert ask(replica.base_url, "/health/ready", None) == (503, "full\n")
            with pytest.raises(InvalidStatus) as refused:
                dial(replica.base_url, query)
            assert refused.value.response.status_code == 503
            assert refused.value.response.headers["Retry-After"]
            status, text = ask(replica.base_url, "/metrics", None, Authorization=f"Bearer {KEY}")
            assert status == 200
            lines = text.splitlines()
            assert "parleyd_agent_sessions 1.0" in lines
            assert 'parleyd_agent_sessions_begun_total{protocol="convai"} 1.0' in lines
            assert 'parleyd_agent_sessions_refused_total{reason="full"} 1.0' in lines
            assert "parleyd_agent_turns_total 1.0" in lines
            assert 'parleyd_agent_delay_seconds_bucket{le="+Inf",part="ears"} 0.0' in lines
        until(lambda: ask(replica.base_url, "/health/ready", None)[0] == 200, "still full")


def test_whoever_gets_no_session_takes_no_place(tmp_path: Path) -> None:
    path = b"GET /v1/convai/conversation?agent_id=a HTTP/1.1\r\n"
    with Replica("a", tmp_path, "--most-sessions", "1") as replica, ExitStack() as stack:
        for _ in range(2):
            assert b" 426 " in to_the_end(raw(stack, replica, path + b"Host: 127.0.0.1\r\n")), "no WebSocket"
        for request in (
            path + UPGRADE + b"xi-api-key: \xff\r\n",
            b"GET /v1/realtime HTTP/1.1\r\n" + UPGRADE + b"Authorization: Bearer \xff\r\n",
        ):
            # The client stays; the server closes by itself.
            assert (3000).to_bytes(2, "big") in to_the_end(raw(stack, replica, request))
            until(lambda: ask(replica.base_url, "/health/ready", None)[0] == 200, "a place is taken")
        for request in (b"GET /metrics?\xff", b"GET //[x", b"POST //[x", b"GET /previews/\xff.wav?token=\xff"):
            client = raw(stack, replica, request + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n")
            assert b" 400 " in to_the_end(client)
        client = raw(stack, replica, b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nxi-api-key: \xff\r\n")
        assert b" 401 " in to_the_end(client)


def test_many_that_come_at_once_are_no_more_than_the_most(tmp_path: Path) -> None:
    request = b"GET /v1/convai/conversation?agent_id=a HTTP/1.1\r\n" + UPGRADE + f"xi-api-key: {KEY}\r\n".encode()
    with Replica("a", tmp_path, "--most-sessions", "3") as replica, ExitStack() as stack:
        os.kill(replica.process.pid, signal.SIGSTOP)
        clients = [raw(stack, replica, request) for _ in range(12)]
        os.kill(replica.process.pid, signal.SIGCONT)
        answers = [client.recv(12)[9:] for client in clients]
        assert sorted(answers) == [b"101"] * 3 + [b"503"] * 9


def test_a_session_of_the_realtime_protocol_is_ended_likewise(tmp_path: Path) -> None:
    with Replica("a", tmp_path) as replica:
        url = replica.base_url.replace("http:", "ws:") + "/v1/realtime"
        with connect(url, additional_headers={"Authorization": f"Bearer {KEY}"}, compression=None) as client:
            session = json.loads(client.recv(WAIT_S))["session"]
            assert session["id"].startswith("sess_a_")
            replica.process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(WAIT_S)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
        assert replica.process.wait(WAIT_S) == 0


def test_a_second_signal_ends_a_drain_at_once(tmp_path: Path) -> None:
    with Replica("a", tmp_path, "--drain", "3600") as replica:
        opening = {"type": "conversation_initiation_client_data"}
        with dial(replica.base_url, signed_query(replica.base_url), opening) as client:
            conversation_id(client)
            client.send({"type": "user_message", "text": "Tell me a story."})
            client.until("audio")
            replica.process.send_signal(signal.SIGTERM)
            until(lambda: ask(replica.base_url, "/health/ready", None)[0] == 503, "still ready")
            replica.process.send_signal(signal.SIGTERM)
            assert client.until_closed()[0] == 1001
            assert replica.process.wait(WAIT_S) == 0


def test_with_a_certificate_of_its_own_it_speaks_tls_and_says_so(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "agent.pem"))
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with Replica("a", tmp_path, "--tls-cert", "agent.pem") as replica:
        assert replica.base_url.startswith("https://127.0.0.1:")
        path = "/v1/convai/conversation/get-signed-url?agent_id=a"
        request = urllib.request.Request(replica.base_url + path, headers={"xi-api-key": KEY})
        with urllib.request.urlopen(request, timeout=WAIT_S, context=trusting) as answer:
            url = str(json.load(answer)["signed_url"])
        assert url.startswith("wss://127.0.0.1:")
        with connect(url, ssl=trusting, compression=None) as client:
            client.send(json.dumps(WRITTEN))
            assert json.loads(client.recv(WAIT_S))["type"] == "conversation_initiation_metadata"


def test_behind_tls_of_a_balancer_the_signed_url_is_one_of_tls(tmp_path: Path) -> None:
    with Replica("a", tmp_path) as replica:
        path = "/v1/convai/conversation/get-signed-url?agent_id=a"
        status, answer = ask(replica.base_url, path, X_Forwarded_Proto="https", Host="127.0.0.1:8443")
        assert status == 200
        assert json.loads(answer)["signed_url"].startswith("wss://127.0.0.1:8443/v1/convai/conversation?")
