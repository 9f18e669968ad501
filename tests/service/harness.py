"""The daemon in this process, with an actor at the microphone and a WAV or nothing as the speaker."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
import wave
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import numpy as np

from parleyd.agents.elevenlabs.agent import ElevenLabsAgent
from parleyd.agents.provider import Agent
from parleyd.agents.speech import Speech, StreamedSpeech
from parleyd.app.service import Service
from parleyd.audio.devices.device import OutputDevice
from parleyd.audio.devices.null import NullOutput
from parleyd.audio.pcm import FRAME_BYTES
from parleyd.audio.resample import Resampler
from parleyd.config.schema import Config
from parleyd.conversation.supervisor.fallback import Fallback
from parleyd.core import events
from parleyd.core.states import State
from parleyd.demo.actor import ActorMicrophone
from parleyd.demo.stage import Stage

E = TypeVar("E", bound=events.Event)


@cache
def spoken(text: str, voice: str = "rms") -> bytes:
    """A sentence by a synthetic speaker, 16 kHz."""
    assert shutil.which("flite"), "flite is missing: scripts/setup test installs it"
    path = Path(subprocess.check_output(["mktemp", "--suffix=.wav"], text=True).strip())
    try:
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
        with wave.open(str(path)) as file:
            sound, rate_hz = file.readframes(file.getnframes()), file.getframerate()
    finally:
        path.unlink()
    resampler = Resampler(rate_hz, 16_000)
    return resampler.process(sound) + resampler.flush()


class Running:
    """A service in this process, and its events. A context manager."""

    service: Service
    stage: Stage

    def __enter__(self) -> Self:
        self.service.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.service.stop()
        if error is not None:
            for event in self.stage.events:
                print(event)

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.stage.events if isinstance(event, kind)]


class Daemon(Running):
    """say() speaks into the microphone; expect() waits for the next event of a kind."""

    def __init__(
        self,
        config: Config,
        speaker: OutputDevice | None = None,
        microphone: ActorMicrophone | None = None,
        state_directory: Path | None = None,
        speech: Speech | None = None,
        agent: Agent | None = None,
        local_speech: StreamedSpeech | None = None,
        fallback: Fallback | None = None,
    ) -> None:
        """agent: None for the agent of ElevenLabs that the configuration names."""
        self.microphone = microphone or ActorMicrophone()
        self.stage = Stage()
        self.bus = bus = events.Bus()
        self.service = Service(
            config,
            agent or ElevenLabsAgent(config.elevenlabs, None),
            self.microphone,
            speaker or NullOutput(),
            bus,
            state_directory=state_directory,
            speech_for=lambda _config: speech,
            local_speech_for=lambda _config: local_speech,
            fallback=fallback,
        )
        # After the parts of the daemon: whoever has waited for an event finds that they have it, too.
        bus.subscribe(self.stage)

    def say(self, text: str, after_ms: int = 200) -> None:
        self.microphone.say(spoken(text), after_ms=after_ms)

    def expect(self, kind: type[E], test: Callable[[E], bool] = lambda _event: True, timeout_s: float = 60.0) -> E:
        return self.stage.wait_for(kind, kind.__name__, test, timeout_s)

    def expect_state(self, state: State) -> events.StateChanged:
        return self.expect(events.StateChanged, lambda e: e.after == state.value)

    def doubts(self) -> int:
        """Wakes for nothing in a row, as the gate knows them once the ears have heard a little more."""
        assert self.service.sound is not None
        ears = self.service.sound.ears
        until, end_s, pause = ears.frames + 3, time.monotonic() + 60.0, threading.Event()
        while ears.frames < until:
            assert time.monotonic() < end_s, "the ears hear nothing"
            pause.wait(0.02)
        return ears.gate.penalty.times

    @property
    def room(self) -> bytes:
        """All that the microphone has given."""
        return b"".join(self.microphone.given)


def utterances_in(stream: bytes) -> list[tuple[int, bytes]]:
    """The stretches of a received stream that are not digital silence: (frame number, sound)."""
    frames = np.frombuffer(stream[: len(stream) // FRAME_BYTES * FRAME_BYTES], "<i2").reshape(-1, FRAME_BYTES // 2)
    found: list[tuple[int, bytes]] = []
    start: int | None = None
    for number, alive in enumerate([*(bool(frame.any()) for frame in frames), False]):
        if alive and start is None:
            start = number
        elif not alive and start is not None:
            found.append((start, frames[start:number].tobytes()))
            start = None
    return found
