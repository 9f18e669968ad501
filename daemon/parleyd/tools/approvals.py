"""Calls of MCP tools that need this device's approval: the rules, and the questions that wait for a person."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from fnmatch import fnmatchcase
from typing import Literal

from msgspec import Struct

from parleyd.agents.events import ApprovalAsked
from parleyd.config.tool_sections import Mcp, McpRule
from parleyd.core import events
from parleyd.tools.asking import Answerer, AskingLimit, new_id, too_much_to_show
from parleyd.tools.audit import Audit, bounded_parameters

Decision = Literal["allow", "deny", "ask"]
# The most questions that wait at once; further ones are denied.
MAX_WAITING = 16
# How long before the agent's own deadline a question is denied, so that the denial still reaches the agent.
MARGIN_S = 2.0
MAX_DESCRIPTION_CHARS = 1000
SESSION_ENDED = "the session ended"
DAEMON_STOPPED = "the daemon stopped"
_NO_THREAD = "no thread left"
# To what ended by itself nobody has said no.
_WITHDRAWN = (SESSION_ENDED, DAEMON_STOPPED, _NO_THREAD)


def decide(rules: Sequence[McpRule], otherwise: Decision, service: str, tool: str) -> Decision:
    """Returns the decision of the first rule whose globs match both names, case-sensitively. Pure."""
    for rule in rules:
        if fnmatchcase(service, rule.service) and fnmatchcase(tool, rule.tool):
            return rule.decision
    return otherwise


class _Question(Struct):
    asked: ApprovalAsked
    wanted: events.ApprovalWanted
    answer: Callable[[bool], bool]
    timer: threading.Timer


class Approvals:
    """Answers each question once; in doubt the answer is no. Thread-safe.

    An answer is a function: its argument says whether the call is allowed, its result whether the session still exists.
    """

    def __init__(self, policy: Mcp, bus: events.Bus, audit: Audit) -> None:
        self._policy = policy
        self._bus = bus
        self._audit = audit
        self._lock = threading.Lock()
        self._asking_limit = AskingLimit()
        self._waiting: dict[str, _Question] = {}

    def ask(self, asked: ApprovalAsked, answer: Callable[[bool], bool]) -> None:
        """Decides by rule, or publishes the question on the bus. Returns at once."""
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
            is_in_peace = self._asking_limit.over_in_s(now_s) > 0
            if same is None and not full and not is_in_peace:
                self._waiting[approval] = _Question(asked, wanted, answer, timer)
        if same is not None:
            # A repeated question shares the answer of the first. A different question with the same id denies both.
            if not _is_same(same.asked, asked):
                self._settle_waiting(same.wanted.approval, False, "another question under its id")
            return
        if full or is_in_peace:
            why = "too many questions" if full else "too many questions in vain"
            self._settle(asked, answer, allowed=False, by=why)
            return
        self._bus.publish(wanted)
        try:
            timer.start()
        except RuntimeError:
            self._settle_waiting(approval, False, _NO_THREAD)

    def answer(self, approval: str, *, allow: bool, who: Answerer) -> events.ApprovalWanted | None:
        """Applies a person's decision. Returns the settled question, or None if no question with this id waits."""
        return self._settle_waiting(approval, allow, "person", who)

    @property
    def waiting(self) -> tuple[events.ApprovalWanted, ...]:
        with self._lock:
            return tuple(question.wanted for question in self._waiting.values())

    def drop_all(self, why: str) -> None:
        """Denies all waiting questions, because their session has ended."""
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
            if question is not None and by not in _WITHDRAWN:
                self._asking_limit.settled(time.monotonic(), allowed=allowed)
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
