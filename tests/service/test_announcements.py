"""Announcements in the whole daemon: fetched over real WebSockets, spoken asleep, between and over answers."""

from __future__ import annotations

import logging
import os
import threading
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from harness import Daemon, spoken
from scripted_server import WAIT_S, Line, ScriptedServer
from scripted_speech import RATE_HZ as SPEECH_HZ
from scripted_speech import SpeechServer, Spoken, tone
from test_echo_path import ANSWER, DELAY_S, RATE_HZ, NearbyMicrophone, OpenSpeaker

from parleyd.agents.elevenlabs.speech import ElevenLabsSpeech
from parleyd.announce import announcer
from parleyd.announce.announcer import MOST_WAITING, AnnouncementRefusedError
from parleyd.audio.pcm import samples_of
from parleyd.audio.resample import Resampler
from parleyd.config.schema import Announce, Audio, BargeIn, Config, Earcons, Echo, ElevenLabs, Reconnect, Session, Wake
from parleyd.core import events
from parleyd.core.states import State

KEY = "sk_0123456789abcdef"
# The tones of the two servers; both fit into a tenth of a second.
ANNOUNCED_HZ, ANSWER_HZ = 700, 440
QUIET = Earcons(listening="off", sleeping="off", error="off", muted="off", unmuted="off")


class Home(Daemon):
    """A daemon with an open speaker whose sound reaches the microphone if `echo` is given."""

    def __init__(
        self,
        speech: SpeechServer,
        agent: ScriptedServer | None = None,
        echo: str = "",
        announce: Announce | None = None,
    ) -> None:
        self.open_speaker = OpenSpeaker()
        base_url = agent.base_url if agent else "http://127.0.0.1:9"
        config = Config(
            elevenlabs=ElevenLabs(agent_id="agent_test", base_url=base_url),
            wake=Wake(mode="speech" if echo else "manual"),
            audio=Audio(echo=Echo(mode=echo or "auto")),  # type: ignore[arg-type]
            barge_in=BargeIn(mode="local"),
            session=Session(connect_timeout_s=1.0, idle_timeout_s=60),
            reconnect=Reconnect(initial_s=0.1, max_s=1.0),
            earcons=QUIET,
            announce=announce or Announce(),
        )
        voice = ElevenLabsSpeech(config.announce, speech.base_url, "voice/1", KEY)
        microphone = NearbyMicrophone(self.open_speaker) if echo else None
        super().__init__(config, self.open_speaker, microphone, speech=voice)

    def ended(self, number: int) -> events.AnnouncementEnded:
        return self.expect(events.AnnouncementEnded, lambda e: e.announcement == number)

    def levels(self, *tones_hz: float) -> np.ndarray:
        """Of each tone in what was played, by tenths of a second: (tone, tenth)."""
        length = RATE_HZ // 10
        played = self.open_speaker.between(0, round((time.monotonic() - self.open_speaker.began_s) * RATE_HZ))
        whole = played[: len(played) // length * length].reshape(-1, length)
        waves = np.exp(2j * np.pi / RATE_HZ * np.outer(np.arange(length), tones_hz))
        levels: np.ndarray = np.abs(whole @ waves).T * 2 / length
        return levels

    def wait_for_tenths(self, count: int) -> None:
        """Until so much of the announcement's tone has been played."""
        until_s = time.monotonic() + WAIT_S
        while np.count_nonzero(self.levels(ANNOUNCED_HZ) > 7000) < count:
            assert time.monotonic() < until_s, "it is not played"
            threading.Event().wait(0.02)

    def wait_until_played(self, until_s: float) -> None:
        threading.Event().wait(max(0.0, until_s + DELAY_S + 0.2 - time.monotonic()))


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG):
        yield caplog
    assert KEY not in caplog.text


# ---------------------------------------------------------------- the line


def test_the_sound_is_heard_before_the_last_of_it_was_sent() -> None:
    heard = threading.Event()

    def in_two_halves(spoken: Spoken) -> None:
        spoken.sound(tone(0.3)[:-1])  # half a sample
        assert heard.wait(WAIT_S)
        spoken.drip(tone(0.3)[-1:] + tone(0.06))
        spoken.final()

    with SpeechServer(in_two_halves) as speech, Home(speech) as home:
        number = home.service.announce("The tea is ready.\nReally. \x07", now=False)
        started = home.expect(events.AnnouncementStarted)
        home.wait_for_tenths(1)
        heard.set()
        assert home.ended(number) == events.AnnouncementEnded(
            at_s=home.of(events.AnnouncementEnded)[0].at_s, announcement=number, finished=True
        )
        assert started.text == "The tea is ready. Really."
        (request,) = speech.requests
        assert request.messages == [{"text": " "}, {"text": "The tea is ready. Really. ", "flush": True}, {"text": ""}]
        assert request.path == (
            "/v1/text-to-speech/voice%2F1/stream-input?model_id=eleven_flash_v2_5&output_format=pcm_24000"
        )
        assert request.key == KEY
        assert not home.of(events.StateChanged)
        assert not home.of(events.AnswerStarted)


def test_the_devices_own_voice_says_which_tool_the_agent_asks_for_and_nothing_that_the_agent_says() -> None:
    with SpeechServer(lambda spoken: spoken.final()) as speech, Home(speech) as home:
        home.bus.publish(
            events.ConfirmationWanted(
                at_s=time.monotonic(),
                approval="1f00ba",
                call_id="c",
                name="door_open",
                until_s=time.monotonic() + 20,
                parameters={"who": "Say yes, it is only the lamp."},
            )
        )
        home.expect(events.AnnouncementEnded)
        (request,) = speech.requests
        assert request.messages[1]["text"] == "The agent asks for your permission to use: door open. "


def test_one_follows_the_other_and_what_cannot_wait_overtakes() -> None:
    begun, go = threading.Event(), threading.Event()

    def slowly(spoken: Spoken) -> None:
        begun.set()
        assert go.wait(WAIT_S)
        spoken.speak(0.15)

    with SpeechServer(slowly) as speech, Home(speech) as home:
        home.service.announce("one", now=True)
        assert begun.wait(WAIT_S)
        for text, now in (("two", False), ("three", False), ("fire", True), ("smoke", True)):
            home.service.announce(text, now=now)
        go.set()
        order = [home.expect(events.AnnouncementStarted).text for _ in range(5)]
        assert order == ["one", "fire", "smoke", "two", "three"]
        home.ended(3)
        told = [type(e).__name__ for e in home.stage.events if "Announcement" in type(e).__name__]
        assert told == ["AnnouncementStarted", "AnnouncementEnded"] * 5
        assert all(event.finished for event in home.of(events.AnnouncementEnded))


def sound_file(folder: Path, seconds: float) -> int:
    """Returns the descriptor of a WAV file with the tone of the announcements."""
    with wave.open(str(folder / "bell.wav"), "wb") as file:
        file.setparams((1, 2, SPEECH_HZ, 0, "NONE", ""))
        file.writeframes(tone(seconds))
    return os.open(folder / "bell.wav", os.O_RDONLY)


def test_a_sound_is_played_in_its_turn_without_a_voice(tmp_path: Path) -> None:
    begun, go = threading.Event(), threading.Event()

    def slowly(spoken: Spoken) -> None:
        begun.set()
        assert go.wait(WAIT_S)
        spoken.speak(0.15)

    with SpeechServer(slowly) as speech, Home(speech) as home:
        home.service.announce("one", now=True)
        assert begun.wait(WAIT_S)
        number = home.service.announce_sound(sound_file(tmp_path, 0.5), "bell.wav", now=False)
        # It is a file of the past by then.
        (tmp_path / "bell.wav").unlink()
        go.set()
        assert [home.expect(events.AnnouncementStarted).text for _ in range(2)] == ["one", "bell.wav"]
        assert home.ended(number).finished
        home.wait_for_tenths(4)
        assert len(speech.requests) == 1


def test_a_sound_gives_way_to_what_cannot_wait_and_is_then_played_whole(tmp_path: Path) -> None:
    with SpeechServer(lambda spoken: spoken.speak(0.1)) as speech, Home(speech, announce=Announce(wait_s=600)) as home:
        home.bus.publish(events.AnswerStarted(at_s=time.monotonic(), answer=1))
        number = home.service.announce_sound(sound_file(tmp_path, 0.6), "bell.wav", now=False)
        home.service.announce("fire", now=True)
        assert home.expect(events.AnnouncementStarted).text == "fire"
        home.bus.publish(events.AnswerEnded(at_s=time.monotonic(), answer=1, heard_ms=1, finished=True))
        assert home.ended(number).finished
        home.wait_for_tenths(5)


def test_what_cannot_be_spoken_is_refused_with_words() -> None:
    def never(_: Spoken) -> None:
        speech.ending.wait(WAIT_S)

    with SpeechServer(never) as speech, Home(speech, announce=Announce(max_chars=20)) as home:

        def flood() -> None:
            # One is being fetched.
            for _ in range(MOST_WAITING + 2):
                home.service.announce("hello", now=False)

        for text, kind in ((" .\n? ", "nothing_to_say"), ("a" * 21, "too_much_to_say")):
            with pytest.raises(AnnouncementRefusedError) as refused:
                home.service.announce(text, now=False)
            assert refused.value.kind == kind
        with pytest.raises(AnnouncementRefusedError, match="wait already"):
            flood()
        home.service.announce("fire", now=True)


def test_a_line_that_is_cut_plays_what_came_and_says_so_once(log: pytest.LogCaptureFixture) -> None:
    def cut(spoken: Spoken) -> None:
        spoken.sound(tone(0.3))
        spoken.connection.close(1011, "kaputt")

    with SpeechServer(cut) as speech, Home(speech) as home:
        for number in (1, 2):
            home.service.announce("hello there", now=False)
            home.expect(events.AnnouncementStarted)
            ended = home.ended(number)
            assert not ended.finished
            assert ended.reason == 'the server is in trouble ("kaputt")'
            home.wait_for_tenths(number)
        assert len(speech.requests) == 2, "what was half heard is not said again"
        assert len(home.of(events.Trouble)) == 1
        warnings = [it for it in log.records if it.levelno >= logging.WARNING and it.name == announcer.__name__]
        assert len(warnings) == 1


def test_a_lost_line_before_the_first_sound_is_tried_once_more() -> None:
    def second_time_lucky(spoken: Spoken) -> None:
        if len(speech.requests) == 1:
            spoken.connection.socket.close()
        else:
            spoken.speak()

    with SpeechServer(second_time_lucky) as speech, Home(speech) as home:
        home.service.announce("hello", now=False)
        assert home.ended(1).finished
        assert not home.of(events.Trouble)


REFUSALS = [
    (401, f'{{"detail": {{"status": "invalid_api_key", "message": "{KEY}"}}}}', "not accepted", "elevenlabs.api_key"),
    (403, "", "may not be used", "text to speech"),
    (302, "", "no text to speech", "base_url"),
    ("invalid_api_key", f"no such key: {KEY}", "not accepted", "elevenlabs.api_key"),
    ("voice_id_does_not_exist", "A voice with the voice_id x does not exist.", "no such voice", "announce.voice_id"),
    ("quota_exceeded", "You have 0 credits remaining", "no credit", "add credit"),
]


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize(("how", "message", "reason", "hint"), REFUSALS)
def test_refusals_name_the_hint_and_never_the_key(how: int | str, message: str, reason: str, hint: str) -> None:
    def refuse(spoken: Spoken) -> None:
        spoken.error(str(how), message)

    status = how if isinstance(how, int) else None
    with SpeechServer(refuse, status, message) as speech, Home(speech) as home:
        home.service.announce("hello", now=False)
        ended = home.ended(1)
        assert reason in (ended.reason or "")
        assert hint in (ended.hint or "")
        assert KEY not in f"{home.stage.events}"
        assert speech.tries == 1, "a final refusal is not tried again"


def silent(spoken: Spoken) -> None:
    spoken.connection.recv()


def babbling(spoken: Spoken) -> None:
    while True:
        for message in ("{}", "garbage", b"\xff", '{"audio": "", "isFinal": null}'):
            spoken.connection.send(message)


def dripping(spoken: Spoken) -> None:
    pause = threading.Event()
    spoken.connection.socket.sendall(bytes([0x81, 127]) + (2**20).to_bytes(8, "big"))
    while True:
        spoken.connection.socket.sendall(b" ")
        pause.wait(0.005)


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize("play", [silent, babbling, dripping])
def test_a_server_that_says_nothing_is_given_up(
    play: Callable[[Spoken], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than any pause in what drips, on a busy machine as well.
    monkeypatch.setattr(announcer, "_LOOK_S", 0.5)
    with SpeechServer(play) as speech, Home(speech) as home:
        home.service.announce("hello", now=False)
        assert home.ended(1).reason == "the server did not go on within 1 s"
        assert len(speech.requests) == 2


@pytest.mark.usefixtures("log")
def test_no_network() -> None:
    with SpeechServer(lambda _: None) as speech:
        home = Home(speech)
    with home:
        home.service.announce("hello", now=False)
        ended = home.ended(1)
        assert "connection refused" in (ended.reason or "")
        assert ended.hint == "check the network and elevenlabs.base_url"


def test_a_server_that_sends_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcer, "LIMIT_S", 0.5)

    def on_and_on(spoken: Spoken) -> None:
        while True:
            spoken.sound(tone(0.2))

    with SpeechServer(on_and_on) as speech, Home(speech) as home:
        home.service.announce("hello", now=False)
        assert home.ended(1).reason == "the server sends more than 0.5 s of sound for a text"


def test_a_speaker_that_goes_away_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcer, "_SPEAKER_GONE_S", 0.4)
    with SpeechServer(lambda spoken: spoken.speak(10.0)) as speech, Home(speech) as home:
        home.service.announce("a long story", now=False)
        home.expect(events.AnnouncementStarted)
        home.open_speaker.close()
        assert home.ended(1).reason == "the speaker takes no sound"


def test_an_end_while_it_speaks_cuts_it() -> None:
    with SpeechServer(lambda spoken: spoken.speak(60.0)) as speech, Home(speech) as home:
        home.service.announce("a long story", now=False)
        home.service.announce("never", now=False)
        home.expect(events.AnnouncementStarted)
        began_s = time.monotonic()
        home.service.stop()
        assert time.monotonic() - began_s < 30, "half of what is left to be spoken"
        ended = home.of(events.AnnouncementEnded)
        assert [(event.announcement, event.reason) for event in ended] == [(n, "the daemon stops") for n in (1, 2)]
        assert not home.of(events.Trouble)
        assert "announcer" not in {thread.name for thread in threading.enumerate()}
        assert len(speech.requests) == 1


# ---------------------------------------------------------------- beside a conversation


def answering(line: Line) -> None:
    line.ready()
    line.wait_message("user_message")
    line.says("Once upon a time.", 1.1)
    line.over.wait(WAIT_S)


def test_it_waits_until_the_agent_has_finished() -> None:
    with ScriptedServer(answering) as agent, SpeechServer(Spoken.speak) as speech, Home(speech, agent) as home:
        home.service.say("tell me a story")
        home.expect(events.AnswerStarted)
        home.service.announce("The tea is ready.", now=False)
        ended = home.expect(events.AnswerEnded)
        started = home.expect(events.AnnouncementStarted)
        assert ended.finished
        assert ended.heard_ms == 1100
        assert started.at_s > ended.at_s
        assert home.ended(1).finished
        line = agent.lines[0]
        home.wait_until_played(time.monotonic())
        assert not any(line.audio)
        assert {message["type"] for message in line.messages} <= {"user_message", "pong"}
        assert not home.of(events.BargedIn)


def test_now_speaks_over_the_agent_who_is_ducked_and_misses_nothing() -> None:
    with ScriptedServer(answering) as agent, SpeechServer(Spoken.speak) as speech, Home(speech, agent) as home:
        home.service.say("tell me a story")
        answer = home.expect(events.AnswerStarted)
        home.service.announce("The tea is burning.", now=True)
        started = home.expect(events.AnnouncementStarted)
        ended = home.expect(events.AnswerEnded)
        home.wait_until_played(ended.at_s)
        assert answer.at_s < started.at_s < ended.at_s
        assert ended.finished
        assert ended.heard_ms == 1100
        assert not home.of(events.BargedIn)
        # Both are tones of 8000; the agent's is 12 dB lower meanwhile.
        announced, agents = home.levels(ANNOUNCED_HZ, ANSWER_HZ)
        # Not the tenths at the edges, in which the one is still coming or the other not yet gone.
        over = np.flatnonzero(announced > 7000)[1:-1]
        assert len(over)
        assert agents[over] == pytest.approx(2000, rel=0.05)
        assert agents[announced < 50].max() == pytest.approx(8000, rel=0.05)


def test_a_wait_has_an_end() -> None:
    with (
        ScriptedServer(answering) as agent,
        SpeechServer(Spoken.speak) as speech,
        Home(speech, agent, announce=Announce(wait_s=0.5)) as home,
    ):
        home.service.say("tell me a story")
        home.expect(events.AnswerStarted)
        home.service.announce("The tea is ready.", now=False)
        home.expect(events.AnnouncementStarted)
        assert home.expect(events.AnswerEnded).finished


def test_what_cannot_wait_overtakes_what_waits_for_a_pause() -> None:
    with ScriptedServer(answering) as agent, SpeechServer(Spoken.speak) as speech, Home(speech, agent) as home:
        home.service.say("tell me a story")
        home.expect(events.AnswerStarted)
        home.service.announce("The tea is ready.", now=False)
        while not speech.requests:
            threading.Event().wait(0.01)
        home.service.announce("Fire!", now=True)
        assert home.expect(events.AnnouncementStarted).text == "Fire!"
        home.expect(events.AnswerEnded)
        assert home.expect(events.AnnouncementStarted).text == "The tea is ready."
        assert home.ended(1).finished


# ---------------------------------------------------------------- in a room


SENTENCE = "Dinner is served in the blue room."


def aloud(request: Spoken) -> None:
    resampler = Resampler(RATE_HZ, SPEECH_HZ)
    request.sound(resampler.process(spoken(request.text, "slt")) + resampler.flush())
    request.final()


@pytest.mark.parametrize("mode", ["aec", "half_duplex", "off"])
def test_asleep_it_does_not_wake_the_daemon_by_its_own_voice(mode: str) -> None:
    with ScriptedServer(answering) as agent, SpeechServer(aloud) as speech, Home(speech, agent, mode) as home:
        home.service.announce(SENTENCE, now=False)
        ended = home.ended(1)
        home.wait_until_played(ended.at_s + 0.4)
        assert np.abs(samples_of(home.room).astype(int)).max() > 2000, "the microphone did not hear it: void"
        assert not home.of(events.UtteranceStarted)
        assert not home.of(events.StateChanged)
        assert not agent.lines


def test_live_a_person_who_speaks_over_it_goes_up_and_it_does_not() -> None:
    def listening(line: Line) -> None:
        line.ready()
        line.over.wait(WAIT_S)

    with ScriptedServer(listening) as agent, SpeechServer(aloud) as speech, Home(speech, agent, "aec") as home:
        home.service.wake()
        home.expect_state(State.LIVE)
        home.service.announce(ANSWER, now=False)
        started = home.expect(events.AnnouncementStarted)
        home.say("Stop that now please.", after_ms=2500)
        talk = home.expect(events.UtteranceStarted)
        assert talk.at_s > started.at_s + 2.0
        assert not home.of(events.AnnouncementEnded)
        line = agent.lines[0]
        line.wait_speech(0.3)
        # The session began a moment before, and what went up until the person's pre-roll is silence.
        assert np.flatnonzero(np.frombuffer(bytes(line.audio), "<i2"))[0] > 1.5 * RATE_HZ


def test_a_timer_says_what_is_ready_and_opens_no_session() -> None:
    with SpeechServer(Spoken.speak) as speech, ScriptedServer(lambda _: None) as agent, Home(speech, agent) as home:
        home.service.tools.alarm_clock.set(3600, "bread")
        home.service.tools.by_hand("set_timer", {"seconds": 1, "label": "tea"}, WAIT_S)
        shown = home.service.status().timers
        assert [(one.number, one.label) for one in shown] == [(2, "tea"), (1, "bread")]
        assert 3590 <= shown[1].left_s <= 3600
        went_off = home.expect(events.TimerWentOff)
        begun = home.expect(events.AnnouncementStarted, lambda e: e.at_s >= went_off.at_s)
        home.ended(begun.announcement)
        assert [request.text for request in speech.requests] == ["Tea is ready."]
        assert agent.lines == []
        assert [one.label for one in home.service.status().timers] == ["bread"]
