"""What is told to the agent beside the sound: typed texts, context, files, feedback, what tools have found out.

Each goes into the session that is open now. Without one, some wait for the next session, and others are refused.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

from parleyd.agents.agent import Codec
from parleyd.conversation.dialogue.typed_input import Typed
from parleyd.conversation.session.outbox import Outbox
from parleyd.core import events
from parleyd.tools.timers import duration

# What the agent is told again in the next session, if it has not answered since; more would be a chronicle.
MAX_TO_TELL = 8
# A contextual update makes no agent speak; a message does. In words that it takes neither for the person's nor for a
# reason to change the language.
ASK = (
    "(This is a message of the device, not of the person. Something has just happened there, of which you have been "
    "told. Tell the person now, in one short sentence, in the language that you speak with them.)"
)
# From then on the agent is told how long ago it was.
JUST_NOW_S = 60.0


class ToAgent:
    """Thread-safe; returns at once. open() by the dialogue when a session is ready, close() when it is over."""

    def __init__(self, outbox: Outbox, bus: events.Bus) -> None:
        self._outbox = outbox
        self._bus = bus
        self._lock = threading.Lock()
        self._codec: Codec | None = None
        self._typed = Typed()
        # To files; not said again in the next session, which does not have them.
        self._with_files: list[str] = []
        self._to_tell: deque[tuple[str, float]] = deque(maxlen=MAX_TO_TELL)
        self._response_id: int | None = None
        self._activity_s = 0.0
        # Nobody has done anything yet, at no time at all.
        self._person_s = self._device_s = float("-inf")

    # ------------------------------------------------------------ the session

    def open(self, codec: Codec, said: str | None) -> None:
        """said: what was said in the sessions before, if the agent is to know."""
        with self._lock:
            self._codec = codec
            self._response_id = None
            if said is not None:
                self._outbox.send(codec.contextual_update(said))
            for text, told_s in self._to_tell:
                ago_s = time.monotonic() - told_s
                when = f" That was {duration(ago_s)} ago." if ago_s >= JUST_NOW_S else ""
                self._outbox.send(codec.contextual_update(text + when))
            for text in self._typed.waiting:
                self._outbox.send(codec.user_message(text))
            self._typed.read()

    def close(self) -> None:
        """Nobody is there to be told anything; what was typed and not answered waits for the next session."""
        with self._lock:
            self._codec = None
            self._with_files.clear()

    @property
    def codec(self) -> Codec | None:
        """That of the session which is open."""
        with self._lock:
            return self._codec

    @property
    def activity_s(self) -> float:
        """When the agent was last told something."""
        with self._lock:
            return self._activity_s

    @property
    def person_s(self) -> float:
        """When the person last told the agent something, or did something on the device."""
        with self._lock:
            return self._person_s

    @property
    def device_s(self) -> float:
        """When the device last made the agent know something of its own accord."""
        with self._lock:
            return self._device_s

    @property
    def typed_s(self) -> float | None:
        """When the newest of what was typed and not yet answered was typed."""
        with self._lock:
            return self._typed.newest_s

    @property
    def only_device_typed(self) -> bool:
        """All that waits to be answered is the device's own message."""
        with self._lock:
            return set(self._typed.waiting) == {ASK}

    def forget_typed(self, before_s: float, cause: str) -> None:
        """What was typed before that, and not answered; tells of what was never sent."""
        with self._lock:
            self._lost(self._typed.forget(before_s), cause)

    def answered(self) -> tuple[str, ...]:
        """→ what was typed and is answered now."""
        with self._lock:
            self._to_tell.clear()
            with_files, self._with_files = self._with_files, []
            return (*(text for text in self._typed.answered() if text != ASK), *with_files)

    def response(self, event_id: int | None) -> None:
        """The agent's answer to which feedback() is given from now on."""
        with self._lock:
            self._response_id = event_id

    # ------------------------------------------------------------ commands

    def say(self, text: str) -> None:
        """As if the person had said it. Without a session it waits for the next one."""
        now_s = time.monotonic()
        with self._lock:
            self._activity_s = self._person_s = now_s
            self._bus.publish(events.Typed(at_s=now_s, text=text))
            self._keep(text, now_s)

    def context(self, text: str, context_id: str | None, *, by_person: bool = True) -> bool:
        """Something the agent should know. → whether there is a session to tell it. by_person: not by the device."""
        with self._lock:
            if self._codec is None:
                return False
            if by_person:
                self._activity_s = self._person_s = time.monotonic()
            self._outbox.send(self._codec.contextual_update(text, context_id))
            return True

    def send_file(self, file_id: str, text: str | None, tell: Callable[[], None]) -> bool:
        """A file that was uploaded into this conversation, and what the person says to it. → whether there still is a
        session to tell. tell: called before the agent can answer."""
        with self._lock:
            if self._codec is None:
                return False
            self._activity_s = self._person_s = time.monotonic()
            if text:
                self._with_files.append(text)
                self._bus.publish(events.Typed(at_s=self._activity_s, text=text))
            tell()
            self._outbox.send(self._codec.multimodal_message(text, (file_id,)))
            return True

    def user_active(self) -> bool:
        """The person is busy with the device. → whether there is a session to tell."""
        with self._lock:
            if self._codec is None:
                return False
            self._activity_s = self._person_s = time.monotonic()
            self._outbox.send(self._codec.user_activity())
            return True

    def feedback(self, score: Literal["like", "dislike"] | None) -> bool:
        """On the agent's last answer. → whether there is one in this session."""
        with self._lock:
            if self._codec is None or self._response_id is None:
                return False
            self._activity_s = self._person_s = time.monotonic()
            self._outbox.send(self._codec.feedback(self._response_id, score))
            return True

    # ------------------------------------------------------------ tools

    def tell(self, text: str, *, ask: bool) -> None:
        """Makes the agent know something: now, or when the next session begins; and in each further one until it has
        answered. ask: it shall also say so; in a session that is still to begin it does, for nobody else has begun it,
        unless it comes too late, as with what was typed.
        """
        now_s = time.monotonic()
        with self._lock:
            self._to_tell.append((text, now_s))
            self._device_s = now_s
            if self._codec is not None:
                self._activity_s = now_s
                self._outbox.send(self._codec.contextual_update(text))
            if (ask or self._codec is None) and ASK not in self._typed.waiting:
                self._keep(ASK, now_s)

    def reply(self, codec: Codec, message: bytes) -> bool:
        """Only into the session from which the question came; False when that is over."""
        with self._lock:
            if self._codec is not codec:
                return False
            self._activity_s = time.monotonic()
            self._outbox.send(message)
            return True

    def _keep(self, text: str, now_s: float) -> None:
        """Until it is answered; sends it if there is a session."""
        self._lost(self._typed.add(text, now_s), "more was typed than is kept")
        if self._codec is not None:
            self._outbox.send(self._codec.user_message(text))
            self._typed.read()

    def _lost(self, unread: list[tuple[str, float]], cause: str) -> None:
        for text, typed_s in unread:
            if text != ASK:
                self._bus.publish(events.TypedLost(at_s=time.monotonic(), text=text, typed_s=typed_s, cause=cause))
