"""Sound devices that go and come back, through the whole daemon; by whatever a sound server can do to one."""

from __future__ import annotations

import gc
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from card_daemon import CardDaemon, Cards, plugged_in
from scripted_server import WAIT_S, Line, ScriptedServer
from test_run import read_until, write_config

from parleyd.app.sound_system import SoundSystem
from parleyd.audio import recovery
from parleyd.audio.capture.capture import Capture
from parleyd.audio.devices.portaudio import PortAudioOutput
from parleyd.core import events
from vcard import VirtualCard
from waiting import until

# How soon on a machine with nothing else to do, scripts/test-usb tells.
BACK_WITHIN_S = 30.0
AWAY_S = 1.3
CYCLES = int(os.environ.get("DEVICE_CYCLES", "30"))


@pytest.fixture
def cards() -> Iterator[Cards]:
    with plugged_in() as both:
        yield both


def unplug(card: VirtualCard) -> None:
    for name in ("vmic", "vspk", "mic_in"):
        card.remove(name)


def plug_in(card: VirtualCard) -> None:
    for name in ("mic_in", "vmic", "vspk"):
        card.add(name)


def suspend(card: VirtualCard, how: str = "1") -> None:
    card.pactl("suspend-source", "vmic", how)
    card.pactl("suspend-sink", "vspk", how)


FAULTS: dict[str, tuple[Callable[[VirtualCard], None], Callable[[VirtualCard], None]]] = {
    "killed": (VirtualCard.kill, VirtualCard.restart),
    "unplugged": (unplug, plug_in),
    "frozen": (VirtualCard.freeze, VirtualCard.thaw),
    "suspended": (suspend, lambda card: suspend(card, "0")),
}


def sound_of(daemon: CardDaemon) -> SoundSystem:
    assert daemon.service.sound is not None
    return daemon.service.sound


def wait_gone(daemon: CardDaemon, *which: str) -> None:
    for each in which:
        wait_for(partial(is_lost, daemon, each), f"the loss of the {each}")


def is_lost(daemon: CardDaemon, which: str) -> bool:
    return which in names_of(daemon, events.DeviceLost)


def names_of(daemon: CardDaemon, kind: type[events.DeviceLost | events.DeviceBack]) -> list[str]:
    """Which ones, in order; a microphone into which nobody speaks gives zeros, and that is not meant here."""
    return [
        event.which
        for event in daemon.of(kind)
        if isinstance(event, (events.DeviceLost, events.DeviceBack))
        and getattr(event, "cause", "") != "digital silence"
    ]


def is_counted(daemon: CardDaemon, kind: type[events.DeviceLost | events.DeviceBack], which: str, times: int) -> bool:
    return names_of(daemon, kind).count(which) >= times


def wait_for(test: Callable[[], object], what: str, timeout_s: float = WAIT_S) -> None:
    until_s = time.monotonic() + timeout_s
    while not test():
        assert time.monotonic() < until_s, f"{what}: not within {timeout_s} s"
        threading.Event().wait(0.02)


def lose_and_regain(daemon: CardDaemon, cards: tuple[VirtualCard, ...], fault: str) -> None:
    """Away for AWAY_S and until it is noticed; then waits until sound flows again, BACK_WITHIN_S at most."""
    take, give = FAULTS[fault]
    began_s = time.monotonic()
    for card in cards:
        take(card)
    wait_gone(daemon, "microphone", "speaker")
    threading.Event().wait(max(0.0, began_s + AWAY_S - time.monotonic()))
    for card in cards:
        give(card)
    playback, capture = sound_of(daemon).playback, sound_of(daemon).capture
    given_s = time.monotonic()
    wait_for(
        lambda: playback.last_period_s > given_s and capture.last_period_s > given_s and back(daemon),
        f"both devices after being {fault}",
        BACK_WITHIN_S,
    )


def back(daemon: CardDaemon) -> bool:
    return {"microphone", "speaker"} <= set(names_of(daemon, events.DeviceBack))


def hears_again(cards: Cards, line: Line) -> None:
    wanted_s = line.speech_s() + 0.5
    # A person, too, would ask again; on a busy machine the card's sound has holes.
    for _ in range(3):
        cards.say("Are you still there?")
        with suppress(AssertionError):
            line.wait_speech(wanted_s, 15.0)
            return
    line.wait_speech(wanted_s)


# ---------------------------------------------------------------- both go


@pytest.mark.parametrize("fault", ["killed"])
def test_asleep(cards: Cards, fault: str) -> None:
    def play(line: Line) -> None:
        line.ready()
        line.wait_turn()
        line.hears("are you still there")
        line.says("Yes.", 1.0)
        line.over.wait(WAIT_S)

    with ScriptedServer(play) as server, CardDaemon(server) as daemon:
        lose_and_regain(daemon, cards.both, fault)
        assert server.lines == []
        with cards.speaker.listen() as listener:
            asked_s = time.monotonic()
            cards.say("Are you still there?")
            assert listener.wait_for_sound(asked_s, WAIT_S), "the answer is not heard"
        daemon.stage.wait_for(events.AnswerEnded, "the answer's end", lambda e: e.finished)
        assert names_of(daemon, events.DeviceLost).count("microphone") == 1
        assert names_of(daemon, events.DeviceLost).count("speaker") == 1


@pytest.mark.parametrize("fault", ["unplugged", "frozen", "suspended"])
def test_in_a_session_silence_goes_up_and_it_stays(cards: Cards, fault: str) -> None:
    def play(line: Line) -> None:
        line.ready()
        line.over.wait(60)

    with ScriptedServer(play) as server, CardDaemon(server, wake="always") as daemon:
        line = server.next_line()
        line.wait("sound", lambda: len(line.audio) > 16_000)
        began_s, before = time.monotonic(), len(line.audio)
        lose_and_regain(daemon, cards.both, fault)
        took_s, sent_s = time.monotonic() - began_s, (len(line.audio) - before) / 32_000
        assert 0.6 * took_s < sent_s < 1.4 * took_s, "the room's clock stood still, or ran twice"
        hears_again(cards, line)
        assert not line.over.is_set()
        assert len(server.lines) == 1


@pytest.mark.parametrize("fault", ["killed", "frozen"])
def test_while_the_agent_speaks_the_answer_goes_on_where_it_was(cards: Cards, fault: str) -> None:
    said_s = 5.0

    def play(line: Line) -> None:
        line.ready()
        line.says("A long answer.", said_s, chunk_s=2.0)
        line.over.wait(60)

    with ScriptedServer(play) as server, CardDaemon(server, wake="always") as daemon:
        daemon.stage.wait_for(events.AnswerStarted, "an answer")
        lose_and_regain(daemon, cards.both, fault)
        back_s = time.monotonic()
        with cards.speaker.listen() as listener:
            ended = daemon.stage.wait_for(events.AnswerEnded, "the answer's end")
            assert listener.wait_until(ended.at_s, WAIT_S)
            heard_s = np.count_nonzero(np.abs(listener.sound().astype(int)) > 500) / listener.RATE_HZ
        assert ended.finished
        assert ended.heard_ms == round(said_s * 1000), "neither lost nor doubled"
        assert len(daemon.of(events.AnswerStarted)) == 1
        # A tone of that level is louder than 500 in 9 of 10 samples.
        assert 0.8 < heard_s < ended.at_s - back_s + 0.5
        assert not server.lines[0].over.is_set()


def test_an_answer_nobody_can_hear_for_long_counts_as_not_heard(cards: Cards, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "KEEP_ANSWER_S", 0.5)
    gone = threading.Event()

    def play(line: Line) -> None:
        line.ready()
        line.says("A long answer.", 20.0, chunk_s=5.0)
        assert gone.wait(WAIT_S)
        line.says("And one more.", 3.0)
        line.over.wait(60)

    with ScriptedServer(play) as server, CardDaemon(server, wake="always") as daemon:
        daemon.stage.wait_for(events.AnswerStarted, "an answer")
        cards.speaker.kill()
        first = daemon.stage.wait_for(events.AnswerEnded, "the end of the first answer")
        assert not first.finished
        assert first.heard_ms < 5000
        gone.set()
        second = daemon.stage.wait_for(events.AnswerEnded, "the end of the second answer")
        assert (second.finished, second.heard_ms) == (False, 0)
        cards.speaker.restart()
        wait_for(lambda: "speaker" in names_of(daemon, events.DeviceBack), "the speaker", BACK_WITHIN_S)
        assert sound_of(daemon).playback.queued_ms == 0
        server.lines[0].says("Now you hear me.", 0.5)
        third = daemon.stage.wait_for(events.AnswerEnded, "the end of the third answer")
        assert (third.finished, third.heard_ms) == (True, 500)


# ---------------------------------------------------------------- one goes, the other stays


def test_a_lost_speaker_does_not_deafen_the_microphone(cards: Cards) -> None:
    def play(line: Line) -> None:
        line.ready()
        line.over.wait(60)

    with ScriptedServer(play) as server, CardDaemon(server, wake="always") as daemon:
        line = server.next_line()
        cards.speaker.kill()
        wait_gone(daemon, "speaker")
        opening = sound_of(daemon).capture._opening
        hears_again(cards, line)
        assert sound_of(daemon).capture._opening is opening, "the microphone was reopened for nothing"
        cards.speaker.restart()
        wait_for(lambda: "speaker" in names_of(daemon, events.DeviceBack), "the speaker", BACK_WITHIN_S)
        assert sound_of(daemon).capture._opening is opening, "it came back to its place: no new list was needed"
        hears_again(cards, line)
        assert "microphone" not in names_of(daemon, events.DeviceLost)


def test_what_a_living_sound_server_no_longer_has_does_not_disturb_the_microphone(
    cards: Cards, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In a quiet room it would be opened with longer periods, beside its old stream.
    monkeypatch.setattr("parleyd.app.ears.REST_AFTER_FRAMES", 10**9)
    with ScriptedServer(lambda _line: None) as server, CardDaemon(server) as daemon:
        opening = sound_of(daemon).capture._opening
        unplug(cards.speaker)
        wait_gone(daemon, "speaker")
        # So many tries that a new list would have been made.
        threading.Event().wait(2 * recovery.FIRST_DELAY_S + 1.0)
        plug_in(cards.speaker)
        wait_for(lambda: "speaker" in names_of(daemon, events.DeviceBack), "the speaker", BACK_WITHIN_S)
        assert sound_of(daemon).capture._opening is opening, "the microphone was reopened for nothing"
        assert "microphone" not in names_of(daemon, events.DeviceLost)


def test_a_lost_microphone_does_not_disturb_the_answer(cards: Cards) -> None:
    def play(line: Line) -> None:
        line.ready()
        line.says("A very long answer.", 30.0, chunk_s=5.0)
        line.over.wait(60)

    with ScriptedServer(play) as server, CardDaemon(server, wake="always") as daemon, cards.speaker.listen() as heard:
        started = daemon.stage.wait_for(events.AnswerStarted, "an answer")
        # In the first second of the first answer the echo canceller is not sure of itself.
        assert heard.wait_until(started.at_s + 2.0, WAIT_S)
        assert heard.wait_for_sound(0.0, WAIT_S)
        cards.microphone.kill()
        wait_gone(daemon, "microphone")
        device = sound_of(daemon).playback.device
        assert isinstance(device, PortAudioOutput)
        stream = device._stream
        # Two tries at least.
        assert heard.wait_for_sound(time.monotonic() + 1.0, WAIT_S)
        assert device._stream is stream, "the speaker was reopened for nothing"
        cards.microphone.restart()
        wait_for(lambda: "microphone" in names_of(daemon, events.DeviceBack), "the microphone", BACK_WITHIN_S)
        line = server.lines[0]
        hears_again(cards, line)
        assert "speaker" not in names_of(daemon, events.DeviceLost)


def is_active(device: PortAudioOutput) -> bool:
    """Asked anew each time."""
    return device.active


def test_alsa_is_asked_before_a_healthy_device_is_disturbed(cards: Cards) -> None:
    device = PortAudioOutput("vspk")
    assert device.prospect() == "new list", "nothing is known of it yet"
    device.open(lambda count: bytes(2 * count))
    assert is_active(device)
    device.close()
    assert not is_active(device)
    assert device.prospect() == "as listed"
    cards.speaker.kill()
    assert device.prospect() == "none"
    cards.speaker.restart()
    assert device.prospect() == "as listed"
    unplug(cards.speaker)
    assert device.prospect() == "none", "the sound server is there, but not the device"
    plug_in(cards.speaker)
    assert device.prospect() == "as listed"


# ---------------------------------------------------------------- what cannot be fixed, and what must not grow


def test_portaudio_that_hangs_ends_the_process_with_its_reason(cards: Cards, tmp_path: Path) -> None:
    write_config(tmp_path, audio="{input: {device: vmic}, output: {device: vspk}, stall_s: 1}")
    program = (
        "import sys; from parleyd.audio.devices import deadlines; deadlines.HANG_S = 3.0\n"
        "from parleyd.cli.main import main; sys.exit(main(['run', '-c', 'parleyd.yaml']))"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        try:
            read_until(process, "listening on")
            for card in cards.both:
                card.freeze()
            lines = read_until(process, "parleyd:")
            assert process.wait(WAIT_S) == 70
        finally:
            process.kill()
    assert re.search(r"sound failed: PortAudio does not return from closing a device", lines[-1])
    assert "Traceback" not in "".join(lines)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["run", "-c", "parleyd.yaml"], 70, "parleyd: sound failed: PortAudio does not return from listing the dev"),
        (["devices"], 69, "parleyd: PortAudio does not return from listing the devices; see whether the sound server"),
    ],
)
def test_a_sound_server_that_hangs_from_the_beginning(
    cards: Cards, tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    write_config(tmp_path, audio="{input: {device: vmic}, output: {device: vspk}}")
    program = (
        "import sys; from parleyd.audio.devices import deadlines; deadlines.HANG_S = 1.0\n"
        "from parleyd.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    for card in cards.both:
        card.freeze()
    done = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stderr.startswith(said)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)


def test_a_stop_while_a_sound_server_hangs_at_the_start_is_no_failure(cards: Cards, tmp_path: Path) -> None:
    socket = tmp_path / "control"
    write_config(tmp_path, audio="{input: {device: vmic}, output: {device: vspk}}", control=f"{{socket: {socket}}}")
    for card in cards.both:
        card.freeze()
    with subprocess.Popen(
        [sys.executable, "-m", "parleyd", "run", "-c", "parleyd.yaml"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            # It is there before the first device is opened.
            until("it never started", socket.exists)
            process.send_signal(signal.SIGTERM)
            assert process.wait(WAIT_S) == 0
            assert process.stderr is not None
            assert "PortAudio" not in process.stderr.read()
        finally:
            process.kill()


@contextmanager
def listening_daemon(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process of its own on both cards."""
    write_config(folder, audio="{input: {device: vmic}, output: {device: vspk}, stall_s: 1}")
    command = [sys.executable, "-m", "parleyd", "run", "-c", "parleyd.yaml"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        try:
            read_until(process, "listening on")
            yield process
        finally:
            process.kill()


def test_a_crash_leaves_its_trace_while_a_device_is_away(cards: Cards, tmp_path: Path) -> None:
    """The watchdog's signal stands for a crash inside PortAudio; what PortAudio itself writes is muted at that time."""
    with listening_daemon(tmp_path) as process:
        cards.microphone.kill()
        read_until(process, "is gone")
        process.send_signal(signal.SIGABRT)
        assert process.stderr is not None
        trace = process.stderr.read()
        ended = process.wait(WAIT_S)
    assert "Fatal Python error: Aborted" in trace
    # CPython reads the other threads' frames while they run, and may crash over that, now and then, on a busy machine.
    assert ended == -signal.SIGABRT or (ended == -signal.SIGSEGV and "Segmentation fault" in trace), trace
    assert "recovery.py" in trace or ended == -signal.SIGSEGV


def test_a_stop_while_portaudio_hangs_is_still_a_stop(cards: Cards, tmp_path: Path) -> None:
    with listening_daemon(tmp_path) as process:
        for card in cards.both:
            card.freeze()
        read_until(process, "is gone")
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0


def memory_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def handles() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.timeout(60 + 10 * CYCLES)
def test_nothing_grows(cards: Cards, monkeypatch: pytest.MonkeyPatch) -> None:
    """DEVICE_CYCLES=200 for more."""
    monkeypatch.setattr(recovery, "ENDED_S", 0.05)
    monkeypatch.setattr(recovery, "_LOOK_S", 0.02)
    # A card that dies while it is being opened hangs PortAudio, which ends the daemon; that is not meant here. A rest
    # opens the microphone at moments of its own.
    monkeypatch.setattr(Capture, "rest", lambda _self, _on: None)
    with ScriptedServer(lambda _line: None) as server, CardDaemon(server) as daemon:
        figures: list[tuple[int, int, int]] = []
        for cycle in range(CYCLES):
            for card in cards.both:
                card.kill()
            # Both: a device that is back before its loss was noticed is no loss.
            for which in ("microphone", "speaker"):
                wait_for(
                    partial(is_counted, daemon, events.DeviceLost, which, cycle + 1),
                    f"the loss of the {which}, cycle {cycle}",
                )
            for card in cards.both:
                card.restart()
            for which in ("microphone", "speaker"):
                wait_for(
                    partial(is_counted, daemon, events.DeviceBack, which, cycle + 1),
                    f"the {which}, cycle {cycle}",
                    BACK_WITHIN_S,
                )
            gc.collect()
            figures.append((threading.active_count(), handles(), memory_bytes()))
        print("threads, handles, memory:", figures[4], figures[len(figures) // 2], figures[-1])
        threads, files, memory = zip(*figures[4:], strict=True)
        half = len(memory) // 2
        # In the middle, for who looks at /proc at that moment holds a handle for it.
        assert median(threads[half:]) <= max(threads[:half])
        assert median(files[half:]) <= max(files[:half])
        # Each by several, for memory goes up and down by two megabytes when the allocator gives some back.
        some = len(memory) // 4
        assert median(memory[-some:]) - median(memory[half : half + some]) < 2e6
