"""What hooks are told of, and what waits for them."""

from __future__ import annotations

import json
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from parleyd.config.hook_sections import HookName
from parleyd.core import events
from parleyd.core.states import State
from parleyd.hooks.hook_event import _NAMES, MAX_TEXT_CHARS, STATES, HookEvent, HookEvents
from parleyd.hooks.hook_queue import MOST_WAITING, HookQueue

HOSTILE = "$(touch /tmp/x)`id`;\n\x1b]0;x\x07'\"\\"


def moved(before: State, after: State) -> events.StateChanged:
    return events.StateChanged(at_s=1.0, before=before.value, after=after.value, trigger="wake", reason="woken")


def opened(conversation_id: str) -> events.SessionOpened:
    return events.SessionOpened(at_s=2.0, conversation_id=conversation_id, handshake_ms=80, resent_ms=0, tries=1)


def taken(hook_event: HookEvent | None) -> HookEvent:
    assert hook_event is not None
    return hook_event


def test_every_name_that_may_be_configured_can_happen() -> None:
    decided = {"heard", "muted", "unmuted", "stopped"}
    assert {*_NAMES.values(), *STATES.values(), *decided} == set(get_args(HookName))
    assert set(STATES) == {state.value for state in State}


def test_live_is_told_with_the_conversation_and_what_follows_still_knows_it() -> None:
    hook_events = HookEvents()
    assert taken(hook_events(moved(State.ASLEEP, State.CONNECTING))).name == "connecting"
    assert hook_events(moved(State.CONNECTING, State.LIVE)) is None
    live = taken(hook_events(opened("conv_1")))
    told = json.loads(live.document())
    assert told["event"] == told["state"] == "live"
    assert (told["before"], told["conversation_id"], told["handshake_ms"]) == ("connecting", "conv_1", 80)
    assert live.environment()["PARLEYD_CONVERSATION_ID"] == "conv_1"
    muted = taken(hook_events(events.Muted(at_s=3.0, on=True)))
    assert muted.environment() == {
        "PARLEYD_EVENT": "muted",
        "PARLEYD_STATE": "live",
        "PARLEYD_CONVERSATION_ID": "conv_1",
        "PARLEYD_PROFILE": "",
    }
    lost = taken(hook_events(moved(State.LIVE, State.BACKING_OFF)))
    assert (lost.name, lost.state, lost.conversation_id) == ("backing_off", "backing_off", "conv_1")
    assert taken(hook_events(moved(State.BACKING_OFF, State.ASLEEP))).conversation_id == ""


def test_what_is_not_for_hooks_is_passed_over() -> None:
    hook_events = HookEvents()
    assert hook_events(events.Heard(at_s=1.0, text="what ti", final=False)) is None
    assert hook_events(events.Ducked(at_s=1.0, on=True)) is None
    assert taken(hook_events(events.Muted(at_s=1.0, on=False))).name == "unmuted"


@given(st.text(max_size=50) | st.just(HOSTILE), st.text())
def test_no_free_text_is_in_the_environment_and_none_of_it_leaves_its_string(identity: str, said: str) -> None:
    hook_events = HookEvents()
    hook_events(moved(State.CONNECTING, State.LIVE))
    live = taken(hook_events(opened(identity)))
    assert all(set(value) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
               for value in live.environment().values())  # fmt: skip
    heard = taken(hook_events(events.Heard(at_s=1.0, text=said, final=True))).document()
    assert heard.decode("ascii").rstrip("\n").isprintable()
    assert heard.count(b"\n") == 1
    assert json.loads(heard)["text"] == said.encode("utf-8", "replace").decode()[:MAX_TEXT_CHARS]


def test_what_is_told_is_bounded() -> None:
    deep: object = "x"
    for _ in range(5000):
        deep = [deep]
    event = events.ToolCalled(at_s=1.0, name="lamp", parameters={"deep": deep, "long": "y" * 1_000_000})
    document = taken(HookEvents()(event)).document()
    assert len(document) < MAX_TEXT_CHARS + 500
    assert json.loads(document)["name"] == "lamp"


def at(number: int, name: HookName) -> HookEvent:
    return HookEvent(name, float(number))


def oldest_s(waiting: HookQueue) -> float | None:
    """Asked anew each time."""
    return waiting.oldest_s


def test_a_newer_state_takes_the_place_of_one_that_waits() -> None:
    waiting = HookQueue()
    names: list[HookName] = ["connecting", "muted", "live", "heard", "unmuted", "asleep"]
    for number, name in enumerate(names):
        waiting.put(at(number, name))
    assert oldest_s(waiting) == 3.0
    assert [waiting.take().name for _ in range(3)] == ["heard", "unmuted", "asleep"]
    assert oldest_s(waiting) is None
    assert waiting.dropped == 0


def test_when_too_many_wait_the_oldest_goes() -> None:
    waiting = HookQueue()
    waiting.put(at(0, "live"))
    waiting.outdate(at(1, "muted"))
    assert oldest_s(waiting) == 0.0
    waiting.outdate(at(2, "asleep"))
    assert oldest_s(waiting) is None
    kept = [waiting.put(at(number, "heard")) for number in range(MOST_WAITING + 3)]
    assert kept == [True] * MOST_WAITING + [False] * 3
    assert waiting.dropped == 3
    assert oldest_s(waiting) == 3.0


def test_the_profile_and_the_end_are_told_with_what_is_so() -> None:
    events_of_hooks = HookEvents()
    events_of_hooks(events.ProfileChanged(at_s=1.0, profile="night", by="schedule"))
    assert events_of_hooks.stopped(2.0).environment()["PARLEYD_PROFILE"] == "night"
    assert events_of_hooks.stopped(2.0).name == "stopped"


def test_a_question_to_a_person_is_told_whole() -> None:
    asked = events.ConfirmationWanted(
        at_s=1.0,
        approval="x1",
        call_id="c",
        name="door",
        until_s=9.0,
        parameters={"text": "x" * (MAX_TEXT_CHARS + 100)},
    )
    told = json.loads(taken(HookEvents()(asked)).document())
    assert len(told["parameters"]["text"]) == MAX_TEXT_CHARS + 100
