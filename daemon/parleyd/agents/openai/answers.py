"""The answers of one session: of which items their sound consists, and how much of it the server has sent. Pure.

An answer is a response of the server's. It may have several items with sound, one behind the other, and each of them
has to be shortened by itself when the person interrupts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from parleyd.agents.events import MAX_TEXT_CHARS
from parleyd.agents.openai.server_messages import ItemPart

# Older ones are forgotten: nothing of them waits to be heard any more.
MOST_ANSWERS = 64
# How long after the end of its sound an answer may still be heard: the speaker's own delay, and a pause in the line.
HEARD_AFTER_S = 5.0


@dataclass(slots=True)
class Item:
    """A message of the agent's. received_bytes: of sound. is_whole: no more comes."""

    received_bytes: int = 0
    is_whole: bool = False


@dataclass(slots=True)
class Answer:
    """An answer.

    is_void: sound that still comes is dropped. is_cancelled: the server has stopped, or was told to. is_over: its
    response.done has come. open_calls: calls of tools without a result. arguments: calls, as they were announced.
    pieces: of texts that are not whole yet, by item and part; piece_chars: of all that were kept; texts_done: those
    that are whole. has_pieces: some were passed on. takes_ms: the end of the speech that it answers, until its first
    content has come. sound_until_s: when the last of its sound will have been heard.
    """

    id: str
    is_greeting: bool = False
    items: dict[str, Item] = field(default_factory=dict)
    is_void: bool = False
    is_cancelled: bool = False
    is_over: bool = False
    open_calls: set[str] = field(default_factory=set)
    result_items: set[str] = field(default_factory=set)
    arguments: list[ItemPart] = field(default_factory=list)
    pieces: dict[str, list[str]] = field(default_factory=dict)
    piece_chars: int = 0
    texts_done: set[str] = field(default_factory=set)
    has_pieces: bool = False
    sound_until_s: float = 0.0
    takes_ms: int | None = None

    def add(self, key: str, text: str) -> str:
        """A further piece of a text. Returns what of it is within the bound of a text."""
        self.has_pieces = True
        text = text[: max(0, MAX_TEXT_CHARS - self.piece_chars)]
        if text:
            self.piece_chars += len(text)
            self.pieces.setdefault(key, []).append(text)
        return text

    @property
    def has_sound(self) -> bool:
        return any(item.received_bytes for item in self.items.values())

    def item(self, item_id: str) -> Item:
        return self.items.setdefault(item_id, Item())

    def unheard(self, heard_ms: int, bytes_per_ms: float) -> Iterator[tuple[str, int]]:
        """(item, milliseconds of it that were heard) of each item that was not heard to its end.

        Clamped to what was received. Nothing for an item of which no sound has come: a server refuses that.
        """
        left_ms = heard_ms
        for item_id, item in self.items.items():
            received_ms = int(item.received_bytes / bytes_per_ms)
            if item.received_bytes == 0:
                continue
            of_it_ms = min(max(left_ms, 0), received_ms)
            left_ms -= received_ms
            is_heard = of_it_ms >= received_ms
            if not is_heard or not (item.is_whole or self.is_over):
                yield item_id, of_it_ms


class Answers:
    """The newest answers, in the order in which they began."""

    def __init__(self) -> None:
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._sound_until_s = 0.0

    def get(self, answer_id: str) -> Answer | None:
        return self._answers.get(answer_id)

    def begin(self, answer_id: str, *, is_greeting: bool = False) -> Answer:
        answer = self._answers[answer_id] = Answer(answer_id, is_greeting)
        while len(self._answers) > MOST_ANSWERS:
            self._answers.popitem(last=False)
        return answer

    def sound(self, answer: Answer, item_id: str, size_bytes: int, duration_s: float, now_s: float) -> None:
        """Counts a piece of sound. It will be heard after all that came before it."""
        answer.item(item_id).received_bytes += size_bytes
        self._sound_until_s = max(self._sound_until_s, now_s) + duration_s
        answer.sound_until_s = self._sound_until_s

    def perhaps_heard(self, now_s: float) -> list[Answer]:
        """The answers whose sound may be in the room, or wait for the speaker, oldest first."""
        return [
            answer
            for answer in self._answers.values()
            if answer.has_sound and not answer.is_void and now_s < answer.sound_until_s + HEARD_AFTER_S
        ]

    def silence(self) -> None:
        """No sound waits to be heard any more."""
        self._sound_until_s = 0.0

    def with_call(self, call_id: str) -> Answer | None:
        return next((answer for answer in self._answers.values() if call_id in answer.open_calls), None)
