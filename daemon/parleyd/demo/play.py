"""The play: what the actor says, on which cue, and what the agent must have understood."""

from __future__ import annotations

from dataclasses import dataclass

from parleyd import events
from parleyd.conversation.states import State
from parleyd.demo.actor import ActorMicrophone
from parleyd.demo.stage import Stage


@dataclass(frozen=True, slots=True)
class Line:
    """words: what shows that the agent understood it."""

    text: str
    words: str


QUESTION = Line("What time is it?", "time")
STORY = Line("Tell me a long story.", "story")
INTERRUPTION = Line("Stop. What day is it today?", "day")
LOST = Line("Please count to ten.", "count")
LINES = (QUESTION, STORY, INTERRUPTION, LOST)

# The line is lost while LOST is being said: see scenario.yaml, which counts the same turns.


def perform(stage: Stage, actor: ActorMicrophone, voice: dict[str, bytes]) -> None:
    """Says each line on its cue. voice: the lines' sound by text. Raises CueMissedError when a cue does not come."""
    stage.wait_for(events.Started, "the daemon listens")

    actor.say(voice[QUESTION.text], after_ms=1200)
    stage.wait_for(events.SessionOpened, "speech opens a session")
    stage.wait_for(events.AnswerEnded, "the question is answered", lambda e: e.finished)

    actor.say(voice[STORY.text], after_ms=500)
    stage.wait_for(events.AnswerStarted, "the story begins")
    actor.say(voice[INTERRUPTION.text], after_ms=2500)
    stage.wait_for(events.BargedIn, "speech interrupts the story")
    stage.wait_for(events.AnswerEnded, "what was said over the story is answered", lambda e: e.finished)

    actor.say(voice[LOST.text], after_ms=500)
    stage.wait_for(events.SessionEnded, "the line is lost", lambda e: e.ending.kind.value == "retry")
    stage.wait_for(events.SessionOpened, "the line is back")
    stage.wait_for(events.AnswerEnded, "what was said on the lost line is answered", lambda e: e.finished)

    stage.wait_for(events.StateChanged, "quiet sends it to sleep", lambda e: e.after == State.ASLEEP.value)
