"""Calls that wait for a person: done once they allow it, and not done whenever in doubt."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from parleyd.agents.events import ToolCall
from parleyd.cli.events import sentence
from parleyd.control import messages
from parleyd.core import events
from parleyd.core.text import json_text
from parleyd.hooks.hook_event import HookEvent
from parleyd.host.stopping import Stop
from parleyd.tools.asking import IN_VAIN_S, MAX_SHOWN_CHARS, MOST_IN_VAIN, Answerer, AskingLimit
from parleyd.tools.audit import FILE_NAME, REFUSED_NAME, Audit
from parleyd.tools.confirmations import Confirmations
from parleyd.tools.limits import Limits
from parleyd.tools.parameters import Parameters
from parleyd.tools.result import Fault, Result
from parleyd.tools.specs import spec
from parleyd.tools.toolbox import Tool, Toolbox

WAIT_S = 60.0
ANN = Answerer(1001, 77, "approve")
SCHEMA = {
    "type": "object",
    "properties": {"level": {"type": "integer", "default": 100}},
    "additionalProperties": True,
}


class Done:
    """A Runner: notes what it was given."""

    def __init__(self) -> None:
        self.given: queue.SimpleQueue[Mapping[str, object]] = queue.SimpleQueue()
        self.hangs = False

    def run(self, parameters: Mapping[str, object], stop: Stop) -> object:
        self.given.put(parameters)
        if self.hangs:
            stopped = threading.Event()
            stop.at(stopped.set)
            stopped.wait(WAIT_S)
        return "done"


class Desk:
    def __init__(self, folder: Path, confirm_s: float = 100.0, **more: Any) -> None:
        self.folder = folder
        self.events: queue.SimpleQueue[events.Event] = queue.SimpleQueue()
        self.results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self.audit = Audit(folder, 1_000_000)
        self.runner = Done()
        schema = Parameters(SCHEMA)
        door = Tool("door_open", "test", "Opens the door.", schema, self.runner, confirm_s=confirm_s, **more)
        more_tools = {"lamp": replace(door, name="lamp"), "time": replace(door, name="time", confirm_s=None)}
        self.tools = {"door_open": door, **more_tools}
        bus = events.Bus()
        bus.subscribe(self.events.put)
        self.confirmations = Confirmations("they press the button", bus, self.audit)
        self.toolbox = Toolbox(
            self.tools, bus, self.audit, self.confirmations, Limits(1000, 1000), at_once=4, result_chars=2000
        )

    def call(self, name: str = "door_open", call_id: str = "c", *, by_hand: bool = False, **parameters: object) -> None:
        self.toolbox.call(ToolCall(name, call_id, parameters, expects_response=True), self._respond, by_hand=by_hand)

    def _respond(self, result: Result) -> bool:
        self.results.put(result)
        return True

    def next(self, kind: type[events.Event]) -> Any:
        while not isinstance(event := self.events.get(timeout=WAIT_S), kind):
            pass
        return event

    def wanted(self) -> events.ConfirmationWanted:
        found: events.ConfirmationWanted = self.next(events.ConfirmationWanted)
        return found

    def settled(self) -> tuple[bool, str]:
        found: events.ConfirmationSettled = self.next(events.ConfirmationSettled)
        return found.allowed, found.by

    def result(self) -> Result:
        return self.results.get(timeout=WAIT_S)

    def log(self, name: str) -> list[dict[str, Any]]:
        self.close()
        file = self.folder / name
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def close(self) -> None:
        self.toolbox.close()
        self.audit.close()


@pytest.fixture
def desk_of(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    made: list[Desk] = []

    def make(**more: Any) -> Desk:
        made.append(Desk(tmp_path, **more))
        return made[-1]

    yield make
    for desk in made:
        desk.close()


@pytest.fixture
def desk(desk_of: Callable[..., Desk]) -> Desk:
    return desk_of()


def test_it_is_done_once_a_person_allows_it_and_the_log_says_who(desk: Desk) -> None:
    desk.call(level="40", who="\u202eann\n")
    wanted = desk.wanted()
    assert desk.results.empty()
    assert desk.runner.given.empty(), "nothing is done before the answer"
    assert wanted.parameters == {"level": 40, "who": "\u202eann\n"}, "as the tool will get them"
    assert [one.approval for one in desk.confirmations.waiting] == [wanted.approval]
    assert desk.confirmations.answer("c", allow=True, who=ANN) is None, "the agent's own id answers nothing"
    assert desk.confirmations.answer(wanted.approval, allow=True, who=ANN) == wanted
    assert desk.confirmations.answer(wanted.approval, allow=False, who=ANN) is None, "it is answered once"
    assert desk.result() == Result("done")
    assert desk.runner.given.get_nowait() == wanted.parameters
    assert desk.settled() == (True, "person")
    assert desk.confirmations.waiting == ()
    confirmation, began, ended = desk.log(FILE_NAME)
    assert [confirmation[name] for name in ("what", "outcome", "by", "uid", "pid", "role")] == [
        "confirmation", "allowed", "person", 1001, 77, "approve",
    ]  # fmt: skip
    assert (began["what"], ended["what"], ended["outcome"]) == ("began", "ended", "done")


def test_all_of_it_is_shown_and_what_was_left_out_as_well(desk: Desk) -> None:
    parameters: dict[str, Any] = {
        "recipient_key": "X" * 20,
        "a": [[[[[[[[{"b": "\x1b[2Kü\u202e\n00:00:00 forged"}]]]]]]]],
    }
    desk.call(**parameters)
    wanted = desk.wanted()
    assert wanted.parameters == {"level": 100, **parameters}
    event = json.loads(messages.event(wanted))
    assert event["parameters"] == wanted.parameters
    hook = HookEvent("confirmation_wanted", 0.0, event=wanted)
    assert json.loads(hook.document())["parameters"] == wanted.parameters
    shown = sentence(event)
    assert f"door_open with {json_text(wanted.parameters)} here? parleyd approve {wanted.approval}" in shown
    assert shown.isprintable()


@pytest.mark.parametrize("parameters", [{"a": "x" * MAX_SHOWN_CHARS}, {"a": "\x00" * (MAX_SHOWN_CHARS // 6)}])
def test_what_cannot_be_shown_whole_is_refused_at_once(desk: Desk, parameters: dict[str, Any]) -> None:
    desk.call(**parameters)
    result = desk.result()
    assert result.text.startswith("door_open needs a person who allows the call, and they could not be shown all of it")
    assert result.fault is Fault.DENIED
    assert desk.confirmations.waiting == ()
    assert [(line["what"], line["outcome"]) for line in desk.log(REFUSED_NAME)] == [("refused", "denied")]


def test_a_no_is_told_to_the_agent(desk: Desk) -> None:
    desk.call()
    desk.confirmations.answer(desk.wanted().approval, allow=False, who=ANN)
    assert desk.result().text == (
        "The person at the device did not allow this call of door_open. Nothing was done. Do not claim that it was."
    )
    assert desk.runner.given.empty()
    # What a person has decided is kept with what was done.
    (line,) = desk.log(FILE_NAME)
    assert (line["outcome"], line["by"], line["uid"]) == ("denied", "person", 1001)


def test_no_answer_is_a_no_that_says_what_to_press(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of(confirm_s=0.2)
    desk.call()
    text = desk.result().text
    assert "It is only done when they press the button. Tell the person that, and call it again" in text
    assert desk.settled() == (False, "deadline")
    assert desk.runner.given.empty()
    assert [line["by"] for line in desk.log(REFUSED_NAME)] == ["deadline"]


def test_the_tools_own_time_begins_with_the_answer(desk_of: Callable[..., Desk]) -> None:
    """Else one that hangs would have the person's time, too: more than this test waits."""
    desk = desk_of(confirm_s=10 * WAIT_S, timeout_s=0.05)
    desk.runner.hangs = True
    desk.call()
    desk.confirmations.answer(desk.wanted().approval, allow=True, who=ANN)
    assert desk.result().text.startswith("door_open did not finish within 0.05 s and was stopped.")


def test_one_waits_and_the_rest_of_a_flood_is_refused_at_once(desk: Desk) -> None:
    desk.call()
    wanted = desk.wanted()
    for _ in range(20):
        desk.call()
        desk.call("lamp")
    texts = [desk.result().text for _ in range(40)]
    assert sum("An earlier call of door_open waits for the person's answer" in text for text in texts) == 20
    assert sum("Another call waits for the person's answer" in text or "busy" in text for text in texts) == 20
    assert desk.confirmations.waiting == (wanted,)
    desk.call("time")
    assert desk.result() == Result("done"), "other tools go on"
    desk.confirmations.answer(wanted.approval, allow=True, who=ANN)
    assert desk.result() == Result("done")


def test_nobody_is_worn_down(desk: Desk) -> None:
    for _ in range(MOST_IN_VAIN):
        desk.call()
        desk.confirmations.answer(desk.wanted().approval, allow=False, who=ANN)
        desk.result()
    desk.call("lamp")
    assert "were not allowed, so nobody is asked for another" in desk.result().text
    assert desk.confirmations.waiting == ()


def test_asking_comes_back_with_time_and_with_a_yes() -> None:
    limit = AskingLimit()
    for now_s in range(MOST_IN_VAIN):
        assert limit.over_in_s(now_s) == 0.0
        limit.settled(float(now_s), allowed=False)
    assert limit.over_in_s(10.0) == IN_VAIN_S - 10.0
    assert limit.over_in_s(IN_VAIN_S) == 0.0
    limit.settled(IN_VAIN_S, allowed=True)
    for now_s in range(MOST_IN_VAIN - 1):
        limit.settled(IN_VAIN_S + now_s, allowed=False)
    assert limit.over_in_s(IN_VAIN_S + MOST_IN_VAIN) == 0.0


@pytest.mark.parametrize("end", ["session", "daemon"])
def test_what_waits_when_the_session_or_the_daemon_ends_is_not_done(desk: Desk, end: str) -> None:
    desk.call()
    wanted = desk.wanted()
    if end == "session":
        desk.toolbox.session_over()
    else:
        desk.toolbox.close()
    assert desk.settled() == (False, "the call was over")
    assert desk.confirmations.answer(wanted.approval, allow=True, who=ANN) is None
    assert desk.runner.given.empty()
    assert desk.results.empty(), "nobody is there to be told"
    # That was no no of a person's.
    assert desk.confirmations._asking_limit.over_in_s(0.0) == 0.0


def test_what_is_said_answers_nothing_and_stops_nothing(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of(cancel_on_speech=True)
    desk.call()
    wanted = desk.wanted()
    desk.toolbox.person_speaks()
    assert desk.confirmations.waiting == (wanted,)
    desk.confirmations.answer(wanted.approval, allow=True, who=ANN)
    assert desk.result() == Result("done")


def test_whoever_calls_it_by_hand_is_not_asked_and_an_agent_cannot_claim_to_be_that(desk: Desk) -> None:
    desk.call(by_hand=True)
    assert desk.result() == Result("done")
    desk.call(call_id="by hand")
    assert desk.wanted().name == "door_open"
    assert desk.results.empty()


def test_the_agents_page_waits_long_enough_and_says_that_a_person_is_asked(desk: Desk) -> None:
    told = spec(desk.tools["door_open"])
    assert told.timeout_s == 110
    assert "tell them what it will do and that they have to confirm it there" in told.description
    assert spec(desk.tools["time"]).description == "Opens the door."
