"""What `parleyd mute` promises (docs/mute.md), seen from the server, from the disk and from the crowd."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Daemon, spoken, utterances_in
from plays import QUESTION, config, silent
from scripted_server import WAIT_S, Line, ScriptedServer
from slow_line import STORY, room_s
from started import started
from test_run import write_config

from parleyd.audio.recorder import DIRECTORY_NAME as RECORDINGS
from parleyd.config.retention import Debug
from parleyd.control.client import Client
from parleyd.control.server import MOST_CLIENTS, MOST_OF_OWNER
from parleyd.core import events
from parleyd.core.states import State
from parleyd.host.remembered import RememberedMute, beside

HERE = Path(__file__).parent
# What the network and its card hold is beyond anybody's reach.
BEYOND_REACH_S = 0.3
# Without large segments the loopback behaves as the card of a slow line.
UP = "ip link set lo mtu 1500 gso_max_size 3000 gso_max_segs 2 up"


def in_a_network_of_its_own(script: str, *arguments: str) -> dict[str, float]:
    """Skips where that cannot be had. → what the script has printed."""
    if os.geteuid() != 0 or not all(shutil.which(program) for program in ("unshare", "ip", "tc")):
        pytest.skip("a network namespace takes root, and unshare, ip and tc (util-linux, iproute2)")
    prepare = f"{UP} && tc qdisc add dev lo root tbf rate 50mbit burst 3kb latency 20s"
    probe = subprocess.run(["unshare", "-n", "sh", "-c", prepare], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"no network namespace with a bound rate here: {probe.stderr.strip()}")
    told = subprocess.run(
        [
            "unshare",
            "-n",
            "sh",
            "-c",
            f'{UP} && exec "$@"',
            "sh",
            sys.executable,
            script,
            *arguments,
        ],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert told.returncode == 0, told.stderr
    result: dict[str, float] = json.loads(told.stdout.splitlines()[-1])
    return result


@pytest.mark.parametrize("rate", ["20kbit", "128kbit"])
def test_on_a_slow_line_nothing_of_what_waits_comes_after_the_answer(rate: str) -> None:
    told = in_a_network_of_its_own("slow_line.py", rate)
    assert told["after_s"] <= BEYOND_REACH_S, told
    assert told["kept_ms"] == 0, told


def test_on_a_line_that_keeps_up_the_session_goes_on() -> None:
    told = in_a_network_of_its_own("slow_line.py", "10mbit")
    assert told["after_s"] <= BEYOND_REACH_S, told
    assert told["lines"] == 1, told


def test_what_was_being_recorded_is_in_no_file(tmp_path: Path) -> None:
    with (
        ScriptedServer(silent) as server,
        Daemon(config(server, debug=Debug(record=True)), state_directory=tmp_path) as daemon,
    ):
        daemon.say("Listen to this please, I am going to tell you a long story about a fisherman and his wife.")
        server.next_line().wait_speech(0.5)
        daemon.service.mute(True)
        before = len(daemon.room)
        daemon.expect(events.UtteranceEnded)
        daemon.service.mute(False)
        daemon.say(QUESTION)
        daemon.expect(events.UtteranceEnded)
        room = daemon.room
    recorded = b""
    for path in sorted((tmp_path / RECORDINGS).iterdir()):
        with wave.open(str(path)) as file:
            recorded += file.readframes(file.getnframes())
    # Of what was said after it, so that the test can fail.
    sounds = [sound for _, sound in utterances_in(recorded)]
    assert sounds
    assert [room.index(sound) >= before for sound in sounds] == [True] * len(sounds)


# ---------------------------------------------------------------- the disk, and a restart


def parleyd(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "parleyd", *arguments], capture_output=True, text=True, timeout=30, check=False
    )


def is_muted() -> bool:
    microphone: dict[str, bool] = json.loads(parleyd("status", "--json").stdout)["microphone"]
    return microphone["muted"]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state directory on a file system of its own, which a test may break."""
    directory = tmp_path / "state"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k,nr_inodes=40,mode=700", "state", str(directory)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a file system of its own takes root, and the right to mount")
    monkeypatch.setenv("STATE_DIRECTORY", str(directory))
    write_config(tmp_path, audio='{input: {device: "null"}, output: {device: "null"}}')
    yield directory
    chattr("-i", directory)
    subprocess.run(["umount", "-l", str(directory)], check=True)


def chattr(change: str, directory: Path) -> bool:
    """Whether it could be done."""
    command = ["chattr", change, str(directory)]
    return shutil.which("chattr") is not None and not subprocess.run(command, capture_output=True).returncode


def make_read_only(state: Path) -> None:
    """As for a file system that turned read-only under a running daemon, which mount(8) does not do to open files."""
    if not chattr("+i", state):
        pytest.skip("no chattr here, or not for this file system")


def make_writable(state: Path) -> None:
    assert chattr("-i", state)


def make_writable_again(state: Path) -> None:
    """Whatever broke it."""
    chattr("-i", state)
    for rubbish in state.glob("rubbish*"):
        rubbish.unlink()


def fill(state: Path) -> None:
    with contextlib.suppress(OSError):
        for number in range(100):
            (state / f"rubbish{number}").write_bytes(bytes(1))


@pytest.mark.parametrize("broken", [make_read_only, fill])
def test_what_cannot_be_stored_is_said_at_once_and_holds_as_far_as_it_can(
    broken: Callable[[Path], None], tmp_path: Path, state: Path
) -> None:
    with started(tmp_path):
        broken(state)
        muted = parleyd("mute")
        assert muted.stdout == "muted: the agent hears nothing\n", "it is in force all the same"
        assert muted.returncode == os.EX_IOERR
        assert "holds over a restart of the daemon, but NOT when the device is switched off: " in muted.stderr
        assert is_muted()
        timer = parleyd("tools", "run", "-c", str(tmp_path / "parleyd.yaml"), "set_timer", '{"minutes": 10}')
        assert "Warn the person: timers cannot be saved and will not survive a restart" in timer.stdout, timer.stderr
        page = " ".join(parleyd("status").stdout.split())
        assert "mute switch: " in page
        assert "timer file: " in page
        assert "hears nothing, until a restart" in page
    with started(tmp_path) as log:
        assert is_muted()
        assert "the microphone is muted, as it was left" in "".join(log)


@pytest.mark.parametrize("broken", [make_read_only, fill])
def test_with_a_disk_that_refuses_nothing_of_the_room_comes_to_the_server_after_the_order(
    broken: Callable[[Path], None], state: Path
) -> None:
    def play(line: Line) -> None:
        line.ready()
        line.over.wait(3 * WAIT_S)

    with ScriptedServer(play) as server, Daemon(config(server), state_directory=state) as daemon:
        daemon.service.wake()
        daemon.expect_state(State.LIVE)
        daemon.say(STORY)
        line = server.next_line()
        line.wait_speech(0.5)
        broken(state)
        daemon.service.mute(True)
        before_s, heard_bytes = room_s(line), len(line.audio)
        # Two seconds more, in which the story goes on.
        line.wait("zeros", lambda: len(line.audio) > heard_bytes + 64_000)
        assert room_s(line) - before_s <= BEYOND_REACH_S
        make_writable_again(state)
        daemon.service.mute(False)
        line.wait("the rest of the story", lambda: room_s(line) - before_s > 2 * BEYOND_REACH_S)


def test_in_a_crowd_and_after_a_kill_nothing_of_the_room_comes_to_the_server(tmp_path: Path) -> None:
    def play(line: Line) -> None:
        line.ready()
        line.over.wait(3 * WAIT_S)

    with wave.open(str(tmp_path / "in.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(spoken(STORY) * 4)
    audio = "{input: {device: 'wav:in.wav'}, output: {device: 'null'}}"
    with ScriptedServer(play) as server:
        write_config(tmp_path, server.base_url, wake="{mode: always}", audio=audio)
        with started(tmp_path), contextlib.ExitStack() as crowd:
            line = server.next_line()
            line.wait_speech(0.5)
            for _ in range(MOST_CLIENTS + MOST_OF_OWNER):
                crowd.enter_context(Client()).ask("volume")
            with Client() as late:
                assert late.ask("mute") == {"muted": True}
            before_s, heard_bytes = room_s(line), len(line.audio)
            line.wait("zeros", lambda: len(line.audio) > heard_bytes + 64_000)
            assert room_s(line) - before_s <= BEYOND_REACH_S
        # It was killed, and hears the story from its beginning.
        with started(tmp_path):
            line = server.next_line()
            line.wait("zeros", lambda: len(line.audio) > 64_000)
            assert room_s(line) == 0
            assert parleyd("unmute").returncode == os.EX_OK
            line.wait_speech(0.5)


def test_without_a_second_place_it_is_said_that_no_restart_is_outlived(tmp_path: Path) -> None:
    nowhere = tmp_path / "state"
    nowhere.write_text("a file where the directory was")
    trouble = RememberedMute(nowhere, nowhere / "muted").remember(True)
    assert trouble is not None
    assert trouble.startswith("this will NOT hold after a restart: ")
    assert RememberedMute(None).remember(True) == "this will NOT hold after a restart: there is no state directory"


def test_when_the_disk_is_well_again_the_order_is_stored(tmp_path: Path, state: Path) -> None:
    with started(tmp_path):
        make_read_only(state)
        assert parleyd("mute").returncode == os.EX_IOERR
        make_writable(state)
        assert parleyd("mute").returncode == os.EX_OK
        status = json.loads(parleyd("status", "--json").stdout)
        assert status["microphone"]["mute_lasts"]
    # As at a reboot.
    if second := beside(state):
        second.unlink(missing_ok=True)
    with started(tmp_path):
        assert is_muted()
        assert parleyd("unmute").returncode == os.EX_OK
    with started(tmp_path):
        assert not is_muted()


def test_who_mutes_does_not_wait_for_a_disk_that_hangs(tmp_path: Path) -> None:
    """And the order counts that was given last, in whatever order the disk takes them."""
    told: list[str | None] = []
    switch = RememberedMute(tmp_path, None, told.append)
    with switch._writing:
        # As long as somebody is at the disk.
        assert "takes its time" in (switch.remember(True) or "")
        assert "takes its time" in (switch.remember(False) or "")
        assert "takes its time" in (switch.remember(True) or "")
        assert not told
    assert switch.remember(True) is None
    assert switch.on
    assert told[-1] is None


def test_what_cannot_be_read_counts_as_muted(tmp_path: Path) -> None:
    (tmp_path / "muted").symlink_to(tmp_path / "muted")
    assert RememberedMute(tmp_path).on
    assert RememberedMute(tmp_path / ("x" * 300)).on
    assert not RememberedMute(tmp_path / "nowhere").on
