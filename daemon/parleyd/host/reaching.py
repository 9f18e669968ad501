"""Opens a connection to a host: look-up of the name, TCP to the address that answers first, proxy, TLS."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import selectors
import socket
import ssl
import struct
import sys
import termios
import threading
import time
from collections.abc import Sequence
from types import TracebackType

from parleyd.host import resolving
from parleyd.host.proxies import Proxy, ProxyError
from parleyd.host.resolving import Found

# How long an address may take before the next one is tried in parallel (RFC 8305, section 5). In a house whose router
# announces an IPv6 that does not work, the first address never answers.
STAGGER_S = 0.25

Option = tuple[int, int, int]


class Deadline:
    """One deadline for all steps of a connection together; a socket's own timeout starts anew with every byte.

    A context manager; the time runs from its creation. guard(line): this socket is shut down when the time is over,
    which wakes a thread that is blocked on it; only the newest socket is guarded. cut_off(): ends the time now.
    """

    def __init__(self, seconds: float) -> None:
        self._until_s = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._line: socket.socket | None = None
        self.is_over = False
        self._timer = threading.Timer(seconds, self.cut_off)
        self._timer.daemon = True

    @property
    def left_s(self) -> float:
        """The time left; never 0, which means non-blocking for a socket."""
        return max(0.001, self._until_s - time.monotonic())

    def guard(self, line: socket.socket) -> None:
        with self._lock:
            self._line = line
            if self.is_over:
                shut(line)

    def cause(self, error: Exception) -> Exception:
        """The error to report. To a step that this deadline has cut off, the connection seems to have ended; this
        becomes a timeout. Errors with a certain cause stay unchanged."""
        certain = ProxyError | resolving.NameServersSilentError | ssl.SSLCertVerificationError
        return TimeoutError("no answer") if self.is_over and not isinstance(error, certain) else error

    def __enter__(self) -> Deadline:
        """Raises NoThreadLeftError."""
        try:
            self._timer.start()
        except RuntimeError as error:
            raise resolving.NoThreadLeftError from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()

    def cut_off(self) -> None:
        with self._lock:
            self.is_over = True
            if self._line is not None:
                shut(self._line)


def shut(raw: socket.socket) -> None:
    """Shuts the socket down, which wakes a thread that is blocked on it."""
    # Not SSLSocket.shutdown(): it removes objects that the other thread is using.
    with contextlib.suppress(OSError):
        socket.socket.shutdown(raw, socket.SHUT_RDWR)


def unacknowledged_bytes(raw: socket.socket) -> int:
    """The bytes that the system has accepted for this TCP socket and the other side has not acknowledged: tcp(7),
    SIOCOUTQ. 0 if the number is unknown, or the socket is closed."""
    try:
        return int.from_bytes(fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except (OSError, ValueError):
        return 0


def abort(raw: socket.socket) -> bool:
    """Resets a TCP connection at once, even while another thread uses the socket: waiting data are discarded, and the
    other thread sees a lost connection. Returns whether it worked. It calls connect(2) with AF_UNSPEC, which Python's
    connect() cannot do."""
    nowhere = struct.pack("H14x", socket.AF_UNSPEC)
    connect = ctypes.CDLL(None, use_errno=True).connect
    descriptor = raw.fileno()
    return descriptor >= 0 and bool(connect(descriptor, nowhere, len(nowhere)) == 0)


def open_line(
    host: str,
    port: int,
    options: Sequence[Option],
    deadline: Deadline,
    *,
    tls: ssl.SSLContext | None,
    proxy: Proxy | None,
    tunnel: bool = True,
) -> socket.socket:
    """Blocks until the deadline at most; the deadline goes on guarding the connection.

    tunnel: the proxy connects us with the host; otherwise it takes requests for the host. Raises OSError: among them
    ProxyError, ssl.SSLError, socket.gaierror and TimeoutError; UnicodeError for an invalid host name.
    """
    if proxy is None:
        line = reach(host, port, options, deadline.left_s)
    else:
        try:
            line = reach(proxy.host, proxy.port, options, deadline.left_s)
        except (OSError, UnicodeError) as error:
            raise _proxy_away(proxy, error) from error
    try:
        deadline.guard(line)
        if proxy is not None and tunnel:
            _open_tunnel(line, proxy, host, port, deadline)
        if tls is not None:
            line = tls.wrap_socket(line, server_hostname=host, do_handshake_on_connect=False)
            deadline.guard(line)
            _shake_hands(line, deadline)
    except BaseException:
        line.close()
        raise
    return line


def _shake_hands(line: ssl.SSLSocket, deadline: Deadline) -> None:
    try:
        line.do_handshake()
    except OSError as error:
        raise deadline.cause(error) from None


def reach(host: str, port: int, options: Sequence[Option], timeout_s: float) -> socket.socket:
    """Blocks up to timeout_s, including the look-up of the name. Raises the OSError of the last address or of the
    look-up, or TimeoutError."""
    until_s = time.monotonic() + timeout_s
    waiting = resolving.addresses(host, port, timeout_s)
    failure: OSError = TimeoutError("no answer")
    with selectors.DefaultSelector() as trying:
        try:
            while waiting or trying.get_map():
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError("no answer")
                if waiting:
                    try:
                        trying.register(_begin(waiting.pop(0), options), selectors.EVENT_WRITE)
                    except OSError as error:
                        failure = error
                        continue
                for key, _ in trying.select(min(left_s, STAGGER_S) if waiting else left_s):
                    line = key.fileobj
                    assert isinstance(line, socket.socket)
                    trying.unregister(line)
                    if code := line.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                        line.close()
                        failure = OSError(code, os.strerror(code))
                        continue
                    line.settimeout(timeout_s)
                    return line
        finally:
            for key in list(trying.get_map().values()):
                assert isinstance(key.fileobj, socket.socket)
                key.fileobj.close()
    raise failure


def _begin(address: Found, options: Sequence[Option]) -> socket.socket:
    family, kind, protocol, _, where = address
    line = socket.socket(family, kind, protocol)
    try:
        for option in options:
            line.setsockopt(*option)
        line.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            line.connect(where)
    except BaseException:
        line.close()
        raise
    return line


# ---------------------------------------------------------------- the proxy


def _open_tunnel(line: socket.socket, proxy: Proxy, host: str, port: int, deadline: Deadline) -> None:
    """RFC 9110, section 9.3.6. The host sends nothing before the tunnel exists, so reading here cannot take bytes that
    belong to the host."""
    # Imported here: 8 ms and a megabyte, which most devices need later or never.
    import http.client

    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    request = [f"CONNECT {where} HTTP/1.1", f"Host: {where}"]
    if proxy.authorization is not None:
        request.append(f"Proxy-Authorization: {proxy.authorization}")
    try:
        line.sendall("\r\n".join([*request, "", ""]).encode("ascii"))
        with contextlib.closing(http.client.HTTPResponse(line, method="CONNECT")) as answer:
            answer.begin()
            status, reason = answer.status, answer.reason
        if deadline.is_over:
            # An answer that the deadline has cut off may look complete.
            raise TimeoutError
    except (OSError, http.client.HTTPException) as error:
        if deadline.is_over:
            raise _proxy_away(proxy, TimeoutError()) from error
        if isinstance(error, OSError):
            raise _proxy_away(proxy, error) from error
        text = f"the proxy {proxy.shown} answered something that is not HTTP"
        raise ProxyError(text, _check(proxy), is_lasting=False) from error
    if not 200 <= status < 300:
        raise proxy_refusal(proxy, status, reason, where)


def proxy_refusal(proxy: Proxy, status: int, reason: str, where: str) -> ProxyError:
    """The error for a proxy that answers with this status instead of opening a tunnel to `where`."""
    match status:
        # Some proxies answer 401 instead of 407.
        case 401 | 407 if proxy.authorization is None:
            return ProxyError(
                f"the proxy {proxy.shown} wants a user and a password (HTTP {status})",
                f"put them into {proxy.variable}, as http://USER:PASSWORD@HOST:PORT, with %40 for an @",
                is_lasting=True,
            )
        case 401 | 407:
            text = f"the proxy {proxy.shown} does not accept the user and the password (HTTP {status})"
            hint = f"check them in {proxy.variable}; signs such as @ : / % are written as %40 %3A %2F %25"
            return ProxyError(text, hint, is_lasting=True)
        case 403:
            text = f"the proxy {proxy.shown} forbids the way to {where} (HTTP 403)"
            hint = "ask whoever runs it to allow that, or take the host into no_proxy where there is another way"
            return ProxyError(text, hint, is_lasting=True)
    said = "".join(sign for sign in reason[:80] if sign.isprintable())
    text = f"the proxy {proxy.shown} did not connect us with {where}: HTTP {status}{f' {said}' if said else ''}"
    return ProxyError(text, f"does the proxy itself reach {where}? {_check(proxy)}", is_lasting=False)


def _proxy_away(proxy: Proxy, error: Exception) -> ProxyError:
    match error:
        case socket.gaierror():
            what = "cannot be looked up"
        case TimeoutError():
            what = "does not answer"
        case ConnectionRefusedError():
            what = "cannot be reached: nothing listens there"
        case OSError():
            what = f"cannot be reached: {(error.strerror or 'the line was lost').lower()}"
        case _:
            what = "has no usable name"
    return ProxyError(f"the proxy {proxy.shown} {what}", _check(proxy), is_lasting=False)


def _check(proxy: Proxy) -> str:
    return f"check {proxy.variable} in the environment of parleyd, and the proxy"
