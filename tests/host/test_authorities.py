"""Whom the system trusts, read again when that has changed."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
import trustme

from parleyd.host.authorities import context


class OwnSocket(ssl.SSLSocket):
    pass


def test_they_are_read_again_when_they_have_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "authorities.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    first = context()
    assert context() is first
    trustme.CA().cert_pem.write_to_path(str(file), append=True)
    os.utime(file, ns=(0, 0))
    assert context().cert_store_stats()["x509_ca"] == first.cert_store_stats()["x509_ca"] + 1


def test_each_kind_of_socket_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "authorities.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    own, plain = context(OwnSocket), context()
    assert own.sslsocket_class is OwnSocket
    assert plain.sslsocket_class is ssl.SSLSocket
    assert context(OwnSocket) is own
    assert own.verify_mode is plain.verify_mode is ssl.CERT_REQUIRED
    assert own.check_hostname
