"""packaging/fleet/certificates: what it makes, and what it must not overwrite."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

CERTIFICATES = Path(__file__).resolve().parents[2] / "packaging" / "fleet" / "certificates"


def made(folder: Path, *words: str) -> tuple[int, str]:
    what, *more = words
    done = subprocess.run([CERTIFICATES, what, folder, *more], capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stderr


def openssl(*words: str | Path) -> str:
    return subprocess.run(["openssl", *words], capture_output=True, text=True, check=False, timeout=60).stdout


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    # A path with a space in it.
    folder = tmp_path / "the authority"
    assert made(folder, "init") == (0, "")
    return folder


def test_it_makes_a_broker_and_devices_that_the_authority_vouches_for(authority: Path) -> None:
    for words in (("broker", "broker.example"), ("device", "ward-3"), ("device", "ward-4", "30")):
        assert made(authority, *words) == (0, "")
    for name in ("broker", "ward-3", "ward-4"):
        assert "OK" in openssl("verify", "-CAfile", authority / "ca.pem", authority / f"{name}.pem")
        assert (authority / f"{name}.key").stat().st_mode & 0o777 == 0o600
    names = {one.name for one in authority.iterdir()}
    assert names == {f"{name}.{end}" for name in ("ca", "broker", "ward-3", "ward-4") for end in ("pem", "key")} | (
        names & {"ca.srl"}
    )


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("broker.example", "DNS:broker.example"),
        ("192.0.2.7", "IP Address:192.0.2.7"),
        ("2001:db8::7", "IP Address:2001:"),
    ],
)
def test_a_broker_is_called_by_its_name_or_its_address(authority: Path, name: str, wanted: str) -> None:
    assert made(authority, "broker", name) == (0, "")
    told = openssl("x509", "-in", authority / "broker.pem", "-noout", "-ext", "subjectAltName")
    assert wanted.lower() in told.lower()


def test_nothing_overwrites_the_authority_or_the_broker(authority: Path) -> None:
    """Without the authority's key a fleet can never be given a further certificate."""
    made(authority, "broker", "broker.example")
    before = {one.name: one.read_bytes() for one in authority.iterdir()}
    assert made(authority, "init")[0] == os.EX_CANTCREAT
    for name in ("ca", "broker", "group", "../x", ""):
        code, told = made(authority, "device", name)
        assert code == os.EX_USAGE
        assert told
    assert {one.name: one.read_bytes() for one in authority.iterdir()} == before


def test_a_renewal_that_fails_leaves_key_and_certificate_that_fit(authority: Path) -> None:
    made(authority, "device", "ward-3")
    before = {one.name: one.read_bytes() for one in authority.iterdir() if one.suffix != ".srl"}
    assert made(authority, "device", "ward-3", "a-year")[0] == os.EX_USAGE
    (authority / "ca.key").write_text("")
    code, told = made(authority, "device", "ward-3")
    assert code != 0
    assert told, "openssl says why"
    after = {one.name: one.read_bytes() for one in authority.iterdir() if one.suffix != ".srl"}
    assert after == before | {"ca.key": b""}
