"""Certificates that are refused, each kind made for real: told apart in the log and by the doctor."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import format_datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from parleyd.agents.elevenlabs.address import signed_address
from parleyd.agents.elevenlabs.endings import judge_http
from parleyd.agents.provider import Address
from parleyd.config.schema import Config, ElevenLabs
from parleyd.conversation.session.connecting import connect
from parleyd.core.endings import DialError
from parleyd.core.findings import Finding, Severity
from parleyd.doctor import network
from parleyd.doctor.examination import Examination
from parleyd.host import authorities
from parleyd.host.certificates import Flaw, flaw, issuer
from parleyd.host.stopping import Stop
from parleyd.tools.http import Http
from parleyd.tools.result import ToolError
from tls_server import tls_server

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
KEY = "sk_0123456789abcdef"
WAIT_S = 60.0
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass
class Authority:
    """As office filters of ten years ago have it, unless it is said otherwise."""

    certificate: x509.Certificate
    key: PrivateKey

    @staticmethod
    def made(*, is_critical: bool = False, has_key_usage: bool = False, path_length: int | None = None) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder("Office filter", key, x509.Name(_names("Office filter")), NOW - 400 * DAY, NOW + 400 * DAY)
        constraints = x509.BasicConstraints(ca=True, path_length=path_length)
        builder = builder.add_extension(constraints, critical=is_critical)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        if has_key_usage:
            usage = dict.fromkeys(
                ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
                False,
            )
            usage |= {"key_cert_sign": True, "crl_sign": True, "encipher_only": False, "decipher_only": False}
            builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
        return Authority(builder.sign(key, hashes.SHA256()), key)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def issue(
        self,
        host: str = "127.0.0.1",
        *,
        first: datetime.datetime = NOW - DAY,
        last: datetime.datetime = NOW + DAY,
        key: PrivateKey | None = None,
        is_authority: bool = False,
        odd: bool = False,
    ) -> tuple[x509.Certificate, PrivateKey]:
        key = key or ec.generate_private_key(ec.SECP256R1())
        builder = _builder(host, key, self.certificate.subject, first, last)
        address = x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host)
        builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        if is_authority:
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        if odd:
            unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00")
            builder = builder.add_extension(unknown, critical=True)
        return builder.sign(self.key, hashes.SHA256()), key


def _names(common: str) -> list[x509.NameAttribute[str]]:
    organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Exämple Ltd")
    return [organisation, x509.NameAttribute(NameOID.COMMON_NAME, common)]


def _builder(
    common: str, key: PrivateKey, by: x509.Name, first: datetime.datetime, last: datetime.datetime
) -> x509.CertificateBuilder:
    subject = x509.Name(_names(common))
    named = x509.CertificateBuilder().subject_name(subject).issuer_name(by).public_key(key.public_key())
    return named.serial_number(x509.random_serial_number()).not_valid_before(first).not_valid_after(last)


Serve = Callable[[Authority, tuple[x509.Certificate, PrivateKey]], int]


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """serve(trusted, certificate) → the port of a TLS server. It answers with 404 and the time."""
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with contextlib.ExitStack() as stack:

        def begin(trusted: Authority, leaf: tuple[x509.Certificate, PrivateKey]) -> int:
            (tmp_path / "ca.pem").write_bytes(trusted.pem)
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
            certificate, key = leaf
            private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            (tmp_path / "leaf.pem").write_bytes(private + certificate.public_bytes(Encoding.PEM))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            # For keys that this machine's OpenSSL finds too weak.
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
            context.load_cert_chain(tmp_path / "leaf.pem")

            def answer() -> bytes:
                date = format_datetime(datetime.datetime.now(datetime.UTC), usegmt=True)
                return f"HTTP/1.1 404 Not Found\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n".encode()

            return stack.enter_context(tls_server(context, answer))

        yield begin


def said_by_all(port: int) -> tuple[list[tuple[str, str]], str, list[Finding]]:
    """What signed URL and WebSocket, a tool, and the doctor make of it."""
    told = []
    asked: list[Callable[[], object]] = [
        lambda: signed_address(f"https://127.0.0.1:{port}", "a", KEY, WAIT_S),
        lambda: connect(Address(f"wss://127.0.0.1:{port}/"), WAIT_S, judge_http, key="elevenlabs.base_url"),
    ]
    for ask in asked:
        with pytest.raises(DialError) as caught:
            ask()
        told.append((caught.value.ending.reason, caught.value.ending.hint or ""))
    url = f"https://127.0.0.1:{port}/"
    tool = Http("GET", url, headers={}, secrets={}, body=None, allowed_status=[200], timeout_s=WAIT_S)
    with pytest.raises(ToolError) as refused:
        tool.run({}, Stop())
    section = ElevenLabs(agent_id="agent_1", base_url=f"https://127.0.0.1:{port}")
    return told, str(refused.value), list(network.tls(Examination(config=Config(elevenlabs=section))))


def weak_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)


GOOD = {"is_critical": True, "has_key_usage": True}
REFUSED: dict[str, tuple[Callable[[Authority], tuple[x509.Certificate, PrivateKey]], str, str, str]] = {
    "not yet": (
        lambda by: by.issue(first=NOW + DAY, last=NOW + 2 * DAY),
        "is not valid yet, by this machine's clock", "set the clock", "is not valid yet, and our clock is right",
    ),
    "expired": (
        lambda by: by.issue(first=NOW - 2 * DAY, last=NOW - DAY),
        "has expired, by this machine's clock", "is the clock right?", "has expired, and our clock is right",
    ),
    "host": (
        lambda by: by.issue("agent.example"),
        "the certificate is not for 127.0.0.1", "check elevenlabs.base_url", "the certificate is not for 127.0.0.1",
    ),
    "stranger": (
        lambda _: Authority.made(**GOOD).issue(),
        "from nobody whom this machine trusts", "/usr/local/share/ca-certificates",
        "from nobody whom this machine trusts (Office filter (Exämple Ltd))",
    ),
    "weak": (
        lambda by: by.issue(key=weak_key()),
        "is not accepted for its form: EE certificate key too weak", "neither the clock nor this device is at fault",
        "the authority behind it (Office filter (Exämple Ltd)), is not accepted for its form",
    ),
    "odd": (
        lambda by: by.issue(odd=True),
        "is not accepted for its form: unhandled critical extension", "neither the clock nor this device is at fault",
        "the authority behind it (Office filter (Exämple Ltd)), is not accepted for its form",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_each_refusal_is_told_by_what_it_is(kind: str, serve: Serve) -> None:
    leaf, said, hint, doctors = REFUSED[kind]
    trusted = Authority.made(**GOOD)
    told, tools, found = said_by_all(serve(trusted, leaf(trusted)))
    for reason, advice in told:
        assert said in reason
        assert hint in advice
        assert ("clock" in advice and "neither the clock" not in advice) is (kind in ("not yet", "expired"))
    assert said[4:] in tools
    (only,) = found
    assert only.severity is Severity.ERROR
    assert doctors in only.text


@pytest.mark.parametrize(
    ("authority", "words"),
    [
        ({"has_key_usage": True}, "Basic Constraints of CA cert not marked critical"),
        ({"is_critical": True}, "CA cert does not include key usage extension"),
        ({}, ""),
    ],
)
def test_an_authority_of_the_old_form_is_trusted_by_every_python(
    authority: dict[str, bool], words: str, serve: Serve
) -> None:
    """An upgrade of the system must not silence the device; but the doctor tells it, and names the authority."""
    by = Authority.made(**authority)
    told, tools, found = said_by_all(serve(by, by.issue()))
    assert "certificate" not in str(told) + tools
    assert "HTTP 404" in told[0][0]
    assert [one.severity for one in found] == [Severity.GOOD, Severity.NOTE]
    assert "from the authority Office filter (Exämple Ltd), of an old form" in found[1].text
    assert words in found[1].text
    assert "whoever runs the authority Office filter (Exämple Ltd)" in found[1].hint


def test_a_good_authority_is_not_mentioned(serve: Serve) -> None:
    by = Authority.made(**GOOD)
    assert [one.severity for one in said_by_all(serve(by, by.issue()))[2]] == [Severity.GOOD]


def test_an_intermediate_authority_in_the_systems_store_is_enough(serve: Serve) -> None:
    root = Authority.made(**GOOD)
    between = Authority(*root.issue("office.example", is_authority=True))
    told, _, _ = said_by_all(serve(between, between.issue()))
    assert "HTTP 404" in told[0][0]


def test_the_rules_are_the_same_for_every_python() -> None:
    flags = authorities.context().verify_flags
    assert not flags & ssl.VerifyFlags.VERIFY_X509_STRICT
    assert flags & ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    assert authorities.strict_context().verify_flags & ssl.VerifyFlags.VERIFY_X509_STRICT


@pytest.mark.parametrize(
    ("code", "kind"),
    [(9, Flaw.NOT_YET), (10, Flaw.EXPIRED), (18, Flaw.STRANGER), (20, Flaw.STRANGER), (62, Flaw.HOST), (64, Flaw.HOST),
     (23, Flaw.REVOKED), (26, Flaw.FORM), (66, Flaw.FORM), (89, Flaw.FORM), (92, Flaw.FORM), (1, Flaw.OTHER),
     (200, Flaw.OTHER), (12, Flaw.OTHER)],
)  # fmt: skip
def test_the_numbers_of_openssl(code: int, kind: Flaw) -> None:
    assert flaw(code) is kind


def test_who_vouches_for_a_certificate_is_read_whatever_it_is() -> None:
    by = Authority.made()
    certificate = by.issue()[0].public_bytes(Encoding.DER)
    assert issuer(certificate) == "Office filter (Exämple Ltd)"
    for length in range(len(certificate)):
        # Cut off, it may still hold the name; it never is the end of the doctor.
        assert issuer(certificate[:length]) in ("", "Office filter (Exämple Ltd)")
        broken = bytearray(certificate)
        broken[length] ^= 0xFF
        assert isinstance(issuer(bytes(broken)), str)
