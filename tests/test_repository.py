"""scripts/build-repository with packages that are nothing but a name; scripts/test-repository tries all of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KEY = "packages@parleyd.invalid"

pytestmark = pytest.mark.skipif(
    any(shutil.which(program) is None for program in ("apt-ftparchive", "dpkg-deb", "gpg", "gpgv")),
    reason="apt-utils, dpkg, gpg or gpgv is missing",
)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which gpg has the key."""
    folder = tmp_path_factory.mktemp("gnupg")
    folder.chmod(0o700)
    environment = {**os.environ, "GNUPGHOME": str(folder)}
    command = ["gpg", "--batch", "--passphrase", "", "--quick-generate-key", KEY, "ed25519", "sign", "never"]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)
    yield environment
    subprocess.run(["gpgconf", "--kill", "gpg-agent"], env=environment, check=False, timeout=60)


def package(
    folder: Path, version: str, name: str = "parleyd", description: str = "x", architecture: str = "amd64"
) -> Path:
    control = folder / "tree" / "DEBIAN" / "control"
    control.parent.mkdir(parents=True, exist_ok=True)
    facts = {
        "Package": name,
        "Version": version,
        "Architecture": architecture,
        "Maintainer": "x",
        "Description": description,
    }
    control.write_text("".join(f"{key}: {value}\n" for key, value in facts.items()))
    file = folder / f"{name}_{version}_{architecture}.deb"
    command: list[str | Path] = ["dpkg-deb", "--root-owner-group", "--build", folder / "tree", file]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return file


def build(keys: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [ROOT / "scripts" / "build-repository", *arguments]
    return subprocess.run(command, env=keys, capture_output=True, text=True, timeout=120, check=False)


def test_each_package_goes_to_its_release_and_a_share_is_kept_until_it_is_said_anew(
    keys: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "web"
    both = [package(tmp_path, "1~deb12"), package(tmp_path, "1~deb13")]
    done = build(keys, folder, "--key", KEY, "--url", "https://packages.example.org/p", *both)
    assert done.returncode == os.EX_OK, done.stderr
    lists = [folder / "dists" / suite / "main/binary-amd64/Packages" for suite in ("bookworm", "trixie")]
    assert [f"Version: 1~deb{release}\n" in one.read_text() for one, release in zip(lists, (12, 13), strict=True)] == [
        True,
        True,
    ]
    assert "Suites: trixie\n" in (folder / "trixie.sources").read_text()
    assert "BEGIN PGP PUBLIC KEY" in (folder / "user-data").read_text()

    newer = package(tmp_path, "2~deb12")
    share: list[str | Path] = ["--phase", "10", newer]
    for words in (share, []):
        assert build(keys, folder, "--key", KEY, *words).returncode == os.EX_OK
        stanzas = {
            stanza.split("Version: ")[1].split()[0]: stanza for stanza in lists[0].read_text().split("\n\n")[:-1]
        }
        assert {version: "Phased-Update-Percentage: 10" in stanza for version, stanza in stanzas.items()} == {
            "1~deb12": False,
            "2~deb12": True,
        }
    assert build(keys, folder, "--key", KEY, "--phase", "100").returncode == os.EX_OK
    assert "Phased" not in lists[0].read_text()


def test_what_is_wrong_is_said_with_its_exit_code_and_nothing_is_published(
    keys: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "web"
    good = package(tmp_path, "1~deb12")
    assert build(keys, folder, "--key", KEY, good).returncode == os.EX_OK
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    (tmp_path / "again").mkdir()
    (tmp_path / "torn.deb").write_bytes(b"")
    cases: list[tuple[list[str | Path], int, str]] = [
        ([], os.EX_USAGE, "scripts/build-repository FOLDER --key KEY"),
        (["--key"], os.EX_USAGE, "--key wants a value"),
        (["--key", "nobody@parleyd.invalid", good], os.EX_NOINPUT, "gpg has no secret key 'nobody@parleyd.invalid'"),
        (["--key", KEY, "--phase", "101"], os.EX_USAGE, "--phase 101: a whole number from 0 to 100"),
        (["--key", KEY, tmp_path / "absent.deb"], os.EX_NOINPUT, "absent.deb: there is no such file"),
        (["--key", KEY, tmp_path / "torn.deb"], os.EX_DATAERR, "torn.deb: this is no package of parleyd"),
        (["--key", KEY, package(tmp_path, "1~deb12", "other")], os.EX_DATAERR, "this is no package of parleyd"),
        (["--key", KEY, package(tmp_path, "1")], os.EX_DATAERR, "its version 1 names neither Debian 12 nor 13"),
        (["--key", KEY, package(tmp_path / "again", "1~deb12", description="y")], os.EX_DATAERR, "with other contents"),
    ]
    for arguments, code, words in cases:
        told = build(keys, folder, *arguments)
        assert (told.returncode, words in told.stderr) == (code, True), (arguments, told.stderr)
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before
    # A file where the folder should be.
    assert build(keys, good, "--key", KEY).returncode == os.EX_USAGE
    told = build(keys, tmp_path / "torn.deb" / "x", "--key", KEY)
    assert (told.returncode, "the folder cannot be made" in told.stderr) == (os.EX_CANTCREAT, True)


def test_lists_that_somebody_has_just_been_told_of_stay(keys: dict[str, str], tmp_path: Path) -> None:
    """apt has read InRelease, and fetches what it names; the version before may be months old."""
    folder = tmp_path / "web"
    hashes = folder / "dists/bookworm/main/binary-amd64/by-hash/SHA256"
    old_s = time.time() - 30 * 86400
    seen: list[set[str]] = []
    for version in range(1, 4):
        assert build(keys, folder, "--key", KEY, package(tmp_path, f"{version}~deb12")).returncode == os.EX_OK
        seen.append({one.name for one in hashes.iterdir()})
        for one in hashes.iterdir():
            os.utime(one, (old_s, old_s))
    assert seen[0] < seen[1], "those of the version before are there"
    assert not seen[0] & seen[2], "nobody has been told of these for a month"


def candidate(folder: Path, work: Path, architecture: str) -> str:
    """The version that apt would install on a device with this processor."""
    for one in ("etc/apt/preferences.d", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/lib/dpkg"):
        (work / one).mkdir(parents=True)
    (work / "var/lib/dpkg/status").write_text("")
    source = (folder / "bookworm.sources").read_text().replace("https://packages.example.org/p", f"file:{folder}")
    (work / "etc/apt/sources.list.d").mkdir()
    (work / "etc/apt/sources.list.d/parleyd.sources").write_text(source)
    options = [
        f"-oDir={work}", f"-oDir::State::status={work}/var/lib/dpkg/status", f"-oAPT::Architecture={architecture}",
        f"-oAPT::Architectures={architecture}", "-oAPT::Sandbox::User=root", "-oAPT::Update::Error-Mode=any",
    ]  # fmt: skip
    run = {"check": True, "capture_output": True, "text": True, "timeout": 60}
    subprocess.run(["apt-get", *options, "update"], **run)  # type: ignore[call-overload]
    told = subprocess.run(["apt-cache", *options, "policy", "parleyd"], **run).stdout  # type: ignore[call-overload]
    return str(told).partition("Candidate: ")[2].partition("\n")[0]


def test_each_processor_has_its_own_newest_version(keys: dict[str, str], tmp_path: Path) -> None:
    """Both are in one release, and need not be built at the same time."""
    folder = tmp_path / "web"
    amd64, arm64 = package(tmp_path, "1~deb12"), package(tmp_path, "2~deb12", architecture="arm64")
    done = build(keys, folder, "--key", KEY, "--url", "https://packages.example.org/p", amd64, arm64)
    assert done.returncode == os.EX_OK, done.stderr
    assert "\nArchitectures: amd64 arm64\n" in (folder / "dists/bookworm/InRelease").read_text()
    assert candidate(folder, tmp_path / "amd64", "amd64") == "1~deb12"
    assert candidate(folder, tmp_path / "arm64", "arm64") == "2~deb12"
    assert candidate(folder, tmp_path / "armhf", "armhf") == "", "there is none for it"
