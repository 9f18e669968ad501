"""Tools that send a request to one host.

http.client of the standard library: it is loaded anyhow, knows no proxies and follows nothing by itself. Its timeouts
count anew with every byte, so the deadline is kept from outside: stop shuts the connection down.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from functools import cache
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from parleyd import __version__
from parleyd.host.reaching import reach
from parleyd.tools import template
from parleyd.tools.result import Fault, ToolError, bounded, clean, without
from parleyd.tools.stopping import Stop

MAX_BODY_BYTES = 256 * 1024
MAX_REDIRECTS = 3
_REDIRECTS = (301, 302, 303, 307, 308)
_WITH_BODY = ("POST", "PUT", "PATCH")


class Http:
    """A Runner, see toolbox. timeout_s: for connecting; the deadline of the call is kept by stop."""

    def __init__(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        secrets: Mapping[str, str],
        body: object,
        allowed_status: Sequence[int],
        timeout_s: float,
    ) -> None:
        """url, headers, body: templates. Raises TemplateError."""
        self._method = method
        self._url = template.parse(url)
        self._headers = {name: template.header(template.parse(text), secrets) for name, text in headers.items()}
        self._secrets = tuple(secrets.values())
        self._body = body
        self._allowed_status = frozenset(allowed_status)
        self._timeout_s = timeout_s

    def run(self, parameters: Mapping[str, object], stop: Stop) -> str:
        url = template.url(self._url, parameters)
        host = urlsplit(url).netloc
        try:
            status, content = self._ask(url, self._content(parameters), stop)
        except (OSError, http.client.HTTPException, ValueError) as problem:
            raise ToolError(Fault.SERVER, without(_no_answer(problem, host), self._secrets)) from None
        content = without(content, self._secrets)
        if status not in self._allowed_status:
            fault = Fault.NOT_AUTHORISED if status in (401, 403) else Fault.SERVER
            said = bounded(" ".join(clean(content).split()), 200)
            raise ToolError(fault, f"{host} answered with status {status}{f': {said}' if said else ''}.")
        return content

    def _content(self, parameters: Mapping[str, object]) -> bytes | None:
        if self._body is not None:
            value = template.body(self._body, parameters)
        elif self._method in _WITH_BODY:
            value = dict(parameters)
        else:
            return None
        return json.dumps(value, ensure_ascii=False).encode("utf-8")

    def _ask(self, url: str, content: bytes | None, stop: Stop) -> tuple[int, str]:
        """(status, text). Raises OSError, HTTPException, ValueError, ToolError."""
        end_s = time.monotonic() + self._timeout_s
        for _ in range(MAX_REDIRECTS + 1):
            parts = urlsplit(url)
            connection = _connect(parts, max(0.01, end_s - time.monotonic()), stop)
            try:
                answer = self._request(connection, parts, content)
                target = answer.getheader("Location")
                if answer.status not in _REDIRECTS or target is None or self._method != "GET":
                    return answer.status, _text(answer)
            finally:
                stop.at(None)
                connection.close()
            # http.client takes a header's bytes for Latin-1, whatever they are.
            url = urljoin(url, quote(target.encode("latin-1"), safe=template.ADDRESS_SIGNS))
            if _origin(urlsplit(url)) != _origin(parts):
                raise ToolError(Fault.SERVER, f"{parts.netloc} points to another host, which is not followed.")
        raise ToolError(Fault.SERVER, f"{parts.netloc} points from one address to the next without end.")

    def _request(
        self, connection: http.client.HTTPConnection, parts: SplitResult, content: bytes | None
    ) -> http.client.HTTPResponse:
        headers = {"User-Agent": f"parleyd/{__version__}", "Accept": "application/json, text/*;q=0.9, */*;q=0.1"}
        if content is not None:
            headers["Content-Type"] = "application/json"
        own = {name.lower() for name in self._headers}
        headers = {name: text for name, text in headers.items() if name.lower() not in own}
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(self._method, target, content, {**headers, **self._headers})
        return connection.getresponse()


def _connect(parts: SplitResult, timeout_s: float, stop: Stop) -> http.client.HTTPConnection:
    """Connected, and to be shut down by stop from here on."""
    assert parts.hostname is not None
    is_tls = parts.scheme == "https"
    default_port = 443 if is_tls else 80
    connection = http.client.HTTPConnection(parts.hostname, parts.port or default_port, timeout=timeout_s)
    connection.default_port = default_port
    no_delay = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    raw = reach(parts.hostname, connection.port, [no_delay], timeout_s)
    try:
        if is_tls:
            raw = _tls().wrap_socket(raw, server_hostname=parts.hostname, do_handshake_on_connect=False)
        connection.sock = raw
        stop.at(lambda: _shut(raw))
        if isinstance(raw, ssl.SSLSocket):
            raw.do_handshake()
    except BaseException:
        stop.at(None)
        raw.close()
        raise
    return connection


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _shut(raw: socket.socket) -> None:
    # Not SSLSocket's own: that one takes away what the other thread is using.
    with contextlib.suppress(OSError):
        socket.socket.shutdown(raw, socket.SHUT_RDWR)


def _text(answer: http.client.HTTPResponse) -> str:
    """Up to a limit; of what is no text, that it is none. Raises IncompleteRead: half an answer may mean the opposite
    of the whole."""
    data = answer.read(MAX_BODY_BYTES)
    if answer.length and len(data) < MAX_BODY_BYTES:
        raise http.client.IncompleteRead(data, answer.length)
    packed = answer.getheader("Content-Encoding", "identity")
    if data and packed.lower() != "identity":
        # We have not asked for it, and what it unpacks to may be without end.
        return f"The answer is packed ({packed}) and cannot be read."
    charset = answer.headers.get_content_charset() or "utf-8"
    try:
        text = data.decode(charset, "replace")
    except LookupError:
        text = data.decode("utf-8", "replace")
    return f"The answer is no text ({answer.headers.get_content_type()})." if "\0" in text else text


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _no_answer(problem: Exception, host: str) -> str:
    match problem:
        case ssl.SSLCertVerificationError():
            return f"The certificate of {host} is not valid: {problem.verify_message.rstrip('.')}."
        case TimeoutError():
            return f"{host} did not answer in time."
        case ConnectionRefusedError():
            return f"Nothing listens at {host}."
        case socket.gaierror():
            return f"The name {host} is not known; perhaps there is no network."
        case ssl.SSLError():
            why = (problem.reason or "the connection broke").lower().replace("_", " ")
            return f"{host} cannot be reached by TLS: {why}."
        case OSError():
            return f"{host} cannot be reached: {problem.strerror or 'the connection broke'}."
        case http.client.IncompleteRead():
            return f"{host} broke off in the middle of its answer."
        case _:
            return f"{host} answered something that is no HTTP."
