"""The play: the actor's lines, their cues, and the words that the agent must have understood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from parleyd.core import events
from parleyd.core.events import Event
from parleyd.core.states import State
from parleyd.demo.actor import ActorMicrophone
from parleyd.demo.stage import Stage

E = TypeVar("E", bound=Event)


@dataclass(frozen=True, slots=True)
class SpokenLine:
    """words: show that the agent understood the line."""

    text: str
    words: str


QUESTION = SpokenLine("What time is it?", "time")
STORY = SpokenLine("Tell me a long story.", "story")
INTERRUPTION = SpokenLine("Stop. What day is it today?", "day")
LOST = SpokenLine("Please count to ten.", "count")
LINES = (QUESTION, STORY, INTERRUPTION, LOST)

# The connection is lost while LOST is being said: see scenario.yaml, which counts the same turns.


# The time limit for a cue. On a slow machine everything takes ten times as long; this limit detects a conversation that
# has stopped.
CUE_TIMEOUT_S = 300.0


def perform(
    stage: Stage, actor: ActorMicrophone, voice: dict[str, bytes], let_sleep: Callable[[], None], cue_timeout_s: float
) -> None:
    """Says each line on its cue. Raises CueMissedError when a cue does not come within cue_timeout_s.

    voice: the sound of each line, by its text. let_sleep: called after the last line. Before that, silence must not end
    a session, because on a slow machine an answer may take long.
    """

    def wait_for(kind: type[E], what: str, test: Callable[[E], bool] = lambda _event: True) -> None:
        stage.wait_for(kind, what, test, cue_timeout_s)

    wait_for(events.Started, "the daemon listens")

    actor.say(voice[QUESTION.text], after_ms=1200)
    wait_for(events.SessionOpened, "speech opens a session")
    wait_for(events.AnswerEnded, "the question is answered", lambda e: e.finished)

    actor.say(voice[STORY.text], after_ms=500)
    wait_for(events.AnswerStarted, "the story begins")
    actor.say(voice[INTERRUPTION.text], after_ms=2500)
    wait_for(events.BargedIn, "speech interrupts the story")
    wait_for(events.AnswerEnded, "what was said over the story is answered", lambda e: e.finished)

    actor.say(voice[LOST.text], after_ms=500)
    wait_for(events.SessionEnded, "the line is lost", lambda e: e.ending.kind.value == "retry")
    wait_for(events.SessionOpened, "the line is back")
    wait_for(events.AnswerEnded, "what was said on the lost line is answered", lambda e: e.finished)

    let_sleep()
    wait_for(events.StateChanged, "quiet sends it to sleep", lambda e: e.after == State.ASLEEP.value)
