"""The supervisor's states and moves: one table. Pure.

The table is the truth: the supervisor looks every move up here, and the diagram in the README is compared with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from parleyd.core.states import State, Trigger


class Action(Enum):
    CONNECT = "connect"
    CONNECT_WITHOUT_OVERRIDE = "connect without asking for silence"
    ANNOUNCE = "say that the line is there"
    HANG_UP = "hang up"
    RETRY_SOON = "wait a little"
    RETRY_LATE = "wait as long as allowed"
    FORGET = "forget what was said"
    DOUBT = "be harder of hearing for a while"


@dataclass(frozen=True, slots=True)
class Move:
    to: State
    actions: tuple[Action, ...] = ()


MOVES: dict[tuple[State, Trigger], Move] = {
    (State.ASLEEP, Trigger.WAKE): Move(State.CONNECTING, (Action.CONNECT,)),
    (State.CONNECTING, Trigger.READY): Move(State.LIVE, (Action.ANNOUNCE,)),
    (State.CONNECTING, Trigger.GREETING_REFUSED): Move(State.CONNECTING, (Action.CONNECT_WITHOUT_OVERRIDE,)),
    (State.CONNECTING, Trigger.LOST): Move(State.BACKING_OFF, (Action.RETRY_SOON,)),
    (State.CONNECTING, Trigger.REFUSED): Move(State.BACKING_OFF, (Action.RETRY_LATE,)),
    (State.CONNECTING, Trigger.AGENT_HUNG_UP): Move(State.BACKING_OFF, (Action.RETRY_SOON,)),
    (State.CONNECTING, Trigger.SLEEP): Move(State.ASLEEP, (Action.HANG_UP, Action.FORGET)),
    (State.CONNECTING, Trigger.SPENT): Move(State.ASLEEP, (Action.HANG_UP, Action.FORGET)),
    (State.CONNECTING, Trigger.GIVEN_UP): Move(State.ASLEEP, (Action.HANG_UP, Action.FORGET)),
    (State.LIVE, Trigger.GREETING_REFUSED): Move(State.CONNECTING, (Action.CONNECT_WITHOUT_OVERRIDE,)),
    (State.LIVE, Trigger.LOST): Move(State.BACKING_OFF, (Action.RETRY_SOON,)),
    (State.LIVE, Trigger.REFUSED): Move(State.BACKING_OFF, (Action.RETRY_LATE,)),
    (State.LIVE, Trigger.AGENT_HUNG_UP): Move(State.ASLEEP, (Action.FORGET,)),
    (State.LIVE, Trigger.IDLE): Move(State.ASLEEP, (Action.HANG_UP, Action.FORGET)),
    (State.LIVE, Trigger.FALSE_WAKE): Move(State.ASLEEP, (Action.HANG_UP, Action.FORGET, Action.DOUBT)),
    (State.LIVE, Trigger.OLD): Move(State.CONNECTING, (Action.HANG_UP, Action.CONNECT)),
    (State.LIVE, Trigger.SPENT): Move(State.ASLEEP, (Action.HANG_UP, Action.FORGET)),
    (State.LIVE, Trigger.SLEEP): Move(State.ASLEEP, (Action.HANG_UP, Action.FORGET)),
    (State.BACKING_OFF, Trigger.RETRY_DUE): Move(State.CONNECTING, (Action.CONNECT,)),
    (State.BACKING_OFF, Trigger.WAKE): Move(State.CONNECTING, (Action.CONNECT,)),
    (State.BACKING_OFF, Trigger.SLEEP): Move(State.ASLEEP, (Action.FORGET,)),
    (State.BACKING_OFF, Trigger.SPENT): Move(State.ASLEEP, (Action.FORGET,)),
    (State.BACKING_OFF, Trigger.GIVEN_UP): Move(State.ASLEEP, (Action.FORGET,)),
}


def move(state: State, trigger: Trigger) -> Move | None:
    """What the trigger means in this state; None where it means nothing."""
    return MOVES.get((state, trigger))


def diagram() -> str:
    """The table as a Mermaid state diagram, as it stands in the README."""
    lines = ["stateDiagram-v2", "    direction LR"]
    names = {state: state.value.replace(" ", "_") for state in State}
    lines.append(f"    [*] --> {names[State.ASLEEP]}")
    edges: dict[tuple[State, State], list[str]] = {}
    for (state, trigger), to in MOVES.items():
        edges.setdefault((state, to.to), []).append(trigger.value)
    lines += [f"    {names[a]} --> {names[b]}: {', '.join(triggers)}" for (a, b), triggers in edges.items()]
    return "\n".join(lines) + "\n"
