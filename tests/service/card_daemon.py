"""The daemon on two private sound cards: one server is the microphone's, the other the speaker's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from harness import Running, spoken
from scripted_server import ScriptedServer

from parleyd.agents.elevenlabs.agent import ElevenLabsAgent
from parleyd.app.service import Service
from parleyd.audio.devices.names import device_pair
from parleyd.audio.devices.portaudio_host import host
from parleyd.config.schema import Audio, AudioInput, AudioOutput, Config, ElevenLabs, Reconnect, Session, Wake
from parleyd.core import events
from parleyd.demo.stage import Stage
from vcard import VirtualCard


class Cards:
    """microphone and speaker may go and come on their own; faults here concern those that are named, or both."""

    def __init__(self) -> None:
        self._speech: list[subprocess.Popen[bytes]] = []
        self.microphone = VirtualCard()
        try:
            self.speaker = VirtualCard()
        except BaseException:
            self.microphone.stop()
            raise
        config = self.microphone.dir / "two.conf"
        config.write_text(
            # PortAudio 19.6 fails an assertion where there is no default.
            f'pcm.!default {{ type pulse server "unix:{self.speaker.dir}/native" fallback "" '
            'hint { show on description "another" } }\n'
            f'pcm.vmic {{ type pulse server "unix:{self.microphone.dir}/native" device "vmic" '
            'hint { show on description "the microphone" } }\n'
            f'pcm.vspk {{ type pulse server "unix:{self.speaker.dir}/native" device "vspk" '
            'hint { show on description "the speaker" } }\n'
        )
        self.environment = {"ALSA_CONFIG_PATH": str(config)}

    @property
    def both(self) -> tuple[VirtualCard, VirtualCard]:
        return self.microphone, self.speaker

    def say(self, text: str) -> None:
        self._speech.append(self.microphone.play(spoken(text), rate_hz=16_000))

    def stop(self) -> None:
        for speech in self._speech:
            speech.wait(20)
        for card in self.both:
            card.stop()


@contextmanager
def plugged_in() -> Iterator[Cards]:
    """In the environment of this process, in place of the card of all other tests."""
    cards = Cards()
    before = os.environ.get("ALSA_CONFIG_PATH")
    assert host.refresh(), "a sound stream is still open"
    os.environ.update(cards.environment)
    try:
        yield cards
    finally:
        for card in cards.both:
            card.thaw()
        host.refresh()
        if before is None:
            del os.environ["ALSA_CONFIG_PATH"]
        else:
            os.environ["ALSA_CONFIG_PATH"] = before
        cards.stop()


class CardDaemon(Running):
    """A device counts as lost after one second."""

    def __init__(self, server: ScriptedServer, wake: str = "speech") -> None:
        config = Config(
            elevenlabs=ElevenLabs(agent_id="agent_test", base_url=server.base_url),
            wake=Wake(mode=wake),  # type: ignore[arg-type]
            audio=Audio(input=AudioInput(device="vmic"), output=AudioOutput(device="vspk"), stall_s=1),
            session=Session(idle_timeout_s=60),
            reconnect=Reconnect(initial_s=0.1, max_s=1.0),
        )
        self.stage = Stage()
        bus = events.Bus()
        self.service = Service(config, ElevenLabsAgent(config.elevenlabs, None), *device_pair("vmic", "vspk"), bus)
        bus.subscribe(self.stage)
