"""May the agent use that tool elsewhere? By rule, by a person, and with a no whenever in doubt."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from parleyd.agents.agent import ApprovalAsked
from parleyd.cli.events import sentence
from parleyd.config.tool_sections import Mcp, McpRule
from parleyd.control import messages
from parleyd.core import events
from parleyd.core.text import json_text
from parleyd.hooks.hook_event import HookEvent
from parleyd.tools.approvals import MARGIN_S, MAX_WAITING, Approvals, decide
from parleyd.tools.asking import MAX_NAME_CHARS, MAX_SHOWN_CHARS, Answerer
from parleyd.tools.audit import FILE_NAME, REFUSED_NAME, Audit

WAIT_S = 60.0
ANN = Answerer(1001, 77, "approve")
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

    def ask(
        self,
        call_id: str = "c",
        tool: str = "mail_1",
        timeout_s: float = 300.0,
        parameters: dict[str, object] | None = None,
    ) -> None:
        asked = ApprovalAsked(call_id, "s", tool, "", parameters or {"token": "t0ps3cret"}, timeout_s)
        self.approvals.ask(asked, self._answer)

    def _answer(self, allowed: bool) -> bool:
        self.answers.put(allowed)
        return True

    def answer(self) -> bool:
        return self.answers.get(timeout=WAIT_S)

    def log(self) -> str:
        self.audit.close()
        files = (self.folder / name for name in (FILE_NAME, REFUSED_NAME))
        return "".join(file.read_text() for file in files if file.exists())


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
    assert wanted.parameters == {"token": "t0ps3cret"}
    desk.ask()
    assert [asked.call_id for asked in desk.approvals.waiting] == ["c"]
    assert not desk.approvals.answer("c", allow=True, who=ANN), "the agent's own id answers nothing"
    assert desk.approvals.answer(wanted.approval, allow=allow, who=ANN) == wanted
    assert desk.answer() is allow
    assert not desk.approvals.answer(wanted.approval, allow=not allow, who=ANN)
    assert desk.answers.empty()
    settled = desk.events.get(timeout=WAIT_S)
    assert isinstance(settled, events.ApprovalSettled)
    assert (settled.allowed, settled.by) == (allow, "person")
    log = desk.log()
    assert "t0ps3cret" not in log
    assert '"by": "person", "uid": 1001, "pid": 77, "role": "approve"' in log


@pytest.mark.parametrize(
    "parameters",
    [
        {"recipient_key": "X" * 20, "passcode_amount": 99999},
        {"a": "x" * (MAX_SHOWN_CHARS - 40), "to": "somebody"},
        {"a": [[[[[[[[{"b": "\x1b[2Kü"}]]]]]]]]},
    ],
)
def test_who_is_asked_sees_all_of_it(tmp_path: Path, parameters: dict[str, object]) -> None:
    desk = Desk(tmp_path, Mcp(otherwise="ask"))
    desk.ask(parameters=parameters)
    wanted = desk.events.get(timeout=WAIT_S)
    assert isinstance(wanted, events.ApprovalWanted)
    assert wanted.parameters == parameters
    told = [
        json.loads(messages.event(wanted))["parameters"],
        json.loads(HookEvent("approval_wanted", 0.0, event=wanted).document())["parameters"],
    ]
    assert told == [parameters, parameters]
    shown = sentence(json.loads(messages.event(wanted)))
    assert json_text(parameters) in shown
    assert f"parleyd approve {wanted.approval}" in shown


@pytest.mark.parametrize(
    ("tool", "parameters"),
    [
        ("mail_1", {"a": "x" * MAX_SHOWN_CHARS, "to": "somebody"}),
        ("mail_1", {"a": "x" * 70_000}),
        ("mail_1", {"a": json.loads("[" * 500 + "]" * 500)}),
        ("m" * (MAX_NAME_CHARS + 1), {}),
    ],
)
def test_what_cannot_be_shown_whole_is_denied_with_its_reason(
    tmp_path: Path, tool: str, parameters: dict[str, object]
) -> None:
    desk = Desk(tmp_path, Mcp(otherwise="ask"))
    desk.ask(tool=tool, parameters=parameters)
    assert desk.answers.get_nowait() is False
    settled = desk.events.get(timeout=WAIT_S)
    assert isinstance(settled, events.ApprovalSettled)
    assert not settled.allowed
    assert settled.by.startswith("the bound on ")
    assert '"by": "the bound on ' in desk.log()


def test_an_answer_is_for_the_question_that_was_read(tmp_path: Path) -> None:
    """One that has run out is not answered any more, though the agent asks something else under the same id."""
    desk = Desk(tmp_path, Mcp(otherwise="ask"))
    desk.ask(parameters={"to": "the landlord"})
    read = desk.approvals.waiting[0]
    desk.approvals.drop_all("the session ended")
    desk.ask(parameters={"to": "somebody else"})
    assert desk.approvals.answer(read.approval, allow=True, who=ANN) is None
    assert [desk.answers.get_nowait(), desk.answers.empty()] == [False, True]


def test_another_question_under_the_id_of_one_that_waits_is_a_no(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Mcp(otherwise="ask"))
    desk.ask(parameters={"to": "the landlord"})
    desk.ask(parameters={"to": "the landlord"})
    assert desk.answers.empty()
    desk.ask(parameters={"to": "somebody else"})
    assert desk.answers.get_nowait() is False
    assert desk.approvals.waiting == ()


@pytest.mark.parametrize(("ask_s", "timeout_s"), [(1.0, 300.0), (295.0, MARGIN_S), (295.0, 0.0)])
def test_without_an_answer_it_is_a_no_before_the_agent_gives_up(tmp_path: Path, ask_s: float, timeout_s: float) -> None:
    desk = Desk(tmp_path, Mcp(otherwise="ask", ask_s=ask_s))
    desk.ask(timeout_s=timeout_s)
    assert desk.answer() is False
    assert '"by": "deadline"' in desk.log()
    assert desk.approvals.waiting == ()


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
