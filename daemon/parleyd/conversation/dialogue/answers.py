"""The agent's answers as the daemon counts them: numbers in place of the provider's ids. Pure.

Numbers grow over all sessions; ids are those of one session. An answer is remembered until MOST later ones have begun.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence

from msgspec import Struct

from parleyd.agents.commands import HeardOf
from parleyd.audio.playback.playhead import HeardPart

# The number of answers of one session that are remembered.
MOST = 64


class Answer(Struct):
    """is_cut: no more of its sound is played. has_ended: the agent has said that no more will come. is_streaming:
    pieces of its text come. may_be_another: see AnswerBegins. heard_ms, total_ms: as told by the speaker."""

    answer_id: str
    number: int
    is_greeting: bool = False
    has_sound: bool = False
    has_ended: bool = False
    is_cut: bool = False
    is_streaming: bool = False
    may_be_another: bool = False
    heard_ms: int = 0
    total_ms: int = 0
    is_heard_out: bool = False


class Answers:
    """The answers of the session that is open."""

    def __init__(self) -> None:
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._last = 0
        # The number of the last answer whose sound was played.
        self.sounding = 0
        # The number of the last answer of all sessions before this one.
        self.last_of_before = 0

    def clear(self) -> None:
        """Another session begins, or none is open: ids mean nothing any more, numbers go on."""
        self._answers.clear()
        self.last_of_before = self._last

    def __iter__(self) -> Iterator[Answer]:
        return iter(self._answers.values())

    def of(self, answer_id: str) -> Answer:
        """The answer with this id, which begins if it is not known."""
        answer = self._answers.get(answer_id)
        if answer is None:
            self._last += 1
            answer = self._answers[answer_id] = Answer(answer_id, self._last)
            if len(self._answers) > MOST:
                self._answers.popitem(last=False)
        return answer

    def known(self, answer_id: str | None) -> Answer | None:
        return None if answer_id is None else self._answers.get(answer_id)

    def heard(self, heard: HeardPart) -> None:
        """The speaker tells how much of an answer was heard."""
        for answer in self:
            if answer.number == heard.answer:
                answer.heard_ms, answer.total_ms = heard.heard_ms, heard.total_ms
                answer.is_heard_out = heard.finished

    @property
    def is_speaking(self) -> bool:
        """An answer is being given: more of it may come, or sound of it waits to be heard."""
        return any(
            not answer.is_cut and (not answer.has_ended or (answer.has_sound and not answer.is_heard_out))
            for answer in self
        )

    def cut(self) -> tuple[Answer, ...]:
        """Cuts all answers that have begun. Returns those that were not cut before."""
        cut = tuple(answer for answer in self if not answer.is_cut)
        for answer in cut:
            answer.is_cut = True
        return cut


def heard_of(cut: Sequence[Answer], cleared: Sequence[HeardPart]) -> tuple[HeardOf, ...]:
    """The parts that were heard of the answers that were cut, in order; without those that were heard to their end.

    cleared: what the speaker threw away.
    """
    now = {heard.answer: heard for heard in cleared}
    parts: list[HeardOf] = []
    for answer in cut:
        heard = now.get(answer.number)
        if heard is not None and not heard.finished:
            parts.append(HeardOf(answer.answer_id, heard.heard_ms, heard.total_ms))
        elif not answer.has_ended:
            parts.append(HeardOf(answer.answer_id, answer.heard_ms, answer.total_ms))
    return tuple(parts)
