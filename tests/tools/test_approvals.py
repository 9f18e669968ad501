"""May the agent use that tool elsewhere? By rule, by a person, and with a no whenever in doubt."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from parleyd import events
from parleyd.agents.agent import ApprovalAsked
from parleyd.config.tool_sections import Mcp, McpRule
from parleyd.tools.approvals import MARGIN_S, MAX_WAITING, Approvals, decide
from parleyd.tools.audit import FILE_NAME, Audit

WAIT_S = 60.0
RULES = [
    McpRule(tool="calendar_delete*", decision="deny"),
    McpRule(tool="calendar_*", service="home", decision="allow"),
    McpRule(tool="mail_?", decision="ask"),
]


@pytest.mark.parametrize(
    ("service", "tool", "decision"),
    [
        ("home", "calendar_read", "allow"),
        ("home", "calendar_delete_all", "deny"),
        ("elsewhere", "calendar_read", "deny"),
        ("home", "Calendar_read", "deny"),
        ("home", "саlendar_read", "deny"),  # Cyrillic look-alikes
        ("home", "x\ncalendar_read", "deny"),
        ("any", "mail_1", "ask"),
        ("any", "mail_12", "deny"),
        ("", "", "deny"),
    ],
)
def test_the_first_rule_that_fits_decides(service: str, tool: str, decision: str) -> None:
    assert decide(RULES, "deny", service, tool) == decision


_made: list[Desk] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while _made:
        desk = _made.pop()
        desk.approvals.drop_all("the test is over")
        desk.audit.close()


class Desk:
    def __init__(self, folder: Path, policy: Mcp) -> None:
        self.events: queue.SimpleQueue[events.Event] = queue.SimpleQueue()
        self.answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self.folder = folder
        self.audit = Audit(folder, 100_000)
        bus = events.Bus()
        bus.subscribe(self.events.put)
        self.approvals = Approvals(policy, bus, self.audit)
        _made.append(self)

    def ask(self, call_id: str = "c", tool: str = "mail_1", timeout_s: float = 300.0) -> None:
        asked = ApprovalAsked(call_id, "s", tool, "", {"token": "t0ps3cret"}, timeout_s)
        self.approvals.ask(asked, self._answer)

    def _answer(self, allowed: bool) -> bool:
        self.answers.put(allowed)
        return True

    def answer(self) -> bool:
        return self.answers.get(timeout=WAIT_S)

    def log(self) -> str:
        self.audit.close()
        return (self.folder / FILE_NAME).read_text()


def test_rules_answer_at_once_and_are_audited(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Mcp(rules=RULES))
    desk.ask(tool="calendar_delete")
    assert desk.answers.get_nowait() is False
    desk.approvals.ask(ApprovalAsked("d", "home", "calendar_x", "", {}, 300), desk._answer)
    assert desk.answers.get_nowait() is True
    log = desk.log()
    assert '"outcome": "denied", "by": "rule"' in log
    assert '"outcome": "allowed", "by": "rule"' in log
    assert "t0ps3cret" not in log


@pytest.mark.parametrize("allow", [True, False])
def test_a_person_answers_once(tmp_path: Path, allow: bool) -> None:
    desk = Desk(tmp_path, Mcp(rules=RULES))
    desk.ask()
    wanted = desk.events.get(timeout=WAIT_S)
    assert isinstance(wanted, events.ApprovalWanted)
    assert wanted.until_s - wanted.at_s == pytest.approx(30)
    assert "t0ps3cret" not in str(wanted.parameters)
    desk.ask()
    assert [asked.call_id for asked in desk.approvals.waiting] == ["c"]
    assert not desk.approvals.answer("other", allow=True)
    assert desk.approvals.answer("c", allow=allow)
    assert desk.answer() is allow
    assert not desk.approvals.answer("c", allow=not allow)
    assert desk.answers.empty()
    settled = desk.events.get(timeout=WAIT_S)
    assert isinstance(settled, events.ApprovalSettled)
    assert (settled.allowed, settled.by) == (allow, "person")


@pytest.mark.parametrize(("ask_s", "timeout_s"), [(1.0, 300.0), (295.0, MARGIN_S), (295.0, 0.0)])
def test_without_an_answer_it_is_a_no_before_the_agent_gives_up(tmp_path: Path, ask_s: float, timeout_s: float) -> None:
    desk = Desk(tmp_path, Mcp(otherwise="ask", ask_s=ask_s))
    desk.ask(timeout_s=timeout_s)
    assert desk.answer() is False
    assert '"by": "deadline"' in desk.log()
    assert not desk.approvals.answer("c", allow=True)


def test_too_many_questions_and_the_end_of_the_session_are_a_no(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Mcp(otherwise="ask"))
    for number in range(MAX_WAITING):
        desk.ask(str(number))
    assert desk.answers.empty()
    desk.ask("one more")
    assert desk.answers.get_nowait() is False
    desk.approvals.drop_all("the session ended")
    assert [desk.answers.get_nowait() for _ in range(MAX_WAITING)] == [False] * MAX_WAITING
    assert desk.approvals.waiting == ()
    timers = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    assert all(timer.finished.is_set() for timer in timers)
