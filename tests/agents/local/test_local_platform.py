"""The platform around the embedded agent over HTTP: its habits that surprise people, and files for a conversation."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from local_client import Client, Start

from parleyd.embedded.conversation import MOST_FILES
from parleyd.embedded.server import LocalAgent

KEY = "sk_right"
AGENT = f"agent: {{api_key: {KEY}, require_auth: true, ears: none, first_message: ''}}"
AGENTS, TOOLS, CONVERSATIONS = "/v1/convai/agents", "/v1/convai/tools", "/v1/convai/conversations"


def ask(
    agent: LocalAgent, method: str, path: str, body: bytes | None = None, key: str | None = KEY, kind: str = ""
) -> tuple[int, Any]:
    headers = {"Content-Type": kind or "application/json"} | ({"xi-api-key": key} if key else {})
    request = urllib.request.Request(agent.base_url + path, body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def change(agent: LocalAgent, method: str, path: str, **fields: object) -> tuple[int, Any]:
    return ask(agent, method, path, json.dumps(fields).encode())


def spoken_by(language: str | None, model: str | None) -> dict[str, Any]:
    """The part of an agent that a language and a model are."""
    return {
        **({"agent": {"language": language}} if language else {}),
        **({"tts": {"model_id": model}} if model else {}),
    }


@pytest.fixture
def agent(start: Start) -> LocalAgent:
    return start(AGENT)


def made(agent: LocalAgent, config: dict[str, Any]) -> str:
    status, answer = change(agent, "POST", f"{AGENTS}/create", conversation_config=config)
    assert status == 200
    return f"{AGENTS}/{answer['agent_id']}"


# ---------------------------------------------------------------- agents and tools


@pytest.mark.parametrize("model", ["eleven_flash_v2", "eleven_turbo_v2"])
def test_an_english_model_is_refused_with_another_language(agent: LocalAgent, model: str) -> None:
    path = made(agent, spoken_by("en", model))
    status, answer = change(agent, "PATCH", path, conversation_config=spoken_by("de", None))
    assert (status, answer["detail"]["status"]) == (400, "invalid_agent_config")
    assert ask(agent, "GET", path)[1]["conversation_config"]["agent"]["language"] == "en"
    assert change(agent, "PATCH", path, conversation_config=spoken_by("de", f"{model}_5"))[0] == 200
    assert change(agent, "PATCH", path, conversation_config=spoken_by(None, model))[0] == 400
    assert change(agent, "POST", f"{AGENTS}/create", conversation_config=spoken_by("de", model))[0] == 400


def test_objects_are_merged_and_lists_are_replaced_whole(agent: LocalAgent) -> None:
    path = made(agent, {"conversation": {"client_events": ["audio", "ping"], "max_duration_seconds": 900}})
    told = {"conversation": {"client_events": ["vad_score"]}}
    assert change(agent, "PATCH", path, conversation_config=told)[0] == 200
    conversation = ask(agent, "GET", path)[1]["conversation_config"]["conversation"]
    assert conversation["client_events"] == ["vad_score"]
    assert conversation["max_duration_seconds"] == 900


def test_the_config_of_a_tool_is_replaced_as_a_whole(agent: LocalAgent) -> None:
    config = {"type": "client", "name": "lamp", "description": "-", "expects_response": True}
    _, tool = change(agent, "POST", TOOLS, tool_config=config)
    del config["expects_response"]
    assert change(agent, "PATCH", f"{TOOLS}/{tool['id']}", tool_config=config)[0] == 200
    assert ask(agent, "GET", f"{TOOLS}/{tool['id']}")[1]["tool_config"]["expects_response"] is False


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"{AGENTS}/kitchen"),
        ("PUT", f"{AGENTS}/kitchen"),
        ("POST", CONVERSATIONS),
        ("PATCH", f"{CONVERSATIONS}/conv_1"),
        ("DELETE", f"{CONVERSATIONS}/conv_1"),
    ],
)
def test_a_wrong_method_is_answered_with_405(agent: LocalAgent, method: str, path: str) -> None:
    assert ask(agent, method, path, b"{}") == (405, {"detail": "Method Not Allowed"})


def test_a_wrong_method_for_a_tool_is_answered_with_405(agent: LocalAgent) -> None:
    _, tool = change(agent, "POST", TOOLS, tool_config={"type": "client", "name": "lamp", "description": "-"})
    assert ask(agent, "POST", f"{TOOLS}/{tool['id']}", b"{}")[0] == 405


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE"])
def test_a_path_that_is_not_served_is_answered_with_404(agent: LocalAgent, method: str) -> None:
    assert ask(agent, method, "/v1/convai/secrets", b"{}") == (404, {"detail": "Not Found"})


DEEP = b'{"name": ' + b'{"a": ' * 900 + b"1" + b"}" * 900 + b"}"
IDS = b'{"conversation_config": {"agent": {"prompt": {"tool_ids": %b}}}}'


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", f"{AGENTS}/create", IDS % b"5"),
        ("POST", f"{AGENTS}/create", IDS % b"[{}]"),
        ("PATCH", f"{AGENTS}/a", DEEP),
        ("GET", f"{CONVERSATIONS}?call_start_after_unix=x", None),
        ("GET", f"{CONVERSATIONS}?page_size=%C2%B2", None),
        ("GET", f"{AGENTS}?cursor={'9' * 5000}", None),
    ],
)
def test_a_request_of_another_shape_is_answered_with_422(
    agent: LocalAgent, method: str, path: str, body: bytes | None
) -> None:
    assert ask(agent, method, path, body)[0] == 422


def told(agent: LocalAgent, head: str) -> bytes:
    with socket.create_connection((agent.host, agent.port), timeout=60) as line:
        line.sendall(f"{head}\r\nHost: 127.0.0.1\r\n\r\n{{}}".encode())
        return line.makefile("rb").readline()


def test_a_length_that_is_no_length_is_answered(agent: LocalAgent) -> None:
    assert b" 400 " in told(agent, f"POST {AGENTS}/create HTTP/1.1\r\nContent-Length: {'9' * 5000}")


def test_a_request_that_meets_a_defect_is_answered(
    agent: LocalAgent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(agent._api, "change", lambda *_: 1 / 0)
    assert ask(agent, "PATCH", f"{AGENTS}/a", b"{}") == (500, {"detail": "Internal Server Error"})
    assert "a defect in the embedded agent" in caplog.text


# ---------------------------------------------------------------- files


def upload(agent: LocalAgent, conversation: str, media_type: str = "image/png", key: str | None = None) -> int:
    body = (
        '--x\r\nContent-Disposition: form-data; name="file"; filename="cat"\r\n'
        f"Content-Type: {media_type}\r\n\r\nxxx\r\n--x--\r\n"
    )
    path = f"{CONVERSATIONS}/{conversation}/files"
    return ask(agent, "POST", path, body.encode(), key, "multipart/form-data; boundary=x")[0]


@pytest.fixture
def conversation(agent: LocalAgent) -> Iterator[str]:
    """The id of a conversation that goes on."""
    _, answer = ask(agent, "GET", "/v1/convai/conversation/get-signed-url?agent_id=a")
    with Client(agent, query=answer["signed_url"].partition("?")[2]) as client:
        told = client.until("conversation_initiation_metadata")["conversation_initiation_metadata_event"]
        yield str(told["conversation_id"])


def test_a_file_needs_no_key_and_no_wrong_one(agent: LocalAgent, conversation: str) -> None:
    """The agent is private; the official web client uploads without a key."""
    assert upload(agent, conversation) == 200
    assert upload(agent, conversation, key=KEY) == 200
    assert upload(agent, conversation, key="sk_wrong") == 401
    assert upload(agent, "conv_none") == 404


def test_a_conversation_takes_ten_files(agent: LocalAgent, conversation: str) -> None:
    assert MOST_FILES == 10
    assert [upload(agent, conversation) for _ in range(11)] == [200] * 10 + [429]


@pytest.mark.parametrize(
    ("media_type", "status"),
    [
        *(("image/png", 200), ("image/jpeg", 200), ("application/pdf", 200)),
        *(("text/plain", 400), ("application/zip", 400), ("audio/wav", 400)),
    ],
)
def test_only_images_and_pdf_are_taken(agent: LocalAgent, conversation: str, media_type: str, status: int) -> None:
    assert upload(agent, conversation, media_type) == status
