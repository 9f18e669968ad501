"""What is weaker with an older systemd, and who is told so."""

from __future__ import annotations

from pathlib import Path

import pytest

from parleyd.checks import systemd_features
from parleyd.checks.configuration import parse
from parleyd.checks.systemd_features import FEATURES, lacking, relied_on, version_of
from parleyd.config.schema import Config
from parleyd.core.findings import Severity
from parleyd.doctor.service import Unit, judge_units
from parleyd.doctor.systemd import judge_systemd
from parleyd.host.directories import SYSTEM_CONFIG, is_of_user

PLAIN = "provider: local\n"
CREDENTIAL = "elevenlabs: {agent_id: a, api_key: {credential: elevenlabs}}\n"
JOURNAL = "provider: local\nlog: {format: journal}\n"
HOOK = "provider: local\nhooks: [{on: [live], command: [/bin/true]}]\n"
VERSIONS = [None, *range(241, 259)]
ROOT = Path(__file__).parents[2]


def config_of(text: str) -> Config:
    return parse(text, "c.yaml").config


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_lacking_is_what_came_later(version: int | None) -> None:
    names = {one.name for one in lacking(version)}
    if version is None:
        assert names == {"restarts, the watchdog", "the limits of the units", "the journal", "credentials"}
        return
    assert names == {one.name for one in FEATURES if one.since > version}
    for name, since in {
        "OOMPolicy=": 243,
        "ProtectProc=, ProcSubset=": 247,
        "LoadCredentialEncrypted=": 250,
        "Type=notify-reload": 253,
        "RestartSteps=, RestartMaxDelaySec=": 254,
        "encrypted credentials of users": 256,
    }.items():
        assert (name in names) == (version < since), name
    if version >= 256:
        assert names == set()


def test_a_unit_of_the_system_and_one_of_a_user_lack_different_things() -> None:
    system = {one.name for one in lacking(249, of_user=False)}
    user = {one.name for one in lacking(249, of_user=True)}
    assert "LoadCredentialEncrypted=" in system - user
    assert "encrypted credentials of users" in user - system
    assert "Type=notify-reload" in system & user


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("of_user", [False, True])
def test_a_configuration_is_warned_of_what_it_relies_on_only(version: int | None, of_user: bool) -> None:
    def keys(text: str) -> list[str]:
        return [one.key for one in relied_on(config_of(text), version, of_user=of_user)]

    assert keys(PLAIN) == []
    since = 256 if of_user else 250
    assert keys(CREDENTIAL) == (["elevenlabs.api_key"] if version is None or version < since else [])
    assert keys(JOURNAL) == (["log.format"] if version is None else [])
    assert keys(HOOK) == (["hooks"] if version is None else [])


def test_a_warning_says_what_to_do() -> None:
    (told,) = relied_on(config_of(CREDENTIAL), 249, of_user=False)
    assert told.is_warning
    assert told.text.startswith("systemd 249 lacks LoadCredentialEncrypted=: the key cannot be encrypted")
    assert "{file: PATH}" in told.hint


def test_each_row_says_something() -> None:
    assert len({one.name for one in FEATURES}) == len(FEATURES)
    assert [one.since for one in FEATURES] == sorted(one.since for one in FEATURES)
    for one in FEATURES:
        assert one.without


def test_a_row_stands_for_every_line_that_older_systemd_ignores() -> None:
    """Lines of the units that came with version 242 or later, by systemd's own manual."""
    came = {
        "RestrictSUIDSGID": 242,
        "ProtectHostname": 242,
        "OOMPolicy": 243,
        "ProtectKernelLogs": 244,
        "ProtectClock": 245,
        "ProtectProc": 247,
        "ProcSubset": 247,
        "LoadCredentialEncrypted": 250,
        "RestartSteps": 254,
        "RestartMaxDelaySec": 254,
    }
    units = "".join(path.read_text() for path in (ROOT / "systemd").rglob("*") if path.is_file())
    for name, since in came.items():
        assert f"\n{name}=" in units
        assert [one.since for one in FEATURES if f"{name}=" in one.name] == [since]


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("systemd 252 (252.39-1~deb12u2)\n+PAM +AUDIT", 252),
        ("systemd 257 (257.13-1~deb13u1)", 257),
        ("systemd 258~rc1 (x)", 258),
        ("", None),
        ("openrc 1", None),
        ("systemd 99999999999", None),
    ],
)
def test_the_version_is_read(said: str, version: int | None) -> None:
    assert version_of(said) == version


def unit(*, is_of_user: bool, **properties: str) -> Unit:
    return Unit(is_of_user, {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled", **properties})


def test_the_doctor_has_a_section_for_it() -> None:
    (good,) = judge_systemd(257, [unit(is_of_user=False)], config_of(CREDENTIAL))
    assert good.severity is Severity.GOOD
    found = list(judge_systemd(249, [unit(is_of_user=False)], config_of(CREDENTIAL)))
    assert [one.severity for one in found].count(Severity.WARNING) == 1
    assert all(one.severity in (Severity.NOTE, Severity.WARNING) for one in found)
    assert {one.severity for one in judge_systemd(249, [], None)} == {Severity.NOTE}


def test_a_user_s_service_without_a_namespace_is_told() -> None:
    open_one = unit(is_of_user=True, PrivateUsers="no")
    (told,) = judge_systemd(257, [open_one], config_of(PLAIN))
    assert told.severity is Severity.NOTE
    assert "can write all files of the user" in told.text
    (good,) = judge_systemd(257, [unit(is_of_user=True, PrivateUsers="yes")], config_of(PLAIN))
    assert good.severity is Severity.GOOD
    (good,) = judge_systemd(257, [unit(is_of_user=False, PrivateUsers="no")], config_of(PLAIN))
    assert good.severity is Severity.GOOD


@pytest.mark.parametrize("status", ["217", "218"])
def test_a_kernel_without_namespaces_for_users_is_named_with_the_way_out(status: str) -> None:
    failed = unit(is_of_user=True, ActiveState="failed", Result="exit-code", ExecMainCode="1", ExecMainStatus=status)
    told = next(iter(judge_units([failed], lingers=True)))
    assert "the kernel lets users have no namespaces" in told.text
    assert "PrivateUsers=no" in told.hint
    of_system = unit(
        is_of_user=False, ActiveState="failed", Result="exit-code", ExecMainCode="1", ExecMainStatus=status
    )
    assert "namespaces" not in next(iter(judge_units([of_system], lingers=True))).text


def test_whose_configuration_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert is_of_user(tmp_path / "parleyd/parleyd.yaml")
    assert not is_of_user(SYSTEM_CONFIG)
    assert not is_of_user(tmp_path / "other.yaml")


def test_where_systemd_does_not_run_none_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert systemd_features.running_version() is None
