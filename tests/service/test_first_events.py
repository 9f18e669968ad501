"""A session's events never precede its SessionOpened, however early they come and however slow the supervisor is."""

from __future__ import annotations

import base64
import json
import socket
import struct
import threading

import numpy as np
from harness import Daemon
from test_bad_servers import METADATA, serving, upgrade

from parleyd.config.schema import Config, ElevenLabs, Reconnect, Wake
from parleyd.core import events
from parleyd.core.states import State

SESSIONS = 5


def message(text: bytes) -> bytes:
    assert 126 <= len(text) < 65536
    return bytes([0x81, 126]) + struct.pack("!H", len(text)) + text


def greets_in_one_packet(connection: socket.socket) -> None:
    tone = (8000 * np.sin(np.arange(4800) * 2 * np.pi * 440 / 16000)).astype("<i2").tobytes()
    audio = {"type": "audio", "audio_event": {"audio_base_64": base64.b64encode(tone).decode(), "event_id": 1}}
    text = "Hello, what can I do for you? I have been waiting for somebody to talk with since the morning."
    response = {"type": "agent_response", "agent_response_event": {"agent_response": text, "event_id": 1}}
    upgrade(connection)
    connection.sendall(b"".join(map(message, (METADATA, *(json.dumps(one).encode() for one in (response, audio))))))
    while connection.recv(65536):
        pass


def test_audio_in_the_same_packet_as_the_metadata_is_told_after_the_beginning() -> None:
    with serving(greets_in_one_packet) as base_url:
        config = Config(
            wake=Wake(mode="manual"),
            elevenlabs=ElevenLabs(agent_id="agent_test", base_url=base_url),
            reconnect=Reconnect(initial_s=0.1, max_s=1.0),
        )
        with Daemon(config) as daemon:
            is_told = threading.Event()

            def be_slow(event: events.Event) -> None:
                """On the supervisor's thread, between its move and its telling of the session."""
                if isinstance(event, events.StateChanged) and event.after == State.LIVE.value:
                    # What must not come does not come meanwhile, either.
                    is_told.wait(0.3)
                elif isinstance(event, events.AnswerText):
                    is_told.set()

            daemon.bus.subscribe(be_slow)
            for _ in range(SESSIONS):
                is_told.clear()
                daemon.service.wake()
                daemon.expect(events.AnswerStarted)
                daemon.service.sleep()
                daemon.expect_state(State.ASLEEP)
            kinds = (events.SessionOpened, events.SessionEnded, events.AnswerText)
            seen = [type(event) for event in daemon.stage.events if isinstance(event, kinds)]
            assert seen == [events.SessionOpened, events.AnswerText, events.SessionEnded] * SESSIONS
