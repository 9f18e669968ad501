"""HTTP requests to the server beside its sessions: what it says of a model, and text to speech.

The key goes over TLS or to this machine only, and appears in no message of this program.
"""

from __future__ import annotations

import contextlib
import http.client
import ssl
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from parleyd import __version__
from parleyd.agents.openai import address
from parleyd.agents.openai.endings import judge_http, known_name
from parleyd.agents.websocket_there import is_handshake
from parleyd.config.openai_section import OpenAI
from parleyd.core.endings import DialError, Ending, EndingKind
from parleyd.core.text import one_line, without
from parleyd.host import authorities, unreachable
from parleyd.host.reaching import Deadline
from parleyd.host.requests import open_http

_MOST_ANSWER_BYTES = 256 * 1024
_PIECE_BYTES = 16 * 1024


class RefusedError(DialError):
    """The server answers with another status than 200. name: the known one by which it says why; empty: none, and a 404
    may mean that the server does not know the path."""

    def __init__(self, ending: Ending, name: str) -> None:
        super().__init__(ending)
        self.name = name


def get(config: OpenAI, key: str | None, path: tuple[str, ...], timeout_s: float) -> str:
    """The body of the answer with status 200; blocks. Raises RefusedError for all others, DialError without one."""
    with _request(config, key, "GET", path, None, timeout_s) as answer:
        return _read(answer).decode("utf-8", "replace")


def exchange(
    config: OpenAI, key: str | None, url: str, timeout_s: float, more: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Status and body of the answer to a GET, whatever the status; blocks. url: of this server. timeout_s: for all of
    it. more: headers. Raises DialError if there is no answer."""
    with _answer(config, key, "GET", url, None, timeout_s, is_whole=True, more=more) as answer:
        return answer.status, without(_read(answer).decode("utf-8", "replace"), [key] if key else [])


def post(config: OpenAI, key: str | None, path: tuple[str, ...], body: bytes, timeout_s: float) -> Iterator[bytes]:
    """The body of the answer with status 200, piece by piece; blocks. body: JSON. timeout_s: for connecting, and for
    each piece. Raises DialError as get() does, also between pieces."""
    with _request(config, key, "POST", path, body, timeout_s) as answer:
        while piece := answer.read1(_PIECE_BYTES):
            yield piece
        if answer.length:
            # http.client takes the end of the line for the end of the body, although its length was told.
            raise http.client.IncompleteRead(b"", answer.length)


@contextlib.contextmanager
def _request(
    config: OpenAI, key: str | None, method: str, path: tuple[str, ...], body: bytes | None, timeout_s: float
) -> Iterator[http.client.HTTPResponse]:
    url = address.http_url(config, *path)
    with _answer(config, key, method, url, body, timeout_s) as answer:
        if answer.status != 200:
            text = without(_read(answer).decode("utf-8", "replace"), [key] if key else [])
            raise RefusedError(judge_http(answer.status, text, has_key=key is not None), known_name(text))
        yield answer


@contextlib.contextmanager
def _answer(
    config: OpenAI,
    key: str | None,
    method: str,
    where_to: str,
    body: bytes | None,
    timeout_s: float,
    *,
    is_whole: bool = False,
    more: Mapping[str, str] | None = None,
) -> Iterator[http.client.HTTPResponse]:
    """The answer, whatever its status. Follows no redirect, because the key would be sent there. is_whole: timeout_s is
    for the body as well, and not for each piece of it."""
    address.server(config)
    address.check_key(config, key)
    url = urlsplit(where_to)
    headers = {"User-Agent": f"parleyd/{__version__}", "Connection": "close", **address.headers(config, key)}
    headers |= more or {}
    if body is not None:
        headers["Content-Type"] = "application/json"
    where = one_line(url.netloc)
    opening = Deadline(timeout_s)
    try:
        with contextlib.ExitStack() as held:
            with opening if not is_whole else contextlib.nullcontext():
                if is_whole:
                    held.enter_context(opening)
                way = open_http(url, (), opening, tls=authorities.context(), tunnel=is_handshake(headers))
            connection = held.enter_context(contextlib.closing(way.connection))
            assert connection.sock is not None
            connection.sock.settimeout(timeout_s)
            target = way.prefix + url.path + (f"?{url.query}" if url.query else "")
            connection.request(method, target, body, {**headers, **way.headers})
            with way.answer() as answer:
                yield answer
            if opening.is_over:
                # Its cut may look like the end of the answer.
                raise TimeoutError
    except (OSError, http.client.HTTPException, ValueError) as problem:
        raise DialError(_no_answer(opening.cause(problem), where, timeout_s)) from None


def _read(answer: http.client.HTTPResponse) -> bytes:
    body = b""
    while len(body) < _MOST_ANSWER_BYTES and (piece := answer.read1(_MOST_ANSWER_BYTES - len(body))):
        body += piece
    return body


def _no_answer(problem: Exception, where: str, timeout_s: float) -> Ending:
    """problem: its text is not repeated if it could contain the request."""
    check = "check the network and openai.base_url"
    if isinstance(problem, ValueError) and not isinstance(problem, UnicodeError | ssl.SSLError):
        return Ending(EndingKind.RETRY, f"{where} cannot be asked", check)
    if isinstance(problem, http.client.IncompleteRead):
        return Ending(EndingKind.RETRY, f"the line to {where} was lost", check)
    found = unreachable.trouble(problem, where)
    reason = f"{where} did not answer within {timeout_s:g} s" if type(problem) is TimeoutError else found.reason
    kind = EndingKind.FINAL if found.is_lasting else EndingKind.RETRY
    return Ending(kind, one_line(reason), found.hint or check)
