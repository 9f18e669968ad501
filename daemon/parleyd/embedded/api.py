"""The embedded agent's answers over HTTP, besides its WebSockets, and the check of its clients. Used on the server's
loop."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from parleyd.embedded import messages, past, voices
from parleyd.embedded.opening import version_refusal
from parleyd.embedded.platform import WRITE, Platform, missing_permission
from parleyd.embedded.record import ConnectionRecord
from parleyd.embedded.scenario import HttpAnswer, Scenario
from parleyd.embedded.settings import AgentSettings
from parleyd.embedded.signatures import Signatures

SIGNED_URL_PATH = "/v1/convai/conversation/get-signed-url"
_INVALID_KEY = (401, {"detail": {"status": "invalid_api_key", "message": "Invalid API key"}})


class Api:
    """In its methods, netloc is the server's address for a client whose request does not contain it. secret: of the
    signatures, and of the addresses of samples. has_tls: clients reach it by TLS."""

    def __init__(
        self,
        settings: AgentSettings,
        scenario: Scenario,
        agents: Sequence[dict[str, Any]] = (),
        *,
        secret: bytes,
        has_tls: bool = False,
    ) -> None:
        self._settings = settings
        self._scenario = scenario
        self._platform = Platform(settings, settings.key_permissions, agents)
        self._signatures = Signatures(secret)
        self._has_tls = has_tls
        self._signed_count = 0
        self._secret = secret

    def is_key(self, key: str) -> bool:
        right = self._settings.api_key
        return bool(key) if right is None else secrets.compare_digest(key_bytes(key), key_bytes(right))

    def refusal(self, request: Request) -> str | None:
        """Why this client gets no conversation; checked after the handshake, as by the real service."""
        query = parse_qs(urlsplit(request.path).query)
        agent_ids = query.get("agent_id", [])
        if not agent_ids or not self._exists(agent_ids[0]):
            return "The AI agent you are trying to reach does not exist."
        settings = self.settings_for(request)
        if refused := version_refusal(settings, *(query.get(name, [None])[0] for name in ("branch_id", "environment"))):
            return refused
        signatures = [*query.get("conversation_signature", []), *query.get("token", [])]
        if signatures:
            is_valid = self._signatures.use(signatures[0], agent_ids[0], time.time())
            return None if is_valid else "Could not authorize the conversation."
        key = request.headers.get("xi-api-key")
        if settings.require_auth and not (key and self.is_key(key)):
            return "Could not authorize the conversation."
        return None

    def _exists(self, agent_id: str) -> bool:
        if self._platform.is_closed:
            return agent_id in self._platform.agents
        return self._settings.agent_id in (None, agent_id)

    async def answer(self, request: Request, netloc: str) -> Response | None:
        """The answer to a request; None: the request is for another part of the server."""
        path = urlsplit(request.path).path.rstrip("/")
        # The base URL may contain a path before it.
        if path.endswith(SIGNED_URL_PATH):
            return await self._signed_url(request, netloc)
        if voices.is_for(request.path):
            return await self._voices(request, netloc)
        found = self.change("GET", request.path, request.headers.get("xi-api-key"), b"")
        return None if found is None else json_response(*found)

    async def _voices(self, request: Request, netloc: str) -> Response:
        if voices.is_preview(request.path):
            # Players send no key, as with the real service: a token in the address is proof that the list was read.
            content = await asyncio.to_thread(voices.preview, self._settings, request.path, self._secret)
            return _not_found("There is no such sample.") if content is None else _response(200, content)
        if not self.is_key(request.headers.get("xi-api-key", "")):
            return _invalid_key()
        if (refusal := self._platform.refusal(voices.PERMISSION)) is not None:
            return json_response(*refusal)
        host = request.headers.get("Host") or netloc
        scheme = "https" if self._is_by_tls(request) else "http"
        return json_response(200, voices.listed(self._settings, f"{scheme}://{host}", self._secret))

    def change(self, method: str, target: str, key: str | None, body: bytes) -> tuple[int, object] | None:
        """(status, content) of a request to the platform around the agent; None: the path is for another part of the
        server."""
        if not self._platform.is_for(target):
            return None
        return self._platform.answer(method, target, body) if self.is_key(key or "") else _INVALID_KEY

    def remember(
        self, request: Request, record: ConnectionRecord, conversation_id: str, ended: str, user_id: str
    ) -> None:
        """Keeps a conversation that has ended, for GET /v1/convai/conversations."""
        duration_s = time.monotonic() - record.began_s
        self._platform.remember(
            past.as_conversation(
                conversation_id,
                _agent_id(request),
                time.time() - duration_s,
                record.began_s,
                duration_s,
                tuple(record.turns),
                ended,
                user_id,
            )
        )

    def settings_of_all(self) -> list[AgentSettings]:
        """The settings of all agents that are known now."""
        return [self._platform.settings_of(agent_id) for agent_id in self._platform.agents]

    def settings_for(self, request: Request) -> AgentSettings:
        """The settings of the agent that a client asks for. A client that names none, as those of the Realtime protocol
        may, has the first one of the files."""
        agent_id = _agent_id(request)
        if not agent_id and self._platform.is_closed:
            agent_id = next(iter(self._platform.agents), "")
        return self._platform.settings_of(agent_id)

    def has_agent(self, request: Request) -> bool:
        """Whether the agent that a client names exists, or it names none."""
        agent_id = _agent_id(request)
        return not agent_id or self._exists(agent_id)

    async def _signed_url(self, request: Request, netloc: str) -> Response:
        answer = self._scenario.signed_url_for(self._signed_count)
        self._signed_count += 1
        await asyncio.sleep(answer.delay_s)
        if answer.status is not None:
            return scripted_response(answer)
        if not self.is_key(request.headers.get("xi-api-key", "")):
            return _invalid_key()
        parts = urlsplit(request.path)
        query = parse_qs(parts.query)
        agent_id = query.get("agent_id", [""])[0]
        if not agent_id:
            return json_response(422, {"detail": [{"loc": ["query", "agent_id"], "msg": "Field required"}]})
        if not self._exists(agent_id):
            return _not_found("The AI agent you are trying to reach does not exist.")
        if self._settings.key_permissions is not None and WRITE not in self._settings.key_permissions:
            return json_response(*missing_permission(WRITE))
        is_single = query.get("include_conversation_id", [""])[0].lower() == "true"
        kept: dict[str, str] = {name: query[name][0] for name in ("branch_id", "environment") if name in query}
        nonce = secrets.token_urlsafe(12)
        signature = self._signatures.make(agent_id, time.time(), nonce, is_single=is_single)
        fields = {"agent_id": agent_id, **kept, "conversation_signature": signature}
        parameters = urlencode(fields)
        path = parts.path.rstrip("/").removesuffix("/get-signed-url")
        host = request.headers.get("Host") or netloc
        scheme = "wss" if self._is_by_tls(request) else "ws"
        return json_response(200, {"signed_url": f"{scheme}://{host}{path}?{parameters}"})

    def _is_by_tls(self, request: Request) -> bool:
        """Whether the client has come by TLS, to this server or to the balancer before it."""
        return self._has_tls or request.headers.get("X-Forwarded-Proto", "").lower() in ("https", "wss")


def _agent_id(request: Request) -> str:
    return parse_qs(urlsplit(request.path).query).get("agent_id", [""])[0]


def key_bytes(key: str) -> bytes:
    """The bytes of a key in a header, where any may be: the WebSocket library has those beyond ASCII as surrogates."""
    return key.encode(errors="surrogateescape")


def scripted_response(answer: HttpAnswer) -> Response:
    """The HTTP answer of a scenario."""
    assert answer.status is not None
    return _response(answer.status, answer.body.encode())


def json_response(status: int, content: object) -> Response:
    return _response(status, messages.as_text(content).encode())


def plain_response(status: int, text: bytes) -> Response:
    return _response(status, text)


def _invalid_key() -> Response:
    return json_response(*_INVALID_KEY)


def _not_found(message: str) -> Response:
    return json_response(404, {"detail": {"status": "document_not_found", "message": message}})


def _response(status: int, body: bytes) -> Response:
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Unknown"
    kind = "application/json" if body[:1] in (b"{", b"[") else "text/plain; charset=utf-8"
    if body.startswith(b"RIFF"):
        kind = "audio/wav"
    headers = Headers([("Content-Type", kind), ("Content-Length", str(len(body))), ("Connection", "close")])
    return Response(status, reason, headers, body)
