"""Earcons in the whole daemon: the speaker's sound comes back into the microphone, and nobody takes it for a person."""

from __future__ import annotations

import threading
import time
import wave
from pathlib import Path

import numpy as np
import pytest
from harness import Daemon, spoken
from scripted_server import WAIT_S, Line, ScriptedServer
from test_echo_path import DELAY_S, RATE_HZ, NearbyMicrophone, OpenSpeaker

from parleyd.audio.pcm import samples_of
from parleyd.config.schema import Audio, Config, Earcons, Echo, ElevenLabs, Reconnect, Wake
from parleyd.core import events
from parleyd.core.states import State


def hold(line: Line) -> None:
    line.ready()
    line.over.wait(WAIT_S)


class Loop(Daemon):
    """Speaker and microphone in one room. earcons: the section; voiced ones make the trial hard."""

    def __init__(self, mode: str, base_url: str, earcons: Earcons) -> None:
        self.open_speaker = OpenSpeaker()
        config = Config(
            elevenlabs=ElevenLabs(agent_id="agent_test", base_url=base_url),
            wake=Wake(mode="manual"),
            audio=Audio(echo=Echo(mode=mode)),  # type: ignore[arg-type]
            earcons=earcons,
            reconnect=Reconnect(initial_s=0.1, max_s=1.0),
        )
        super().__init__(config, self.open_speaker, NearbyMicrophone(self.open_speaker))

    def played(self) -> np.ndarray:
        until = round((time.monotonic() - self.open_speaker.began_s) * RATE_HZ)
        levels: np.ndarray = np.abs(self.open_speaker.between(0, until))
        return levels

    def wait_for_sound(self, since: int) -> int:
        """Until the speaker has sounded and is quiet again; → the number of the sample from where on it is."""
        give_up_s = time.monotonic() + 60
        while time.monotonic() < give_up_s:
            sounding = np.nonzero(self.played()[since:] > 50)[0]
            if len(sounding) and len(self.played()) - since - sounding[-1] > 0.6 * RATE_HZ:
                return since + int(sounding[-1]) + 1
            threading.Event().wait(0.02)
        raise AssertionError("the speaker stayed silent")

    def wait_until_heard(self, sample: int) -> None:
        """Until the microphone has delivered the echo of that sample, and the gate has thought about it."""
        until_s = self.open_speaker.began_s + sample / RATE_HZ + DELAY_S + 0.8
        threading.Event().wait(max(0.0, until_s - time.monotonic()))


@pytest.mark.parametrize("mode", ["aec", "half_duplex", "off"])
def test_the_echo_of_an_earcon_opens_no_utterance_and_is_not_sent(mode: str, tmp_path: Path) -> None:
    """Also where the sound is a voice: a spoken notice in place of the tone, the hardest case."""
    notice = tmp_path / "notice.wav"
    with wave.open(str(notice), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(spoken("I am listening to you now.", "slt"))
    with ScriptedServer(hold) as server, Loop(mode, server.base_url, Earcons(listening=str(notice))) as daemon:
        daemon.service.wake()
        daemon.expect_state(State.LIVE)
        silent_from = daemon.wait_for_sound(0)
        daemon.service.mute(True)
        daemon.service.mute(False)
        silent_from = daemon.wait_for_sound(silent_from)
        daemon.wait_until_heard(silent_from)
        heard = samples_of(daemon.room)
        assert np.abs(heard.astype(int)).max() > 200, "the microphone did not hear it: the trial is void"
        assert not daemon.of(events.UtteranceStarted)
        assert not daemon.of(events.AnswerStarted)
        assert not daemon.of(events.BargedIn)
        sent = server.lines[0].audio
        assert len(sent) > RATE_HZ, "nothing was sent: the trial is void"
        assert not any(sent)


def test_whoever_speaks_over_an_earcon_is_heard_whole() -> None:
    with ScriptedServer(hold) as server, Loop("aec", server.base_url, Earcons()) as daemon:
        daemon.service.wake()
        daemon.expect_state(State.LIVE)
        daemon.service.mute(True)
        daemon.service.mute(False)
        daemon.say("Tell me a story about the sea.", after_ms=40)
        begun = daemon.expect(events.UtteranceStarted)
        ended = daemon.expect(events.UtteranceEnded)
        assert ended.at_s - begun.at_s > 1.0


def test_no_network_is_told_once_without_any_session() -> None:
    with Loop("aec", "http://127.0.0.1:9", Earcons()) as daemon:
        daemon.service.wake()
        daemon.expect(events.StateChanged, lambda e: e.after == State.BACKING_OFF.value)
        # listening and error follow each other or one cuts the other short; more does not come.
        listening = daemon.wait_for_sound(0)
        assert daemon.of(events.Woken)[0].by == "command"
        for _ in range(5):
            daemon.expect(events.StateChanged, lambda e: e.after == State.BACKING_OFF.value)
        daemon.wait_until_heard(len(daemon.played()))
        assert not (daemon.played()[listening:] > 50).any()
        assert not daemon.of(events.UtteranceStarted)


def test_no_network_may_be_told_in_words() -> None:
    with Loop("aec", "http://127.0.0.1:9", Earcons(listening="off", error="spoken")) as daemon:
        daemon.service.wake()
        told = daemon.wait_for_sound(0)
        sounding = np.nonzero(daemon.played() > 50)[0] / RATE_HZ
        assert 1.5 < sounding[-1] - sounding[0] < 4.0
        daemon.wait_until_heard(told)
        assert not daemon.of(events.UtteranceStarted)


def test_all_off_is_silence() -> None:
    off = Earcons(listening="off", sleeping="off", error="off", muted="off", unmuted="off")
    with ScriptedServer(hold) as server, Loop("off", server.base_url, off) as daemon:
        daemon.service.wake()
        daemon.expect_state(State.LIVE)
        daemon.service.mute(True)
        daemon.service.mute(False)
        daemon.service.sleep()
        daemon.expect_state(State.ASLEEP)
        daemon.wait_until_heard(len(daemon.played()))
        assert not daemon.played().any()
