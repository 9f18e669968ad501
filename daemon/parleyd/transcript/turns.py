"""From the events of the bus to turns as really heard. Pure.

A turn of the agent is complete when its sound is over and nothing more can come of it: its correction comes after the
interruption, and what had counted as finished may go on after a hiccup of the network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from parleyd.agents.agent import MAX_TEXT_CHARS
from parleyd.conversation.dialogue.history import words_heard
from parleyd.core import events

# A correction comes within this time after an answer has ended, and so does more of an answer that stuttered.
SETTLED_AFTER_S = 2.0
# Texts that wait for their sound; more do not come in any conversation between people.
MOST_PENDING = 50


@dataclass(frozen=True, slots=True)
class Turn:
    """at_s: when the person had spoken, or when the answer became audible (monotonic).

    Of the person: speech_ms, how long they spoke. Of the agent: answered_ms, from the end of the person's speech to the
    first sound; heard_ms, what of it sounded (0: a text without a voice); interrupted: `text` is what was heard of it.
    Of parleyd: what the transcript says about itself.
    """

    at_s: float
    speaker: Literal["user", "agent", "parleyd"]
    text: str
    conversation_id: str
    speech_ms: int | None = None
    answered_ms: int | None = None
    heard_ms: int | None = None
    interrupted: bool = False


@dataclass(slots=True)
class _Answer:
    number: int
    said_s: float
    text: str
    corrected: str | None = None
    started_s: float | None = None
    answered_ms: int | None = None
    ended_s: float | None = None
    heard_ms: int = 0
    total_ms: int = 0
    finished: bool = False


@dataclass(slots=True)
class Turns:
    """Takes every event in order; gives turns as soon as they are complete."""

    _answers: dict[int, _Answer] = field(default_factory=dict)
    _conversation_id: str = ""
    _speech_since_s: float | None = None
    _speech_until_s: float | None = None
    # The answer that sounds, and since when: its text may come later.
    _sounding: tuple[int, float] | None = None
    _over_s: float | None = None
    _is_open: bool = False
    # Typed while no session was open: of the next one, unless it is lost before.
    _typed: list[events.Typed] = field(default_factory=list)
    _is_silent: bool = False  # the daemon has no sound: a text is all that there is of an answer

    def take(self, event: events.Event) -> list[Turn]:
        match event:
            case events.Started(speaker=speaker):
                self._is_silent = speaker is None
            case events.SessionOpened(conversation_id=conversation_id):
                done = self.finish()
                self._conversation_id = conversation_id
                self._over_s, self._is_open = None, True
                typed, self._typed = self._typed, []
                return [*done, *map(self._of_writer, typed)]
            case events.SessionEnded():
                # A goodbye may still be sounding.
                self._over_s, self._is_open = event.at_s, False
            case events.TypedLost(typed_s=typed_s):
                self._typed = [typed for typed in self._typed if typed.at_s != typed_s]
            case events.UtteranceStarted():
                self._speech_since_s = event.at_s
            case events.TalkStopped():
                self._speech_until_s = event.at_s
            case events.Heard(text=text, final=True) if text.strip():
                return [*self._give(lambda answer: answer.ended_s is not None), self._of_person(text, event.at_s)]
            case events.Typed() if not self._is_open:
                if len(self._typed) < MOST_PENDING:
                    self._typed.append(event)
            case events.Typed():
                return [*self._give(lambda answer: answer.ended_s is not None), self._of_writer(event)]
            case events.AnswerText(text=text, corrected=False) if self._is_silent:
                return [Turn(event.at_s, "agent", text.strip(), self._conversation_id, heard_ms=0)]
            case events.AnswerText(text=text, corrected=corrected, answer=number):
                self._text(number, text.strip(), corrected, event.at_s)
            case events.AnswerStarted(answer=number):
                return self._started(number, event.at_s)
            case events.AnswerEnded():
                self._ended(event)
            case _:
                pass
        return []

    def settle(self, now_s: float) -> list[Turn]:
        """What is complete because nothing more has come of it for a while."""
        over = self._over_s is not None and now_s - self._over_s >= SETTLED_AFTER_S
        return self._give(
            lambda answer: over if answer.started_s is None else now_s - (answer.ended_s or now_s) >= SETTLED_AFTER_S
        )

    @property
    def waits(self) -> bool:
        """Whether settle() may have something to give later on."""
        return bool(self._answers)

    def finish(self) -> list[Turn]:
        """All that is left."""
        return self._give(lambda _answer: True)

    def _of_person(self, text: str, at_s: float) -> Turn:
        since_s, until_s = self._speech_since_s, self._speech_until_s
        self._speech_since_s = None
        speech_s = until_s - since_s if since_s is not None and until_s is not None and since_s < until_s else None
        return Turn(
            at_s=at_s if speech_s is None or until_s is None else until_s,
            speaker="user",
            text=text.strip(),
            conversation_id=self._conversation_id,
            speech_ms=None if speech_s is None else round(speech_s * 1000),
        )

    def _of_writer(self, typed: events.Typed) -> Turn:
        return Turn(typed.at_s, "user", typed.text.strip(), self._conversation_id)

    def _text(self, number: int, text: str, corrected: bool, at_s: float) -> None:
        answer = self._answers.get(number)
        if corrected:
            if answer is not None:
                answer.corrected = text
        elif answer is not None:
            # A further text before any further sound.
            answer.text = f"{answer.text} {text}".strip()[:MAX_TEXT_CHARS]
        elif text and len(self._answers) < MOST_PENDING:
            answer = self._answers[number] = _Answer(number, at_s, text)
            if self._sounding is not None and self._sounding[0] == number:
                self._sounds(answer, self._sounding[1])

    def _started(self, number: int, at_s: float) -> list[Turn]:
        # What was to sound before this one will not sound any more.
        done = self._give(lambda answer: answer.number < number)
        answer = self._answers.get(number)
        if answer is None:
            self._sounding = number, at_s
        else:
            answer.ended_s = None
            if answer.started_s is None:
                self._sounds(answer, at_s)
        return done

    def _sounds(self, answer: _Answer, at_s: float) -> None:
        answer.started_s = at_s
        if self._speech_until_s is not None and self._speech_until_s < at_s:
            answer.answered_ms = round((at_s - self._speech_until_s) * 1000)
        self._speech_until_s = None

    def _ended(self, event: events.AnswerEnded) -> None:
        if (answer := self._answers.get(event.answer)) is not None:
            answer.ended_s, answer.finished = event.at_s, event.finished
            answer.heard_ms, answer.total_ms = event.heard_ms, event.total_ms

    def _give(self, is_complete: Callable[[_Answer], bool]) -> list[Turn]:
        complete = [answer for answer in self._answers.values() if is_complete(answer)]
        for answer in complete:
            del self._answers[answer.number]
        return [self._of_agent(answer) for answer in complete]

    def _of_agent(self, answer: _Answer) -> Turn:
        cut = answer.ended_s is not None and not answer.finished
        if answer.corrected is not None:
            text, cut = answer.corrected, True
        else:
            text = words_heard(answer.text, answer.heard_ms, answer.total_ms) if cut else answer.text
        return Turn(
            at_s=answer.said_s if answer.started_s is None else answer.started_s,
            speaker="agent",
            text=text,
            conversation_id=self._conversation_id,
            answered_ms=answer.answered_ms,
            heard_ms=answer.heard_ms,
            interrupted=cut,
        )
