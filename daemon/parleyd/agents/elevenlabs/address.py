"""Where to connect: the WebSocket URL, and for private agents the signed URL that the server gives for the API key.

The key goes into one header of one request, over TLS or to this machine, and into no message of this program.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, NoReturn, Protocol
from urllib.parse import SplitResult, quote, urlencode, urlsplit, urlunsplit

from parleyd import __version__
from parleyd.agents.agent import Address, DialError, Ending, EndingKind
from parleyd.agents.elevenlabs.endings import judge_http, one_line
from parleyd.host import authorities
from parleyd.host.reaching import reach

CONVERSATION_PATH = "/v1/convai/conversation"
SIGNED_URL_PATH = "/v1/convai/conversation/get-signed-url"
SPEECH_PATH = "/v1/text-to-speech/{voice_id}/stream-input"

_WEBSOCKET_SCHEME = {"https": "wss", "http": "ws"}
_MAX_ANSWER_BYTES = 64 * 1024
_MAX_URL_CHARS = 8192
_PATH_SAFE = "/%:@!$&'()*+,;=~-._"


def conversation_address(base_url: str, agent_id: str) -> Address:
    """Of a public agent. Raises DialError when base_url is not usable."""
    base = _base(base_url)
    query = f"agent_id={quote(agent_id, safe='')}"
    url = _url(base, _WEBSOCKET_SCHEME[base.scheme], CONVERSATION_PATH, query)
    return Address(url)


def signed_address(base_url: str, agent_id: str, api_key: str, timeout_s: float) -> Address:
    """Of a private agent: asks the server for a signed URL; blocks. Raises DialError."""
    base = _base(base_url)
    body = get(base_url, f"{SIGNED_URL_PATH}?agent_id={quote(agent_id, safe='')}", api_key, timeout_s)
    return Address(_signed_url(body, base))


def speech_address(base_url: str, voice_id: str, model_id: str, output_format: str, api_key: str | None) -> Address:
    """Of the text-to-speech WebSocket. Without a key only a server on this machine is asked. Raises DialError."""
    base = _base(base_url)
    headers: tuple[str, ...] = ()
    if api_key is not None:
        _check_key(base, api_key)
        headers = (f"xi-api-key: {api_key}",)
    elif not _is_this_machine(base.hostname or ""):
        _refuse("text to speech needs an API key, also where the agent is public", "set elevenlabs.api_key")
    path = SPEECH_PATH.format(voice_id=quote(voice_id, safe=""))
    query = urlencode({"model_id": model_id, "output_format": output_format})
    return Address(_url(base, _WEBSOCKET_SCHEME[base.scheme], path, query), headers)


def get(
    base_url: str, path_and_query: str, api_key: str, timeout_s: float, *, most_bytes: int = _MAX_ANSWER_BYTES
) -> str:
    """The body that the server's API answers with 200; blocks. Raises DialError for all other answers, and for none."""
    base = _base(base_url)
    path, _, query = path_and_query.partition("?")
    request = urllib.request.Request(_url(base, base.scheme, path, query), headers=_headers(base, api_key))
    status, body = _ask(request, base, timeout_s, most_bytes)
    if status != 200:
        raise DialError(judge_http(status, body.replace(api_key, "***")))
    return body


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
    body, and for the answer. Raises DialError where there is no answer; what body.read() raises comes through, but for
    OSError. api_key: None for public agents."""
    base = _base(base_url)
    headers = _headers(base, api_key) | {"Content-Type": content_type, "Content-Length": str(length_bytes)}
    request = urllib.request.Request(_url(base, base.scheme, path, ""), body, headers, method="POST")
    status, text = _ask(request, base, timeout_s, _MAX_ANSWER_BYTES)
    return status, text.replace(api_key, "***") if api_key else text


def _headers(base: SplitResult, api_key: str | None) -> dict[str, str]:
    """Raises DialError where the key cannot be one, or would be seen by others."""
    # Some gateways refuse urllib's own name.
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
        usable = base.scheme in _WEBSOCKET_SCHEME and bool(base.hostname) and not set(base.netloc) & set(" <>\"\\")
    except ValueError:
        usable = False
    if not usable:
        _refuse("elevenlabs.base_url is no http or https URL", "use https://HOST or http://127.0.0.1:PORT")
    if "@" in base.netloc:
        _refuse("elevenlabs.base_url holds a user name", "remove the user name and password from it")
    return base


def _url(base: SplitResult, scheme: str, path: str, query: str) -> str:
    prefix = quote(base.path.rstrip("/"), safe=_PATH_SAFE)
    return urlunsplit((scheme, base.netloc, prefix + path, query, ""))


def _check_key(base: SplitResult, api_key: str) -> None:
    if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        _refuse("the API key is empty or holds signs that no key has", "check elevenlabs.api_key")
    if base.scheme == "http" and not _is_this_machine(base.hostname or ""):
        _refuse(
            "the API key would cross the network unencrypted",
            "use https in elevenlabs.base_url, or remove elevenlabs.api_key",
        )


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _signed_url(body: str, base: SplitResult) -> str:
    """The URL is taken as it is, at whatever host; only that it is one, and not less private than base_url."""
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


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected request would take the key along to wherever the answer points."""

    def redirect_request(self, *_: object) -> None:
        return None


class _AnyAddress(urllib.request.HTTPSHandler, urllib.request.HTTPHandler):
    """urllib's own wait for the first address of the host, or of the proxy, until no time is left for the next."""

    def do_open(
        self,
        http_class: Callable[..., http.client.HTTPConnection],
        req: urllib.request.Request,
        **http_conn_args: Any,
    ) -> http.client.HTTPResponse:
        def connection(host: str, **options: Any) -> http.client.HTTPConnection:
            made = http_class(host, **options)
            # Below the proxy's tunnel and TLS, which stay the library's.
            made._create_connection = _reach  # type: ignore[attr-defined]
            return made

        return super().do_open(connection, req, **http_conn_args)


def _reach(where: tuple[str, int], timeout_s: float, _source: object) -> socket.socket:
    return reach(*where, (), timeout_s)


def _ask(
    request: urllib.request.Request, base: SplitResult, timeout_s: float, most_bytes: int
) -> tuple[int, str]:
    """Status and body, whatever the status. Raises DialError when there is no answer."""
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect(), _AnyAddress(context=authorities.context())]
    if base.scheme == "http":
        # To this machine: never through a proxy, who would see the key.
        handlers.append(urllib.request.ProxyHandler({}))
    opener = urllib.request.build_opener(*handlers)
    try:
        try:
            answer = opener.open(request, timeout=timeout_s)
        except urllib.error.HTTPError as refusal:
            answer = refusal
        with answer:
            return answer.status or 0, _read(answer, time.monotonic() + timeout_s, most_bytes)
    except (OSError, http.client.HTTPException, ValueError) as problem:
        raise DialError(_no_answer(problem, base, timeout_s)) from None


def _read(answer: http.client.HTTPResponse | urllib.error.HTTPError, end_s: float, most_bytes: int) -> str:
    """Up to a limit, and up to a time: the socket's own timeout starts anew with every byte."""
    body = b""
    while len(body) < most_bytes:
        piece = answer.read1(most_bytes - len(body))
        if not piece:
            break
        body += piece
        if time.monotonic() > end_s:
            raise TimeoutError
    return body.decode("utf-8", "replace")


def _no_answer(problem: Exception, base: SplitResult, timeout_s: float) -> Ending:
    """problem: its own text is not repeated where it could hold the request."""
    cause = problem.reason if isinstance(problem, urllib.error.URLError) else problem
    where, check = _name(base), "check the network and elevenlabs.base_url"
    match cause:
        case ssl.SSLCertVerificationError():
            reason = f"the certificate of {where} is not valid: {one_line(cause.verify_message)}"
            check = "check the clock (a board without one is wrong until it has the network), then elevenlabs.base_url"
        case ssl.SSLError():
            reason = f"no encrypted connection to {where}: {one_line(cause.reason or 'TLS failed')}"
        case TimeoutError():
            reason = f"{where} did not answer within {timeout_s:g} s"
        case ConnectionRefusedError():
            reason = f"nothing listens at {where}"
        case socket.gaierror():
            reason = f"the name {where} is not known"
        case OSError():
            reason = f"{where} cannot be reached: {one_line(cause.strerror or str(cause))}"
        case http.client.HTTPException():
            reason = f"{where} answered something that is not HTTP"
        case _:
            reason = f"{where} cannot be asked"
    return Ending(EndingKind.RETRY, reason, check)


def _name(base: SplitResult) -> str:
    """Host and port, without what might be secret."""
    return one_line(base.netloc)


def _refuse(reason: str, mend: str) -> NoReturn:
    raise DialError(Ending(EndingKind.FINAL, reason, mend))


def _try_again(reason: str, mend: str) -> NoReturn:
    raise DialError(Ending(EndingKind.RETRY, reason, mend))
