"""Calls of this device's own tools that need a person's permission: `confirm: true`.

Spoken words never count as an answer: the agent is the one who hears them, and a television says yes, too. An answer
comes over the control socket, from somebody with the role approve, or from the push button.

Only one call waits at a time, so that a person who presses the button knows which call it is. After three calls in a
row that were not allowed, nobody is asked for a while, so that a person cannot be worn down until they press it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from msgspec import Struct, field

from parleyd.config.tool_sections import MAX_TIMEOUT_S
from parleyd.core import events
from parleyd.host.stopping import Stop
from parleyd.tools.asking import MOST_IN_VAIN, Answerer, AskingLimit, new_id, too_much_to_show
from parleyd.tools.audit import Audit
from parleyd.tools.result import Fault, ToolError
from parleyd.tools.timers import duration

_WITHDRAWN = "the call was over"
# How the agent may describe what the person has to do.
BY_BUTTON = "they press the button on this device while it asks (holding it says no)"
BY_COMMAND = "somebody types `parleyd approve` on this device while it asks"


class _Question(Struct):
    wanted: events.ConfirmationWanted
    settled: threading.Event = field(default_factory=threading.Event)
    allowed: bool = False
    by: str = ""
    who: Answerer | None = None


class Confirmations:
    """Asks people about calls, one at a time. Thread-safe. how: tells the agent how a person allows a call."""

    def __init__(self, how: str, bus: events.Bus, audit: Audit) -> None:
        self._how = how
        self._bus = bus
        self._audit = audit
        self._lock = threading.Lock()
        self._asking_limit = AskingLimit()
        self._waiting: _Question | None = None

    def ask(
        self,
        tool: str,
        call_id: str,
        parameters: Mapping[str, object],
        stop: Stop,
        wait_s: float,
        about: dict[str, object],
    ) -> None:
        """Blocks the call's own thread until a person has allowed the call, for wait_s at most.

        parameters: as the tool will get them. about: for the audit log. Raises ToolError if the call was not allowed;
        the refusal is then in the audit log.
        """
        question = self._put(tool, call_id, parameters, wait_s, about)
        stop.at(lambda: self._withdraw(question))
        self._bus.publish(question.wanted)
        question.settled.wait(min(wait_s, MAX_TIMEOUT_S))
        # Has no effect if a person has answered in the meantime.
        self._settle(question, allowed=False, by="deadline")
        stop.at(None)
        self._tell(question, about)
        if question.allowed:
            return
        if question.by == "person":
            raise ToolError(Fault.DENIED, f"The person at the device did not allow this call of {tool}.")
        text = (
            f"Nobody allowed this call of {tool} within {duration(wait_s)}. It is only done when {self._how}. Tell the "
            "person that, and call it again when they are ready."
        )
        raise ToolError(Fault.DENIED, text)

    def answer(self, approval: str, *, allow: bool, who: Answerer) -> events.ConfirmationWanted | None:
        """Applies a person's decision. Returns the settled question, or None if no question with this id waits."""
        with self._lock:
            question = self._waiting
        if question is None or question.wanted.approval != approval:
            return None
        return question.wanted if self._settle(question, allowed=allow, by="person", who=who) else None

    @property
    def waiting(self) -> tuple[events.ConfirmationWanted, ...]:
        with self._lock:
            return () if self._waiting is None else (self._waiting.wanted,)

    def _put(
        self, tool: str, call_id: str, parameters: Mapping[str, object], wait_s: float, about: dict[str, object]
    ) -> _Question:
        if (bound := too_much_to_show((tool,), parameters)) is not None:
            text = (
                f"{tool} needs a person who allows the call, and they could not be shown all of it: it is over {bound}."
            )
            raise self._refused(ToolError(Fault.DENIED, text), about)
        now_s = time.monotonic()
        question = _Question(
            events.ConfirmationWanted(
                at_s=now_s,
                approval=new_id(),
                call_id=call_id,
                name=tool,
                until_s=now_s + wait_s,
                parameters=parameters,
            )
        )
        with self._lock:
            left_s = self._asking_limit.over_in_s(now_s)
            busy = self._waiting is not None
            if not left_s and not busy:
                self._waiting = question
                return question
        if busy:
            text = f"Another call waits for the person's answer; {tool} can be called again after that."
            raise self._refused(ToolError(Fault.BUSY, text), about)
        text = (
            f"The last {MOST_IN_VAIN} calls that a person was asked about were not allowed, so nobody is asked for "
            f"another {duration(left_s)}."
        )
        raise self._refused(ToolError(Fault.DENIED, text), about)

    def _refused(self, error: ToolError, about: dict[str, object]) -> ToolError:
        self._audit.add(what="refused", outcome=error.fault.value, **about)
        return error

    def _withdraw(self, question: _Question) -> None:
        self._settle(question, allowed=False, by=_WITHDRAWN)

    def _settle(self, question: _Question, *, allowed: bool, by: str, who: Answerer | None = None) -> bool:
        """Returns at once; True: this call has decided the question, False: another one had decided it before."""
        with self._lock:
            if question.settled.is_set():
                return False
            question.allowed, question.by, question.who = allowed, by, who
            self._waiting = None
            # A withdrawn question is no refusal by a person: a lost connection does not count against the next calls.
            if by != _WITHDRAWN:
                self._asking_limit.settled(time.monotonic(), allowed=allowed)
            question.settled.set()
        return True

    def _tell(self, question: _Question, about: dict[str, object]) -> None:
        wanted, who = question.wanted, question.who
        now_s = time.monotonic()
        self._audit.add(
            what="confirmation",
            outcome="allowed" if question.allowed else "denied",
            by=question.by,
            **(who.told() if who is not None else {}),
            waited_ms=round((now_s - wanted.at_s) * 1000),
            **about,
        )
        self._bus.publish(
            events.ConfirmationSettled(
                at_s=now_s,
                approval=wanted.approval,
                call_id=wanted.call_id,
                name=wanted.name,
                allowed=question.allowed,
                by=question.by,
            )
        )
