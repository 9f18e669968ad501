"""Tools that send a request to one host.

http.client follows no redirect by itself. Its timeout starts anew with every byte, so the deadline is kept from
outside: a stop, or the end of the call's time, shuts the connection down.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from parleyd import __version__
from parleyd.core.text import bounded, clean, without
from parleyd.host import authorities, unreachable
from parleyd.host.reaching import Deadline
from parleyd.host.requests import Way, open_http
from parleyd.host.resolving import NameServersSilentError
from parleyd.host.stopping import Stop
from parleyd.tools import picking, template
from parleyd.tools.result import Fault, ToolError, as_json

MAX_BODY_BYTES = 256 * 1024
MAX_REDIRECTS = 3
_REDIRECTS = (301, 302, 303, 307, 308)
_NO_DELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
_WITH_BODY = ("POST", "PUT", "PATCH")


class Http:
    """A Runner, see toolbox. timeout_s: for the whole request, unless a stop comes before."""

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
        result: str | None = None,
        remember: Mapping[str, str] | None = None,
        remember_s: float = 0.0,
    ) -> None:
        """url, headers, body: templates. result: the path of the field that is the result; None: the whole answer.
        remember: paths of fields that the next request's body may repeat, by name; remember_s: for how long. Raises
        TemplateError."""
        self._method = method
        self._url = template.parse(url)
        self._headers = {name: template.header(template.parse(text), secrets) for name, text in headers.items()}
        self._secrets = tuple(secrets.values())
        self._body = body
        self._allowed_status = frozenset(allowed_status)
        self._timeout_s = timeout_s
        self._result = result
        self._remember = dict(remember or {})
        self._remember_s = remember_s
        # Replaced as a whole, so calls at the same time need no lock; the later answer counts.
        self._remembered = picking.NOTHING

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
        return self._picked(content, host)

    def _picked(self, content: str, host: str) -> str:
        """The result in an answer with an allowed status; what is to be remembered is remembered."""
        if self._result is None and not self._remember:
            return content
        try:
            answer = picking.parsed(content)
            if self._remember:
                now_s = time.monotonic()
                self._remembered = picking.remembered(answer, self._remember, now_s, self._remember_s)
            if self._result is None:
                return content
            value = picking.field_of(answer, self._result)
        except picking.NotThereError as error:
            if self._result is None:
                return content
            raise ToolError(Fault.SERVER, f"{host} answered, but {error}.") from None
        return value if isinstance(value, str) else as_json(value)

    def _content(self, parameters: Mapping[str, object]) -> bytes | None:
        if self._body is not None:
            value = template.body(self._body, {**self._remembered.at(time.monotonic()), **parameters})
        elif self._method in _WITH_BODY:
            value = dict(parameters)
        else:
            return None
        return json.dumps(value, ensure_ascii=False).encode("utf-8")

    def _ask(self, url: str, content: bytes | None, stop: Stop) -> tuple[int, str]:
        """Returns status and text. Raises OSError, HTTPException, ValueError, ToolError."""
        end_s = time.monotonic() + self._timeout_s
        for _ in range(MAX_REDIRECTS + 1):
            parts = urlsplit(url)
            with Deadline(max(0.01, end_s - time.monotonic())) as deadline:
                stop.at(deadline.cut_off)
                try:
                    way = open_http(parts, [_NO_DELAY], deadline, tls=authorities.context())
                    with contextlib.closing(way.connection):
                        answer = self._request(way, parts, content)
                        target = answer.getheader("Location")
                        if answer.status not in _REDIRECTS or target is None or self._method != "GET":
                            text = _text(answer)
                            # A connection that was shut down looks like the end of the answer.
                            if deadline.is_over:
                                raise TimeoutError
                            return answer.status, text
                except (OSError, http.client.HTTPException) as problem:
                    raise deadline.cause(problem) from None
                finally:
                    stop.at(None)
            # http.client decodes the bytes of a header as Latin-1, whatever they are.
            url = urljoin(url, quote(target.encode("latin-1"), safe=template.ADDRESS_SIGNS))
            if _origin(urlsplit(url)) != _origin(parts):
                raise ToolError(Fault.SERVER, f"{parts.netloc} redirects to another host, which is not followed.")
        raise ToolError(Fault.SERVER, f"{parts.netloc} redirects from one address to the next without end.")

    def _request(self, way: Way, parts: SplitResult, content: bytes | None) -> http.client.HTTPResponse:
        headers = {"User-Agent": f"parleyd/{__version__}", "Accept": "application/json, text/*;q=0.9, */*;q=0.1"}
        if content is not None:
            headers["Content-Type"] = "application/json"
        own = {name.lower() for name in self._headers}
        headers = {name: text for name, text in headers.items() if name.lower() not in own}
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        way.connection.request(self._method, way.prefix + target, content, {**headers, **self._headers, **way.headers})
        return way.answer()


def _text(answer: http.client.HTTPResponse) -> str:
    """Returns the answer's text up to a limit, or a sentence that says why it is not text.

    Raises IncompleteRead, because half an answer may mean the opposite of the whole.
    """
    data = answer.read(MAX_BODY_BYTES)
    if answer.length and len(data) < MAX_BODY_BYTES:
        raise http.client.IncompleteRead(data, answer.length)
    packed = answer.getheader("Content-Encoding", "identity")
    if data and packed.lower() != "identity":
        # The request did not ask for compression, and the unpacked size may be unbounded.
        return f"The answer is compressed ({packed}) and cannot be read."
    charset = answer.headers.get_content_charset() or "utf-8"
    try:
        text = data.decode(charset, "replace")
    except LookupError:
        text = data.decode("utf-8", "replace")
    return f"The answer is not text ({answer.headers.get_content_type()})." if "\0" in text else text


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _no_answer(problem: Exception, host: str) -> str:
    match problem:
        case TimeoutError() if not isinstance(problem, NameServersSilentError):
            return f"{host} did not answer in time."
        case http.client.IncompleteRead():
            return f"{host} broke off in the middle of its answer."
        case ValueError() if not isinstance(problem, ssl.SSLError | UnicodeError):
            return f"{host} answered something that is not HTTP."
    reason = unreachable.trouble(problem, host).reason.rstrip(".")
    return f"{reason[:1].upper()}{reason[1:]}." if not reason.startswith(host) else f"{reason}."
