"""The input of the agent beside the sound: typed texts, context, files, ratings, results of tools. Pure.

Each goes into the session that is open now. Without one, some wait for the next session, and others are refused.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal

from parleyd.agents import commands as to_agent
from parleyd.agents.commands import Busy, Know, Prepared, Rate, Say, SpeakNow
from parleyd.conversation.dialogue.commands import Channel, Command, Publish, Send
from parleyd.core import events
from parleyd.tools.timers import duration

# The number of messages of the device that the agent is told again in the next session, if it has not answered since;
# more would be a chronicle.
MAX_TO_TELL = 8
# Context makes no agent speak; this does.
ASK = (
    "Something has just happened on the device, of which you have been told. Tell the person now, in one short "
    "sentence, in the language that you speak with them."
)
# From then on the agent is told how long ago it was.
JUST_NOW_S = 60.0
# The number of typed texts that wait to be answered.
MOST_TEXTS = 20


class Typed:
    """Texts that were typed rather than spoken: kept, like speech, until the agent shows that it has heard them.

    Bounded: beyond MOST_TEXTS the oldest goes. Texts that go unread are returned: (text, when it was typed).
    """

    def __init__(self) -> None:
        self._texts: deque[tuple[str, float]] = deque()
        self._read_until_s = float("-inf")

    def add(self, text: str, now_s: float) -> list[tuple[str, float]]:
        self._texts.append((text, now_s))
        return self._unread([self._texts.popleft()] if len(self._texts) > MOST_TEXTS else [])

    def read(self) -> None:
        """A session has been told all of it."""
        if self._texts:
            self._read_until_s = self._texts[-1][1]

    @property
    def waiting(self) -> tuple[str, ...]:
        """The texts that a new session has to be told, in order."""
        return tuple(text for text, _ in self._texts)

    @property
    def newest_s(self) -> float | None:
        """When the newest of them was typed."""
        return self._texts[-1][1] if self._texts else None

    def answered(self) -> tuple[str, ...]:
        """The agent answers. Returns all texts that it has heard now; they are kept no longer."""
        heard = self.waiting
        self._texts.clear()
        return heard

    def forget(self, before_s: float) -> list[tuple[str, float]]:
        """Gives up the texts that were typed before that."""
        gone: list[tuple[str, float]] = []
        while self._texts and self._texts[0][1] < before_s:
            gone.append(self._texts.popleft())
        return self._unread(gone)

    def _unread(self, gone: list[tuple[str, float]]) -> list[tuple[str, float]]:
        return [(text, typed_s) for text, typed_s in gone if typed_s > self._read_until_s]


class AgentInput:
    """emit: takes the commands. open() when a session is ready, close() when it is over."""

    def __init__(self, emit: Callable[[Command], None]) -> None:
        self._emit = emit
        self._session: Channel | None = None
        self._typed = Typed()
        # Texts to files; not said again in the next session, which does not have the files.
        self._with_files: list[str] = []
        self._to_tell: deque[tuple[str, float]] = deque(maxlen=MAX_TO_TELL)
        self._rated: str | None = None
        # When the agent was last told something.
        self.activity_s = 0.0
        # When the person last told the agent something, or did something on the device; and when the device last made
        # the agent know something of its own accord. Nobody has done anything yet, at no time at all.
        self.person_s = self.device_s = float("-inf")

    # ------------------------------------------------------------ the session

    def open(self, session: Channel, now_s: float) -> None:
        self._session = session
        self._rated = None
        for text, told_s in self._to_tell:
            ago_s = now_s - told_s
            when = f" That was {duration(ago_s)} ago." if ago_s >= JUST_NOW_S else ""
            self._send(Know(text + when))
        for text in self._typed.waiting:
            self._send(_spoken_for(text))
        self._typed.read()

    def close(self) -> None:
        """Nobody is there to be told anything; texts that were typed and not answered wait for the next session."""
        self._session = None
        self._with_files.clear()

    @property
    def is_open(self) -> bool:
        """There is a session."""
        return self._session is not None

    @property
    def typed_s(self) -> float | None:
        """When the newest text was typed that is not yet answered."""
        return self._typed.newest_s

    @property
    def only_device_typed(self) -> bool:
        """Nothing waits to be answered but the device's own message."""
        return set(self._typed.waiting) == {ASK}

    def forget_typed(self, before_s: float, cause: str, now_s: float) -> None:
        """Gives up the texts that were typed before that and not answered; tells of those that were never sent."""
        self._lost(self._typed.forget(before_s), cause, now_s)

    def answered(self) -> tuple[str, ...]:
        """The agent answers. Returns the texts that were typed and are answered now."""
        self._to_tell.clear()
        with_files, self._with_files = self._with_files, []
        return (*(text for text in self._typed.answered() if text != ASK), *with_files)

    def rates(self, answer: str | None) -> None:
        """feedback() is given to this answer from now on; None: to none."""
        self._rated = answer

    # ------------------------------------------------------------ commands

    def say(self, text: str, now_s: float) -> None:
        """As if the person had said it. Without a session it waits for the next one."""
        self.activity_s = self.person_s = now_s
        self._emit(Publish(events.Typed(at_s=now_s, text=text)))
        self._keep(text, now_s)

    def context(self, text: str, key: str | None, now_s: float, *, by_person: bool) -> bool:
        """Something the agent should know. by_person: the person tells it, and not the device. Returns whether there is
        a session to tell it."""
        if self._session is None:
            return False
        if by_person:
            self.activity_s = self.person_s = now_s
        self._send(Know(text, key))
        return True

    def send_file(self, file: Prepared, text: str | None, sent: events.FileSent, now_s: float) -> bool:
        """A file, and the person's words to it. sent: told before the agent can answer. Returns whether there is still
        a session to tell."""
        if self._session is None:
            return False
        self.activity_s = self.person_s = now_s
        if text:
            self._with_files.append(text)
            self._emit(Publish(events.Typed(at_s=now_s, text=text)))
        self._emit(Publish(sent))
        self._send(Say(text or "", (file,)))
        return True

    def user_active(self, now_s: float) -> bool:
        """The person is busy with the device. Returns whether there is a session to tell."""
        if self._session is None:
            return False
        self.activity_s = self.person_s = now_s
        self._send(Busy())
        return True

    def feedback(self, score: Literal["like", "dislike"] | None, now_s: float) -> bool:
        """The person's opinion of the agent's last answer. Returns whether there is one in this session that can be
        rated."""
        if self._session is None or self._rated is None:
            return False
        self.activity_s = self.person_s = now_s
        self._send(Rate(self._rated, score))
        return True

    # ------------------------------------------------------------ tools

    def tell(self, text: str, now_s: float, *, ask: bool) -> None:
        """Makes the agent know something: now, or when the next session begins; and in each further one until it has
        answered. ask: it shall also say so; in a session that is still to begin it does, for nobody else has begun it,
        unless it comes too late, as with texts that were typed.
        """
        self._to_tell.append((text, now_s))
        self.device_s = now_s
        if self._session is not None:
            self.activity_s = now_s
            self._send(Know(text))
        if (ask or self._session is None) and ASK not in self._typed.waiting:
            self._keep(ASK, now_s)

    def reply(self, session: Channel, command: to_agent.Command, now_s: float) -> bool:
        """Only into the session from which the question came. Returns False when that is over."""
        if self._session is not session:
            return False
        self.activity_s = now_s
        self._send(command)
        return True

    # ------------------------------------------------------------ inside

    def _send(self, command: to_agent.Command) -> None:
        assert self._session is not None
        self._emit(Send(self._session, command))

    def _keep(self, text: str, now_s: float) -> None:
        """Until it is answered; sends it if there is a session."""
        self._lost(self._typed.add(text, now_s), "more was typed than is kept", now_s)
        if self._session is not None:
            self._send(_spoken_for(text))
            self._typed.read()

    def _lost(self, unread: list[tuple[str, float]], cause: str, now_s: float) -> None:
        for text, typed_s in unread:
            if text != ASK:
                self._emit(Publish(events.TypedLost(at_s=now_s, text=text, typed_s=typed_s, cause=cause)))


def _spoken_for(text: str) -> to_agent.Command:
    return SpeakNow(ASK) if text == ASK else Say(text)
