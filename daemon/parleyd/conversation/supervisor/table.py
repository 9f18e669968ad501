"""The supervisor's states and moves: one table. Pure.

**Theory of operation.** The daemon is in one of four states, and there is at most one session.

* ASLEEP: there is no session, no line and no cost. Nothing is owed to anybody: whatever was said or typed before has
  been given up, and each move into this state does that (FORGET).
* CONNECTING: one session is being opened. Speech waits in the uplink meanwhile.
* LIVE: the formats of that session are known; sound flows both ways. Only this state costs money.
* BACKING OFF: there is no session, but there shall be one: a retry is due at a known time (RETRY_SOON, RETRY_LATE).

A trigger is something that has happened or been decided (lifecycle.py decides); the table alone says what follows. The
actions of a move are carried out in the order in which they stand, before the move is told. A session that we end is
hung up (HANG_UP) before anything else; of one that ended by itself nothing is left to be hung up. A session that ends
for a reason which may pass, and which nobody wanted to end, leads back to a session; any other leads to sleep.

**What is not in the table** is one of two things. A few triggers may come at any time and mean nothing where there is
nothing to do: they are listed in IGNORED, each with its reason. Everything else cannot happen; move() raises
ImpossibleMoveError then, in the daemon as in tests. It ends the supervisor's thread and so the daemon, which systemd
starts again within seconds: one of the assumptions above does not hold, nobody knows which, and a supervisor that went
on might hold a session open that is paid by the minute, and listens.

The table is the truth: the diagram in the README is compared with it.
"""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from parleyd.core.states import State, Trigger


class Action(Enum):
    CONNECT = "connect"
    CONNECT_WITHOUT_OVERRIDE = "connect without asking for silence"
    CANCEL_RETRY = "no retry is due any more"
    HANG_UP = "hang up"
    RETRY_SOON = "wait a little"
    RETRY_LATE = "wait as long as allowed"
    FORGET = "forget what was said"
    DOUBT = "be harder of hearing for a while"


class ImpossibleMoveError(Exception):
    """A trigger that cannot come in this state: a defect of this program."""


class Move(Struct, frozen=True):
    to: State
    actions: tuple[Action, ...] = ()


MOVES: dict[tuple[State, Trigger], Move] = {
    (State.ASLEEP, Trigger.WAKE): Move(State.CONNECTING, (Action.CONNECT,)),
    (State.CONNECTING, Trigger.READY): Move(State.LIVE, (Action.CANCEL_RETRY,)),
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
    (State.LIVE, Trigger.AGENT_IS_BACK): Move(State.CONNECTING, (Action.HANG_UP, Action.CONNECT)),
    (State.LIVE, Trigger.SPENT): Move(State.ASLEEP, (Action.HANG_UP, Action.FORGET)),
    (State.LIVE, Trigger.SLEEP): Move(State.ASLEEP, (Action.HANG_UP, Action.FORGET)),
    (State.BACKING_OFF, Trigger.RETRY_DUE): Move(State.CONNECTING, (Action.CONNECT,)),
    (State.BACKING_OFF, Trigger.WAKE): Move(State.CONNECTING, (Action.CONNECT,)),
    (State.BACKING_OFF, Trigger.SLEEP): Move(State.ASLEEP, (Action.FORGET,)),
    (State.BACKING_OFF, Trigger.SPENT): Move(State.ASLEEP, (Action.FORGET,)),
    (State.BACKING_OFF, Trigger.GIVEN_UP): Move(State.ASLEEP, (Action.FORGET,)),
}


IGNORED: dict[tuple[State, Trigger], str] = {
    (State.ASLEEP, Trigger.SLEEP): "a command to sleep may come at any time; it sleeps already",
    (State.ASLEEP, Trigger.GIVEN_UP): "speech that was never for an agent grows old, too; nobody waits for it",
    (State.CONNECTING, Trigger.WAKE): "somebody may ask for a session while one is being opened",
    (State.LIVE, Trigger.WAKE): "somebody may ask for a session while there is one",
    (State.LIVE, Trigger.GIVEN_UP): "what was said grows too old in a session that does not answer; it may yet",
}


def move(state: State, trigger: Trigger) -> Move | None:
    """The meaning of the trigger in this state; None where it is one of IGNORED. Raises ImpossibleMoveError."""
    step = MOVES.get((state, trigger))
    if step is None and (state, trigger) not in IGNORED:
        raise ImpossibleMoveError(f"the supervisor is {state.value}, where {trigger.value!r} cannot happen")
    return step


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
