"""Whether an agent could be talked with, judged by what a session needs: against HTTP servers that stand for its own
server, and for those between."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.server import serve

from parleyd.agents.elevenlabs.agent import ElevenLabsAgent
from parleyd.agents.openai.agent import OpenAIAgent
from parleyd.agents.provider import Agent
from parleyd.config.openai_section import OpenAI
from parleyd.config.schema import ElevenLabs
from parleyd.conversation.session.probing import answers
from parleyd.core.endings import DialError
from parleyd.embedded.server import LocalAgent
from parleyd.embedded.settings import AgentSettings
from web_server import Answer, web_server

SECRET = "sk_0123456789abcdef"
PAGE = "<!DOCTYPE html><html><body>Welcome to our hotel</body></html>"
SIGNED = json.dumps({"signed_url": "wss://example.com/v1/convai/conversation?token=1"})
MODEL = json.dumps({"id": "gpt-realtime", "object": "model"})
NO_PATH = json.dumps({"detail": "Not Found"})


def signed(base_url: str) -> Agent:
    return ElevenLabsAgent(ElevenLabs(agent_id="a", base_url=base_url), SECRET)


def public(base_url: str) -> Agent:
    return ElevenLabsAgent(ElevenLabs(agent_id="a", base_url=base_url), None)


def openai(base_url: str) -> Agent:
    return OpenAIAgent(OpenAI(base_url=f"{base_url}/v1", model="gpt-realtime"), SECRET)


def own_server(base_url: str) -> Agent:
    """A server of one's own that tells no model."""
    return OpenAIAgent(OpenAI(base_url=f"{base_url}/v1", model=None), None)


AGENTS: tuple[Callable[[str], Agent], ...] = (signed, public, openai, own_server)


def named(what: object) -> str | None:
    return getattr(what, "__name__", None)


# What somebody between answers, or a server that would open no session: to any request.
AWAY = {
    "the page of a guest network": Answer(200, PAGE),
    "a page that says that there is no such page": Answer(404, PAGE),
    "the way to the login of a guest network": Answer(302, "", {"Location": "/login"}),
    "the way to another place": Answer(307, PAGE, {"Location": "https://login.example.com/"}),
    "a network that wants a login": Answer(511, PAGE),
    "an empty answer": Answer(204),
    "another service": Answer(200, '{"status": "ok"}'),
    "words": Answer(200, "It works!"),
    "a gateway that has no route": Answer(404, '{"message": "no Route matched with those values"}'),
    "a framework that has no such path": Answer(404, NO_PATH),
    "a gateway in words": Answer(404, "404 page not found\n"),
    "a gateway for another method": Answer(405, '{"message": "Method Not Allowed"}'),
    "a wrong key": Answer(401, '{"error": {"code": "invalid_api_key", "message": "no"}}'),
    "no credit": Answer(402, '{"detail": {"status": "quota_exceeded", "message": "no"}}'),
    "forbidden": Answer(403, '{"detail": "no"}'),
    "too many requests": Answer(
        429, '{"error": {"code": "insufficient_quota", "message": "no"}}', {"Retry-After": "9"}
    ),
    "a defect": Answer(500, '{"detail": "Internal Server Error"}'),
    "a proxy whose server is away": Answer(502, PAGE),
    "a balancer without a server": Answer(503, "<html><body><h1>503 Service Unavailable</h1></body></html>"),
    "a proxy whose server is late": Answer(504, ""),
}


@pytest.mark.parametrize("agent", AGENTS, ids=named)
@pytest.mark.parametrize("answer", AWAY.values(), ids=list(AWAY))
def test_an_answer_that_is_no_agents_is_not_the_agent(agent: Callable[[str], Agent], answer: Answer) -> None:
    with web_server(lambda _path: answer) as server:
        assert not answers(agent(server.base_url), 20)
        assert server.asked
        # Where it points to is not asked, and gets no key.
        assert all(path.startswith("/v1/") for path, _ in server.asked)


def refuses_handshake(answer: Answer) -> Callable[[str], Answer]:
    """Answers so at the address of sessions, and nowhere else."""
    return lambda path: answer if "/realtime" in path or "/conversation?" in path else Answer(404, NO_PATH)


BACK: dict[str, tuple[Callable[[str], Agent], Callable[[str], Answer]]] = {
    "a signed URL": (signed, lambda path: Answer(200, SIGNED) if "get-signed-url" in path else Answer(500)),
    "400 at the address of sessions": (public, refuses_handshake(Answer(400, "no"))),
    "426 at the address of sessions": (public, refuses_handshake(Answer(426, "Upgrade Required"))),
    "the model": (openai, lambda path: Answer(200, MODEL) if path == "/v1/models/gpt-realtime" else Answer(500)),
    "no list of models": (openai, refuses_handshake(Answer(426, "Upgrade Required"))),
    "no model is named": (own_server, refuses_handshake(Answer(400, "Bad Request"))),
}


@pytest.mark.parametrize(("agent", "answer"), BACK.values(), ids=list(BACK))
def test_an_answer_of_an_agents_server_is_the_agent(
    agent: Callable[[str], Agent], answer: Callable[[str], Answer]
) -> None:
    with web_server(answer) as server:
        assert answers(agent(server.base_url), 20)


@contextmanager
def framework(sockets: str) -> Iterator[tuple[str, list[str]]]:
    """A server whose path of sessions is known for WebSocket alone, by FastAPI. sockets: the package behind it. Returns
    its base URL, and the sessions that were begun."""
    # They come with llmock, which the oldest packages do not have.
    fastapi, uvicorn = pytest.importorskip("fastapi"), pytest.importorskip("uvicorn")
    starlette_routing = pytest.importorskip("starlette.routing")
    begun: list[str] = []
    app = fastapi.FastAPI()

    async def session(websocket: Any) -> None:
        begun.append(str(websocket.url))
        await websocket.accept()
        await websocket.close()

    for path in ("/v1/convai/conversation", "/v1/realtime"):
        app.router.routes.append(starlette_routing.WebSocketRoute(path, session))
    with socket_at_a_free_port() as listening:
        server = uvicorn.Server(uvicorn.Config(app, ws=sockets, log_level="critical"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", begun
        finally:
            server.should_exit = True
            thread.join()


def socket_at_a_free_port() -> socket.socket:
    """Listens at once, so that nobody has to wait for the server."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    return listening


@pytest.mark.parametrize("agent", [public, openai, own_server], ids=named)
@pytest.mark.parametrize("sockets", ["websockets", "websockets-sansio"])
def test_a_framework_that_knows_the_path_for_websocket_alone_is_the_agent(
    sockets: str, agent: Callable[[str], Agent]
) -> None:
    """It answers a plain request with 404, as a gateway does that has lost its route."""
    with framework(sockets) as (base_url, begun):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{base_url}/v1/convai/conversation?agent_id=a")
        assert answers(agent(base_url), 20)
    assert not begun, "no session was begun"


@pytest.mark.parametrize("agent", [public, own_server], ids=named)
def test_a_server_of_websocket_alone_is_the_agent(agent: Callable[[str], Agent]) -> None:
    begun: list[str] = []
    with serve(lambda session: begun.append(str(session.id)), "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        assert answers(agent(f"http://127.0.0.1:{server.socket.getsockname()[1]}"), 20)
        server.shutdown()
        thread.join()
    assert not begun, "no session was begun"


@pytest.mark.parametrize("agent", [public, openai], ids=named)
def test_the_embedded_agent_is_one(agent: Callable[[str], Agent]) -> None:
    with LocalAgent(AgentSettings()) as server:
        assert answers(agent(server.base_url), 20)
        assert not server.connections, "no session was begun"


def test_a_list_of_models_without_the_model_is_no_agent() -> None:
    missing = Answer(404, '{"error": {"code": "model_not_found", "message": "The model does not exist"}}')
    with web_server(lambda path: missing if "models" in path else Answer(426)) as server:
        assert not answers(openai(server.base_url), 20)


@pytest.mark.parametrize("agent", AGENTS, ids=named)
def test_nobody_there_is_no_agent(agent: Callable[[str], Agent]) -> None:
    assert not answers(agent("http://127.0.0.1:9"), 20)


@pytest.mark.parametrize("agent", AGENTS, ids=named)
@pytest.mark.parametrize("server_is_tls", [True, False], ids=["a certificate of nobody", "no TLS"])
def test_a_server_that_is_not_the_one_of_the_name_is_no_agent(
    agent: Callable[[str], Agent], server_is_tls: bool, tmp_path: Path
) -> None:
    with web_server(lambda _path: Answer(426)) as server:
        if server_is_tls:
            path = tmp_path / "server.pem"
            command = (
                "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1"
            )
            subprocess.run([*command.split(), "-keyout", path, "-out", path], check=True, capture_output=True)
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(path)
            server.wrap(tls)
        with pytest.raises(DialError):
            agent(server.base_url.replace("http:", "https:")).reach(20)
        assert not server.asked
