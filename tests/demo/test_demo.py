"""The demo: a whole conversation as a process, and the judge that must not be fooled."""

from __future__ import annotations

import json
import subprocess
import sys
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from parleyd import events
from parleyd.agents.agent import Ending, EndingKind
from parleyd.cli import demo
from parleyd.config.schema import Audio, AudioInput
from parleyd.conversation.uplink import UplinkCounters
from parleyd.demo.facts import Facts, Recording, gather, judge
from parleyd.demo.play import LINES

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


def test_a_whole_conversation_happens(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "parleyd", "demo", "--json", "--out", "here"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=85,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads(done.stdout)
    assert facts["happened"] is True
    assert facts["missing"] == []
    assert facts["speech_lost_ms"] == 0
    with wave.open(str(tmp_path / "here" / "speaker.wav")) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        assert file.getnframes() / file.getframerate() > facts["room_s"] - 1
    assert np.abs(sound).max() > 1000
    assert (tmp_path / "here" / "conversation.png").read_bytes().startswith(b"\x89PNG")


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
    monkeypatch.setattr(demo, "config_path", lambda: config)
    assert demo._audio() == Audio()
    config.write_text(f"provider: local\naudio: {audio}\n")
    assert demo._audio().input == taken
    # As on a fresh installation, whose agent is not filled in yet.
    config.write_text("elevenlabs: {agent_id: }\n")
    assert demo._audio() == Audio()
    assert "the system's own microphone and speaker are taken" in capsys.readouterr().err
