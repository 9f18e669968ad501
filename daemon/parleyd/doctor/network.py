"""The connection to the agent's server: proxy, name, TCP, TLS."""

from __future__ import annotations

import contextlib
import email.utils
import os
import socket
import ssl
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from parleyd.core.findings import Finding, error, good, misconfigured, note, skipped, warning
from parleyd.doctor.examination import Examination
from parleyd.host import authorities, resolving
from parleyd.host.certificates import Flaw, flaw, issuer
from parleyd.host.proxies import Proxy, ProxyError, is_this_machine, proxy_for
from parleyd.host.reaching import STAGGER_S, Deadline, open_line
from parleyd.host.unreachable import (
    HINT_CLOCK,
    HINT_STRANGER,
    NO_SUCH_NAME,
    hint_form,
    hint_host,
    trouble,
)

if TYPE_CHECKING:  # the doctor starts without what this imports
    from parleyd.agents.provider import Server

_CONNECT_S = 4.0
_LOOKUP_S = 10.0
EMBEDDED = "provider: local, the agent is on this machine"
# A larger difference between the clocks than this is an error; clocks that are only inaccurate differ less.
_WRONG_CLOCK_S = 120.0
_HINT_CLOCK = f"{HINT_CLOCK}; then try again"


def _server(examination: Examination) -> Server:
    from parleyd.app.agents import provider_of

    config = examination.configured()
    return provider_of(config).server(config)


def _proxy(server: Server) -> Proxy | None:
    """The proxy for the server. Raises ProxyError."""
    return proxy_for(server.host, server.port, is_tls=server.is_tls)


# ---------------------------------------------------------------- proxy


def proxy(examination: Examination) -> Iterable[Finding]:
    """Checks the proxy of this environment; the service has an environment of its own."""
    if examination.configured().provider == "local":
        return [skipped(EMBEDDED)]
    server = _server(examination)
    try:
        way = _proxy(server)
        if way is None:
            return [skipped(_why_no_proxy(server))]
        with Deadline(_CONNECT_S) as deadline:
            open_line(server.host, server.port, (), deadline, tls=None, proxy=way).close()
    except ProxyError as refusal:
        return [error(str(refusal), refusal.hint)]
    user = ", with a user" if way.authorization is not None else ""
    return [good(f"{way.shown}{user} opens the way to {server.shown}")]


def _why_no_proxy(server: Server) -> str:
    names = ("https_proxy", "HTTPS_PROXY") if server.is_tls else ("http_proxy", "HTTP_PROXY")
    named = [name for name in (*names, "all_proxy", "ALL_PROXY") if os.environ.get(name)]
    if not named:
        return "this environment names none"
    if is_this_machine(server.host):
        return f"{named[0]} does not count for this machine itself"
    return f"{named[0]} does not count for {server.host}: see no_proxy"


# ---------------------------------------------------------------- name


def name(examination: Examination) -> Iterable[Finding]:
    if examination.configured().provider == "local":
        return [skipped(EMBEDDED)]
    server = _server(examination)
    if _proxy(server):
        return [skipped("the proxy looks it up")]
    began_s = time.monotonic()
    try:
        addresses = _addresses(server)
    except OSError as problem:
        return [judge_no_name(server.host, server.key, problem)]
    return [judge_name(server.host, addresses, time.monotonic() - began_s)]


def judge_name(host: str, addresses: Sequence[str], took_s: float) -> Finding:
    shown = ", ".join(addresses[:3]) + (f" and {len(addresses) - 3} more" if len(addresses) > 3 else "")
    if took_s > 2:
        hint = "another name server (nmcli, /etc/resolv.conf) is quicker; each new session waits for it"
        return warning(f"{host} is {shown}, but the answer took {took_s:.1f} s", hint)
    return good(f"{host} is {shown}" if addresses != [host] else f"{host} is an address")


def judge_no_name(host: str, key: str | None, problem: OSError) -> Finding:
    """key: of the configuration; it names the host."""
    if not _has_route():
        hint = "the cable, or the Wi-Fi: `nmcli device`, `ip route`; sudo raspi-config, System Options, Wireless LAN"
        return error(f"no network: there is no default route, and {host} cannot be looked up", hint)
    if isinstance(problem, socket.gaierror) and problem.errno in NO_SUCH_NAME:
        hint = "`getent hosts debian.org` tells whether other names are; if not, see `resolvectl status` and "
        hint += f"/etc/resolv.conf for the name server; if so, {key} is wrong"
        return error(f"the name {host} is not known", hint)
    hint = "is the router itself online (`ping -c 3 1.1.1.1`)? If so, see `resolvectl status` and /etc/resolv.conf for "
    return error(trouble(problem, host).reason, f"{hint}the name server")


def _has_route() -> bool:
    """Whether there is a default route, IPv4 or IPv6 (proc_net(5))."""
    with contextlib.suppress(OSError), Path("/proc/net/route").open() as table:
        if any(line.split()[1:2] == ["00000000"] for line in table):
            return True
    with contextlib.suppress(OSError), Path("/proc/net/ipv6_route").open() as table:
        rows = [line.split() for line in table]
        return any(row[:2] == ["0" * 32, "00"] and row[-1] != "lo" for row in rows if len(row) > 2)
    return False


def _addresses(server: Server) -> list[str]:
    """The addresses of the server's name. Raises OSError."""
    found = resolving.addresses(server.host, server.port, _LOOKUP_S)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


# ---------------------------------------------------------------- TCP


def tcp(examination: Examination) -> Iterable[Finding]:
    if examination.configured().provider == "local":
        return [skipped(EMBEDDED)]
    server = _server(examination)
    if _proxy(server):
        return [skipped("the way leads through the proxy")]
    tried: list[tuple[str, str | None]] = []
    for address in _addresses(server)[:4]:
        try:
            socket.create_connection((address, server.port), timeout=_CONNECT_S).close()
            tried.append((address, None))
            break
        except OSError as problem:
            tried.append((address, _words(problem)))
    return judge_tcp(server.shown, server.key, tried)


def judge_tcp(shown: str, key: str | None, tried: Sequence[tuple[str, str | None]]) -> Iterator[Finding]:
    """tried: each address and its error, in order, up to the first that answered."""
    refused = [(address, problem) for address, problem in tried if problem]
    if len(refused) == len(tried):
        reasons = ", ".join(sorted({str(problem) for _, problem in refused}))
        yield error(f"{shown} does not answer: {reasons}", f"a firewall? Is {key} right?")
        return
    yield good(f"{shown} answers at {tried[-1][0]}")
    if any(":" in address for address, _ in refused) and ":" not in tried[-1][0]:
        yield warning(
            f"IPv6 does not work here ({refused[0][1]}): each connection may begin {STAGGER_S:g} s later for it",
            "fix it in the router, or switch it off: sudo nmcli connection modify NAME ipv6.method disabled",
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
        return [skipped(f"{server.key} is http")]
    try:
        with _handshake(server, authorities.context()) as line:
            certificate = line.getpeercert() or {}
            authority = issuer(line.getpeercert(binary_form=True) or b"")
            found = judge_tls(server.shown, line.version(), str(certificate.get("notAfter", "")), _date(line, server))
        return [*found, *_judge_form(server, authority)]
    except ssl.SSLCertVerificationError as refusal:
        ahead_s, authority = _asked_blindly(server)
        return [
            judge_certificate(server.host, server.key, refusal.verify_code, refusal.verify_message, ahead_s, authority)
        ]
    except ssl.SSLError as problem:
        text = f"{server.shown} speaks no TLS that we understand: {problem.reason or 'the handshake failed'}"
        return [error(text, f"is it an https port? A filtering network may stand between; see {server.key}")]
    except ProxyError as refusal:
        return [error(str(refusal), refusal.hint)]
    except OSError as problem:
        text = f"{server.shown} broke off the TLS handshake: {_words(problem)}"
        return [error(text, "a firewall? Try another network")]


def judge_tls(shown: str, version: str | None, not_after: str, ahead_s: float | None) -> Iterator[Finding]:
    """ahead_s: how far this machine's clock is ahead of the server's."""
    until = " ".join(not_after.split()[:2] + not_after.split()[3:4])
    yield good(f"{version} to {shown}" + (f", the certificate is valid until {until}" if until else ""))
    if ahead_s is not None and abs(ahead_s) > _WRONG_CLOCK_S:
        yield warning(f"our clock is {_apart(ahead_s)} the server's", _HINT_CLOCK)


def judge_certificate(
    host: str, key: str | None, code: int, said: str, ahead_s: float | None, authority: str = ""
) -> Finding:
    """code, said: OpenSSL's verdict. ahead_s: as in judge_tls; the unverified time of the server is good enough for
    advice.

    authority: the issuer of the certificate, if it is known.
    """
    what = flaw(code)
    if what in (Flaw.NOT_YET, Flaw.EXPIRED):
        return _judge_dates(host, key, what, ahead_s)
    if what is Flaw.HOST:
        return misconfigured(f"the certificate is not for {host}: {said}", hint_host(key))
    by = f" ({authority})" if authority else ""
    if what is Flaw.STRANGER:
        return error(f"the certificate of {host} is from nobody whom this machine trusts{by}: {said}", HINT_STRANGER)
    if what is Flaw.FORM:
        text = f"the certificate of {host}, or of the authority behind it{by}, is not accepted for its form: {said}"
        return error(text, hint_form(authority))
    if what is Flaw.REVOKED:
        return error(f"the certificate of {host} was revoked{by}: {said}", "tell whoever runs the server")
    return error(f"the certificate of {host} is not valid{by}: {said}", "tell whoever runs the server")


def _judge_dates(host: str, key: str | None, what: Flaw, ahead_s: float | None) -> Finding:
    words = "has expired" if what is Flaw.EXPIRED else "is not valid yet"
    if ahead_s is None:
        now = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        return error(f"the certificate of {host} {words}, if it really is {now}", f"is that wrong? {_HINT_CLOCK}")
    if abs(ahead_s) > _WRONG_CLOCK_S:
        text = f"by our clock the certificate of {host} {words}, but our clock is {_apart(ahead_s)} the server's"
        return error(text, _HINT_CLOCK)
    hint = f"whoever runs the server must renew it; a wrong host in {key}?"
    return error(f"the certificate of {host} {words}, and our clock is right", hint)


def _judge_form(server: Server, authority: str) -> Iterator[Finding]:
    """Makes a second handshake with the strict rules of newer versions of Python."""
    try:
        _handshake(server, authorities.strict_context()).close()
    except ssl.SSLCertVerificationError as refusal:
        if flaw(refusal.verify_code) is Flaw.FORM:
            who = f"the authority {authority}" if authority else "an authority"
            yield note(
                f"the certificate is from {who}, of an old form ({refusal.verify_message.rstrip('.')}): parleyd "
                "accepts it, as curl does; programs in Python 3.13 (Debian 13) do not",
                f"for those, {hint_form(authority).partition(': ')[2]}",
            )
    except OSError:
        # The first handshake succeeded; a connection that breaks now says nothing about the form.
        return


def _apart(ahead_s: float) -> str:
    units = ((365 * 86400, "year"), (86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
    unit_s, unit = next((each for each in units if abs(ahead_s) >= each[0]), units[-1])
    count = round(abs(ahead_s) / unit_s)
    return f"{count} {unit}{'s' if count != 1 else ''} {'ahead of' if ahead_s > 0 else 'behind'}"


def _handshake(server: Server, context: ssl.SSLContext) -> ssl.SSLSocket:
    with Deadline(_CONNECT_S) as deadline:
        line = open_line(server.host, server.port, (), deadline, tls=context, proxy=_proxy(server))
    assert isinstance(line, ssl.SSLSocket)
    line.settimeout(_CONNECT_S)
    return line


def _asked_blindly(server: Server) -> tuple[float | None, str]:
    """The difference to the server's clock, as in judge_tls, and the issuer of its certificate. The certificate is not
    verified here: no secret is sent, and nothing else of the answer is used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with _handshake(server, context) as line:
            return _date(line, server), issuer(line.getpeercert(binary_form=True) or b"")
    except OSError:
        return None, ""


def _date(line: ssl.SSLSocket, server: Server) -> float | None:
    """How far this machine's clock is ahead of the server's `Date` (RFC 9110 section 6.6.1)."""
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
