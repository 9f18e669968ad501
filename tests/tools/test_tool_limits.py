"""How often the agent may call a tool."""

from __future__ import annotations

import queue

import pytest

from parleyd.agents.events import ToolCall
from parleyd.config.tool_sections import Tools
from parleyd.core import events
from parleyd.tools.device_tools import DaemonActions, DeviceTools
from parleyd.tools.limits import MINUTE_S, Limits
from parleyd.tools.result import Fault, Result, ToolError, failed


def refused(limits: Limits, tool: str, now_s: float) -> str:
    """Empty: it may be called."""
    try:
        limits.check(tool, now_s)
    except ToolError as error:
        return failed(error).text if error.fault is Fault.TOO_MANY else "for another reason"
    return ""


def test_so_often_within_a_minute_and_the_window_slides() -> None:
    limits = Limits(3, 1000)
    assert [refused(limits, "lamp", at_s) for at_s in (0.0, 10.0, 20.0)] == ["", "", ""]
    assert refused(limits, "lamp", 59.0) == (
        "lamp was called 3 times within a minute, which is as often as this device allows. Wait a minute before you "
        "call it again. Nothing was done."
    )
    assert not refused(limits, "door", 59.0), "each tool has a count of its own"
    limits.session_over()
    assert refused(limits, "lamp", 59.0), "an agent that hangs up gains nothing"
    assert not refused(limits, "lamp", MINUTE_S)
    assert refused(limits, "lamp", MINUTE_S + 5.0)
    assert not refused(limits, "lamp", MINUTE_S + 10.0)


def test_so_often_in_a_session() -> None:
    limits = Limits(1, 2)
    assert not refused(limits, "lamp", 0.0)
    assert not refused(limits, "lamp", 100.0)
    assert "was called 2 times in this conversation" in refused(limits, "lamp", 200.0)
    limits.session_over()
    assert not refused(limits, "lamp", 300.0)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Tools(per_minute=2, per_session=1000), "2 times within a minute"),
        (Tools(per_minute=1000, per_session=2), "2 times in this conversation"),
    ],
)
def test_the_limits_of_the_configuration_hold_for_each_tool_of_a_device(limits: Tools, words: str) -> None:
    host = DaemonActions(lambda _volume: None, lambda _on: None, lambda: None, str, lambda _text: None)
    tools = DeviceTools(limits, host, events.Bus(), None)
    results: queue.SimpleQueue[Result] = queue.SimpleQueue()

    def respond(result: Result) -> bool:
        results.put(result)
        return True

    def called(name: str) -> Result:
        tools.call(ToolCall(name, "c", {}, expects_response=True), respond)
        return results.get(timeout=60)

    try:
        for name in ("get_time", "list_timers"):
            assert [called(name).fault for _ in range(3)] == [None, None, Fault.TOO_MANY]
            assert words in called(name).text
        assert tools.by_hand("get_time", {}, 60).fault is None
    finally:
        tools.close()


@pytest.mark.parametrize("calls", [10_000])
def test_what_is_remembered_is_bounded(calls: int) -> None:
    limits = Limits(5, 10)
    for number in range(calls):
        refused(limits, "lamp", float(number))
    assert len(limits._lately_s["lamp"]) == 5
