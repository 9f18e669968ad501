"""The network's checks against real servers on loopback: names, TCP, and certificates of all kinds."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from email.utils import format_datetime
from pathlib import Path

import pytest
import trustme

from parleyd.config.schema import Config, ElevenLabs
from parleyd.core.findings import Finding, Severity
from parleyd.doctor import network
from parleyd.doctor.examination import Examination
from tls_server import tls_server

DAY = datetime.timedelta(days=1)
# start(certificate, ahead): a TLS server whose Date is so far ahead of ours, or that gives none; → its base URL.
Start = Callable[[trustme.LeafCert, datetime.timedelta | None], str]
RIGHT = datetime.timedelta(0)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def start(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with contextlib.ExitStack() as stack:

        def begin(certificate: trustme.LeafCert, ahead: datetime.timedelta | None) -> str:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)

            def head() -> bytes:
                now = datetime.datetime.now(datetime.UTC)
                date = "" if ahead is None else f"Date: {format_datetime(now + ahead, usegmt=True)}\r\n"
                return f"HTTP/1.1 200 OK\r\n{date}\r\n".encode()

            return f"https://127.0.0.1:{stack.enter_context(tls_server(context, head))}"

        yield begin


def examination(base_url: str) -> Examination:
    return Examination(config=Config(elevenlabs=ElevenLabs(agent_id="agent_1", base_url=base_url)))


def tls(base_url: str) -> list[Finding]:
    return list(network.tls(examination(base_url)))


def test_a_good_certificate(authority: trustme.CA, start: Start) -> None:
    (only,) = tls(start(authority.issue_cert("127.0.0.1"), RIGHT))
    assert only.severity is Severity.GOOD
    assert "TLSv1.3" in only.text


def test_a_clock_that_is_off_is_told_from_the_server(authority: trustme.CA, start: Start) -> None:
    found = tls(start(authority.issue_cert("127.0.0.1"), -3 * DAY))
    assert [one.severity for one in found] == [Severity.GOOD, Severity.WARNING]
    assert "our clock is 3 days ahead of the server's" in found[1].text


@pytest.mark.parametrize(
    ("valid", "ahead", "said", "hint"),
    [
        ((-90, -30), RIGHT, "has expired, and our clock is right", "renew"),
        ((-90, -30), -60 * DAY, "our clock is 60 days ahead of", "timedatectl"),
        ((30, 90), 60 * DAY, "is not valid yet, but our clock is 60 days behind", "timedatectl"),
        ((30, 90), None, "is not valid yet, if it really is 20", "timedatectl"),
    ],
)
def test_an_expired_certificate_is_told_from_a_wrong_clock(
    authority: trustme.CA,
    start: Start,
    valid: tuple[int, int],
    ahead: datetime.timedelta | None,
    said: str,
    hint: str,
) -> None:
    first, last = (datetime.datetime.now(datetime.UTC) + days * DAY for days in valid)
    (only,) = tls(start(authority.issue_cert("127.0.0.1", not_before=first, not_after=last), ahead))
    assert only.severity is Severity.ERROR
    assert said in only.text
    assert hint in only.hint


def test_the_wrong_host_and_the_unknown_authority(authority: trustme.CA, start: Start) -> None:
    (other_host,) = tls(start(authority.issue_cert("elsewhere.example"), RIGHT))
    assert "the certificate is not for 127.0.0.1" in other_host.text
    assert other_host.is_configuration
    (stranger,) = tls(start(trustme.CA().issue_cert("127.0.0.1"), RIGHT))
    assert "nobody whom this machine trusts" in stranger.text
    assert "ca-certificates" in stranger.hint


def test_a_server_without_tls_and_one_that_is_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer_plainly() -> None:
            line, _ = listener.accept()
            with line:
                line.recv(4096)
                line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer_plainly)
        thread.start()
        (plain,) = tls(f"https://127.0.0.1:{port}")
        thread.join(60)
    assert plain.severity is Severity.ERROR
    assert "speaks no TLS" in plain.text
    (gone,) = network.tcp(examination(f"https://127.0.0.1:{port}"))
    assert "does not answer: connection refused" in gone.text


def test_names() -> None:
    (known,) = network.name(examination("https://localhost"))
    assert known.severity is Severity.GOOD
    (unknown,) = network.name(examination("https://no-such-host.invalid"))
    assert unknown.severity is Severity.ERROR


def test_a_name_server_that_never_answers_is_given_up_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def never(*_: object, **__: object) -> list[object]:
        over.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", never)
    monkeypatch.setattr(network, "_LOOKUP_S", 0.1)
    monkeypatch.setattr(network, "_has_route", lambda: True)
    (found,) = network.name(examination("https://agent.example"))
    over.set()
    assert found.severity is Severity.ERROR
    assert "no name server answers" in found.text
    assert "router" in found.hint


def test_a_broken_ipv6_is_said_once_ipv4_answers() -> None:
    found = list(
        network.judge_tcp(
            "h:443", "elevenlabs.base_url", [("2001:db8::1", "network is unreachable"), ("192.0.2.1", None)]
        )
    )
    assert [one.severity for one in found] == [Severity.GOOD, Severity.WARNING]
    assert found[1].text == (
        "IPv6 does not work here (network is unreachable): each connection may begin 0.25 s later for it"
    )
