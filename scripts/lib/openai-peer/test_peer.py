"""The whole daemon against speech-to-speech, an independent server of the protocol. It is started here, and anew where
a test kills it.

PEER_SERVER: the command that starts it, with its output in PEER_LOG. PEER_URL: its base URL. PEER_HEARD: the folder in
which its recogniser keeps what it was asked about.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from harness import Daemon, spoken
from test_openai_conversation import PNG
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from parleyd.agents.openai.agent import OpenAIAgent
from parleyd.config.openai_section import OpenAI
from parleyd.config.schema import BargeIn, Config, Reconnect, Session, Wake
from parleyd.core import events
from parleyd.core.endings import EndingKind
from parleyd.core.states import State

URL, HEARD = os.environ["PEER_URL"], Path(os.environ["PEER_HEARD"])
QUESTION, STORY = "What time is it?", "Tell me a story."
# Its first answer loads what it splits sentences with.
START_S, FIRST_S = 120.0, 110.0


class Peer:
    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with Path(os.environ["PEER_LOG"]).open("ab") as log:
            self._process = subprocess.Popen(shlex.split(os.environ["PEER_SERVER"]), stdout=log, stderr=log)
        until_s = time.monotonic() + START_S
        while True:
            assert self._process.poll() is None, "the server has ended; see its log"
            with contextlib.suppress(OSError), connect(f"ws{URL.removeprefix('http')}/realtime"):
                return
            assert time.monotonic() < until_s, "the server does not listen"
            time.sleep(0.5)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module", autouse=True)
def peer() -> Iterator[Peer]:
    one = Peer()
    one.start()
    try:
        warm_up()
        yield one
    finally:
        one.kill()


def daemon(**sections: object) -> Daemon:
    settings: dict[str, object] = {
        "provider": "openai",
        "openai": OpenAI(base_url=URL, instructions="Be brief."),
        "session": Session(idle_timeout_s=60, false_wake_s=60),
        "reconnect": Reconnect(initial_s=0.5, max_s=2.0),
        **sections,
    }
    config = Config(**settings)  # type: ignore[arg-type]
    return Daemon(config, agent=OpenAIAgent(config.openai, None))


def warm_up() -> None:
    with daemon(wake=Wake(mode="manual", greeting="skip")) as one:
        one.service.wake()
        one.service.say(QUESTION)
        one.expect(events.AnswerEnded, timeout_s=FIRST_S)


def say(text: str) -> None:
    """What was seen, for the page about testing."""
    print(f"\n  {text}", file=sys.stderr, end="")


def last_heard() -> tuple[np.ndarray, int]:
    newest = max(HEARD.glob("*.wav"))
    with wave.open(str(newest)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float), file.getframerate()


def agrees(sound: np.ndarray, wanted: np.ndarray) -> float:
    """The greatest correlation of the sound with what is wanted, at any place."""
    length = len(sound) + len(wanted)
    product = np.fft.irfft(np.fft.rfft(sound, length) * np.conj(np.fft.rfft(wanted, length)), length)
    at = int(product[: len(sound)].argmax())
    found = sound[at : at + len(wanted)]
    return float(np.corrcoef(found, wanted[: len(found)])[0, 1])


def test_a_question_wakes_and_its_first_word_is_whole() -> None:
    with daemon() as one:
        one.say(QUESTION)
        assert one.expect(events.Woken).by == "speech"
        opened = one.expect(events.SessionOpened)
        heard = one.expect(events.Heard, lambda event: event.final)
        assert heard.text == QUESTION
        answered = one.expect(events.AnswerEnded)
        assert answered.finished
    sound, rate_hz = last_heard()
    assert rate_hz == 16_000
    first_word = np.frombuffer(spoken(QUESTION), "<i2").astype(float)[: int(0.4 * rate_hz)]
    likeness = agrees(sound, first_word)
    say(f"heard {heard.text!r}; {opened.resent_ms} ms were kept and sent; first word: correlation {likeness:.3f}")
    assert likeness > 0.9


@pytest.mark.parametrize("mode", ["server", "local"])
def test_barge_in(mode: str) -> None:
    with daemon(barge_in=BargeIn(mode=mode)) as one:  # type: ignore[arg-type]
        one.say(STORY)
        one.expect(events.AnswerStarted)
        one.say("Stop. What day is it today?", after_ms=2000)
        cut = one.expect(events.BargedIn)
        assert cut.by == mode
        ended = one.expect(events.AnswerEnded)
        assert not ended.finished
        assert 0 < ended.heard_ms < ended.total_ms
        assert one.expect(events.AnswerEnded).finished
        say(f"barge-in by {cut.by}: {ended.heard_ms} of {ended.total_ms} ms were heard")


def test_a_tool() -> None:
    with daemon(wake=Wake(mode="manual", greeting="skip")) as one:
        one.service.say("Read the clock.")
        assert one.expect(events.ToolEnded).name == "get_time"
        said = one.expect(events.AnswerText, lambda event: "tool says" in event.text)
        say(f"tool: {said.text!r}")


def test_a_typed_interruption() -> None:
    with daemon() as one:
        one.say(STORY)
        first = one.expect(events.AnswerStarted).answer
        one.service.say(QUESTION)
        ended = one.expect(events.AnswerEnded)
        assert not ended.finished
        said = one.expect(events.AnswerText, lambda event: "noon" in event.text)
        assert said.answer > first
        say(f"typed: answer {first} ended after {ended.heard_ms} of {ended.total_ms} ms, answer {said.answer} came")


def test_a_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    with daemon(wake=Wake(mode="manual", greeting="skip")) as one:
        one.service.wake()
        one.expect(events.SessionOpened)
        one.service.send_file(os.open(tmp_path / "a.png", os.O_RDONLY), "a.png", "What is this?")
        said = one.expect(events.AnswerText, lambda event: "picture" in event.text)
        say(f"picture: {said.text!r}")


def test_an_idle_session_is_hung_up() -> None:
    with daemon(session=Session(idle_timeout_s=2, false_wake_s=2)) as one:
        one.say(QUESTION)
        one.expect(events.AnswerEnded)
        asleep = one.expect_state(State.ASLEEP)
        say(f"idle: {asleep.reason}")


def first_client() -> ClientConnection:
    """One that has the only session of the server."""
    until_s = time.monotonic() + 30.0
    while True:
        client = connect(f"ws{URL.removeprefix('http')}/realtime")
        with contextlib.suppress(ConnectionClosed):
            if json.loads(client.recv(timeout=10))["type"] == "session.created":
                return client
        client.close()
        assert time.monotonic() < until_s, "the last session is never given up"
        time.sleep(0.2)


def test_a_second_client_is_refused_and_tried_again() -> None:
    with first_client() as other, daemon() as one:
        one.say(QUESTION)
        ended = one.expect(events.SessionEnded)
        assert ended.ending.kind is EndingKind.RETRY
        other.close()
        one.expect(events.AnswerEnded)
        assert not one.of(events.SpeechLost)
        say(f"second client: {ended.ending.reason} (close {ended.ending.code}); answered later")


def test_a_server_that_is_killed_in_mid_answer(peer: Peer) -> None:
    """The last test: the server is started anew."""
    with daemon() as one:
        one.say(STORY)
        one.expect(events.AnswerStarted)
        peer.kill()
        lost = one.expect(events.SessionEnded)
        assert lost.ending.kind is EndingKind.RETRY
        peer.start()
        one.say(QUESTION)
        assert one.expect(events.SessionOpened).conversation_id != lost.conversation_id
        one.expect(events.AnswerText, lambda event: "noon" in event.text, timeout_s=FIRST_S)
        assert not one.of(events.SpeechLost)
        say(f"killed: {lost.ending.reason}; the next question was answered in a new session")
