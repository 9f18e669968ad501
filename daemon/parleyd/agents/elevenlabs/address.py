"""The addresses to connect to: the WebSocket URL, and for private agents the signed URL that the server returns for the
API key.

The key is sent in one header of one request, over TLS or to this machine, and appears in no message of this program.
"""

from __future__ import annotations

import contextlib
import io
import json
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn, Protocol
from urllib.parse import SplitResult, quote, urlencode, urlsplit, urlunsplit

from parleyd import __version__
from parleyd.agents.elevenlabs.endings import judge_http, one_line
from parleyd.agents.provider import Address, Server
from parleyd.agents.websocket_there import NO_SESSION, is_handshake, is_page, speaks_websocket
from parleyd.config.schema import ElevenLabs
from parleyd.core.endings import DialError, Ending, EndingKind
from parleyd.host import authorities, unreachable
from parleyd.host.proxies import is_this_machine
from parleyd.host.reaching import Deadline

if TYPE_CHECKING:
    from http.client import HTTPResponse

CONVERSATION_PATH = "/v1/convai/conversation"
SIGNED_URL_PATH = "/v1/convai/conversation/get-signed-url"
SPEECH_PATH = "/v1/text-to-speech/{voice_id}/stream-input"

# The configuration key that names the server.
_KEY = "elevenlabs.base_url"
_WEBSOCKET_SCHEME = {"https": "wss", "http": "ws"}
_MAX_ANSWER_BYTES = 64 * 1024
_MAX_URL_CHARS = 8192
_PATH_SAFE = "/%:@!$&'()*+,;=~-._"


def place_of(section: ElevenLabs) -> dict[str, str | None]:
    """The fields of the query that tell the version of the agent."""
    return {"branch_id": section.branch_id, "environment": section.environment}


def conversation_address(base_url: str, agent_id: str, more: Mapping[str, str | None] | None = None) -> Address:
    """The address of a public agent. more: further fields of the query; None: left out. Raises DialError if base_url is
    not usable."""
    base = _base(base_url)
    url = _url(base, _WEBSOCKET_SCHEME[base.scheme], CONVERSATION_PATH, _agent_query(agent_id, more))
    return Address(url)


def signed_address(
    base_url: str, agent_id: str, api_key: str, timeout_s: float, more: Mapping[str, str | None] | None = None
) -> Address:
    """The address of a private agent: asks the server for a signed URL; blocks. more: as above. Raises DialError."""
    base = _base(base_url)
    body = get(base_url, f"{SIGNED_URL_PATH}?{_agent_query(agent_id, more)}", api_key, timeout_s)
    return Address(_signed_url(body, base))


def reach_public(base_url: str, agent_id: str, timeout_s: float, more: Mapping[str, str | None] | None = None) -> None:
    """Whether the server would open a session with a public agent, as far as a request that begins none can tell;
    blocks. more: as above. Raises DialError: why not."""
    base = _base(base_url)
    query = _agent_query(agent_id, more)
    headers = {**_headers(base, None), **NO_SESSION}
    status, body = _ask("GET", base, CONVERSATION_PATH, query, headers, None, timeout_s, _MAX_ANSWER_BYTES)
    if speaks_websocket(status, body):
        return
    if is_page(body):
        _try_again(f"{_name(base)} answers with a web page (HTTP {status})", "in a guest network: log in there first")
    raise DialError(judge_http(status, body))


def _agent_query(agent_id: str, more: Mapping[str, str | None] | None) -> str:
    fields = {"agent_id": agent_id, **{name: value for name, value in (more or {}).items() if value is not None}}
    return urlencode(fields, quote_via=quote, safe="")


def speech_address(base_url: str, voice_id: str, model_id: str, output_format: str, api_key: str | None) -> Address:
    """The address of the WebSocket for text to speech. Without a key only a server on this machine is used. Raises
    DialError."""
    base = _base(base_url)
    headers: tuple[str, ...] = ()
    if api_key is not None:
        _check_key(base, api_key)
        headers = (f"xi-api-key: {api_key}",)
    elif not is_this_machine(base.hostname or ""):
        _refuse("text to speech needs an API key, also where the agent is public", "set elevenlabs.api_key")
    path = SPEECH_PATH.format(voice_id=quote(voice_id, safe=""))
    query = urlencode({"model_id": model_id, "output_format": output_format})
    return Address(_url(base, _WEBSOCKET_SCHEME[base.scheme], path, query), headers)


def server_of(base_url: str, key: str | None) -> Server:
    """The server at this URL. key: of the configuration; it names the URL. Raises DialError if the URL is not
    usable."""
    base = _base(base_url)
    is_tls = base.scheme == "https"
    return Server(base.hostname or "", base.port or (443 if is_tls else 80), is_tls, key)


def get(
    base_url: str, path_and_query: str, api_key: str, timeout_s: float, *, most_bytes: int = _MAX_ANSWER_BYTES
) -> str:
    """The body of the API's answer with status 200; blocks. Raises DialError for all other answers, and without an
    answer."""
    base = _base(base_url)
    path, _, query = path_and_query.partition("?")
    status, body = _ask("GET", base, path, query, _headers(base, api_key), None, timeout_s, most_bytes)
    if status != 200:
        raise DialError(judge_http(status, body.replace(api_key, "***")))
    return body


def exchange(
    method: str,
    base_url: str,
    path_and_query: str,
    api_key: str,
    body: bytes | None,
    timeout_s: float,
    *,
    most_bytes: int = _MAX_ANSWER_BYTES,
) -> tuple[int, str]:
    """Status and body of the API's answer, whatever the status; blocks. body: JSON. Raises DialError if there is no
    answer."""
    base = _base(base_url)
    path, _, query = path_and_query.partition("?")
    headers = _headers(base, api_key)
    if body is not None:
        headers |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    content = None if body is None else io.BytesIO(body)
    status, text = _ask(method, base, path, query, headers, content, timeout_s, most_bytes)
    return status, text.replace(api_key, "***")


class Readable(Protocol):
    def read(self, most_bytes: int = -1, /) -> bytes: ...


def post(
    base_url: str,
    path: str,
    body: Readable,
    length_bytes: int,
    content_type: str,
    api_key: str | None,
    timeout_s: float,
) -> tuple[int, str]:
    """Status and body of the answer, whatever the status; blocks. timeout_s: for connecting, for each piece of the
    body, and for the answer. Raises DialError if there is no answer; errors of body.read() are passed on, except
    OSError. api_key: None for public agents."""
    base = _base(base_url)
    headers = _headers(base, api_key) | {"Content-Type": content_type, "Content-Length": str(length_bytes)}
    status, text = _ask("POST", base, path, "", headers, body, timeout_s, _MAX_ANSWER_BYTES)
    return status, text.replace(api_key, "***") if api_key else text


def _headers(base: SplitResult, api_key: str | None) -> dict[str, str]:
    """Raises DialError if the key has an invalid form, or if others could see it."""
    headers = {"Accept": "application/json", "User-Agent": f"parleyd/{__version__}"}
    if api_key is None:
        return headers
    _check_key(base, api_key)
    return headers | {"xi-api-key": api_key}


# ---------------------------------------------------------------- URLs


def _base(base_url: str) -> SplitResult:
    try:
        base = urlsplit(base_url)
        base.port  # noqa: B018 - raises ValueError when it is none
        usable = base.scheme in _WEBSOCKET_SCHEME and bool(base.hostname) and not set(base.netloc) & set(' <>"\\')
    except ValueError:
        usable = False
    if not usable:
        _refuse("elevenlabs.base_url is no http or https URL", "use https://HOST or http://127.0.0.1:PORT")
    if "@" in base.netloc:
        _refuse("elevenlabs.base_url holds a user name", "remove the user name and password from it")
    return base


def _url(base: SplitResult, scheme: str, path: str, query: str) -> str:
    return f"{scheme}://{base.netloc}{_target(base, path, query)}"


def _target(base: SplitResult, path: str, query: str) -> str:
    prefix = quote(base.path.rstrip("/"), safe=_PATH_SAFE)
    return urlunsplit(("", "", prefix + path, query, ""))


def _check_key(base: SplitResult, api_key: str) -> None:
    if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        _refuse("the API key is empty or holds signs that no key has", "check elevenlabs.api_key")
    if base.scheme == "http" and not is_this_machine(base.hostname or ""):
        _refuse(
            "the API key would cross the network unencrypted",
            "use https in elevenlabs.base_url, or remove elevenlabs.api_key",
        )


def _signed_url(body: str, base: SplitResult) -> str:
    """Checks the URL. Any host is accepted; it must be a valid URL, and not less private than base_url."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    url = answer.get("signed_url") if isinstance(answer, dict) else None
    if not isinstance(url, str) or not _is_websocket_url(url):
        _try_again(f"{_name(base)} answered something that is not a signed URL", "check elevenlabs.base_url")
    if base.scheme == "https" and urlsplit(url).scheme != "wss":
        _refuse("the signed URL is for an unencrypted connection", "check elevenlabs.base_url")
    return url


def _is_websocket_url(url: str) -> bool:
    if len(url) > _MAX_URL_CHARS or not url.isascii() or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises ValueError when it is none
    except ValueError:
        return False
    return parts.scheme in ("ws", "wss") and bool(parts.hostname)


# ---------------------------------------------------------------- the request


def _ask(
    method: str,
    base: SplitResult,
    path: str,
    query: str,
    headers: dict[str, str],
    body: Readable | None,
    timeout_s: float,
    most_bytes: int,
) -> tuple[int, str]:
    """Status and body, whatever the status. Follows no redirect, because the key would be sent there. Raises DialError
    if there is no answer."""
    try:
        # Imported here, because an agent that is open to everybody is reached without a request: 8 ms and a megabyte.
        import http.client

        from parleyd.host.requests import open_http
    except OSError as problem:
        # There is no file handle left.
        raise DialError(_no_answer(problem, base, timeout_s)) from None

    opening, answering = Deadline(timeout_s), None
    try:
        with opening:
            tunnel = is_handshake(headers)
            way = open_http(base, (), opening, tls=authorities.context(), tunnel=tunnel)
        with contextlib.closing(way.connection) as connection:
            line = connection.sock
            assert line is not None
            line.settimeout(timeout_s)
            target = way.prefix + _target(base, path, query)
            connection.request(method, target, body, {"Connection": "close", **headers, **way.headers})
            # A body that is sent in pieces may take longer; each piece has its own time limit.
            with Deadline(opening.left_s if body is None else timeout_s) as answering:
                answering.guard(line)
                with way.answer() as answer:
                    status, text = answer.status, _read(answer, most_bytes)
            # The deadline's cut may look like the end of the answer.
            if answering.is_over:
                raise TimeoutError
            return status, text
    except (OSError, http.client.HTTPException, ValueError) as problem:
        cause = problem if answering is None else answering.cause(problem)
        raise DialError(_no_answer(cause, base, timeout_s)) from None


def _read(answer: HTTPResponse, most_bytes: int) -> str:
    body = b""
    while len(body) < most_bytes and (piece := answer.read1(most_bytes - len(body))):
        body += piece
    return body.decode("utf-8", "replace")


def _no_answer(problem: Exception, base: SplitResult, timeout_s: float) -> Ending:
    """problem: its text is not repeated if it could contain the request."""
    where, check = _name(base), "check the network and elevenlabs.base_url"
    if isinstance(problem, ValueError) and not isinstance(problem, UnicodeError | ssl.SSLError):
        return Ending(EndingKind.RETRY, f"{where} cannot be asked", check)
    found = unreachable.trouble(problem, where, _KEY)
    reason = f"{where} did not answer within {timeout_s:g} s" if type(problem) is TimeoutError else found.reason
    kind = EndingKind.FINAL if found.is_lasting else EndingKind.RETRY
    return Ending(kind, one_line(reason), found.hint or check)


def _name(base: SplitResult) -> str:
    """Host and port, without parts that may be secret."""
    return one_line(base.netloc)


def _refuse(reason: str, hint: str) -> NoReturn:
    raise DialError(Ending(EndingKind.FINAL, reason, hint))


def _try_again(reason: str, hint: str) -> NoReturn:
    raise DialError(Ending(EndingKind.RETRY, reason, hint))
