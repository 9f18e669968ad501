"""Calls: answered once, in time, into their own session; bounded; audited."""

# What is asserted of a property stands until it is asserted again, mypy thinks.
# mypy: disable-error-code="unreachable"

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest

from parleyd.agents.events import ToolCall
from parleyd.config.tool_sections import BuiltIn
from parleyd.core import events
from parleyd.host.stopping import Stop
from parleyd.tools.audit import FILE_NAME, REFUSED_NAME, Audit
from parleyd.tools.confirmations import Confirmations
from parleyd.tools.limits import Limits
from parleyd.tools.parameters import Parameters
from parleyd.tools.result import Fault, Result
from parleyd.tools.toolbox import Tool, Toolbox
from waiting import until

WAIT_S = 60.0
ANY = {"type": "object", "additionalProperties": True}


class Function:
    """A Runner."""

    def __init__(self, function: Callable[[Stop], object]) -> None:
        self._function = function

    def run(self, parameters: Mapping[str, object], stop: Stop) -> object:
        return self._function(stop)


_made: list[Box] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while _made:
        box = _made.pop()
        box.toolbox.close()
        box.audit.close()


class Box:
    """A toolbox with its audit log, and the results that came."""

    def __init__(self, folder: Path, *tools: Tool, at_once: int = 4, limits: tuple[int, int] = (1000, 1000)) -> None:
        self.folder = folder
        self.audit = Audit(folder, 1_000_000)
        self.ended: queue.SimpleQueue[events.Event] = queue.SimpleQueue()
        bus = events.Bus()
        bus.subscribe(self.ended.put)
        self.confirmations = Confirmations("they press the button", bus, self.audit)
        self.toolbox = Toolbox(
            {tool.name: tool for tool in tools},
            bus,
            self.audit,
            self.confirmations,
            Limits(*limits),
            at_once=at_once,
            result_chars=200,
        )
        self.results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self.session_there = True
        _made.append(self)

    def call(self, name: str, *, expects_response: bool = True, **parameters: object) -> None:
        self.toolbox.call(ToolCall(name, "c", parameters, expects_response), self._respond)

    def _respond(self, result: Result) -> bool:
        self.results.put(result)
        return self.session_there

    def result(self) -> Result:
        return self.results.get(timeout=WAIT_S)

    def wait_ended(self) -> None:
        self.ended.get(timeout=WAIT_S)

    def log(self) -> list[dict[str, Any]]:
        self.toolbox.close()
        self.audit.close()
        files = [file for name in (FILE_NAME, REFUSED_NAME) if (file := self.folder / name).exists()]
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def tool(name: str, function: Callable[[Stop], object], **more: Any) -> Tool:
    return Tool(name, "test", "a test", Parameters(ANY), Function(function), **more)


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def until_stopped(stop: Stop) -> str:
    ended = threading.Event()
    stop.at(ended.set)
    assert ended.wait(WAIT_S)
    return "stopped"


def test_a_call_that_the_agent_takes_back_is_stopped_and_not_answered(tmp_path: Path) -> None:
    box = Box(tmp_path, tool("t", until_stopped))
    box.call("t")
    box.toolbox.cancel({"another"})
    assert box.toolbox.busy
    box.toolbox.cancel({"c"})
    assert not box.toolbox.busy
    ended = box.ended.get(timeout=WAIT_S)
    assert (ended.name, ended.fault) == ("t", "cancelled")
    assert [entry["why"] for entry in box.log() if entry["what"] == "dropped"] == ["the agent took it back"]
    assert box.results.empty()


def test_nobody_takes_back_a_call_by_hand(tmp_path: Path, release: threading.Event) -> None:
    box = Box(tmp_path, tool("t", lambda _: release.wait(WAIT_S), timeout_s=WAIT_S))
    box.toolbox.call(ToolCall("t", "by hand", {}, True), box._respond, by_hand=True)
    box.toolbox.cancel({"by hand"})
    assert box.toolbox.busy
    release.set()
    assert box.result().text == "true"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("", "Done."),
        (0, "0"),
        (False, "false"),
        (None, "null"),
        ({"a": "ä"}, '{"a":"ä"}'),
        ("a\x00b\x1b[2J\r\nc\ud800", "ab[2J\nc?"),
        ("x" * 1000, "x" * 171 + " [cut: 829 more characters]"),
    ],
)
def test_a_result_is_always_a_bounded_text(tmp_path: Path, value: object, text: str) -> None:
    box = Box(tmp_path, tool("t", lambda _: value))
    box.call("t")
    result = box.result()
    assert (result.text[:150], result.is_error) == (text[:150], False)
    assert len(result.text) <= 200
    assert result.text.endswith(text[-10:])


def test_errors_are_typed_and_worded_for_the_person(tmp_path: Path) -> None:
    def defect(_: Stop) -> object:
        raise KeyError("a secret of the program")

    box = Box(tmp_path, tool("t", defect), tool("j", lambda _: object()))
    box.call("t")
    result = box.result()
    assert result.fault is Fault.FAILED
    assert "secret" not in result.text
    assert "do not claim that it was done" in result.text
    box.call("j")
    assert "nor JSON" in box.result().text
    box.call("nо_such")  # a Cyrillic о
    assert box.result().text.startswith("There is no tool 'nо_such' on this device.")
    box.call("x" * 1_000_000 + "\n\x1b[2J")
    assert len(box.result().text) < 300


def test_an_unknown_tool_is_told_once_and_not_without_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    box = Box(tmp_path)
    for number in range(100):
        box.call("lamp")
        box.call(f"lamp_{number}")
    told = [record.getMessage() for record in caplog.records]
    assert told[0].startswith("the agent called the tool 'lamp', which does not exist on this device; take it off")
    assert len(told) == len(set(told)) == 20


def test_the_deadline_is_kept_whatever_the_tool_does_and_its_place_stays_taken(
    tmp_path: Path, release: threading.Event
) -> None:
    box = Box(tmp_path, tool("stuck", lambda _: release.wait(WAIT_S), timeout_s=0.05))
    box.call("stuck")
    result = box.result()
    assert result.fault is Fault.TIMEOUT
    assert "did not finish within 0.05 s" in result.text
    box.call("stuck")
    assert "busy" in box.result().text
    release.set()

    def is_done() -> bool:
        # On a busy machine its time may be over again before it has begun.
        box.call("stuck")
        return box.result().fault is None

    until("still busy", is_done)
    outcomes = [line["outcome"] for line in box.log() if line["what"] == "ended"]
    assert set(outcomes[:-1]) == {"timeout"}
    assert outcomes[-1] == "done"


def test_too_many_at_once_are_told_so_at_once(tmp_path: Path, release: threading.Event) -> None:
    wait = tool("wait", lambda _: release.wait(WAIT_S), at_once=8)
    box = Box(tmp_path, wait, tool("one", lambda _: "x"), at_once=2)
    box.call("wait")
    box.call("wait")
    box.call("one")
    assert box.result().text.startswith("The tool one is busy.")
    release.set()
    assert box.result().text == box.result().text == "true"
    box.call("one")
    assert box.result().text == "x", "a place is free as soon as its answer is there"


def test_without_a_thread_left_it_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    box = Box(tmp_path, tool("t", lambda _: "x"))
    box.audit.add(what="first")
    with monkeypatch.context() as system:
        system.setattr(threading.Thread, "start", refuse)
        box.call("t")
    assert "busy" in box.result().text
    box.call("t")
    assert box.result().text == "x"


def test_a_tool_without_memory_fails_and_is_no_defect(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def short(_: object) -> str:
        raise MemoryError

    box = Box(tmp_path, tool("t", short))
    box.call("t")
    assert box.result().text.startswith("t failed: this device has not enough memory for it. Tell the person ")
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_call_that_wants_no_answer_gets_none(tmp_path: Path) -> None:
    box = Box(tmp_path, tool("t", lambda _: "x"))
    box.call("t", expects_response=False)
    box.wait_ended()
    box.call("nope", expects_response=False)
    assert box.results.empty()
    assert [(line["what"], line.get("answered")) for line in box.log()] == [
        ("began", None), ("ended", "not wanted"), ("refused", None),
    ]  # fmt: skip


def test_speech_stops_what_is_declared_so_and_nothing_else(tmp_path: Path, release: threading.Event) -> None:
    box = Box(
        tmp_path, tool("soft", until_stopped, cancel_on_speech=True), tool("hard", lambda _: release.wait(WAIT_S))
    )
    box.call("hard")
    box.call("soft")
    box.toolbox.person_speaks()
    result = box.result()
    assert result.fault is Fault.CANCELLED
    assert "because the person spoke" in result.text
    release.set()
    assert box.result().text == "true"


def test_after_the_session_nothing_is_answered_and_everything_is_stopped(tmp_path: Path) -> None:
    begun, stopped = threading.Event(), threading.Event()

    def wait(stop: Stop) -> str:
        begun.set()
        until_stopped(stop)
        stopped.set()
        return "too late"

    box = Box(tmp_path, tool("wait", wait))
    box.call("wait", token="t0ps3cret")
    assert box.toolbox.busy
    # One that has not begun is not begun any more.
    assert begun.wait(WAIT_S)
    box.toolbox.session_over()
    assert not box.toolbox.busy
    assert stopped.wait(WAIT_S)
    log = box.log()
    assert box.results.empty()
    assert sorted(line["what"] for line in log) == ["began", "dropped"]
    assert "the session ended" in json.dumps(log)
    assert "t0ps3cret" not in json.dumps(log)


def test_an_answer_for_nobody_is_told_apart_in_the_log(tmp_path: Path) -> None:
    box = Box(tmp_path, tool("t", lambda _: "x"))
    box.session_there = False
    box.call("t")
    box.result()
    box.wait_ended()
    assert box.log()[-1]["answered"] == "no: the session ended"


def test_closing_stops_what_runs_and_takes_no_more(tmp_path: Path) -> None:
    box = Box(tmp_path, tool("wait", until_stopped))
    box.call("wait")
    box.toolbox.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tool-")]
    box.call("wait")
    assert "busy" in box.result().text


def test_no_tool_of_the_daemon_s_own_lets_the_room_be_heard_again() -> None:
    """Whoever is heard by the agent must not be able to unmute, approve or wake."""
    names = set(get_args(BuiltIn))
    assert "mute" in names
    assert not names & {"unmute", "approve", "wake", "wake_word", "listen"}


def test_one_call_too_many_is_refused_with_words_and_by_hand_there_is_no_limit(tmp_path: Path) -> None:
    box = Box(tmp_path, tool("t", lambda _: "done"), limits=(2, 1000))
    for _ in range(2):
        box.call("t")
        assert box.result() == Result("done")
    box.call("t")
    assert box.result().text.startswith("t was called 2 times within a minute, which is as often as this device allows")
    box.toolbox.call(ToolCall("t", "by hand", {}, expects_response=True), box._respond, by_hand=True)
    assert box.result() == Result("done")
    assert [line["outcome"] for line in box.log() if line["what"] == "refused"] == ["too many calls"]


def test_so_many_calls_in_a_session_and_the_next_session_counts_anew(tmp_path: Path) -> None:
    box = Box(tmp_path, tool("t", lambda _: "done"), limits=(1000, 2))
    for _ in range(2):
        for _ in range(2):
            box.call("t")
            assert box.result() == Result("done")
        box.call("t")
        assert box.result().text.startswith("t was called 2 times in this conversation")
        box.toolbox.session_over()
