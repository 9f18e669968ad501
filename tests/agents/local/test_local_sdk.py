"""The official Python SDK holds a conversation with the embedded agent."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from elevenlabs.client import ElevenLabs
from elevenlabs.conversational_ai.conversation import AudioInterface, ClientTools, Conversation
from local_client import Start, spoken

from parleyd.embedded.server import LocalAgent

WAIT_S = 60.0
CHUNK_S = 0.05


class Room(AudioInterface):
    """A microphone in real time that somebody may speak into, and a speaker that takes what comes."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.interruptions = 0
        self._speech: queue.Queue[bytes] = queue.Queue()
        self._done = threading.Event()

    def say(self, text: str) -> None:
        self._speech.put(spoken(text, silence_ms=0))

    def start(self, input_callback: Callable[[bytes], None]) -> None:
        self._thread = threading.Thread(target=self._feed, args=(input_callback,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._done.set()

    def output(self, audio: bytes) -> None:
        self.heard += audio

    def interrupt(self) -> None:
        self.interruptions += 1

    def _feed(self, send: Callable[[bytes], None]) -> None:
        size = int(16_000 * CHUNK_S) * 2
        pending = b""
        due_s = time.monotonic()
        while not self._done.wait(max(0.0, due_s - time.monotonic())):
            while not self._speech.empty():
                pending += self._speech.get()
            chunk, pending = pending[:size], pending[size:]
            send(chunk.ljust(size, b"\x00"))
            due_s += CHUNK_S


class Talk:
    """A conversation of the SDK, with what its callbacks said."""

    def __init__(self, agent: LocalAgent, *, requires_auth: bool) -> None:
        self.room = Room()
        self.said: queue.Queue[tuple[str, str]] = queue.Queue()
        self.ended: queue.Queue[object] = queue.Queue()
        tools = ClientTools()
        tools.register("set_light", lambda parameters: f"The {parameters['light']} is on.")
        self.conversation = Conversation(
            ElevenLabs(api_key="test", base_url=agent.base_url),
            "agent_1",
            requires_auth=requires_auth,
            audio_interface=self.room,
            client_tools=tools,
            callback_user_transcript=lambda text: self.said.put(("user", text)),
            callback_agent_response=lambda text: self.said.put(("agent", text)),
            callback_agent_response_correction=lambda _before, after: self.said.put(("corrected", after)),
            callback_latency_measurement=lambda _ms: None,
            callback_disconnect=self.ended.put,
        )

    def next(self) -> tuple[str, str]:
        return self.said.get(timeout=WAIT_S)


@contextmanager
def talking(agent: LocalAgent, *, requires_auth: bool) -> Iterator[Talk]:
    talk = Talk(agent, requires_auth=requires_auth)
    talk.conversation.client_tools.start()
    talk.conversation.start_session()
    try:
        yield talk
    finally:
        talk.conversation.end_session()
        talk.conversation.wait_for_session_end()


def test_the_official_sdk_reaches_a_private_agent(start: Start) -> None:
    agent = start("agent: {require_auth: true, api_key: test, first_message: ''}")
    with talking(agent, requires_auth=True) as talk:
        talk.room.say("What time is it?")
        assert talk.next() == ("user", "What time is it?")
        assert talk.next()[1].startswith("It is ")
    closed = agent.wait_connection().wait_closed()
    assert (closed.code, closed.by) == (1000, "client")


def test_the_official_sdk_holds_a_conversation(start: Start) -> None:
    agent = start("agent: {ping_interval_s: 0.3, first_message: Hello!}")
    with talking(agent, requires_auth=False) as talk:
        assert talk.next() == ("agent", "Hello!")
        record = agent.wait_connection()
        record.wait_trigger("spoken")
        time_until_quiet(len(talk.room.heard))

        talk.room.say("Tell me a story.")
        assert talk.next() == ("user", "Tell me a story.")
        kind, story = talk.next()
        assert (kind, story[:16]) == ("agent", "Once upon a time")
        record.wait_trigger("speaking", 2)
        before = talk.room.interruptions

        talk.room.say("Stop.")
        kind, corrected = talk.next()
        assert kind == "corrected"
        assert story.startswith(corrected)
        assert len(corrected) < len(story) / 4
        assert talk.next() == ("user", "Stop.")
        assert talk.next() == ("agent", "All right.")
        assert talk.room.interruptions == before + 1
        record.wait_trigger("spoken", 2)

        talk.conversation.send_user_message("Turn on the lamp.")
        while (said := talk.next())[0] == "corrected":
            pass
        assert said == ("agent", "The lamp is on.")

        talk.conversation.send_user_message("Goodbye.")
        ending = talk.ended.get(timeout=WAIT_S)
        assert (ending.reason, ending.close_code) == ("agent", 1000)  # type: ignore[attr-defined]
        assert len(talk.room.heard) > 32_000
    assert record.deviations == []
    assert record.wait_event("pong")["event_id"] >= 1
    assert record.opening is not None
    assert record.opening["source_info"]["source"] == "python_sdk"


def time_until_quiet(heard_bytes: int) -> None:
    """The greeting shall have been played, so that the first words interrupt nothing."""
    time.sleep(heard_bytes / 32_000 + 0.1)  # The length of the sound.
