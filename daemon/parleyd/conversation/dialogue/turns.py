"""Who has the floor: the turn table, and how the audio of one turn is told from another's. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from parleyd.agents.agent import (
    AgentAudio,
    AgentEvent,
    AgentResponse,
    AgentResponsePart,
    Interruption,
    UserTranscript,
)


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


class AnswerNumbers:
    """Numbers the agent's answers, so that audio can be told apart by turn.

    Audio ids do not do that: whether the chunks of a turn share one is not certain in the protocol. A new answer begins
    with the first audio after a final transcript, an interruption, or a response text with a new id.

    by_text: nobody hears them; the response text begins an answer, too.
    """

    def __init__(self, *, by_text: bool = False) -> None:
        self._by_text = by_text
        self.current = 0
        self._next_is_new = True
        self._has_text = False
        self._response_id: int | None = None

    @property
    def of_text(self) -> int:
        """The number of the answer that the last response text belongs to: it comes just before or after its audio."""
        return self.current + 1 if self._next_is_new else self.current

    def step(self, event: AgentEvent) -> int:
        """Takes every event in order; returns the number of the answer that audio now belongs to."""
        match event:
            case UserTranscript(final=True) | Interruption():
                self.cut()
            case AgentResponse(event_id=event_id):
                if self._has_text and (event_id is None or event_id != self._response_id):
                    self._next_is_new = True
                self._has_text = True
                self._response_id = event_id
                if self._by_text:
                    self._begin()
            case AgentAudio():
                self._begin()
        return self.current

    def _begin(self) -> None:
        self.current += self._next_is_new
        self._next_is_new = False

    def cut(self) -> None:
        """What comes next is another answer."""
        self._next_is_new = True
        self._has_text = False


# Audio of one turn is streamed without pauses of this length; a new turn takes longer to come.
TURN_GAP_S = 1.0
# An agent that greets does so at once. One that has said nothing for this long does not greet.
GREETING_WITHIN_S = 3.0


@dataclass(slots=True)
class TurnFilter:
    """Drops the agent's audio until the events show that a new turn has begun.

    Used for a turn that was cut on this side (what still comes of it is stale), and for a greeting that nobody wants
    to hear. skip_responses: how many response texts belong to the unwanted turn and are still to come. Evidence of a
    new turn, best first: a final transcript, an interruption by the server, a further response text. An agent may be
    set to send none of these; then a gap in its audio has to do.
    """

    since_s: float
    skip_responses: int = 0
    open: bool = False
    _last_audio_s: float | None = None

    def admits(self, event: AgentEvent, now_s: float) -> bool:
        """Takes every event in order; False for those that are to be dropped."""
        if self.open:
            return True
        match event:
            case UserTranscript(final=True) | Interruption():
                self.open = True
            case AgentResponse():
                self.skip_responses -= 1
                self.open = self.skip_responses < 0
                return self.open
            case AgentResponsePart():
                return False
            case AgentAudio():
                if self._last_audio_s is None:
                    self.open = now_s - self.since_s >= GREETING_WITHIN_S
                else:
                    self.open = now_s - self._last_audio_s >= TURN_GAP_S
                self._last_audio_s = now_s
                return self.open
        return True
