"""The lock files: whole, by hashes, and held to."""

from __future__ import annotations

import configparser
import hashlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
OF_DEBIAN = {"pyaudio", "systemd-python"}
# What is installed, by which lock, and what of it Debian has: scripts/install, build-deb, setup.
INSTALLED = {
    "parleyd": (("agent", "picture", "wakeword", "metrics", "mqtt", "wyoming"), OF_DEBIAN),
    "package": (("agent", "wakeword", "metrics", "mqtt", "wyoming"), OF_DEBIAN | {"numpy", "pyyaml"}),
    "test": (("agent", "picture", "test", "clients"), OF_DEBIAN),
    "debian": ((), None),
}


def entries(lock: Path) -> list[tuple[Requirement, list[str]]]:
    """What is named, with its hashes."""
    text = re.sub(r"^#.*\n", "", lock.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found = []
    for line in text.splitlines():
        words, *hashes = line.split("--hash=")
        found.append((Requirement(words), [one.strip() for one in hashes]))
    return found


def setup(section: str, key: str) -> list[Requirement]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return [Requirement(line) for line in config[section][key].splitlines() if line.strip() and line[0] != "#"]


def environment(python: str, machine: str) -> dict[str, str]:
    of_here = {key: str(value) for key, value in default_environment().items()}
    return of_here | {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_machine": machine,
        "extra": "",
    }


def test_there_is_a_lock_of_each_kind() -> None:
    names = {lock.stem for lock in LOCKS}
    assert names >= {*INSTALLED, "build", "sbom", "locker"}
    for lock in LOCKS:
        assert entries(lock), lock


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_everything_is_one_version_by_hash_from_no_named_place(lock: Path) -> None:
    for requirement, hashes in entries(lock):
        assert re.fullmatch(r"==[^,*]+", str(requirement.specifier)), requirement
        assert requirement.url is None
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), requirement
    assert "://" not in lock.read_text()
    assert not re.search(r"^\s*-", lock.read_text().replace("    --hash=", ""), re.MULTILINE)


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "armv7l"])
@pytest.mark.parametrize("name", INSTALLED)
def test_a_lock_has_what_setup_cfg_wants(name: str, machine: str, python: str) -> None:
    here = environment(python, machine)
    extras, left_to_debian = INSTALLED[name]
    locked: dict[str, Version] = {}
    for requirement, _ in entries(ROOT / f"requirements/{name}.lock"):
        if requirement.marker is None or requirement.marker.evaluate(here):
            known = canonicalize_name(requirement.name)
            assert known not in locked, f"{known} has two versions at once"
            (pinned,) = requirement.specifier
            locked[known] = Version(pinned.version)
    wanted = setup("options", "install_requires")
    for extra in extras:
        wanted += setup("options.extras_require", extra)
    missing = set()
    for requirement in wanted:
        if requirement.marker is not None and not requirement.marker.evaluate(here):
            continue
        known = canonicalize_name(requirement.name)
        if known in locked:
            assert locked[known] in requirement.specifier, f"{requirement}: {locked[known]}; run scripts/lock"
        else:
            missing.add(known)
    if left_to_debian is None:
        assert set(locked) == OF_DEBIAN
    else:
        assert missing == left_to_debian, "run scripts/lock"


@pytest.mark.parametrize("name", ["package", "parleyd"])
def test_on_32_bits_a_lock_lacks_the_canceller_alone(tmp_path: Path, name: str) -> None:
    """By its marker alone it would be in it where a 32-bit system runs on a 64-bit kernel."""
    lock = ROOT / f"requirements/{name}.lock"
    words = '. "$0/scripts/lib/locked"; settings=(); as_on_32_bits "$1" "$2"'
    subprocess.run(["bash", "-euc", words, ROOT, lock, tmp_path], check=True, timeout=30)
    left_out = {*_keyed_whole(lock)} - {*_keyed_whole(tmp_path / "armhf.lock")}
    assert {key.partition("=")[0] for key, _ in left_out} == {"pywebrtc-audio"}
    assert {*_keyed_whole(tmp_path / "armhf.lock")} < {*_keyed_whole(lock)}


@pytest.mark.parametrize("processor", ["amd64", "armhf"])
def test_a_build_finds_its_builders_by_their_names(tmp_path: Path, processor: str) -> None:
    """That of pocketsphinx calls `cython`; without it the compiler has run for minutes before that is noticed."""
    (tmp_path / "bin").mkdir()
    dpkg = tmp_path / "bin/dpkg"
    dpkg.write_text(f"#!/bin/sh\necho {processor}\n")
    dpkg.chmod(0o755)
    words = f'PATH={tmp_path}/bin:$PATH; . "$0/scripts/lib/locked"; locked_run=(printf "%s\n--\n")\n'
    words += 'cd "$2"; locked_wheels python3 "$1" . a/folder'
    found = subprocess.run(
        ["bash", "-euc", words, ROOT, ROOT / "requirements/package.lock", tmp_path],
        check=True, timeout=30, capture_output=True, text=True,
    ).stdout.split("\n--\n")  # fmt: skip
    assert "wheel" in found
    # A folder that is no whole path would be another one where pip builds.
    assert any(word.startswith(f"PATH={tmp_path}/a/folder/builder/bin:") for word in found)
    assert ("-DFETCHCONTENT_FULLY_DISCONNECTED=ON" in "".join(found)) == (processor == "armhf")


def _keyed_whole(lock: Path) -> list[tuple[str, str]]:
    return [(key, " ".join(hashes)) for key, hashes in _keyed(lock)]


def test_locks_agree() -> None:
    """So that what was tested is what is installed."""
    (whole,) = (dict(_keyed(lock)) for lock in LOCKS if lock.stem == "test")
    for lock in LOCKS:
        for key, hashes in _keyed(lock):
            if key.split("==")[0] in {name.split("==")[0] for name in whole}:
                assert whole.get(key) == hashes, f"{key} in {lock.name} is another one in test.lock"


def _keyed(lock: Path) -> list[tuple[str, list[str]]]:
    return [(f"{canonicalize_name(one.name)}{one.specifier}", hashes) for one, hashes in entries(lock)]


def tiny_wheel(folder: Path) -> Path:
    """A package of one empty module."""
    wheel = folder / "tiny_one-1.0-py3-none-any.whl"
    info = "tiny_one-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_one.py", "")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-one\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return wheel


def pip_locked(lock_text: str, folder: Path, wheels: Path) -> subprocess.CompletedProcess[str]:
    """As scripts/install, build-deb and setup install; from a folder in the place of an index."""
    lock = folder / "some.lock"
    lock.write_text(lock_text)
    words = f'. {ROOT}/scripts/lib/locked; pip_locked {sys.executable} "$1" --target "$2"'
    return subprocess.run(
        ["bash", "-euc", words, "locked", str(lock), str(folder / "installed")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={
            "PATH": "/usr/bin:/bin",
            "PIP_CONFIG_FILE": "/dev/null",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(wheels),
        },
    )


def test_the_right_hash_is_installed_and_no_other(tmp_path: Path) -> None:
    wheel = tiny_wheel(tmp_path)
    right = hashlib.sha256(wheel.read_bytes()).hexdigest()
    wrong = hashlib.sha256(b"another").hexdigest()
    module = tmp_path / "installed/tiny_one.py"
    for lock, words in (
        (f"tiny-one==1.0 --hash=sha256:{wrong}\n", "DO NOT MATCH THE HASHES"),
        ("tiny-one==1.0\n", "Hashes are required"),
        (f"tiny-one --hash=sha256:{right}\n", "must have their versions pinned"),
    ):
        refused = pip_locked(lock, tmp_path, tmp_path)
        assert refused.returncode != 0, lock
        assert words in refused.stdout + refused.stderr
        assert not module.exists()
    done = pip_locked(f"tiny-one==1.0 --hash=sha256:{right}\n", tmp_path, tmp_path)
    assert done.returncode == 0, done.stderr
    assert module.exists()


def test_scripts_install_python_packages_by_a_lock_only() -> None:
    """pip is run with hashes, or with no index at all. In scripts/setup one line is left for boards of 32 bits."""
    scripts = [ROOT / "packaging/debian/rules", *(ROOT / "scripts/lib").iterdir()]
    scripts += [ROOT / "scripts" / name for name in ("install", "build-deb", "setup", "demo", "test")]
    seen, free = 0, []
    for script in scripts:
        # Folders hold other people's programs as counterparts of opt-in tests.
        if script.suffix == ".py" or script.is_dir():
            continue
        for line in script.read_text().replace("\\\n", " ").splitlines():
            if re.search(r"(\bpip\b|\bPIP\)|pip\[@\]\}\").*\b(install|wheel)\b", line) and not line.lstrip().startswith(
                "#"
            ):
                seen += 1
                if "--require-hashes" not in line and "--no-index" not in line:
                    free.append(f"{script.name}: {line.strip()}")
    assert seen >= 6
    assert len(free) == 1, free
    assert free[0].startswith("setup: watched")
