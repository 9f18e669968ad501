"""A timer rings; it does not listen. Whole daemons against a server that sets the next timer as soon as it can."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import Daemon
from plays import config
from scripted_server import WAIT_S, Line, ScriptedServer

from parleyd.config.retention import QuietHours
from parleyd.config.schema import Earcons, Gate, Session, Wake
from parleyd.config.tool_sections import Tools
from parleyd.core import events
from parleyd.core.states import State
from parleyd.usage.allowance import MOST_BY_DEVICE

ALL_DAY = [QuietHours(from_="00:00", to="23:59"), QuietHours(from_="23:59", to="00:00")]
# Short, so that each session ends soon.
IDLE_S = 1.0
# While a ring sounds nothing counts as speech, and these tests would have to wait for its end.
NO_RING = Earcons(timer="off")


def sets_timer(line: Line, seconds: int = 1) -> None:
    call = {"tool_name": "set_timer", "tool_call_id": f"call_{id(line)}", "parameters": {"seconds": seconds}}
    line.send({"type": "client_tool_call", "client_tool_call": call})


def greedy(line: Line) -> None:
    """An agent that wants to be called again, and hangs up so that the timer finds everybody asleep."""
    line.ready()
    sets_timer(line)
    line.wait_message("client_tool_result")
    line.hang_up()
    line.over.wait(WAIT_S)


def settings(server: ScriptedServer, mode: str, **more: Any) -> Any:
    session = Session(idle_timeout_s=IDLE_S, false_wake_s=IDLE_S)
    return config(server, session=session, wake=Wake(mode=mode), **more)  # type: ignore[arg-type]


def room_heard(line: Line) -> bool:
    return bool(np.frombuffer(bytes(line.audio), "<i2").any())


def test_in_quiet_hours_a_timer_rings_and_connects_nobody() -> None:
    with ScriptedServer(greedy) as server, Daemon(settings(server, "manual", quiet_hours=ALL_DAY)) as daemon:
        daemon.service.wake()
        daemon.expect(events.TimerWentOff)
        refused = daemon.expect(events.WakeRefused)
        assert refused.by == "quiet hours"
        assert len(server.lines) == 1, "the one that a person has opened"
        # And somebody may wake it, and then it is told.
        daemon.service.wake()
        daemon.expect(events.SessionOpened, lambda e: e.at_s > refused.at_s)
        told = server.lines[1].wait_message("contextual_update")
        assert told["text"].startswith("The timer has gone off")


def test_timers_open_so_many_sessions_and_no_more() -> None:
    with ScriptedServer(greedy) as server, Daemon(settings(server, "manual")) as daemon:
        daemon.service.wake()
        refused = daemon.expect(events.WakeRefused, timeout_s=40.0)
        assert refused.by == "device"
        assert len(server.lines) == 1 + MOST_BY_DEVICE
        assert len(daemon.of(events.TimerWentOff)) == 1 + MOST_BY_DEVICE, "each has rung"
        daemon.service.wake()
        daemon.expect(events.SessionOpened, lambda e: e.at_s > refused.at_s)


@pytest.mark.parametrize("mode", ["manual", "word"])
@pytest.mark.parametrize("uplink", ["silence", "open"])
def test_in_a_session_of_a_timers_nobody_is_heard_until_the_agent_is_woken(mode: str, uplink: str) -> None:
    def play(line: Line) -> None:
        line.ready()
        line.over.wait(2 * WAIT_S)

    session = Session(idle_timeout_s=60)
    more: dict[str, Any] = {"session": session, "gate": Gate(uplink=uplink), "earcons": NO_RING}  # type: ignore[arg-type]
    wake = Wake(mode=mode, word="alexa") if mode == "word" else Wake(mode=mode)  # type: ignore[arg-type]
    with ScriptedServer(play) as server, Daemon(config(server, wake=wake, **more)) as daemon:
        daemon.service.tools.by_hand("set_timer", {"seconds": 1}, 60.0)
        daemon.expect(events.TimerWentOff)
        line = server.next_line()
        daemon.expect_state(State.LIVE)
        daemon.say("Nobody has asked you to listen.")
        said = daemon.expect(events.UtteranceEnded)
        heard = len(line.audio)
        line.wait("time to go on", lambda: len(line.audio) > heard + 32_000)
        assert not room_heard(line)
        assert [woken.by for woken in daemon.of(events.Woken)] == ["device"]
        daemon.service.wake()
        daemon.expect(events.Woken, lambda e: e.by == "command" and e.at_s > said.at_s)
        daemon.say("Now you shall hear me.")
        line.wait_speech(0.5)
        assert len(server.lines) == 1


def test_who_speaks_after_the_ring_is_heard_from_the_first_word_on() -> None:
    def play(line: Line) -> None:
        line.ready()
        line.over.wait(2 * WAIT_S)

    with ScriptedServer(play) as server, Daemon(config(server, earcons=NO_RING)) as daemon:
        daemon.service.tools.by_hand("set_timer", {"seconds": 1}, 60.0)
        line = server.next_line()
        daemon.expect_state(State.LIVE)
        line.wait("zeros", lambda: len(line.audio) > 32_000)
        assert not room_heard(line)
        daemon.say("What was the timer for?")
        line.wait_speech(0.5)
        assert [woken.by for woken in daemon.of(events.Woken)] == ["device", "speech"]


def test_a_timer_listens_where_the_configuration_wants_it() -> None:
    def play(line: Line) -> None:
        line.ready()
        line.over.wait(2 * WAIT_S)

    tools = Tools(timer_listens=True)
    more: dict[str, Any] = {"wake": Wake(mode="manual"), "tools": tools, "earcons": NO_RING}
    with ScriptedServer(play) as server, Daemon(config(server, **more)) as daemon:
        daemon.service.tools.by_hand("set_timer", {"seconds": 1}, 60.0)
        line = server.next_line()
        daemon.expect_state(State.LIVE)
        daemon.say("Thank you, I have heard it.")
        line.wait_speech(0.5)
