"""The demo: a whole conversation as a process, and the judge that must not be fooled."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pexpect
import pytest

from parleyd.cli import demo as demo_command
from parleyd.cli.demo import IDLE_TIMEOUT_S
from parleyd.config.schema import Audio, AudioInput
from parleyd.conversation.session.uplink import UplinkCounters
from parleyd.core import events
from parleyd.core.endings import Ending, EndingKind
from parleyd.demo import page
from parleyd.demo.facts import Facts, Recording, gather, judge
from parleyd.demo.play import LINES
from parleyd.demo.timeline import Timeline
from parleyd.host import python_env

GOOD = Facts(
    utterances=4,
    understood=["What time is it?", "Tell me a long story.", "Stop. What day is it today?", "Please count to ten."],
    answers=4,
    sessions=2,
    wake_to_live_ms=20,
    speech_end_to_answer_ms=900,
    interruptions=1,
    silent_after_ms=10,
    lines_lost=1,
    line_back_after_ms=5,
    speech_resent_ms=1000,
    speech_lost_ms=0,
    room_s=30.0,
    stayed_in_the_room=0.6,
    asleep_at_the_end=True,
)
WORDS = [line.words for line in LINES]


@pytest.mark.parametrize("protocol", ["elevenlabs", "openai"])
def test_a_whole_conversation_happens(tmp_path: Path, protocol: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "parleyd", "demo", "--protocol", protocol, "--json", "--out", "here"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads(done.stdout)
    assert facts["happened"] is True
    assert facts["missing"] == []
    assert facts["speech_lost_ms"] == 0
    pictures = ["here/conversation.png", "here/conversation-dark.png"]
    assert facts["files"] == ["here/conversation.wav", *pictures]
    for picture in pictures:
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    # The line stays away long enough to be seen.
    assert facts["line_back_after_ms"] >= 2000
    with wave.open(str(tmp_path / "here" / "conversation.wav")) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 48_000)
        assert file.getnframes() / file.getframerate() > facts["room_s"] - 1
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    person, agent = (np.flatnonzero(np.abs(channel.astype(int)) > 1000) for channel in sound.T)
    # The person begins, and what is said last is an answer.
    assert person[0] < agent[0] < person[-1] < agent[-1]


# What `parleyd demo` does where the agent takes longer to answer than a session may be quiet, and without matplotlib.
SLOW = """
import sys
from pathlib import Path
from parleyd.cli import demo, main
sys.modules["matplotlib"] = None
demo.SCENARIO = Path("slow.yaml")
sys.exit(main.main(["demo"]))
"""


@pytest.mark.timeout(300)
def test_on_a_slow_machine_with_a_terminal_of_80_columns_and_without_matplotlib(tmp_path: Path) -> None:
    scenario = demo_command.SCENARIO.read_text().replace("agent:\n", f"agent:\n  reply_delay_s: {IDLE_TIMEOUT_S + 1}\n")
    assert "reply_delay_s" in scenario
    (tmp_path / "slow.yaml").write_text(scenario)
    (tmp_path / "parleyd-demo").mkdir()
    (tmp_path / "parleyd-demo" / "conversation.png").write_text("of an earlier run")
    with terminal(tmp_path, "-c", SLOW) as child:
        child.expect(pexpect.EOF, timeout=280)
        child.wait()
        lines = re.sub(r"\x1b\[[0-9;]*m", "", child.before).split("\r\n")
    page = "\n".join(lines)
    assert child.exitstatus == 0, page
    assert "All steps went as scripted." in page
    assert "MISSING" not in page
    assert max(map(len, lines)) < 80
    assert lines[0].startswith("A spoken conversation on this machine, of about 30 s: ")
    assert "there is no picture, for matplotlib is missing; " in " ".join(page.split())
    assert "Next: " in page
    assert not (tmp_path / "parleyd-demo" / "conversation.png").exists(), "it shows another conversation"
    at_s = [float(line[:6]) for line in lines if re.match(r" *[0-9.]+ s  ", line)]
    assert at_s == sorted(at_s)
    assert len(at_s) > 20


def test_ctrl_c_in_the_middle(tmp_path: Path) -> None:
    with terminal(tmp_path, "-m", "parleyd", "demo") as child:
        child.expect("connected")
        child.sendintr()
        child.expect(pexpect.EOF)
        child.wait()
    assert child.exitstatus == 130
    assert re.search(r"\nstopped after \d+ s, before its end: there is no summary\r\n$", child.before), child.before
    # What becomes of it when the daemon stops is no part of the conversation.
    assert "has spoken" not in child.before
    assert "Traceback" not in child.before


@pytest.mark.usefixtures("vcard")
def test_at_ones_own_microphone_it_says_what_to_ask(tmp_path: Path) -> None:
    with terminal(tmp_path, "-m", "parleyd", "demo", "--mic") as child:
        child.expect("listening on")
        said = " ".join(child.before.split())
        child.sendintr()
        child.expect(pexpect.EOF)
    assert "by your own microphone and speaker. Try: what time is it? Tell me a story. Count to ten." in said
    assert "It needs no key and no network. Ctrl-C ends it." in said


@contextmanager
def terminal(folder: Path, *arguments: str) -> Iterator[pexpect.spawn[str]]:
    child = pexpect.spawn(
        sys.executable, list(arguments), cwd=str(folder), dimensions=(50, 80), encoding="utf-8", timeout=60
    )
    try:
        yield child
    finally:
        child.close(force=True)


def test_what_happened_first_stands_first() -> None:
    """Events of several threads; that somebody speaks is known a while after it began."""
    shown = io.StringIO()
    timeline = Timeline(shown)
    far_s = time.monotonic() + 3600
    timeline(events.Started(at_s=far_s, microphone="m", speaker="s", output_latency_ms=0))
    timeline(events.SessionOpened(at_s=far_s + 0.51, conversation_id="c", handshake_ms=3, resent_ms=0, tries=1))
    timeline(events.UtteranceStarted(at_s=far_s + 0.50, utterance=1, detected_s=far_s + 0.62))
    timeline(events.AnswerStarted(at_s=far_s + 2.0, answer=1))
    # The answer came after the end of what was said, whichever is told first.
    timeline(events.TalkStopped(at_s=far_s + 1.0, utterance=1))
    timeline.close()
    assert [line.split()[2] for line in shown.getvalue().splitlines()] == ["asleep", "speech", "connected", "speaks"]
    assert shown.getvalue().endswith("speaks       1000 ms after the person had finished\n")


@pytest.mark.parametrize("width", [20, 40, 79, 99, 199])
def test_a_line_is_as_wide_as_the_terminal_and_no_word_is_broken(width: int) -> None:
    words = ["“Once", "upon", "a", "time-honoured", "there", "was", "\x1b[2Ja", "loudspeaker”"] * 5
    lines = page.beside("  3.55 s  answering    ", " ".join(words), width)
    assert max(map(len, lines)) <= width
    assert " ".join(lines).split()[3:] == [word.replace("\x1b", " ").strip() for word in words]
    cut = page.beside("  3.55 s  answering    ", " ".join(words), width, most_lines=2)
    assert len(cut) <= 3
    assert max(map(len, cut)) <= width
    assert width == 199 or cut[-1].endswith("…”")


def test_into_a_file_nothing_is_wrapped() -> None:
    assert page.beside("  label   ", "word " * 100, None, most_lines=2) == ["  label   " + " ".join(["word"] * 100)]
    assert page.beside("  label   ", "", None) == ["  label"]


def test_what_is_missing_is_named_for_the_python_that_misses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert python_env.install("matplotlib").endswith("-m pip install matplotlib")
    monkeypatch.setattr(sys, "prefix", python_env.DEBIAN_PREFIX)
    assert python_env.install("matplotlib") == "sudo apt install python3-matplotlib"
    assert python_env.install("faster-whisper").endswith("-m pip install faster-whisper")


def test_a_folder_that_cannot_be_written_is_a_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = subprocess.run(
        [sys.executable, "-m", "parleyd", "demo", "--out", "file/x"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 73
    assert done.stderr.startswith("parleyd: file/x: ")
    assert "Traceback" not in done.stderr


def test_the_judge_is_content_with_a_conversation() -> None:
    assert judge(GOOD, WORDS, [], None) == []


def test_the_judge_misses_whatever_is_missing() -> None:
    spoilt = [
        replace(GOOD, understood=GOOD.understood[:3]),
        replace(GOOD, understood=list(reversed(GOOD.understood))),
        replace(GOOD, answers=3),
        replace(GOOD, interruptions=0),
        replace(GOOD, silent_after_ms=None),
        replace(GOOD, silent_after_ms=1000),
        replace(GOOD, lines_lost=0),
        replace(GOOD, line_back_after_ms=None),
        replace(GOOD, speech_resent_ms=0),
        replace(GOOD, speech_lost_ms=20),
        replace(GOOD, asleep_at_the_end=False),
    ]
    for facts in spoilt:
        assert judge(facts, WORDS, [], None), facts


def test_an_answer_that_cannot_be_heard_is_missing() -> None:
    happened = [
        events.AnswerStarted(at_s=11.0, answer=1),
        events.AnswerEnded(at_s=12.0, answer=1, heard_ms=1000, finished=True),
    ]
    silence = Recording(np.zeros(48_000 * 5, np.float32), 48_000, 10.0)
    assert any("cannot be heard" in text for text in judge(GOOD, WORDS, happened, silence))
    silence.samples[48_000:] = 0.1
    assert judge(GOOD, WORDS, happened, silence) == []


def test_the_residual_is_measured_in_the_recording() -> None:
    sound = np.zeros(48_000 * 5, np.float32)
    sound[: round(48_000 * 2.025)] = 0.5
    happened = [events.BargedIn(at_s=12.0, by="server", heard_ms=1)]
    facts = gather(happened, Recording(sound, 48_000, 10.0), UplinkCounters(), 100)
    assert facts.silent_after_ms == 25


def test_a_lost_line_is_back_with_the_next_session() -> None:
    happened = [
        events.SessionEnded(at_s=5.0, ending=Ending(EndingKind.RETRY, "gone")),
        events.SessionOpened(at_s=5.5, conversation_id="c", handshake_ms=3, resent_ms=800, tries=1),
    ]
    facts = gather(happened, None, UplinkCounters(speech=10), 100)
    assert (facts.lines_lost, facts.line_back_after_ms, facts.speech_resent_ms) == (1, 500, 800)
    assert facts.stayed_in_the_room == 0.9


@pytest.mark.parametrize(
    ("audio", "taken"),
    [
        ("{input: {device: mic, channel: 2, gain_db: 12}}", AudioInput(device="mic", channel=2, gain_db=12.0)),
        # Nothing with which somebody could converse.
        ("{input: {device: wav:in.wav, channel: 2}}", AudioInput()),
        ("off", AudioInput()),
    ],
)
def test_a_conversation_of_one_s_own_is_held_with_the_configured_devices(
    audio: str,
    taken: AudioInput,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "parleyd.yaml"
    monkeypatch.setattr(demo_command, "config_path", lambda: config)
    assert demo_command._audio() == Audio()
    config.write_text(f"provider: local\naudio: {audio}\n")
    assert demo_command._audio().input == taken
    # As on a fresh installation, whose agent is not filled in yet.
    config.write_text(f"elevenlabs: {{agent_id: agent_xxx}}\naudio: {audio}\n")
    assert demo_command._audio().input == taken
    assert capsys.readouterr().err == ""
    config.write_text("audio: {input: {gain_db: 400}}\n")
    assert demo_command._audio() == Audio()
    assert "the system's own microphone and speaker are taken" in capsys.readouterr().err
