"""The turn table: who has the floor, and what follows for the agent's voice. Pure."""

from __future__ import annotations

from enum import Enum


class Floor(Enum):
    QUIET = "quiet"
    PERSON = "person"  # the person talks
    WAITING = "waiting"  # the person has talked, the agent owes an answer
    AGENT = "agent"  # the agent is audible
    BOTH = "both"  # the person talks over the agent


class Cue(Enum):
    TALK_STARTED = "talk started"
    TALK_STOPPED = "talk stopped"
    ANSWER_STARTED = "answer started"
    ANSWER_ENDED = "answer ended"


class Effect(Enum):
    DUCK = "duck"
    UNDUCK = "unduck"


FLOORS: dict[tuple[Floor, Cue], tuple[Floor, Effect | None]] = {
    (Floor.QUIET, Cue.TALK_STARTED): (Floor.PERSON, None),
    (Floor.QUIET, Cue.ANSWER_STARTED): (Floor.AGENT, None),
    (Floor.PERSON, Cue.TALK_STOPPED): (Floor.WAITING, None),
    # The answer comes while the person talks: it is they who are talked over, so the agent is the quieter one.
    (Floor.PERSON, Cue.ANSWER_STARTED): (Floor.BOTH, Effect.DUCK),
    (Floor.WAITING, Cue.TALK_STARTED): (Floor.PERSON, None),
    (Floor.WAITING, Cue.ANSWER_STARTED): (Floor.AGENT, None),
    (Floor.AGENT, Cue.TALK_STARTED): (Floor.BOTH, Effect.DUCK),
    (Floor.AGENT, Cue.ANSWER_ENDED): (Floor.QUIET, None),
    (Floor.BOTH, Cue.TALK_STOPPED): (Floor.AGENT, Effect.UNDUCK),
    (Floor.BOTH, Cue.ANSWER_ENDED): (Floor.PERSON, Effect.UNDUCK),
}
