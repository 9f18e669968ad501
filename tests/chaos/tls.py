"""Certificates, good and bad, and servers that cannot prove their name."""

from __future__ import annotations

import contextlib
import datetime
import ssl
from pathlib import Path

import trustme


class Authority:
    """One that the daemon trusts, and one that it does not."""

    def __init__(self) -> None:
        self._ca = trustme.CA()
        self._other = trustme.CA()
        self.good = self._context(self._ca.issue_cert("localhost"))

    def write(self, path: Path) -> None:
        self._ca.cert_pem.write_to_path(path)

    @staticmethod
    def _context(cert: trustme.LeafCert) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        cert.configure_cert(context)
        return context

    def wrong_host(self) -> ssl.SSLContext:
        return self._context(self._ca.issue_cert("elsewhere.example"))

    def unknown(self) -> ssl.SSLContext:
        return self._context(self._other.issue_cert("localhost"))

    def expired(self) -> ssl.SSLContext:
        now = datetime.datetime.now(datetime.UTC)
        before, after = now - datetime.timedelta(days=30), now - datetime.timedelta(days=1)
        return self._context(self._ca.issue_cert("localhost", not_before=before, not_after=after))

    def not_yet_valid(self) -> ssl.SSLContext:
        now = datetime.datetime.now(datetime.UTC)
        before, after = now + datetime.timedelta(days=1), now + datetime.timedelta(days=30)
        return self._context(self._ca.issue_cert("localhost", not_before=before, not_after=after))

    def old_version(self) -> ssl.SSLContext:
        context = self._context(self._ca.issue_cert("localhost"))
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        return context

    def first_flight(self, hello: bytes) -> bytes:
        """What a good server answers to that ClientHello: certificate and all."""
        into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        talk = self.good.wrap_bio(into, out, server_side=True)
        into.write(hello)
        with contextlib.suppress(ssl.SSLWantReadError):
            talk.do_handshake()
        return out.read()
