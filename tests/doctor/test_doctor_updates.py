"""What the doctor says of a newer version: by apt itself, with a repository in a folder, and by what it has printed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from parleyd.core.findings import Finding, Severity
from parleyd.doctor import updates
from parleyd.doctor.examination import Examination
from parleyd.host import python_env

STANZA = """\
Package: parleyd
Version: {version}
Architecture: all
Maintainer: nobody <nobody@parleyd.invalid>
Filename: parleyd_{version}_all.deb
Size: 1
SHA256: {sha256}
Description: a voice daemon
{more}
"""


@pytest.fixture
def of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this Python were that of the Debian package."""
    monkeypatch.setattr(python_env, "DEBIAN_PREFIX", sys.prefix)


def texts(found: list[Finding]) -> list[str]:
    return [one.text for one in found if one.severity is Severity.NOTE]


class Apt:
    """apt with folders of its own: nothing of this machine's is read or written."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.repository = folder / "repository"
        self.state = folder / "state"
        for place in (self.repository, self.state / "lists/partial", folder / "cache", folder / "etc/parts"):
            place.mkdir(parents=True)
        self.status = folder / "status"
        self.status.write_text("")
        source = folder / "etc/sources.list"
        source.write_text(f"deb [trusted=yes] file:{self.repository} ./\n")
        settings = folder / "apt.conf"
        settings.write_text(
            f'Dir::State "{self.state}"; Dir::State::status "{self.status}"; Dir::Cache "{folder / "cache"}";\n'
            f'Dir::Etc::sourcelist "{source}"; Dir::Etc::sourceparts "{folder / "etc/parts"}";\n'
            f'Dir::Etc::preferencesparts "{folder / "etc/parts"}"; APT::Sandbox::User "";\n'
            'APT::Machine-ID "0123456789abcdef0123456789abcdef";\n'
        )
        monkeypatch.setenv("APT_CONFIG", str(settings))

    def has(self, installed: str, *published: tuple[str, str]) -> None:
        """published: version, and more lines of its stanza."""
        self.status.write_text(
            f"Package: parleyd\nStatus: install ok installed\nVersion: {installed}\nArchitecture: all\n"
            "Maintainer: nobody <nobody@parleyd.invalid>\nDescription: a voice daemon\n\n"
        )
        stanzas = (STANZA.format(version=version, sha256="0" * 64, more=more) for version, more in published)
        (self.repository / "Packages").write_text("\n".join(stanzas))
        subprocess.run(["apt-get", "update"], capture_output=True, timeout=120, check=True)


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Apt:
    if shutil.which("apt-get") is None:
        pytest.skip("there is no apt on this machine")
    return Apt(tmp_path, monkeypatch)


@pytest.mark.usefixtures("of_the_package")
def test_a_newer_version_is_named_with_what_installs_it(apt: Apt) -> None:
    apt.has("0.1.0", ("0.1.0", ""), ("0.2.0", ""))
    found = list(updates.version(Examination()))
    assert texts(found) == ["apt has a newer version, 0.2.0; installed is 0.1.0"]
    assert "apt install" in found[-1].hint


@pytest.mark.usefixtures("of_the_package")
@pytest.mark.parametrize("published", [[], [("0.1.0", "")], [("0.0.9", "")], [("0.0.9", ""), ("0.1.0", "")]])
def test_nothing_is_said_where_there_is_nothing_newer(apt: Apt, published: list[tuple[str, str]]) -> None:
    apt.has("0.1.0", *published)
    assert texts(list(updates.version(Examination()))) == []


@pytest.mark.usefixtures("of_the_package")
def test_a_version_for_some_of_the_devices_is_named_with_their_share(apt: Apt) -> None:
    apt.has("0.1.0", ("0.2.0", "Phased-Update-Percentage: 0"))
    (text,) = texts(list(updates.version(Examination())))
    assert "0.2.0" in text
    assert "for 0 % of the devices" in text


def test_an_installation_by_pip_is_nothing_to_apt(apt: Apt) -> None:
    apt.has("0.1.0", ("0.2.0", ""))
    found = list(updates.version(Examination()))
    assert [one.severity for one in found] == [Severity.GOOD]


@pytest.mark.usefixtures("of_the_package")
def test_nothing_is_said_where_there_is_no_apt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert texts(list(updates.version(Examination()))) == []


@pytest.mark.usefixtures("of_the_package")
def test_an_apt_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hangs = tmp_path / "apt-cache"
    hangs.write_text("#!/bin/sh\nexec sleep 600\n")
    hangs.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(updates, "_PATIENCE_S", 0.2)
    (text,) = texts(list(updates.version(Examination())))
    assert "no answer within" in text


# As the apt of Debian 13 prints it, which does not take a version as its candidate before it is this device's turn.
NOT_YET = """\
parleyd:
  Installed: 0.1.0
  Candidate: 0.1.0
  Version table:
     0.2.0 1 (phased 20%)
        500 http://127.0.0.1/parleyd trixie/main amd64 Packages
 *** 0.1.0 500
        500 http://127.0.0.1/parleyd trixie/main amd64 Packages
        100 /var/lib/dpkg/status
"""


def test_a_version_that_comes_later_is_named_without_an_order_to_install_it() -> None:
    (found,) = updates.judge(NOT_YET)
    assert found.text == "apt has 0.2.0 for 20 % of the devices; this one gets it later"
    assert found.hint == ""


@pytest.mark.parametrize(
    "printed",
    [
        "",
        "N: Unable to locate package parleyd\n",
        "parleyd:\n  Installed: (none)\n  Candidate: 0.2.0\n  Version table:\n     0.2.0 500\n        500 x Packages\n",
        # Installed by hand, and pinned to what is there.
        NOT_YET.replace(" 1 (phased 20%)", " -1"),
    ],
)
def test_other_words_of_apt_say_nothing(printed: str) -> None:
    assert list(updates.judge(printed)) == []
