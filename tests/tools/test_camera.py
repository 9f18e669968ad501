"""Pictures by programs: real ones, that write a picture, something else, too much, nothing, or hang."""

from __future__ import annotations

import base64
import os
import threading
import time
from pathlib import Path

import pytest

from parleyd.checks.configuration import ConfigError, parse
from parleyd.config.camera_section import Camera as Section
from parleyd.host import apart
from parleyd.host.apart import Apart, Way, Ways
from parleyd.host.stopping import Stop
from parleyd.tools.camera import Camera, CameraError, Picture

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
JPEG = b"\xff\xd8\xff\xe0" + bytes(1000)


@pytest.fixture
def picture_file(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    return path


def take(*command: str, stop: Stop | None = None, timeout_s: float = 20.0, how: Apart | None = None) -> Picture:
    return Camera(Section(command=list(command), timeout_s=timeout_s), how or apart.here()).take(stop or Stop())


def refused(*command: str, timeout_s: float = 20.0) -> str:
    with pytest.raises(CameraError) as refusal:
        take(*command, timeout_s=timeout_s)
    return f"{refusal.value}; {refusal.value.hint}"


def test_a_picture_on_standard_output(picture_file: Path) -> None:
    assert take("cat", str(picture_file)) == Picture(PNG, "image/png")
    assert take("cat", str(picture_file)).name == "camera.png"


def test_a_large_picture_comes_whole(tmp_path: Path) -> None:
    """Longer than a pipe holds, and than the output of a tool may be."""
    data = b"\xff\xd8\xff" + os.urandom(3 * 1024 * 1024)
    (tmp_path / "a.jpg").write_bytes(data)
    taken = take("cat", str(tmp_path / "a.jpg"))
    assert (taken.data == data, taken.media_type, taken.name) == (True, "image/jpeg", "camera.jpg")


@pytest.mark.parametrize("way", [None, Way.NONE])
def test_a_picture_in_a_file(picture_file: Path, way: Way | None) -> None:
    """What the program prints beside it is no part of the picture, and the file is gone afterwards."""
    script = 'echo "Opening /dev/video0"; cp "$1" "$2"; readlink -f "$2" >&2'
    how = None if way is None else Apart(Ways(way, 0))
    assert take("sh", "-c", script, "sh", str(picture_file), "{file}", how=how).data == PNG


def test_nothing_is_left_of_a_program_that_was_stopped(picture_file: Path, tmp_path: Path) -> None:
    script = 'cp "$1" "$2"; echo "$2" >"$3"; sleep 100'
    told = tmp_path / "path"
    how = Apart(Ways(Way.NONE, 0))
    with pytest.raises(CameraError):
        take("sh", "-c", script, "sh", str(picture_file), "{file}", str(told), timeout_s=3.0, how=how)
    assert told.exists(), "it was stopped before it wrote: a slow machine"
    assert not Path(told.read_text().strip()).exists()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["sh", "-c", "echo no camera >&2; exit 3"], ["sh failed with code 3: no camera", "docs/camera.md"]),
        (["sh", "-c", "kill -9 $$"], ["sh failed with signal 9"]),
        (["true"], ["true gave no picture", "{file}"]),
        (["echo", "GIF89a"], ["neither JPEG nor PNG"]),
        (["sh", "-c", "cat /dev/zero"], ["sh gave more than 4 MiB", "1024x768"]),
        (["/nonexistent/camera"], ["camera does not exist on this device", "camera.command"]),
        (["true", "{file}"], ["it has written no picture to {file}"]),
        (["/nonexistent/camera", "{file}"], ["cannot be run"]),
        (["sh", "-c", 'head -c 5000000 /dev/zero >"$1"', "sh", "{file}"], ["gave more than 4 MiB"]),
    ],
    ids=lambda value: " ".join(value)[:40],
)
def test_what_is_no_picture_is_told_in_a_line_with_a_hint(command: list[str], words: list[str]) -> None:
    told = refused(*command)
    assert "\n" not in told
    for word in words:
        assert word in told


def test_a_file_that_is_no_program(picture_file: Path) -> None:
    assert "a.png may not be run by this user" in refused(str(picture_file))


def test_a_program_that_hangs_is_stopped_with_all_that_it_started() -> None:
    began_s = time.monotonic()
    told = refused("sh", "-c", "sleep 1000 & sleep 1000", timeout_s=0.5)
    assert "sh did not finish within 0.5 s" in told
    assert time.monotonic() - began_s < 60


def test_nobody_waits_for_it_any_more() -> None:
    stop = Stop()
    timer = threading.Timer(0.5, stop.set)
    timer.start()
    with pytest.raises(CameraError):
        take("sleep", "1000", stop=stop, timeout_s=30)
    timer.join()


def test_it_runs_apart_from_the_daemon_unless_the_configuration_says_otherwise(tmp_path: Path) -> None:
    how = apart.here()
    if how.ways.way is not Way.LANDLOCK:
        pytest.skip("this machine has no Landlock")
    (tmp_path / "secret.png").write_bytes(PNG)
    how.hide([tmp_path])
    with pytest.raises(CameraError, match="Permission denied") as refusal:
        take("cat", str(tmp_path / "secret.png"), how=how)
    assert "run_as: daemon" in refusal.value.hint
    section = Section(command=["cat", str(tmp_path / "secret.png")], run_as="daemon")
    assert Camera(section, how).take(Stop()).data == PNG


def test_a_disk_without_room(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryDirectory", full)
    assert "No space left on device" in refused("true")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("camera: {command: ['{file}']}", ["camera.command", "placeholder"]),
        ("camera: {command: [bin/camera]}", ["camera.command", "counts from nowhere"]),
        ("camera: {command: [cam, '{path}']}", ["camera.command", "nothing is known of {path}"]),
        ("camera: {command: [cam], timeout_s: 30}\ntools: {confirm_s: 90}", ["camera.timeout_s", "at most 15 s"]),
        ("camera: {command: [cam]}\ncontrol: {socket: off}", ["camera.confirm", "nobody could allow it"]),
        ("camera: {command: cam}", ["camera.command"]),
        ("camera: {command: [cam], timeout_s: 0}", ["camera.timeout_s"]),
        (
            "camera: {command: [cam]}\ntools: {command: {look: {description: d, run: [x]}}}",
            ["tools.command.look", "tools.built_in"],
        ),
    ],
)
def test_what_is_wrong_in_the_section_is_told_by_its_key(text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as refusal:
        parse(f"provider: local\n{text}\n", "c.yaml")
    told = "\n".join(map(str, refusal.value.problems))
    for word in words:
        assert word in told


def test_without_a_camera_a_tool_of_ones_own_may_have_its_name() -> None:
    parse("provider: local\ntools: {command: {look: {description: d, run: [x]}}}\n", "c.yaml")
    parse("provider: local\ncamera: {command: [cam], confirm: false}\ncontrol: {socket: off}\n", "c.yaml")
