"""Orders to the device itself, over an agent that no server silences: a real recogniser, an open speaker, an echo."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest
from harness import Daemon, spoken
from scripted_server import WAIT_S, Line, ScriptedServer
from test_echo_path import NearbyMicrophone, OpenSpeaker

from parleyd.app.spoken_orders import STEP, Actions, SpokenOrders
from parleyd.audio.gate.order_words import Order
from parleyd.audio.mixer import MixerError
from parleyd.config.schema import Audio, AudioOutput, BargeIn, Config, Echo, ElevenLabs
from parleyd.core import events
from parleyd.core.errors import UserError

STORY = (
    "Let me tell you the story of the lighthouse keeper, who counted every ship that passed in the night, and wrote "
    "down their names in a book that nobody ever read, until one winter the sea took the book away."
)


def tell_a_story(line: Line) -> None:
    """The server of a slow line: it says nothing about an interruption."""
    line.ready()
    line.wait_turn()
    line.hears("tell me a story")
    line.audio_chunk(spoken(STORY, "slt"), 1)
    line.over.wait(WAIT_S)


def daemon_with(server: ScriptedServer, words: str) -> Daemon:
    speaker = OpenSpeaker()
    config = Config(
        elevenlabs=ElevenLabs(agent_id="agent_test", base_url=server.base_url),
        audio=Audio(echo=Echo(mode="aec"), output=AudioOutput(volume=0.5)),
        barge_in=BargeIn(mode="server", words=words),  # type: ignore[arg-type]
    )
    return Daemon(config, speaker, NearbyMicrophone(speaker))


def test_stop_ends_the_answer_although_the_server_says_nothing() -> None:
    pytest.importorskip("pocketsphinx")
    with ScriptedServer(tell_a_story) as server, daemon_with(server, "on") as daemon:
        daemon.say("Tell me a story.")
        daemon.expect(events.AnswerStarted)
        daemon.microphone.say(spoken("Be quiet.", "slt"), after_ms=3000)
        assert daemon.expect(events.OrderHeard).order == "stop"
        assert daemon.expect(events.BargedIn).by == "local"
        assert not daemon.expect(events.AnswerEnded).finished
        told = server.lines[0].wait_message("contextual_update")
        assert told["text"].startswith("The person has told the device to be quiet")


def test_the_volume_follows_the_word_and_the_story_goes_on() -> None:
    pytest.importorskip("pocketsphinx")
    with ScriptedServer(tell_a_story) as server, daemon_with(server, "on") as daemon:
        daemon.say("Tell me a story.")
        daemon.expect(events.AnswerStarted)
        daemon.microphone.say(spoken("quieter", "rms"), after_ms=2500)
        assert daemon.expect(events.OrderHeard).order == "quieter"
        assert daemon.expect(events.VolumeChanged).volume == pytest.approx(0.35)
        assert daemon.expect(events.AnswerEnded).finished
        # Nobody is heard in the silence after it.
        daemon.microphone.say(spoken("quieter", "rms"), after_ms=500)
        daemon.expect(events.UtteranceEnded, lambda e: e.utterance == 3)
        assert len(daemon.of(events.OrderHeard)) == 1


def test_louder_is_heard_over_the_story_too() -> None:
    pytest.importorskip("pocketsphinx")
    with ScriptedServer(tell_a_story) as server, daemon_with(server, "on") as daemon:
        daemon.say("Tell me a story.")
        daemon.expect(events.AnswerStarted)
        daemon.microphone.say(spoken("louder", "slt"), after_ms=2500)
        assert daemon.expect(events.OrderHeard).order == "louder"
        assert daemon.expect(events.VolumeChanged).volume == pytest.approx(0.65)
        assert daemon.expect(events.AnswerEnded).finished
        told = server.lines[0].wait_message("contextual_update")
        assert told["text"].startswith("The device has set its volume to 65%")


def test_the_wish_to_hear_it_again_is_heard_over_the_story() -> None:
    pytest.importorskip("pocketsphinx")
    with ScriptedServer(tell_a_story) as server, daemon_with(server, "on") as daemon:
        daemon.say("Tell me a story.")
        daemon.expect(events.AnswerStarted)
        daemon.microphone.say(spoken("say that again", "slt"), after_ms=2500)
        assert daemon.expect(events.OrderHeard).order == "repeat"


def test_switched_off_nothing_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with ScriptedServer(tell_a_story) as server, daemon_with(server, "off") as daemon:
        daemon.say("Tell me a story.")
        daemon.expect(events.AnswerStarted)
    with ScriptedServer(tell_a_story) as server, pytest.raises(UserError) as caught:
        daemon_with(server, "on")
    assert "pip install pocketsphinx" in (caught.value.hint or "")


# ---------------------------------------------------------------- what follows from an order


class Scripted:
    """Stands for the recogniser, which the tests above run for real: what it would have heard."""

    def __init__(self, *orders: Order | None) -> None:
        self._orders = list(orders)

    def heard(self, pcm: bytes) -> Order | None:
        return self._orders.pop(0)


class Room:
    """What orders did."""

    def __init__(self, *orders: Order | None, volume: float = 0.5, fails: bool = False) -> None:
        self.done: list[Any] = []
        self.level = volume
        self.bus = events.Bus()
        self.fails = fails
        actions = Actions(
            silence=lambda: self.done.append("silence"),
            volume=lambda: self.level,
            set_volume=self._set,
            repeat=self._repeat,
            tell_agent=lambda text: self.done.append(text.split(".")[0]),
        )
        self.deaths: list[BaseException] = []
        self._heard = threading.Semaphore(0)
        self.orders = SpokenOrders(actions, self.bus, lambda _what, error: self.deaths.append(error), Scripted(*orders))
        for text in ("First.", "Second answer."):
            self.bus.publish(events.AnswerText(at_s=0.0, text=text, answer=1, corrected=False))
        for _ in orders:
            self.orders.take(b"")
        self.orders.start()
        self.orders.stop()

    def _set(self, volume: float) -> None:
        if self.fails:
            raise MixerError("the mixer is gone", "plug it in")
        self.level = volume
        self.done.append(volume)

    def _repeat(self, text: str) -> bool:
        self.done.append(text)
        return not self.fails


@pytest.mark.parametrize(
    ("orders", "volume", "done"),
    [
        (("stop",), 0.5, ["silence", "The person has told the device to be quiet, and it is"]),
        (("louder",), 0.5, [0.65, "The device has set its volume to 65%, as the person asked"]),
        (("louder",), 0.95, [1.0, "The device has set its volume to 100%, as the person asked"]),
        (("quieter",), 0.1, [0.0, "The device has set its volume to 0%, as the person asked"]),
        (("repeat",), 0.5, ["Second answer.", "silence", "The device has repeated your last answer"]),
        ((None,), 0.5, []),
    ],
)
def test_what_an_order_does(orders: tuple[Order | None, ...], volume: float, done: list[Any]) -> None:
    room = Room(*orders, volume=volume)
    assert room.done == done
    assert not room.deaths


def test_a_mixer_that_is_gone_and_a_voice_that_is_not_there_end_nothing() -> None:
    room = Room("louder", fails=True)
    assert room.done == []
    assert room.level == 0.5
    assert Room("repeat", fails=True).done == ["Second answer."], "the agent goes on"
    assert STEP < 0.5


def test_a_recogniser_without_memory_leaves_one_stretch_out(monkeypatch: pytest.MonkeyPatch) -> None:
    heard, left = Scripted.heard, [1]

    def short(self: Scripted, pcm: bytes) -> Order | None:
        if left[0]:
            left[0] -= 1
            raise MemoryError
        return heard(self, pcm)

    monkeypatch.setattr(Scripted, "heard", short)
    room = Room("stop", "stop")
    assert room.done == ["silence", "The person has told the device to be quiet, and it is"]
    assert not room.deaths


def test_a_fault_of_the_recogniser_is_reported() -> None:
    class Broken:
        def heard(self, pcm: bytes) -> Order | None:
            raise RuntimeError("no model")

    deaths: list[BaseException] = []
    reported = threading.Event()

    def died(_what: str, error: BaseException) -> None:
        deaths.append(error)
        reported.set()

    nothing: Any = lambda *_: None  # noqa: E731
    actions = Actions(nothing, nothing, nothing, nothing, nothing)
    orders = SpokenOrders(actions, events.Bus(), died, Broken())
    orders.start()
    orders.take(b"")
    assert reported.wait(WAIT_S)
    orders.stop()
    assert str(deaths[0]) == "no model"
