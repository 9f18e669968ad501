"""The list of what is in the Debian package: scripts/lib/sbom.py."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).resolve().parents[2]
METADATA = """\
Metadata-Version: 2.4
Name: Sound_Thing
Version: 1.5
Summary: makes sounds
License-Expression: MIT AND BSD-3-Clause
Requires-Dist: other-thing>=1
Requires-Dist: not-here; extra == "more"
"""
OTHER = "Metadata-Version: 2.1\nName: other-thing\nVersion: 2\nClassifier: License :: OSI Approved :: MIT License\n"
LIBRARY, EXTENSION = "sound_thing.libs/libsound-1a2b.so.5.0.0", "sound_thing/core.cpython-311-x86_64-linux-gnu.so"


def wheel(folder: Path, name: str, metadata: str, files: dict[str, bytes]) -> Path:
    path = folder / f"{name}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        # A fixed time, so that the same wheel is the same file.
        archive.writestr(zipfile.ZipInfo(f"{name}.dist-info/METADATA"), metadata)
        for file, content in files.items():
            archive.writestr(zipfile.ZipInfo(file), content)
    return path


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, list[str]]:
    """Two wheels, of which the lock knows one, and the tree in which their libraries were stripped. → command"""
    wheels, tree = tmp_path / "wheels", tmp_path / "tree"
    wheels.mkdir()
    known = wheel(wheels, "sound_thing-1.5", METADATA, {LIBRARY: b"library", EXTENSION: b"extension"})
    wheel(wheels, "other_thing-2", OTHER, {"other_thing.py": b""})
    for file, content in ((LIBRARY, b"stripped"), (EXTENSION, b"stripped, too")):
        (tree / file).parent.mkdir(parents=True)
        (tree / file).write_bytes(content)
    lock = tmp_path / "some.lock"
    lock.write_text(f"sound-thing==1.5 --hash=sha256:{hashlib.sha256(known.read_bytes()).hexdigest()}\n")
    command = [sys.executable, str(ROOT / "scripts/lib/sbom.py"), "--wheels", str(wheels), "--tree", str(tree)]
    return tmp_path / "out.json", [*command, "--lock", str(lock), "--version", "0.1.0~x", "--architecture", "arm64"]


def run(command: list[str], out: Path) -> str:
    environment = os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}
    done = subprocess.run([*command, str(out)], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return out.read_text()


def test_a_list_of_a_wheel_with_a_library_is_whole_and_the_same_twice(made: tuple[Path, list[str]]) -> None:
    out, command = made
    text = run(command, out)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    listed = json.loads(text)
    assert (listed["bomFormat"], listed["specVersion"]) == ("CycloneDX", "1.6")
    assert listed["metadata"]["timestamp"] == "2023-11-14T22:13:20+00:00"
    assert listed["metadata"]["component"]["version"] == "0.1.0~x"
    found = {one["name"]: one for one in listed["components"]}
    assert set(found) == {"Sound_Thing", "other-thing"}
    sound = found["Sound_Thing"]
    assert (sound["version"], sound["purl"]) == ("1.5", "pkg:pypi/sound-thing@1.5")
    assert sound["licenses"] == [{"expression": "MIT AND BSD-3-Clause"}]
    assert sound["properties"][0]["value"] == "the wheel of the lock file"
    # The library as it is in the package, and no extension module.
    (library,) = sound["components"]
    assert library["name"] == "libsound-1a2b.so.5.0.0"
    assert library["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(b"stripped").hexdigest()}]
    other = found["other-thing"]
    assert other["licenses"][0]["license"]["name"] == "MIT License"
    assert other["properties"][0]["value"].startswith("built here")
    needs = {one["ref"]: one.get("dependsOn", []) for one in listed["dependencies"]}
    assert needs["pkg:pypi/sound-thing@1.5"] == ["pkg:pypi/other-thing@2"]
    assert run(command, out) == text


@pytest.mark.parametrize("stranger", ["more.py", "sound_thing/more.so", "third-3.dist-info/METADATA"])
def test_what_no_listed_package_has_brought_is_an_error(made: tuple[Path, list[str]], stranger: str) -> None:
    out, command = made
    tree = Path(command[command.index("--tree") + 1])
    # Of this project, and of pip.
    for known in ("parleyd/core/text.py", "parleyd-0.1.0.dist-info/METADATA", "other_thing-2.dist-info/INSTALLER"):
        (tree / known).parent.mkdir(parents=True, exist_ok=True)
        (tree / known).touch()
    run(command, out)
    out.unlink()
    (tree / stranger).parent.mkdir(parents=True, exist_ok=True)
    (tree / stranger).touch()
    environment = os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}
    done = subprocess.run([*command, str(out)], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode != 0
    assert f"no listed package has brought these files: {stranger}" in done.stderr
    assert not out.exists()


def test_what_does_not_follow_the_schema_is_an_error(
    made: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, command = made
    spoilt = (
        Path(command[1]).read_text().replace("as_string(indent=2)", 'as_string(indent=2).replace("CycloneDX", "C")')
    )
    script = out.with_name("spoilt.py")
    script.write_text(spoilt)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    done = subprocess.run(
        [command[0], str(script), *command[2:], str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "does not follow the schema of CycloneDX 1.6" in done.stderr
    assert not out.exists()
