"""`audio: off`: a daemon without sound, in writing; and files into the conversation. Against the embedded agent."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness import Daemon
from msgspec.structs import replace

from parleyd.agents.elevenlabs.agent import MOST_FILE_BYTES, ElevenLabsAgent
from parleyd.agents.provider import UploadError
from parleyd.app.service import Service
from parleyd.audio.devices.null import NullInput, NullOutput
from parleyd.config.schema import Audio, Config, ElevenLabs, Reconnect, Session, Variable
from parleyd.conversation.dialogue import uploads
from parleyd.core import events
from parleyd.demo.stage import Stage
from parleyd.embedded import scenario
from parleyd.embedded.recognise import NoEars
from parleyd.embedded.server import LocalAgent
from parleyd.embedded.settings import AgentSettings
from waiting import until

KEY = "sk_0123456789abcdef"


class TextDaemon(Daemon):
    """As it is made by `parleyd run` with audio: off."""

    def __init__(self, config: Config, key: str | None = None) -> None:
        self.stage = Stage()
        self.bus = events.Bus()
        agent = ElevenLabsAgent(config.elevenlabs, key)
        self.service = Service(config, agent, NullInput(), NullOutput(), self.bus)
        self.bus.subscribe(self.stage)

    def ask(self, text: str) -> str:
        known = len(self.of(events.AnswerText))
        self.service.say(text)
        self.expect(events.AnswerText, lambda _: len(self.of(events.AnswerText)) > known)
        return self.of(events.AnswerText)[-1].text


def config(agent: LocalAgent, **session: float) -> Config:
    return Config(
        audio=Audio(mode="off"),
        elevenlabs=ElevenLabs(agent_id="agent_test", base_url=agent.base_url),
        session=Session(**{"idle_timeout_s": 60.0, **session}),
        reconnect=Reconnect(initial_s=0.1, max_s=1.0),
    )


@contextmanager
def talking(key: str | None = None, **settings: object) -> Iterator[tuple[LocalAgent, TextDaemon]]:
    with (
        LocalAgent(AgentSettings(**settings), ears=NoEars()) as agent,  # type: ignore[arg-type]
        TextDaemon(config(agent), key) as daemon,
    ):
        yield agent, daemon


def test_a_conversation_in_writing_needs_no_sound() -> None:
    with talking() as (agent, daemon):
        (started,) = daemon.of(events.Started)
        assert (started.microphone, started.speaker) == (None, None)
        assert daemon.ask("What can you do?").startswith("Ask me")
        assert daemon.ask("and then?") == "You said: and then?"
        names = {thread.name for thread in threading.enumerate()}
        assert not names & {"ears", "playback", "devices", "null input", "null output"}
        record = agent.wait_connection()
        opening = record.opening
        assert opening is not None
        assert opening["conversation_config_override"]["conversation"] == {"text_only": True}
        assert not record.received_audio
        parts = [(e.kind, e.text) for e in daemon.of(events.AnswerPart)]
        assert parts[-3:] == [("start", ""), ("delta", "You said: and then? "), ("stop", "")]
        status = daemon.service.status()
        assert (status.microphone, status.speaker, status.health, status.wake_mode) == (None, None, "well", "manual")


def test_an_answer_in_writing_shows_that_what_was_typed_was_heard() -> None:
    """What was answered is not said again in the next session; what was not, is."""
    drop = scenario.parse(
        "connections: [{steps: [{on: message, type: user_message, nth: 3, do: drop}]}, {}]", "test.yaml"
    )
    with LocalAgent(AgentSettings(), drop, ears=NoEars()) as agent, TextDaemon(config(agent)) as daemon:
        daemon.ask("one")
        daemon.ask("two")
        assert daemon.ask("three") == "You said: three"
        second = agent.wait_connection(2)
        assert [it.message["text"] for it in second.events if it.type == "user_message"] == ["three"]


def test_the_next_session_is_told_what_was_typed_before_what_was_answered(tmp_path: Path) -> None:
    drop = scenario.parse(
        "connections: [{steps: [{on: message, type: user_message, nth: 2, do: drop}]}, {}]", "test.yaml"
    )
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    with LocalAgent(AgentSettings(), drop, ears=NoEars()) as agent, TextDaemon(config(agent)) as daemon:
        daemon.ask("one")
        known = len(daemon.of(events.AnswerText))
        daemon.service.send_file(os.open(tmp_path / "a.pdf", os.O_RDONLY), "a.pdf", "what is it?")
        daemon.expect(events.AnswerText, lambda _: len(daemon.of(events.AnswerText)) > known)
        daemon.ask("two")
        (told,) = [it.message["text"] for it in agent.wait_connection(2).events if it.type == "contextual_update"]
        assert told.splitlines()[1:] == [
            "user: one",
            "agent: You said: one",
            "user: what is it?",
            "agent: I got a.pdf: application/pdf, 4 bytes. You said: what is it?",
        ]


def test_a_variable_that_takes_its_time_is_not_too_late_for_a_server_that_waits_less() -> None:
    slow = {"user_name": Variable(command=["sh", "-c", "sleep 0.6; echo Ada"])}
    settings = AgentSettings(first_message="Hello {{user_name}}!", opening_timeout_s=0.2)
    with LocalAgent(settings, ears=NoEars()) as agent:
        base = config(agent)
        with_variable = replace(base, elevenlabs=replace(base.elevenlabs, dynamic_variables=slow))
        with TextDaemon(with_variable) as daemon:
            daemon.service.wake()
            assert daemon.expect(events.AnswerText).text == "Hello Ada!"
            assert not daemon.of(events.Trouble)


def test_an_agent_that_allows_no_writing_speaks_to_nobody() -> None:
    with talking(allowed_overrides=("first_message",)) as (agent, daemon):
        assert daemon.ask("What can you do?").startswith("Ask me")
        (trouble,) = daemon.of(events.Trouble)
        assert "text only" in (trouble.hint or "")
        assert not daemon.of(events.AnswerStarted)
        opening = agent.wait_connection(2).opening
        assert opening is not None
        assert "conversation" not in opening["conversation_config_override"]


@pytest.mark.parametrize("key", [None, KEY])
def test_a_file_reaches_the_agent(key: str | None, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(os.urandom(300_000))
    with talking(key, api_key=KEY, require_auth=key is not None) as (_, daemon):
        # Asleep: the upload waits for its session.
        number = daemon.service.send_file(os.open(path, os.O_RDONLY), "/a/folder/x.png", "what is this?")
        answer = daemon.expect(events.AnswerText, lambda event: event.text.startswith("I got")).text
        assert answer == "I got x.png: image/png, 300000 bytes. You said: what is this?"
        # The agent may answer before the upload's thread has told that it is done.
        sent = next(iter(daemon.of(events.FileSent)), None) or daemon.expect(events.FileSent)
        assert (sent.upload, sent.name, sent.media_type, sent.size_bytes) == (number, "x.png", "image/png", 300_000)
    assert KEY not in repr(daemon.stage.events)


def test_the_next_file_may_follow_as_soon_as_one_is_told_to_be_sent(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"x")
    with talking() as (_, daemon):
        refused: list[UploadError] = []

        def send(event: events.Event | None = None) -> None:
            if event is None or (isinstance(event, events.FileSent) and event.upload == 1):
                try:
                    daemon.service.send_file(os.open(path, os.O_RDONLY), "x.png", None)
                except UploadError as error:
                    refused.append(error)

        daemon.bus.subscribe(send)
        send()
        daemon.expect(events.FileSent)
        assert not refused
        assert daemon.expect(events.FileSent).upload == 2


def test_what_is_not_sent_and_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "big.pdf").write_bytes(b"x")
    os.truncate(tmp_path / "big.pdf", MOST_FILE_BYTES + 1)
    (tmp_path / "what").write_bytes(b"x")
    (tmp_path / "packed.pdf.gz").write_bytes(b"x")
    (tmp_path / "ok.png").write_bytes(b"x")
    os.mkfifo(tmp_path / "fifo.png")
    with talking(KEY, api_key="sk_another_one", require_auth=True) as (_, daemon):
        handles = len(list(Path("/proc/self/fd").iterdir()))

        def send(name: str, flags: int = os.O_RDONLY | os.O_NONBLOCK) -> int:
            return daemon.service.send_file(os.open(tmp_path / name, flags), name, None)

        for name, why in (
            ("empty.png", "is empty"),
            ("big.pdf", "has 20.0 MiB; 20 are allowed"),
            ("what", "does not tell its type"),
            ("packed.pdf.gz", "does not tell its type"),
            ("fifo.png", "is not a file"),
        ):
            with pytest.raises(UploadError, match=why):
                send(name)
        # They are closed soon, by a thread.
        until("they are not closed", lambda: len(list(Path("/proc/self/fd").iterdir())) <= handles)
        # No session comes about with this key.
        monkeypatch.setattr(uploads, "SESSION_S", 0.5)
        send("ok.png")
        with pytest.raises(UploadError, match="another file is being sent"):
            send("ok.png")
        assert "no session came about" in daemon.expect(events.FileFailed).text


def test_a_file_that_cannot_be_read_or_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(bytes(11 * 2**20))
    with talking() as (_, daemon):
        # More than the agent takes, less than the daemon does.
        daemon.service.send_file(os.open(path, os.O_RDONLY), "x.png", None)
        assert daemon.expect(events.FileFailed).text == "the file is too large for the agent (11.0 MiB)"
        # Opened for writing alone.
        path.write_bytes(b"x")
        daemon.service.send_file(os.open(path, os.O_WRONLY), "y.png", None)
        failed = daemon.expect(events.FileFailed, lambda e: e.name == "y.png")
        assert "y.png cannot be read" in failed.text
        assert daemon.ask("hello") == "Hello. How can I help you?"
