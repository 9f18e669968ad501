"""Opening a WebSocket to a provider, in bounded time, and saying in words why there is none."""

from __future__ import annotations

import socket
import ssl
import urllib.parse
from collections.abc import Callable

import websocket

from parleyd.agents.provider import Address
from parleyd.conversation.session.bounded_socket import BoundedWebSocket
from parleyd.conversation.session.retries import no_thread, retry
from parleyd.conversation.session.shared_tls import SharedTlsSocket
from parleyd.core.endings import DialError, Ending, EndingKind
from parleyd.host import authorities, unreachable
from parleyd.host.proxies import proxy_for
from parleyd.host.reaching import Deadline, open_line
from parleyd.host.resolving import NoThreadLeftError

# A network that vanishes sends no reset; without this the kernel goes on for many minutes.
TCP_USER_TIMEOUT_MS = 8000
# For lines on which nothing is being sent (uplink mode `drop`).
KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_PROBES = 10, 3, 3
SOCKET_OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, TCP_USER_TIMEOUT_MS),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES),
)


def connect(
    address: Address,
    timeout_s: float,
    judge_refusal: Callable[[int, str], Ending],
    *,
    key: str | None,
    hint_network: str | None = None,
) -> BoundedWebSocket:
    """Opens a WebSocket; blocks up to timeout_s for all of it: name, TCP, proxy, TLS and handshake.

    judge_refusal(http_status, body): the meaning of an HTTP answer. key: the configuration key that names the server,
    for hints; None: there is none. hint_network: the hint for a network that fails. Raises DialError.
    """
    hint_network = hint_network or f"check the network{f' and {key}' if key else ''}; parleyd goes on trying"
    url = urllib.parse.urlsplit(address.url)
    tls = authorities.context(SharedTlsSocket)
    connection = BoundedWebSocket(enable_multithread=True, sockopt=list(SOCKET_OPTIONS), sslopt={"context": tls})
    connection.settimeout(timeout_s)
    deadline = Deadline(timeout_s)
    try:
        with deadline:
            line = _line(url, tls, deadline)
            try:
                connection.connect(
                    address.url, header=list(address.headers), suppress_origin=True, redirect_limit=0, socket=line
                )
            except BaseException:
                line.close()
                raise
    except websocket.WebSocketBadStatusException as error:
        if not isinstance(error.status_code, int):
            raise DialError(retry(f"{url.netloc} answered something that is not HTTP", hint_network)) from error
        body = (error.resp_body or b"")[:2000].decode("utf-8", "replace")
        raise DialError(judge_refusal(error.status_code, body)) from error
    except (websocket.WebSocketException, OSError, ValueError) as error:
        if "redirect" in str(error).lower():
            raise DialError(judge_refusal(302, "")) from error
        raise DialError(_no_line(url.netloc, deadline.cause(error), key, hint_network)) from error
    if isinstance(connection.sock, SharedTlsSocket):
        connection.sock.share()
    return connection


def _line(url: urllib.parse.SplitResult, tls: ssl.SSLContext, deadline: Deadline) -> socket.socket:
    host, is_secure = url.hostname or "", url.scheme == "wss"
    port = url.port or (443 if is_secure else 80)
    proxy = proxy_for(host, port, is_tls=is_secure)
    return open_line(host, port, SOCKET_OPTIONS, deadline, tls=tls if is_secure else None, proxy=proxy)


def close_frame(data: bytes) -> tuple[int | None, str]:
    """RFC 6455 section 5.5.1: two bytes of code, then UTF-8; an empty body stands for 1005."""
    if len(data) < 2:
        return 1005, ""
    return int.from_bytes(data[:2], "big"), data[2:].decode("utf-8", "replace")


def words(error: BaseException) -> str:
    """An exception in a few words: system errors without their number; nothing for a line that just ended."""
    return "" if isinstance(error, websocket.WebSocketConnectionClosedException) else unreachable.words(error)


def _no_line(host: str, error: Exception, key: str | None, hint_network: str) -> Ending:
    match error:
        case NoThreadLeftError():
            return no_thread()
        case websocket.WebSocketTimeoutException():
            error = TimeoutError()
        case websocket.WebSocketException() if str(error).startswith(("Invalid status line", "Invalid header")):
            return retry(f"{host} answered something that is not HTTP", hint_network)
        case websocket.WebSocketException():
            return retry(f"cannot connect to {host}: {words(error) or 'the server hung up'}", hint_network)
    found = unreachable.trouble(error, host, key)
    kind = EndingKind.FINAL if found.is_lasting else EndingKind.RETRY
    return Ending(kind, found.reason, found.hint or hint_network)
