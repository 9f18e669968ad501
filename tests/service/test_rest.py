"""Asleep, with long periods and a closed speaker: what is said to the daemon arrives whole all the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from statistics import median
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import numpy as np
import pytest
from harness import Daemon, spoken
from scripted_server import WAIT_S, Line, ScriptedServer
from test_through_a_sound_card import PIECE, best_likeness

from parleyd.agents.elevenlabs.agent import ElevenLabsAgent
from parleyd.app.ears import (
    PAUSE_BATCH_MS,
    QUIET_BATCH_MS,
    QUIET_FRAMES,
    QUIET_FRAMES_IN_SOUND,
    WORDS_BATCH_MS,
    Ears,
    batch_ms,
)
from parleyd.app.service import Service
from parleyd.audio.capture.capture import WAITING_MS
from parleyd.audio.devices.names import device_pair
from parleyd.audio.gate.gate import ONSET_SPEECH_MS, Passed, Verdict
from parleyd.audio.gate.vad import Vad
from parleyd.audio.pcm import FRAME_BYTES, FRAME_MS, Frame
from parleyd.config.schema import Audio, AudioOutput, Config, ElevenLabs
from parleyd.conversation.session.outbox import Outbox
from parleyd.conversation.session.uplink import Uplink
from parleyd.core import events
from parleyd.demo.stage import Stage
from vcard import VirtualCard

QUIET_DBFS = -60.0


def wait(predicate: Callable[[], bool]) -> None:
    end_s, pause = time.monotonic() + WAIT_S, threading.Event()
    while not predicate():
        assert time.monotonic() < end_s
        pause.wait(0.02)


def ears_for(outbox: Outbox, *, speaker_sounds: bool) -> Ears:
    """Their way to the outbox alone."""
    nothing, echo = cast(Any, None), cast(Any, SimpleNamespace(speaker_sounds=speaker_sounds))
    return Ears(nothing, echo, Vad(2), nothing, outbox, nothing, nothing, events.Bus(), hold_back=True,
                wake_on_speech=True, on_death=nothing)  # fmt: skip


def test_silence_in_a_session_goes_up_several_frames_at_a_time() -> None:
    def play(line: Line) -> None:
        line.ready()
        line.over.wait(WAIT_S)

    with ScriptedServer(play) as server:
        config = Config(elevenlabs=ElevenLabs(agent_id="agent_test", base_url=server.base_url))
        with Daemon(config) as daemon:
            daemon.service.wake()
            line = server.next_line()
            line.wait("four seconds of silence", lambda: len(line.audio) >= 4 * 32_000)
            assert median(line.chunks_bytes[-10:]) >= QUIET_FRAMES * FRAME_BYTES


def test_words_go_up_several_frames_at_a_time_and_whole() -> None:
    def play(line: Line) -> None:
        line.ready()
        line.wait_turn()
        line.over.wait(WAIT_S)

    sentence = "Could you tell me what the weather is going to be like tomorrow?"
    with ScriptedServer(play) as server:
        config = Config(elevenlabs=ElevenLabs(agent_id="agent_test", base_url=server.base_url))
        with Daemon(config) as daemon:
            daemon.service.wake()
            line = server.next_line()
            line.wait("the stream", lambda: len(line.audio) >= 16_000)
            daemon.say(sentence)
            line.wait_turn()
            heard = np.frombuffer(bytes(line.audio), "<i2")
            ends = np.cumsum(line.chunks_bytes) // 2
            pairs = zip(np.concatenate([[0], ends[:-1]]), ends, strict=True)
            loud = [end - begin for begin, end in pairs if end <= len(heard) and np.abs(heard[begin:end]).max() > 1000]
            assert median(loud) == WORDS_BATCH_MS // FRAME_MS * FRAME_BYTES // 2, loud
            said = spoken(sentence)
            samples = np.frombuffer(said, "<i2")
            words = np.nonzero(np.abs(samples) > 500)[0]
            assert samples[words[0] : words[-1]].tobytes() in heard.tobytes()


def test_each_frame_is_handled_as_it_comes_where_it_may_begin_talk_or_interrupt() -> None:
    def pace(to_talk_ms: int = 120, **now: bool) -> int:
        state = {"talks": False, "in_words": False, "sends_speech": False, "speaker_sounds": False}
        return batch_ms(to_talk_ms=to_talk_ms, **{**state, **now})

    assert [pace(to_talk_ms) for to_talk_ms in (20, 40, 60, 80, 100, 120)] == [0, 40, 60, 80, 100, 100]
    assert QUIET_BATCH_MS <= ONSET_SPEECH_MS, "so talk is noticed with the frame that makes it talk"
    assert pace(speaker_sounds=True) == QUIET_BATCH_MS
    assert pace(20, speaker_sounds=True) == 0, "somebody may be about to talk over the agent"
    assert pace(talks=True, speaker_sounds=True) == 0, "somebody talks over the agent"
    assert pace(talks=True, in_words=True, speaker_sounds=True) == 0, "somebody talks over the agent"
    assert pace(talks=True, sends_speech=True) == pace(sends_speech=True) == PAUSE_BATCH_MS
    assert pace(20, sends_speech=True) == 0
    assert pace(talks=True, in_words=True) == WORDS_BATCH_MS


def test_the_last_of_speech_does_not_wait_for_more_silence_than_came_with_it() -> None:
    outbox, sender = Outbox(Uplink("silence", pre_roll_ms=0, capacity_ms=1000)), object()
    outbox.admit(sender)
    outbox.begin(sender)
    ears = ears_for(outbox, speaker_sounds=False)
    for number in range(3):
        frame = Passed(Frame(b"\x01" * FRAME_BYTES, number * 0.02), speech=number == 0)
        ears._send(Verdict((frame,)), wanted=True, is_last=number == 2)
    taken = outbox.take(sender, idle_s=0.0)
    assert isinstance(taken, list)
    assert [frame.is_silent for frame in taken] == [False, True, True]


@pytest.mark.parametrize(("speaker_sounds", "frames"), [(False, QUIET_FRAMES), (True, QUIET_FRAMES_IN_SOUND)])
def test_silence_waits_longer_while_the_agent_sounds(speaker_sounds: bool, frames: int) -> None:
    uplink, sender = Uplink("silence", pre_roll_ms=0, capacity_ms=1000), object()
    outbox = Outbox(uplink)
    outbox.admit(sender)
    outbox.begin(sender)
    ears, sent = ears_for(outbox, speaker_sounds=speaker_sounds), list[int]()
    for number in range(30):
        ears._send(Verdict((Passed(Frame.silence(number * 0.02), speech=False),)), wanted=True, is_last=True)
        sent.append(len(uplink))
    assert sent[frames - 2 : frames + 1] == [0, frames, frames]
    assert sent[-1] == 30
    # The first frame of speech takes along what waits.
    ears._send(Verdict((Passed(Frame.silence(0.6), speech=False),)), wanted=True, is_last=True)
    ears._send(Verdict((Passed(Frame(b"\x01" * FRAME_BYTES, 0.62), speech=True),)), wanted=True, is_last=True)
    assert len(uplink) == 32


def test_while_the_agent_sounds_and_nobody_speaks_frames_are_handled_several_at_a_time() -> None:
    def play(line: Line) -> None:
        line.ready()
        line.says("It is a long story.", 8.0)
        line.over.wait(WAIT_S)

    with ScriptedServer(play) as server:
        config = Config(elevenlabs=ElevenLabs(agent_id="agent_test", base_url=server.base_url))
        with Daemon(config) as daemon:
            daemon.service.wake()
            sound = daemon.service.sound
            assert sound is not None
            wait(lambda: sound.echo.speaker_sounds)
            heard = sound.ears.frames
            wait(lambda: sound.ears.frames >= heard + 50)
            assert sound.echo.speaker_sounds, "the answer is still going on"
            assert sound.capture.batch_ms == QUIET_BATCH_MS


def test_the_first_word_after_a_rest_is_whole_and_the_answer_is_heard(
    vcard: VirtualCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parleyd.audio.playback.playback.REST_AFTER_S", 0.2)

    def play(line: Line) -> None:
        line.ready()
        line.wait_turn()
        line.hears("what time is it")
        line.says("It is late.", 1.0)
        line.over.wait(WAIT_S)

    noise = np.random.default_rng(1).normal(0.0, 32768 * 10 ** (QUIET_DBFS / 20), 16_000 * 120)
    quiet = vcard.play(np.rint(noise).astype("<i2").tobytes(), rate_hz=16_000, latency_ms=500)
    stage, bus = Stage(), events.Bus()
    with ScriptedServer(play) as server, vcard.listen() as speaker:
        config = Config(elevenlabs=ElevenLabs(agent_id="agent_test", base_url=server.base_url))
        config = msgspec.structs.replace(config, audio=Audio(output=AudioOutput(keep_open="off")))
        service = Service(config, ElevenLabsAgent(config.elevenlabs, None), *device_pair("vmic", "vspk"), bus)
        bus.subscribe(stage)
        service.start()
        try:
            sound = service.sound
            assert sound is not None
            wait(lambda: sound.playback.rests)
            wait(lambda: sound.capture.rests and sound.capture._worth_hearing is not None)
            # Nearly all that may wait does so: a quiet room wakes nobody before.
            wait(lambda: sound.capture._waiting_s * 1000 >= WAITING_MS * 0.8)
            assert sound.recovery.lost == (), "it is closed, not lost"
            said_s = time.monotonic()
            said = spoken("What time is it now?")
            vcard.play(said, rate_hz=16_000)
            stage.wait_for(events.AnswerStarted, "an answer")
            assert speaker.wait_for_sound(said_s, WAIT_S), "the answer is not heard"
            wait(lambda: not sound.capture._rests and len(sound.capture._wanted) == 1)
            assert sound.capture._worth_hearing is None
            assert sound.capture.dropped_periods == 0
        finally:
            service.stop()
            quiet.terminate()
            quiet.wait(10)
        line = server.lines[0]
        assert line.over.wait(WAIT_S)
        heard = np.frombuffer(bytes(line.audio), "<i2").astype(float)
        spoken_samples = np.frombuffer(said, "<i2").astype(float)
        loud = np.nonzero(np.abs(spoken_samples) > 500)[0]
        words = spoken_samples[loud[0] : loud[-1]]
        likenesses = [best_likeness(heard, words[i : i + PIECE]) for i in range(0, len(words) - PIECE, PIECE)]
        # The first piece is what a rest could lose. A busy machine loses a period now and then in others.
        assert likenesses[0] > 0.8, likenesses
        assert np.mean(np.array(likenesses) > 0.8) >= 0.5, likenesses


def test_who_wakes_it_without_a_word_does_not_wait_for_the_sound_that_waits(
    vcard: VirtualCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parleyd.audio.playback.playback.REST_AFTER_S", 0.2)
    # It would wait for ever.
    monkeypatch.setattr("parleyd.audio.capture.capture.WAITING_MS", 3_600_000)

    def play(line: Line) -> None:
        line.ready()
        line.over.wait(WAIT_S)

    noise = np.random.default_rng(1).normal(0.0, 32768 * 10 ** (QUIET_DBFS / 20), 16_000 * 120)
    quiet = vcard.play(np.rint(noise).astype("<i2").tobytes(), rate_hz=16_000, latency_ms=500)
    with ScriptedServer(play) as server:
        config = Config(elevenlabs=ElevenLabs(agent_id="agent_test", base_url=server.base_url))
        config = msgspec.structs.replace(config, audio=Audio(output=AudioOutput(keep_open="off")))
        bus = events.Bus()
        service = Service(config, ElevenLabsAgent(config.elevenlabs, None), *device_pair("vmic", "vspk"), bus)
        service.start()
        try:
            sound = service.sound
            assert sound is not None
            wait(lambda: sound.capture._worth_hearing is not None)
            waiting = sound.capture._waiting_s
            wait(lambda: sound.capture._waiting_s > waiting + 0.5)
            # Neither does it wait for the next period, during which a session nearby may become live.
            monkeypatch.setattr(sound.capture, "_is_urgent_by", lambda *_: False)
            heard = sound.ears.frames
            service.wake()
            wait(lambda: sound.ears.frames >= heard + 25)
            monkeypatch.undo()
            line = server.next_line()
            line.wait("the room", lambda: len(line.audio) >= 32_000)
            wait(lambda: sound.capture._worth_hearing is None)
        finally:
            service.stop()
            quiet.terminate()
            quiet.wait(10)
