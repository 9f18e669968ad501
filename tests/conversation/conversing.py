"""A conversation to be played by hand: a clock, a speaker, sessions, and what they were told."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from parleyd.agents.commands import Command as ToAgent
from parleyd.agents.commands import Cut as CutCommand
from parleyd.agents.elevenlabs.agent import CAPABILITIES
from parleyd.agents.elevenlabs.codec import ElevenLabsCodec
from parleyd.agents.elevenlabs.meaning import Audio, Interruption, Meaning, Response, Transcript
from parleyd.agents.events import Ready
from parleyd.audio.playback.playhead import HeardPart, Playhead, Segment, Started
from parleyd.config.retention import Continuity
from parleyd.config.schema import BargeIn, ElevenLabs
from parleyd.conversation.dialogue.answers import heard_of
from parleyd.conversation.dialogue.commands import Command, Cut, Duck, EndAnswer, Play, Publish, Send
from parleyd.conversation.dialogue.conversation import Busy, Conversation
from parleyd.core import events

METADATA = json.dumps(
    {
        "type": "conversation_initiation_metadata",
        "conversation_initiation_metadata_event": {"conversation_id": "c"},
    }
)
STEP_S = 0.02
TONE = (8000 * np.sin(np.arange(16_000) * 2 * np.pi * 440 / 16_000)).astype("<i2").tobytes()


def sound(seconds: float) -> bytes:
    whole = TONE * (int(seconds) + 1)
    return whole[: int(seconds * 16_000) * 2]


class Speaker:
    """What playback does, with its own playhead: sound is heard in the order in which it came, in real time."""

    def __init__(self) -> None:
        self.playhead = Playhead(16_000, 0.0)
        self._queue: deque[list[Segment | float]] = deque()
        self.told: list[Started | HeardPart] = []
        # All of an answer's sound that has been handed to the device.
        self.played_s: dict[int, float] = {}

    def do(self, command: Command, now_s: float) -> list[HeardPart]:
        match command:
            case Play(answer=answer, data=data):
                duration_s = len(data) / 32_000
                self._queue.append([self.playhead.queued(answer, duration_s), duration_s])
            case EndAnswer(answer=answer):
                self.playhead.end(answer)
            case Cut():
                self.told += self.playhead.due(now_s, dry=not self._queue)
                told = self.playhead.clear(now_s, sharp=False)
                self._queue.clear()
                self.told += told
                return [one for one in told if isinstance(one, HeardPart)]
            case _:
                pass
        return []

    def step(self, now_s: float) -> list[Started | HeardPart]:
        """STEP_S of sound is taken by the device. → what is told."""
        left_s, lead_s = STEP_S, 0.0
        while self._queue and left_s > 1e-9:
            segment, waits_s = self._queue[0]
            assert isinstance(segment, Segment)
            assert isinstance(waits_s, float)
            taken_s = min(left_s, waits_s)
            self.playhead.handed(segment, round(taken_s * 16_000), lead_s, now_s)
            self.played_s[segment.answer] = self.played_s.get(segment.answer, 0.0) + taken_s
            self._queue[0][1] = waits_s - taken_s
            if waits_s - taken_s < 1e-9:
                self._queue.popleft()
            left_s, lead_s = left_s - taken_s, lead_s + taken_s
        told, self.told = [*self.told, *self.playhead.due(now_s, dry=not self._queue)], []
        return told

    def audible(self, now_s: float) -> bool:
        return now_s < self.playhead.silent_from_s or bool(self._queue)


@dataclass(slots=True, eq=False)
class Told:
    """One session with an agent of ElevenLabs, and what it was told: (type, text)."""

    codec: ElevenLabsCodec
    clock: Callable[[], float]
    messages: list[tuple[str, str]] = field(default_factory=list)

    def send(self, command: ToAgent) -> None:
        for message in self.codec.send(command, self.clock()):
            self.take(message)

    def take(self, message: bytes) -> None:
        told = json.loads(message)
        self.messages.append((told["type"], told.get("text", "")))

    def of(self, kind: str) -> list[str]:
        return [text for one, text in self.messages if one == kind]


class Scene:
    """Each method is something that happens; what follows is carried out at once."""

    def __init__(
        self,
        *,
        mode: Literal["server", "local", "off"] = "local",
        continuity: Literal["off", "lost_line", "always"] = "always",
        by_text: bool = False,
    ) -> None:
        self.conversation = Conversation(
            by_text=by_text,
            barge_in=BargeIn(mode=mode),
            continuity=Continuity(mode=continuity),
            tools={"light"},
        )
        self.now_s = 1000.0
        self.speaker = Speaker()
        self.sessions: list[Told] = []
        self.is_open = False
        self.commands: list[Command] = []
        self.event_id = 0
        self.talk_s: float | None = None

    # ------------------------------------------------------------ what happens

    def begin(self, *, greets: bool = False, skips: bool = False, kept: bool = False) -> None:
        self.begins_after(lambda: None, greets=greets, skips=skips, kept=kept)

    def begins_after(
        self, meanwhile: Callable[[], object], *, greets: bool = False, skips: bool = False, kept: bool = False
    ) -> None:
        """A session is opened. meanwhile: what happens between the wish for it and its beginning."""
        wish = self.conversation.wish(self.now_s, greet=greets)
        meanwhile()
        session = Told(ElevenLabsCodec(ElevenLabs(agent_id="a"), wish), lambda: self.now_s)
        self.sessions.append(session)
        self.is_open = True
        received = session.codec.receive(METADATA, self.now_s)
        (ready,) = received.events
        assert isinstance(ready, Ready)
        for reply in received.replies:
            session.take(reply)
        self.conversation.begin(
            session, CAPABILITIES, ready, self.now_s, greets=greets, skip_greeting=skips, has_kept_speech=kept
        )
        self._do()

    def lose(self) -> None:
        self.is_open = False
        self.conversation.line_ended()
        self._do()

    def conclude(self, *, keep_history: bool = False) -> None:
        self.conversation.conclude(self.now_s, self.now_s, keep_history=keep_history)
        self._do()

    def agent(self, event: Meaning, session: Told | None = None) -> None:
        """The message of an agent of ElevenLabs."""
        session = session or self.sessions[-1]
        for common in session.codec.events_of([event], self.now_s):
            self.conversation.agent_event(session, common, self.now_s)
            self._do()

    def says(self, text: str, seconds: float = 1.0, event_id: int | None = None) -> None:
        self.event_id += 1
        self.agent(Response(text, event_id or self.event_id))
        if seconds:
            self.agent(Audio(self.event_id, sound(seconds)))

    def hears(self, text: str = "hello", *, final: bool = True) -> None:
        self.agent(Transcript(text, final))

    def interrupts(self) -> None:
        self.event_id += 1
        self.agent(Interruption(self.event_id))

    def talk(self) -> None:
        self.talk_s = self.now_s
        self.conversation.talk_started(self.now_s, self.now_s)
        self._do()

    def hush(self) -> None:
        self.talk_s = None
        self.conversation.talk_stopped(self.now_s)
        self._do()

    def types(self, text: str) -> None:
        # Nobody types two texts at once.
        self.now_s += 0.001
        self.conversation.say(text, self.now_s)
        self._do()

    def wait(self, seconds: float) -> None:
        """In steps of the speaker's, with a frame of talk in each while somebody talks."""
        for _ in range(round(seconds / STEP_S)):
            self.now_s += STEP_S
            for told in self.speaker.step(self.now_s):
                if isinstance(told, Started):
                    self.conversation.answer_started(told.answer, told.at_s, self.now_s)
                else:
                    self.conversation.answer_ended(told, self.now_s)
                self._do()
            if self.talk_s is not None:
                talk_ms = round((self.now_s - self.talk_s) * 1000)
                is_audible = self.speaker.audible(self.now_s)
                self.conversation.talk_goes_on(talk_ms, self.now_s, is_audible=is_audible)
                self._do()

    # ------------------------------------------------------------ what came of it

    def _do(self) -> None:
        for command in self.conversation.take_commands():
            self.commands.append(command)
            self.look(command)
            cleared = self.speaker.do(command, self.now_s)
            match command:
                case Send(session=session, command=told):
                    session.send(told)
                case Cut(session=session) if session is not None:
                    session.send(CutCommand(heard_of(command.answers, cleared), command.by))
                case _:
                    pass

    def look(self, command: Command) -> None:
        """For those who hold invariants against each command."""

    @property
    def busy(self) -> Busy:
        return Busy(self.speaker.audible(self.now_s), self.speaker.playhead.silent_from_s, False)

    def published(self) -> list[events.Event]:
        return [command.event for command in self.commands if isinstance(command, Publish)]

    def of(self, kind: type[Command]) -> list[Command]:
        return [command for command in self.commands if isinstance(command, kind)]

    @property
    def played(self) -> list[int]:
        """The answers, as sound of them came to the speaker."""
        return [command.answer for command in self.commands if isinstance(command, Play)]

    @property
    def ducked(self) -> list[bool]:
        return [command.on for command in self.commands if isinstance(command, Duck)]
