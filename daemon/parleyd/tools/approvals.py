"""Calls of MCP tools that want this device's approval: the rules, and the questions that wait for a person."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from parleyd.agents.events import ApprovalAsked
from parleyd.config.tool_sections import Mcp, McpRule
from parleyd.core import events
from parleyd.tools.asking import Answerer, new_id, too_much_to_show
from parleyd.tools.audit import Audit, bounded_parameters

Decision = Literal["allow", "deny", "ask"]
# An agent that asks for more at once gets a no for the rest.
MAX_WAITING = 16
# Our no has to come before the agent stops waiting.
MARGIN_S = 2.0
MAX_DESCRIPTION_CHARS = 1000


def decide(rules: Sequence[McpRule], otherwise: Decision, service: str, tool: str) -> Decision:
    """The first rule whose globs fit both names, in their own case. Pure."""
    for rule in rules:
        if fnmatchcase(service, rule.service) and fnmatchcase(tool, rule.tool):
            return rule.decision
    return otherwise


@dataclass(slots=True)
class _Question:
    asked: ApprovalAsked
    wanted: events.ApprovalWanted
    answer: Callable[[bool], bool]
    timer: threading.Timer


class Approvals:
    """Thread-safe; answers once, and with a no whenever in doubt.

    An answer is a function that takes whether it is allowed, and returns whether the session was still there.
    """

    def __init__(self, policy: Mcp, bus: events.Bus, audit: Audit) -> None:
        self._policy = policy
        self._bus = bus
        self._audit = audit
        self._lock = threading.Lock()
        self._waiting: dict[str, _Question] = {}

    def ask(self, asked: ApprovalAsked, answer: Callable[[bool], bool]) -> None:
        """Decides by rule, or puts the question on the bus. Returns at once."""
        policy = self._policy
        decision = decide(policy.rules, policy.otherwise, asked.service, asked.name)
        if decision != "ask":
            self._settle(asked, answer, allowed=decision == "allow", by="rule")
            return
        if (bound := too_much_to_show((asked.name, asked.service), asked.parameters)) is not None:
            self._settle(asked, answer, allowed=False, by=bound)
            return
        wait_s = policy.ask_s
        if asked.timeout_s is not None:
            wait_s = max(0.0, min(wait_s, asked.timeout_s - MARGIN_S))
        approval = new_id()
        timer = threading.Timer(wait_s, self._settle_waiting, (approval, False, "deadline"))
        timer.daemon = True
        now_s = time.monotonic()
        wanted = events.ApprovalWanted(
            at_s=now_s,
            approval=approval,
            call_id=asked.call_id,
            service=asked.service,
            name=asked.name,
            description=asked.description[:MAX_DESCRIPTION_CHARS],
            until_s=now_s + wait_s,
            parameters=asked.parameters,
        )
        with self._lock:
            same = next((one for one in self._waiting.values() if one.asked.call_id == asked.call_id), None)
            full = len(self._waiting) >= MAX_WAITING or approval in self._waiting
            if same is None and not full:
                self._waiting[approval] = _Question(asked, wanted, answer, timer)
        if same is not None:
            # The same question again gets the answer of the first; another one under its id puts an end to both.
            if not _is_same(same.asked, asked):
                self._settle_waiting(same.wanted.approval, False, "another question under its id")
            return
        if full:
            self._settle(asked, answer, allowed=False, by="too many questions")
            return
        self._bus.publish(wanted)
        try:
            timer.start()
        except RuntimeError:
            self._settle_waiting(approval, False, "no thread left")

    def answer(self, approval: str, *, allow: bool, who: Answerer) -> events.ApprovalWanted | None:
        """What a person decided: the question that this settled. None: nothing of that id is waiting (any more)."""
        return self._settle_waiting(approval, allow, "person", who)

    @property
    def waiting(self) -> tuple[events.ApprovalWanted, ...]:
        with self._lock:
            return tuple(question.wanted for question in self._waiting.values())

    def drop_all(self, why: str) -> None:
        """Nobody is there any more who could be answered."""
        for wanted in self.waiting:
            self._settle_waiting(wanted.approval, False, why)

    def cancel(self, call_ids: Collection[str]) -> None:
        """The agent has taken back the calls with these ids."""
        for wanted in self.waiting:
            if wanted.call_id in call_ids:
                self._settle_waiting(wanted.approval, False, "the agent took it back")

    def _settle_waiting(
        self, approval: str, allowed: bool, by: str, who: Answerer | None = None
    ) -> events.ApprovalWanted | None:
        with self._lock:
            question = self._waiting.pop(approval, None)
        if question is None:
            return None
        question.timer.cancel()
        self._settle(question.asked, question.answer, allowed=allowed, by=by, who=who)
        return question.wanted

    def _settle(
        self,
        asked: ApprovalAsked,
        answer: Callable[[bool], bool],
        *,
        allowed: bool,
        by: str,
        who: Answerer | None = None,
    ) -> None:
        delivered = answer(allowed)
        self._audit.add(
            what="approval",
            tool=asked.name,
            service=asked.service,
            call_id=asked.call_id,
            outcome="allowed" if allowed else "denied",
            by=by,
            **(who.told() if who is not None else {}),
            delivered=delivered,
            parameters=bounded_parameters(asked.parameters),
        )
        self._bus.publish(
            events.ApprovalSettled(
                at_s=time.monotonic(), call_id=asked.call_id, name=asked.name, allowed=allowed and delivered, by=by
            )
        )


def _is_same(one: ApprovalAsked, other: ApprovalAsked) -> bool:
    return (one.service, one.name, one.parameters) == (other.service, other.name, other.parameters)
