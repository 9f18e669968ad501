"""The agent of a configuration: its address, its secrets, its instructions, its pictures, the doctor's checks."""

from __future__ import annotations

import http.server
import io
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from parleyd.agents.events import AgentError
from parleyd.agents.openai.agent import OpenAIAgent
from parleyd.agents.openai.images import MOST_BYTES
from parleyd.agents.openai.speech import OpenAISpeech
from parleyd.agents.provider import Attachment, Interrupts, SessionWish, UploadError
from parleyd.config.base import Secret
from parleyd.config.openai_section import InstructionsFile, McpServer, OpenAI, TurnDetection
from parleyd.config.schema import Announce, Config
from parleyd.config.variable_sections import Scalar, Variable
from parleyd.core.endings import DialError, EndingKind
from parleyd.core.findings import Finding, Severity
from parleyd.embedded.server import LocalAgent
from parleyd.embedded.settings import AgentSettings, Dialect, RealtimeSettings


def dialled(config: OpenAI, key: str | None = "sk-secret") -> tuple[str, tuple[str, ...]]:
    address = OpenAIAgent(config, key).dial(1.0)
    return address.url, address.headers


@pytest.mark.parametrize(
    ("config", "url"),
    [
        (OpenAI(), "wss://api.openai.com/v1/realtime?model=gpt-realtime-2.1"),
        (OpenAI(model="m 1"), "wss://api.openai.com/v1/realtime?model=m+1"),
        (OpenAI(base_url="http://127.0.0.1:80/v1/"), "ws://127.0.0.1:80/v1/realtime"),
        (OpenAI(base_url="https://h/v1", model="m", model_in="session"), "wss://h/v1/realtime"),
        (
            OpenAI(base_url="https://h/openai/v1", model="m", query={"api-version": "1"}),
            "wss://h/openai/v1/realtime?api-version=1&model=m",
        ),
    ],
)
def test_addresses(config: OpenAI, url: str) -> None:
    assert dialled(config)[0] == url


def test_the_key_and_its_header() -> None:
    assert dialled(OpenAI())[1] == ("Authorization: Bearer sk-secret",)
    assert dialled(OpenAI(key_header="xi-api-key"))[1] == ("xi-api-key: sk-secret",)
    assert dialled(OpenAI(base_url="http://127.0.0.1:1/v1"), None)[1] == ()


def test_the_key_does_not_cross_the_network_in_the_open() -> None:
    with pytest.raises(DialError) as caught:
        dialled(OpenAI(base_url="http://192.168.1.5:1/v1"))
    assert caught.value.ending.kind is EndingKind.FINAL
    dialled(OpenAI(base_url="http://192.168.1.5:1/v1"), None)


def test_the_key_is_in_no_text() -> None:
    agent = OpenAIAgent(OpenAI(mcp={"m": McpServer(url="https://m", authorization="token-of-mcp")}), "sk-secret")
    assert "sk-secret" not in repr(agent)
    shown = [
        agent.judge_close(1011, "sk-secret is bad", AgentError("with sk-secret and token-of-mcp", "x")).reason,
        agent.judge_refusal(401, '{"error": {"message": "Incorrect API key provided: sk-secret."}}').reason,
    ]
    assert all("secret" not in text and "token-of" not in text for text in shown)


def opening(agent: OpenAIAgent) -> dict[str, Any]:
    agent.dial(1.0)
    asked: dict[str, Any] = json.loads(agent.session(SessionWish()).opening()[0])["session"]
    return asked


def test_instructions_with_the_values_of_variables(tmp_path: Path) -> None:
    file, value = tmp_path / "who.txt", tmp_path / "weather"
    file.write_text("You live with {{ name }}. It is {{weather}}. {{unset}}", encoding="utf-8")
    value.write_text("dry\n", encoding="utf-8")
    variables: dict[str, Scalar | Variable] = {
        "name": "Ada",
        "weather": Variable(file=str(value)),
        "unset": Variable(file=str(tmp_path / "none")),
    }
    agent = OpenAIAgent(OpenAI(instructions=InstructionsFile(file=str(file)), dynamic_variables=variables), None)
    assert opening(agent)["instructions"] == "You live with Ada. It is dry. (unknown)"
    file.write_text("You are {{name}}.", encoding="utf-8")
    assert opening(agent)["instructions"] == "You are Ada."


def test_instructions_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"openai\.instructions: .*more than 64 KiB"):
        OpenAIAgent(OpenAI(instructions="x" * (64 * 1024 + 1)), None)
    file = tmp_path / "who.txt"
    with pytest.raises(ValueError, match="cannot be read"):
        OpenAIAgent(OpenAI(instructions=InstructionsFile(file=str(file))), None)
    file.write_text("Be brief.", encoding="utf-8")
    agent = OpenAIAgent(OpenAI(instructions=InstructionsFile(file=str(file))), None)
    file.write_bytes(b"\xff\xff")
    with pytest.raises(DialError) as caught:
        agent.dial(1.0)
    assert caught.value.ending.kind is EndingKind.FINAL
    assert "UTF-8" in caught.value.ending.reason


def test_the_tokens_of_mcp_servers(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("token-of-mcp\n", encoding="utf-8")
    file.chmod(0o600)
    servers = {"home": McpServer(url="https://m", authorization=Secret(file=str(file)))}
    [tool] = opening(OpenAIAgent(OpenAI(mcp=servers), None))["tools"]
    assert (tool["authorization"], tool["require_approval"]) == ("token-of-mcp", "always")


def test_turns_that_this_side_ends_are_not_interrupted_by_the_server() -> None:
    assert Interrupts.SERVER in OpenAIAgent(OpenAI(), None).capabilities.interrupts
    manual = OpenAI(turn_detection=TurnDetection(type="manual"))
    assert Interrupts.SERVER not in OpenAIAgent(manual, None).capabilities.interrupts


def attachment(data: bytes, size_bytes: int | None = None) -> Attachment:
    """Its reader refuses to read beyond the end, as that of the daemon does."""
    stream = io.BytesIO(data)

    def read(most_bytes: int) -> bytes:
        piece = stream.read(most_bytes)
        assert piece, "it is read beyond its size"
        return piece

    return Attachment("a.png", "image/png", len(data) if size_bytes is None else size_bytes, read)


def test_pictures_are_read_and_bounded() -> None:
    agent = OpenAIAgent(OpenAI(), None)
    prepared = agent.prepare("c", attachment(b"\xff\xd8\xff" + bytes(300_000)), 1.0)
    assert (prepared.media_type, len(prepared.data)) == ("image/jpeg", 300_003)
    with pytest.raises(UploadError, match="too large"):
        agent.prepare("c", attachment(b"", MOST_BYTES + 1), 1.0)
    with pytest.raises(UploadError, match="neither a PNG nor a JPEG"):
        agent.prepare("c", attachment(b"GIF89a"), 1.0)


# ---------------------------------------------------------------- speech


@pytest.mark.parametrize(
    ("head", "is_whole"),
    [
        ("Content-Length: 600", True),
        ("Content-Length: 1000", False),
        ("Connection: close", True),
        ("Transfer-Encoding: chunked", False),
    ],
)
def test_a_line_that_is_lost_in_the_middle_of_the_sound_is_not_its_end(head: str, is_whole: bool) -> None:
    """A body whose length was told is whole at that length; one without a length ends with the line."""
    first = "258\r\n" if "chunked" in head else ""

    def serve() -> None:
        line, _ = listening.accept()
        with line:
            asked = b""
            while not asked.endswith(b"}"):  # What is not read would reset the line.
                asked += line.recv(65536)
            line.sendall(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n{first}".encode() + bytes(600))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        config = OpenAI(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}/v1")
        sound = OpenAISpeech(config, Announce(), "marin", None).stream("hello", 60.0)
        came_bytes, lost = 0, None
        try:
            for piece in sound:
                came_bytes += len(piece)
        except DialError as error:
            lost = error.ending
        thread.join(60.0)
    assert came_bytes == 600
    assert (lost is None) is is_whole
    if lost is not None:
        assert lost.kind is EndingKind.RETRY
        assert lost.reason.endswith("was lost")


# ---------------------------------------------------------------- the doctor


@contextmanager
def server(
    status: int, body: object, more: Mapping[str, tuple[int, object]] | None = None
) -> Iterator[tuple[str, list[str]]]:
    """An HTTP server that always answers so, but for the paths in `more`; with its URL and the paths that were asked
    for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.path} {self.headers.get('Authorization')}")
            status_here, body_here = (more or {}).get(self.path, (status, body))
            text = body_here if isinstance(body_here, bytes) else json.dumps(body_here).encode()
            self.send_response(status_here)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{serving.server_address[1]}/v1", asked
        finally:
            serving.shutdown()


def probe(agent: OpenAIAgent, name: str) -> list[Finding]:
    return [found for check in agent.checks(Config()) if check.name == name for found in check.probe()]


def day(days: float) -> float:
    return time.time() + days * 86400


@pytest.mark.parametrize(
    ("status", "body", "severity", "word"),
    [
        (200, {"id": "m"}, Severity.GOOD, "has it"),
        (200, {"id": "m", "shutdown_date": None}, Severity.GOOD, "has it"),
        (200, {"id": "m", "shutdown_date": "soon"}, Severity.GOOD, "has it"),
        (200, {"id": "m", "shutdown_date": day(400)}, Severity.GOOD, "until"),
        (200, {"id": "m", "shutdown_date": day(50)}, Severity.WARNING, "will be shut down"),
        (200, {"id": "m", "shutdown_date": "2024-01-20"}, Severity.ERROR, "was shut down on 2024-01-20"),
        (200, b"<html>", Severity.NOTE, "describes no model"),
        (200, {"data": []}, Severity.NOTE, "describes no model"),
        (401, {"error": {"message": "no", "code": "invalid_api_key"}}, Severity.ERROR, "key"),
        (403, {"error": {"message": "no", "code": "model_not_found"}}, Severity.ERROR, "no such model"),
        (404, {"error": {"message": "no", "code": "invalid_api_key"}}, Severity.ERROR, "key is not accepted"),
        (503, {}, Severity.ERROR, "trouble"),
    ],
)
def test_the_doctor_looks_at_the_model(status: int, body: object, severity: Severity, word: str) -> None:
    with server(status, body) as (url, asked):
        agent = OpenAIAgent(OpenAI(base_url=url, model="m"), "sk-secret")
        [found] = probe(agent, "model")
    assert found.severity is severity
    assert word in found.text
    assert "secret" not in found.text
    assert asked[0] == "/v1/models/m Bearer sk-secret"


LIST = {"object": "list", "data": [{"id": name} for name in ("a", "b", "c", "d", "e", "\x1b[2J f", "g")]}
UNKNOWN = {"detail": "Not Found"}
NO_MODEL = {"error": {"message": "The model 'm' does not exist", "code": "model_not_found"}}


@pytest.mark.parametrize(
    ("status", "body", "listed", "severity", "text", "hint"),
    [
        # The server says by name that it has no such model.
        (404, NO_MODEL, (404, UNKNOWN), Severity.ERROR, "no such model", "correct openai.model"),
        (404, NO_MODEL, (200, LIST), Severity.ERROR, "'m' does not exist", "the server has a, b, c, d, e and 2 more"),
        (404, NO_MODEL, (200, {"data": [{"id": "\x1b[2J"}]}), Severity.ERROR, "no such model", '"\\u001b[2J"'),
        # It has no page for a model; the list may tell.
        (404, UNKNOWN, (404, UNKNOWN), Severity.NOTE, "no list of models", ""),
        (405, UNKNOWN, (501, UNKNOWN), Severity.NOTE, "no list of models", ""),
        (404, UNKNOWN, (200, LIST), Severity.WARNING, "does not list", "correct openai.model; the server has a, b"),
        (404, UNKNOWN, (200, {"data": []}), Severity.WARNING, "does not list", "correct openai.model; where"),
        (404, UNKNOWN, (200, {"data": [{"id": "m"}]}), Severity.GOOD, "lists it", ""),
        (404, UNKNOWN, (200, b"<html>"), Severity.NOTE, "is none of models", ""),
        (404, UNKNOWN, (401, {}), Severity.ERROR, "key is not accepted", "openai.api_key"),
        (404, UNKNOWN, (503, {}), Severity.ERROR, "trouble", "try again later"),
    ],
)
def test_the_doctor_tells_a_missing_model_from_a_missing_list(
    status: int, body: object, listed: tuple[int, object], severity: Severity, text: str, hint: str
) -> None:
    with server(status, body, {"/v1/models": listed}) as (url, _):
        [found] = probe(OpenAIAgent(OpenAI(base_url=url, model="m"), "sk-secret"), "model")
    assert found.severity is severity
    assert text in found.text
    assert hint in found.hint
    assert "\x1b" not in found.hint


@pytest.mark.parametrize(("has_models", "severity"), [(True, Severity.ERROR), (False, Severity.NOTE)])
def test_the_doctor_and_the_models_of_the_embedded_agent(has_models: bool, severity: Severity) -> None:
    realtime = RealtimeSettings(models=("gpt-a", "gpt-b"), dialect=Dialect(models=has_models))
    with LocalAgent(AgentSettings(ears="none", realtime=realtime)) as agent:
        own = [OpenAI(base_url=f"{agent.base_url}/v1", model=model) for model in ("gpt-9", "gpt-a")]
        [missing] = probe(OpenAIAgent(own[0], None), "model")
        [there] = probe(OpenAIAgent(own[1], None), "model")
    assert missing.severity is severity
    assert ("the server has gpt-a, gpt-b" in missing.hint) is has_models
    assert there.severity is (Severity.GOOD if has_models else Severity.NOTE)


def test_the_doctor_misses_the_key_and_asks_nobody() -> None:
    [found] = probe(OpenAIAgent(OpenAI(), None), "key")
    assert found.is_configuration
    own = OpenAIAgent(OpenAI(base_url="http://127.0.0.1:1/v1"), None)
    for name in ("key", "model"):
        [found] = probe(own, name)
        assert found.severity is Severity.NOTE


@pytest.mark.parametrize(
    ("status", "body", "severity"),
    [
        (200, {"data": []}, Severity.GOOD),
        (401, {}, Severity.ERROR),
        (404, {}, Severity.NOTE),
        (404, {"error": {"code": "invalid_api_key"}}, Severity.ERROR),
        (500, {}, Severity.ERROR),
    ],
)
def test_the_doctor_tries_the_key(status: int, body: object, severity: Severity) -> None:
    with server(status, body) as (url, asked):
        [found] = probe(OpenAIAgent(OpenAI(base_url=url), "sk-secret"), "key")
    assert found.severity is severity
    assert asked == ["/v1/models Bearer sk-secret"]


def test_a_server_that_is_not_there() -> None:
    agent = OpenAIAgent(OpenAI(base_url="http://127.0.0.1:1/v1", model="m"), None)
    [found] = probe(agent, "model")
    assert found.severity is Severity.ERROR
    assert urlsplit(agent.dial(1.0).url).netloc == "127.0.0.1:1"
