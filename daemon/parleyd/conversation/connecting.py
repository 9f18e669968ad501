"""Opening a WebSocket to a provider, in bounded time, and saying in words why there is none."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import urllib.parse
from collections.abc import Callable, Iterator

import websocket

from parleyd.agents.agent import Address, DialError, Ending, EndingKind
from parleyd.conversation.bounded_socket import BoundedWebSocket
from parleyd.conversation.shared_tls import SharedTlsSocket
from parleyd.host import authorities
from parleyd.host.reaching import is_proxied, reach

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
_MEND_NETWORK = "check the network and elevenlabs.base_url; it is tried again and again"


def connect(
    address: Address,
    timeout_s: float,
    judge_refusal: Callable[[int, str], Ending],
    *,
    mend_network: str = _MEND_NETWORK,
) -> BoundedWebSocket:
    """Blocks up to timeout_s for TCP, for TLS and for the handshake, each. Raises DialError; judge_refusal(http_status,
    body) says what an HTTP answer means."""
    host = urllib.parse.urlsplit(address.url).netloc
    tls = authorities.context(SharedTlsSocket)
    connection = BoundedWebSocket(enable_multithread=True, sockopt=list(SOCKET_OPTIONS), sslopt={"context": tls})
    connection.settimeout(timeout_s)
    try:
        with _line(address, tls, timeout_s) as line, _deadline(timeout_s, connection, line):
            connection.connect(
                address.url,
                header=list(address.headers),
                suppress_origin=True,
                redirect_limit=0,
                socket=line,
            )
    except websocket.WebSocketBadStatusException as error:
        if not isinstance(error.status_code, int):
            raise DialError(retry(f"{host} answered something that is not HTTP", mend_network)) from error
        body = (error.resp_body or b"")[:2000].decode("utf-8", "replace")
        raise DialError(judge_refusal(error.status_code, body)) from error
    except (websocket.WebSocketException, OSError, ValueError) as error:
        if "redirect" in str(error).lower():
            raise DialError(judge_refusal(302, "")) from error
        raise DialError(_no_line(host, error, mend_network)) from error
    if isinstance(connection.sock, SharedTlsSocket):
        connection.sock.share()
    return connection


@contextlib.contextmanager
def _line(address: Address, tls: ssl.SSLContext, timeout_s: float) -> Iterator[socket.socket | None]:
    """To the server, closed when what is done with it fails; None: the way leads through a proxy, which is the
    library's business."""
    url = urllib.parse.urlsplit(address.url)
    host, is_secure = url.hostname or "", url.scheme == "wss"
    if is_proxied(url):
        yield None
        return
    line = reach(host, url.port or (443 if is_secure else 80), SOCKET_OPTIONS, timeout_s)
    try:
        if is_secure:
            line = tls.wrap_socket(line, server_hostname=host)
        yield line
    except BaseException:
        line.close()
        raise


@contextlib.contextmanager
def _deadline(timeout_s: float, connection: BoundedWebSocket, line: socket.socket | None) -> Iterator[None]:
    """For the handshake as a whole: the socket's own timeout starts anew with every byte that drips in."""

    def cut_off() -> None:
        # The other thread may take it away meanwhile.
        raw = line or connection.sock
        if raw is not None:
            shut(raw)

    timer = threading.Timer(timeout_s, cut_off)
    timer.daemon = True
    try:
        timer.start()
    except RuntimeError as error:
        # Without it nothing bounds the handshake.
        raise DialError(no_thread()) from error
    try:
        yield
    finally:
        timer.cancel()


def shut(raw: socket.socket) -> None:
    """Wakes whoever is blocked on the socket."""
    with contextlib.suppress(OSError):
        raw.shutdown(socket.SHUT_RDWR)


def close_frame(data: bytes) -> tuple[int | None, str]:
    """RFC 6455 section 5.5.1: two bytes of code, then UTF-8; an empty body stands for 1005."""
    if len(data) < 2:
        return 1005, ""
    return int.from_bytes(data[:2], "big"), data[2:].decode("utf-8", "replace")


def retry(reason: str, mend: str | None = None) -> Ending:
    return Ending(EndingKind.RETRY, reason, mend)


def no_thread() -> Ending:
    return retry("the system has no thread left", "see TasksMax= of the unit, and what else runs on this device")


def words(error: BaseException) -> str:
    """An exception in a few words: system errors without their number; nothing for a line that just ended."""
    if isinstance(error, websocket.WebSocketConnectionClosedException):
        return ""
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def _no_line(host: str, error: Exception, mend_network: str) -> Ending:
    match error:
        case ssl.SSLCertVerificationError():
            mend = "check the clock (a board without one is wrong until it has the network), then elevenlabs.base_url"
            return retry(f"the certificate of {host} is not valid: {error.verify_message}", mend)
        case socket.gaierror():
            return retry(f"the name {host} is not known", mend_network)
        case TimeoutError() | websocket.WebSocketTimeoutException():
            return retry(f"{host} does not answer", mend_network)
        case websocket.WebSocketException() if str(error).startswith(("Invalid status line", "Invalid header")):
            return retry(f"{host} answered something that is not HTTP", mend_network)
        case _:
            return retry(f"cannot connect to {host}: {words(error) or 'the server hung up'}", mend_network)
