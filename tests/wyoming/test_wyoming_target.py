"""What a connection of Home Assistant's is answered."""

from __future__ import annotations

from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.pipeline import PipelineStage, RunPipeline
from wyoming.satellite import PauseSatellite, RunSatellite

from parleyd.config.wyoming_section import Wyoming
from parleyd.wyoming.target import Command, Play, Refuse, Send, Target, Turns, info

SETTINGS = Wyoming(max_s=1.0, per_minute=3)


class Home:
    def __init__(self) -> None:
        self.turns = Turns(SETTINGS.per_minute)
        self.target = self.another()

    def another(self) -> Target:
        return Target(SETTINGS, info(SETTINGS, "pi", "1"), self.turns)

    def take(self, *events: Event, now_s: float = 0.0, target: Target | None = None) -> list[Command]:
        return [command for event in events for command in (target or self.target).take(event, now_s)]


def start(rate_hz: int = 16_000, width: int = 2, channels: int = 1) -> Event:
    return AudioStart(rate_hz, width, channels).event()


def chunk(count: int) -> Event:
    return AudioChunk(16_000, 2, 1, bytes(count)).event()


STOP = AudioStop().event()


def refusal(commands: list[Command]) -> str:
    (only,) = commands
    assert isinstance(only, Refuse)
    assert only.hint
    assert only.event.data["text"] == only.text
    return only.text


def test_an_announcement_is_played_whole() -> None:
    home = Home()
    (play,) = home.take(start(), chunk(2048), chunk(1001), STOP)
    assert isinstance(play, Play)
    # Half a sample is none.
    assert (len(play.pcm), play.rate_hz) == (3048, 16_000)
    assert play.length_s == 3048 / 32_000


def test_one_comes_after_the_other_and_who_ends_in_the_middle_makes_room() -> None:
    home = Home()
    other = home.another()
    assert home.take(start(), chunk(100)) == []
    assert "not over yet" in refusal(home.take(start(), target=other))
    home.target.over()
    (play,) = home.take(start(), chunk(100), STOP, target=other)
    assert isinstance(play, Play)
    # It is being played, although its connection has ended.
    other.over()
    assert "not over yet" in refusal(home.take(start()))
    home.turns.give_back()
    assert home.take(start()) == []


def test_so_many_within_a_minute() -> None:
    home = Home()
    for now_s in (0.0, 10.0, 20.0):
        assert home.take(start(), now_s=now_s) == []
        home.target.over()
    assert "3 announcements within a minute" in refusal(home.take(start(), now_s=59.9))
    assert home.take(start(), now_s=60.0) == []


def test_a_long_sound_is_refused_while_it_comes() -> None:
    home = Home()
    assert home.take(start(), chunk(32_000)) == []
    assert refusal(home.take(chunk(2))) == "the sound is longer than 1 s"


def test_a_refusal_that_ends_the_connection_gives_the_turn_back_at_once() -> None:
    """Its peer may read nothing, so that the connection stays until there is no room for it."""
    for more in (start(), chunk(32_002)):
        home = Home()
        assert home.take(start()) == []
        refusal(home.take(more))
        assert not home.turns.is_taken
        assert home.take(start(), target=home.another()) == []


def test_other_kinds_of_sound_and_none_are_refused() -> None:
    home = Home()
    for event in (start(width=4), start(channels=2), start(rate_hz=7999), start(rate_hz=96_000)):
        refusal(home.take(event))
    for data in ({}, {"rate": "x", "width": 2, "channels": 1}, {"rate": 1e9, "width": 2, "channels": 1}):
        refusal(home.take(Event("audio-start", data)))
    commands = home.take(start(), STOP)
    assert refusal(commands) == "no sound came"
    assert isinstance(commands[0], Refuse)
    assert not commands[0].ends
    assert not home.turns.is_taken
    assert home.take(start()) == []
    refusal(home.take(start()))


def test_what_a_satellite_with_a_conversation_would_do_is_left_out() -> None:
    home = Home()
    run = RunPipeline(PipelineStage.ASR, PipelineStage.TTS).event()
    for event in (RunSatellite().event(), PauseSatellite().event(), run, chunk(100), STOP, Event("timer-started")):
        assert home.take(event) == []
    (answer,) = home.take(Describe().event())
    assert isinstance(answer, Send)
    satellite = Info.from_event(answer.event).satellite
    assert satellite is not None
    # Home Assistant neither waits for a word from it, nor offers to start a conversation.
    assert (satellite.name, satellite.active_wake_words, satellite.supports_trigger) == ("parleyd pi", [], False)
    (answer,) = home.take(Event("ping", {"text": ["no text"]}))
    assert isinstance(answer, Send)
    assert answer.event.data == {"text": None}
