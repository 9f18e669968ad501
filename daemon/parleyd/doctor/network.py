"""The way to the agent's server: name, TCP, TLS."""

from __future__ import annotations

import contextlib
import email.utils
import queue
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from parleyd.doctor.examination import Examination
from parleyd.doctor.findings import Finding, error, good, misconfigured, note, skipped, warning
from parleyd.host.reaching import STAGGER_S, reach

_CONNECT_S = 4.0
_LOOKUP_S = 10.0
EMBEDDED = "provider: local, the agent is on this machine"
# Farther apart than any clock that is only badly kept.
_WRONG_CLOCK_S = 120.0
# OpenSSL, x509_vfy.h
_NOT_YET_VALID, _EXPIRED = 9, 10
_SELF_SIGNED = (18, 19)
_UNKNOWN_ISSUER = (2, 20, 21)
_HOST_MISMATCH = (62, 64)
_MEND_CLOCK = "sudo timedatectl set-ntp true, or sudo date -s 'YYYY-MM-DD HH:MM'; then try again"


@dataclass(frozen=True)
class Server:
    """Where elevenlabs.base_url leads."""

    host: str
    port: int
    is_tls: bool

    @property
    def shown(self) -> str:
        return f"{self.host}:{self.port}"


def server_of(base_url: str) -> Server:
    parts = urlsplit(base_url)
    is_tls = parts.scheme == "https"
    return Server(parts.hostname or "", parts.port or (443 if is_tls else 80), is_tls)


def _server(examination: Examination) -> Server:
    return server_of(examination.configured().elevenlabs.base_url)


def _proxy(server: Server) -> str | None:
    """HOST:PORT of the proxy that the environment names for it, without a password."""
    proxy = urllib.request.getproxies().get("https" if server.is_tls else "http")
    if proxy is None or urllib.request.proxy_bypass(server.host):
        return None
    return urlsplit(proxy if "//" in proxy else f"//{proxy}").netloc.rpartition("@")[2]


# ---------------------------------------------------------------- name


def name(examination: Examination) -> Iterable[Finding]:
    if examination.configured().provider == "local":
        return [skipped(EMBEDDED)]
    server = _server(examination)
    if proxy := _proxy(server):
        return [note(f"the way leads through the proxy {proxy}: name, TCP and TLS are its business")]
    began_s = time.monotonic()
    try:
        addresses = _addresses_in_time(server)
    except OSError as problem:
        return [judge_no_name(server.host, problem)]
    return [judge_name(server.host, addresses, time.monotonic() - began_s)]


def judge_name(host: str, addresses: Sequence[str], took_s: float) -> Finding:
    shown = ", ".join(addresses[:3]) + (f" and {len(addresses) - 3} more" if len(addresses) > 3 else "")
    if took_s > 2:
        mend = "another name server (nmcli, /etc/resolv.conf) is quicker; each new session waits for it"
        return warning(f"{host} is {shown}, but the answer took {took_s:.1f} s", mend)
    return good(f"{host} is {shown}" if addresses != [host] else f"{host} is an address")


def judge_no_name(host: str, problem: OSError) -> Finding:
    if isinstance(problem, socket.gaierror) and problem.errno == socket.EAI_NONAME and _has_route():
        mend = "`getent hosts debian.org` tells whether other names are; if not, see `resolvectl status` and "
        mend += "/etc/resolv.conf for the name server; if so, elevenlabs.base_url is wrong"
        return error(f"the name {host} is not known", mend)
    if not _has_route():
        mend = "the cable, or the Wi-Fi: `nmcli device`, `ip route`; sudo raspi-config, System Options, Wireless LAN"
        return error(f"no network: there is no default route, and {host} cannot be looked up", mend)
    reason = problem.strerror or str(problem)
    mend = "is the router itself online (`ping -c 3 1.1.1.1`)? If so, see `resolvectl status` and /etc/resolv.conf for "
    return error(f"{host} cannot be looked up: {reason}", f"{mend}the name server")


def _has_route() -> bool:
    """Whether there is a default route, IPv4 or IPv6 (proc_net(5))."""
    with contextlib.suppress(OSError), Path("/proc/net/route").open() as table:
        if any(line.split()[1:2] == ["00000000"] for line in table):
            return True
    with contextlib.suppress(OSError), Path("/proc/net/ipv6_route").open() as table:
        rows = [line.split() for line in table]
        return any(row[:2] == ["0" * 32, "00"] and row[-1] != "lo" for row in rows if len(row) > 2)
    return False


def _addresses_in_time(server: Server) -> list[str]:
    """The C library asks each of several name servers twice, for 5 s: longer than anybody waits. Raises OSError."""
    answers = queue.SimpleQueue[list[str] | OSError]()

    def ask() -> None:
        try:
            answers.put(_addresses(server))
        except OSError as problem:
            answers.put(problem)

    threading.Thread(target=ask, name="doctor: name", daemon=True).start()
    try:
        answer = answers.get(timeout=_LOOKUP_S)
    except queue.Empty:
        raise TimeoutError(f"no name server answers within {_LOOKUP_S:g} s") from None
    if isinstance(answer, OSError):
        raise answer
    return answer


def _addresses(server: Server) -> list[str]:
    found = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


# ---------------------------------------------------------------- TCP


def tcp(examination: Examination) -> Iterable[Finding]:
    if examination.configured().provider == "local":
        return [skipped(EMBEDDED)]
    server = _server(examination)
    if _proxy(server):
        return [skipped("the way leads through a proxy")]
    tried: list[tuple[str, str | None]] = []
    for address in _addresses(server)[:4]:
        try:
            socket.create_connection((address, server.port), timeout=_CONNECT_S).close()
            tried.append((address, None))
            break
        except OSError as problem:
            tried.append((address, _words(problem)))
    return judge_tcp(server.shown, tried)


def judge_tcp(shown: str, tried: Sequence[tuple[str, str | None]]) -> Iterator[Finding]:
    """tried: address and what was wrong with it, in order, up to the first that answered."""
    refused = [(address, problem) for address, problem in tried if problem]
    if len(refused) == len(tried):
        reasons = ", ".join(sorted({str(problem) for _, problem in refused}))
        yield error(f"{shown} does not answer: {reasons}", "a firewall? Is elevenlabs.base_url right?")
        return
    yield good(f"{shown} answers at {tried[-1][0]}")
    if any(":" in address for address, _ in refused) and ":" not in tried[-1][0]:
        yield warning(
            f"IPv6 does not work here ({refused[0][1]}): each connection may begin {STAGGER_S:g} s later for it",
            "mend it in the router, or switch it off: sudo nmcli connection modify NAME ipv6.method disabled",
        )


def _words(problem: OSError) -> str:
    if isinstance(problem, TimeoutError):
        return f"nothing within {_CONNECT_S:g} s"
    return (problem.strerror or str(problem)).lower()


# ---------------------------------------------------------------- TLS


def tls(examination: Examination) -> Iterable[Finding]:
    if examination.configured().provider == "local":
        return [skipped(EMBEDDED)]
    server = _server(examination)
    if not server.is_tls:
        return [skipped("elevenlabs.base_url is http")]
    if _proxy(server):
        return [skipped("the way leads through a proxy")]
    try:
        with _handshake(server, ssl.create_default_context()) as line:
            certificate = line.getpeercert() or {}
            return judge_tls(server.shown, line.version(), str(certificate.get("notAfter", "")), _date(line, server))
    except ssl.SSLCertVerificationError as refusal:
        return [judge_certificate(server.host, refusal.verify_code, refusal.verify_message, _date_of(server))]
    except ssl.SSLError as problem:
        text = f"{server.shown} speaks no TLS that we understand: {problem.reason or 'the handshake failed'}"
        return [error(text, "is it an https port? A filtering network may stand between; see elevenlabs.base_url")]
    except OSError as problem:
        text = f"{server.shown} broke off the TLS handshake: {_words(problem)}"
        return [error(text, "a firewall? Try another network")]


def judge_tls(shown: str, version: str | None, not_after: str, ahead_s: float | None) -> Iterator[Finding]:
    """ahead_s: by how much our clock is ahead of the server's."""
    until = " ".join(not_after.split()[:2] + not_after.split()[3:4])
    yield good(f"{version} to {shown}" + (f", the certificate is valid until {until}" if until else ""))
    if ahead_s is not None and abs(ahead_s) > _WRONG_CLOCK_S:
        yield warning(f"our clock is {_apart(ahead_s)} the server's", _MEND_CLOCK)


def judge_certificate(host: str, code: int, said: str, ahead_s: float | None) -> Finding:
    """code, said: OpenSSL's verdict. ahead_s: as in judge_tls; the server's word for it is good enough for advice."""
    is_clock_wrong = ahead_s is not None and abs(ahead_s) > _WRONG_CLOCK_S
    if code in (_NOT_YET_VALID, _EXPIRED):
        what = "has expired" if code == _EXPIRED else "is not valid yet"
        if is_clock_wrong:
            assert ahead_s is not None
            text = f"by our clock the certificate of {host} {what}, but our clock is {_apart(ahead_s)} the server's"
            return error(text, _MEND_CLOCK)
        if ahead_s is None:
            now = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
            return error(f"the certificate of {host} {what}, if it really is {now}", f"is that wrong? {_MEND_CLOCK}")
        mend = "whoever runs the server must renew it; a wrong host in elevenlabs.base_url?"
        return error(f"the certificate of {host} {what}, and our clock is right", mend)
    if code in _HOST_MISMATCH:
        mend = "see elevenlabs.base_url; in a hotel or guest network: log in there first, with a browser"
        return misconfigured(f"the certificate is not for {host}: {said}", mend)
    if code in (*_SELF_SIGNED, *_UNKNOWN_ISSUER):
        return error(
            f"the certificate of {host} is from nobody whom this machine trusts: {said}",
            "sudo apt-get install --reinstall ca-certificates; a company's or your own authority goes to "
            "/usr/local/share/ca-certificates (NAME.crt), then sudo update-ca-certificates",
        )
    return error(f"the certificate of {host} is not valid: {said}", "see elevenlabs.base_url, and the clock")


def _apart(ahead_s: float) -> str:
    units = ((365 * 86400, "year"), (86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
    unit_s, unit = next((each for each in units if abs(ahead_s) >= each[0]), units[-1])
    count = round(abs(ahead_s) / unit_s)
    return f"{count} {unit}{'s' if count != 1 else ''} {'ahead of' if ahead_s > 0 else 'behind'}"


def _handshake(server: Server, context: ssl.SSLContext) -> ssl.SSLSocket:
    raw = reach(server.host, server.port, (), _CONNECT_S)
    try:
        return context.wrap_socket(raw, server_hostname=server.host)
    except BaseException:
        raw.close()
        raise


def _date_of(server: Server) -> float | None:
    """The server's time, asked without regard to its certificate: nothing secret is sent, nothing else believed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with _handshake(server, context) as line:
            return _date(line, server)
    except OSError:
        return None


def _date(line: ssl.SSLSocket, server: Server) -> float | None:
    """By how much our clock is ahead of the `Date` that the server gives (RFC 9110 section 6.6.1)."""
    request = f"HEAD / HTTP/1.1\r\nHost: {server.host}\r\nUser-Agent: parleyd\r\nConnection: close\r\n\r\n"
    answer = b""
    try:
        line.sendall(request.encode("ascii", "replace"))
        while b"\r\n\r\n" not in answer and len(answer) < 32_768 and (piece := line.recv(4096)):
            answer += piece
    except OSError:
        return None
    for header in answer.split(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
        field, _, value = header.partition(b":")
        if field.strip().lower() == b"date":
            try:
                return time.time() - email.utils.parsedate_to_datetime(value.decode("ascii", "replace")).timestamp()
            except (TypeError, ValueError, OverflowError):
                return None
    return None
