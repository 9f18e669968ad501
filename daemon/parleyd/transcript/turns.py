"""Makes turns, as really heard, from the events of the bus. Pure.

A turn of the agent is complete when its sound is over and no more of it can come: its correction comes after the
interruption, and an answer that seemed finished may go on after a delay in the network.

Words of the person that are expected keep their place: what comes after them waits for them, for WORDS_WITHIN_S at
most. If they do not come although the agent has answered, the turn says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from msgspec import Struct, field

from parleyd.agents.events import MAX_TEXT_CHARS
from parleyd.conversation.dialogue.history import words_heard
from parleyd.core import events

# How long after its end an answer may still be corrected or continued.
SETTLED_AFTER_S = 2.0
# How many texts may wait for their sound, and how many words of the person; a real conversation never has more.
MOST_PENDING = 50
# How long the words of the person are waited for.
WORDS_WITHIN_S = 10.0
NOT_TRANSCRIBED = "(not transcribed)"


class Turn(Struct, frozen=True):
    """at_s: when the person had spoken, or when the answer became audible (monotonic).

    For the person: speech_ms is the duration of the speech. For the agent: answered_ms is the time from the end of the
    person's speech to the first sound; heard_ms is the duration that was played (0: a text without a voice);
    interrupted: `text` contains only the words that were heard. For parleyd: a remark of the transcript itself.
    """

    at_s: float
    speaker: Literal["user", "agent", "parleyd"]
    text: str
    conversation_id: str
    speech_ms: int | None = None
    answered_ms: int | None = None
    heard_ms: int | None = None
    interrupted: bool = False


class _Answer(Struct):
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

    @property
    def place_s(self) -> float:
        return self.said_s if self.started_s is None else min(self.said_s, self.started_s)


class _Person(Struct):
    """A turn of the person. said: the number of the words; 0: they were typed. text: None while they are
    waited for. since_s, until_s: of the speech. is_answered: the agent has said something since."""

    said: int
    at_s: float
    text: str | None = None
    since_s: float | None = None
    until_s: float | None = None
    is_answered: bool = False


class Turns(Struct):
    """Takes every event in order; returns turns as soon as they are complete."""

    _answers: dict[int, _Answer] = field(default_factory=dict)
    # Turns of the person, from the first words on that are waited for.
    _waiting: list[_Person] = field(default_factory=list)
    _conversation_id: str = ""
    _speech_since_s: float | None = None
    _speech_until_s: float | None = None
    # The answer that is being played, and since when: its text may come later.
    _sounding: tuple[int, float] | None = None
    _over_s: float | None = None
    _is_open: bool = False
    # Texts typed while no session was open; they belong to the next session, unless they are lost before.
    _typed: list[events.Typed] = field(default_factory=list)
    _is_silent: bool = False  # the daemon has no sound: an answer consists of its text only

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
                # The agent's goodbye may still be playing.
                self._over_s, self._is_open = event.at_s, False
                self._give_up(lambda _person: True)
                return self._flush()
            case events.TypedLost(typed_s=typed_s):
                self._typed = [typed for typed in self._typed if typed.at_s != typed_s]
            case events.UtteranceStarted():
                self._speech_since_s = event.at_s
            case events.TalkStopped():
                self._talk_stopped(event.at_s)
            case events.WordsExpected(said=said):
                return self._add(self._speech(said, event.at_s))
            case events.Heard(text=text, final=True, said=said):
                return self._words(said, text.strip(), event.at_s)
            case events.NotTranscribed(said=said):
                for person in self._waiting:
                    if person.said == said and person.text is None:
                        person.text = NOT_TRANSCRIBED
                return self._flush()
            case events.Typed() if not self._is_open:
                if len(self._typed) < MOST_PENDING:
                    self._typed.append(event)
            case events.Typed():
                return self._add(_Person(0, event.at_s, event.text.strip()))
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
        """Returns the turns that are complete because nothing was added for a while."""
        self._give_up(lambda person: now_s - person.at_s >= WORDS_WITHIN_S)
        done = self._flush()
        over = self._over_s is not None and now_s - self._over_s >= SETTLED_AFTER_S
        return done + self._give(
            lambda answer: over if answer.started_s is None else now_s - (answer.ended_s or now_s) >= SETTLED_AFTER_S
        )

    @property
    def waits(self) -> bool:
        """Whether settle() may return a turn later."""
        return bool(self._answers or self._waiting)

    def finish(self) -> list[Turn]:
        """Returns all remaining turns."""
        self._give_up(lambda _person: True)
        return self._flush() + self._give(lambda _answer: True)

    # ------------------------------------------------------------ the person

    def _talk_stopped(self, at_s: float) -> None:
        self._speech_until_s = at_s
        if self._waiting and self._waiting[-1].until_s is None:
            self._waiting[-1].until_s = at_s

    def _speech(self, said: int, at_s: float, text: str | None = None) -> _Person:
        """The turn that has just been spoken, with the times of the speech."""
        since_s, until_s = self._speech_since_s, self._speech_until_s
        self._speech_since_s = None
        is_over = since_s is not None and until_s is not None and since_s < until_s
        return _Person(said, at_s, text, since_s, until_s if is_over else None)

    def _add(self, person: _Person) -> list[Turn]:
        """Behind all that was said so far."""
        done = self._give(_is_over)
        self._waiting.append(person)
        if len(self._waiting) > MOST_PENDING:
            self._give_up(lambda _person: True)
        return done + self._flush()

    def _words(self, said: int, text: str, at_s: float) -> list[Turn]:
        for person in self._waiting:
            if said and person.said == said and person.text in (None, NOT_TRANSCRIBED):
                person.text = text
                return self._flush()
        return self._add(self._speech(said, at_s, text)) if text else []

    def _give_up(self, is_meant: Callable[[_Person], bool]) -> None:
        """Words that were not answered either are said again in the next session, or were a noise."""
        for person in self._waiting:
            if person.text is None and is_meant(person):
                person.text = NOT_TRANSCRIBED if person.is_answered else ""

    def _flush(self) -> list[Turn]:
        """All that the person said up to the first words that are still waited for, with the answers between."""
        done: list[Turn] = []
        while self._waiting and (text := self._waiting[0].text) is not None:
            done += self._give(_is_over)
            person = self._waiting.pop(0)
            if text:
                done.append(self._of_person(person, text))
        return done

    def _of_person(self, person: _Person, text: str) -> Turn:
        since_s, until_s = person.since_s, person.until_s
        speech_s = until_s - since_s if since_s is not None and until_s is not None else None
        return Turn(
            at_s=person.at_s if until_s is None else until_s,
            speaker="user",
            text=text,
            conversation_id=self._conversation_id,
            speech_ms=None if speech_s is None else round(speech_s * 1000),
        )

    def _of_writer(self, typed: events.Typed) -> Turn:
        return Turn(typed.at_s, "user", typed.text.strip(), self._conversation_id)

    # ------------------------------------------------------------ the agent

    def _text(self, number: int, text: str, corrected: bool, at_s: float) -> None:
        answer = self._answers.get(number)
        if corrected:
            if answer is not None:
                answer.corrected = text
        elif answer is not None:
            # This is a second text before any new sound.
            answer.text = f"{answer.text} {text}".strip()[:MAX_TEXT_CHARS]
        elif text and len(self._answers) < MOST_PENDING:
            answer = self._answers[number] = _Answer(number, at_s, text)
            for person in self._waiting:
                person.is_answered = True
            if self._sounding is not None and self._sounding[0] == number:
                self._sounds(answer, self._sounding[1])

    def _started(self, number: int, at_s: float) -> list[Turn]:
        # Earlier answers that have not been played yet will not be played any more.
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
        # The oldest words that are waited for come before all that was said after them.
        until_s = self._waiting[0].at_s if self._waiting else float("inf")
        complete = [answer for answer in self._answers.values() if answer.place_s <= until_s and is_complete(answer)]
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


def _is_over(answer: _Answer) -> bool:
    return answer.ended_s is not None
