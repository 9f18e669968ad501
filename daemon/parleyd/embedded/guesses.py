"""Turns that are begun before it is certain that they are over: understood, and then answered, in the silence that may
be a pause. For both protocols. Runs on the server's event loop.

Nothing of a guess leaves before the silence is long enough; by then the words are the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from parleyd.embedded.figures import Figures
from parleyd.embedded.recognise import NOT_UNDERSTOOD
from parleyd.embedded.settings import AgentSettings
from parleyd.embedded.workers import Workers


def guess_after_ms(settings: AgentSettings, end_of_speech_ms: int) -> int:
    """The silence after which a guess is begun; 0: there are none. The script's answers cost no time, and its ears
    cannot be stopped."""
    is_wanted = settings.mind is not None and settings.guess_after_ms < end_of_speech_ms
    return settings.guess_after_ms if is_wanted else 0


class Guesses:
    """drop_answer: gives up the answer that is begun; of a part of the session, since the session itself would keep
    itself by it."""

    def __init__(self, workers: Workers, figures: Figures, drop_answer: Callable[[], None]) -> None:
        self._workers = workers
        self._figures = figures
        self._drop_answer = drop_answer
        self._words: asyncio.Task[str] | None = None
        # Also those whose utterance waits for an earlier one.
        self.tasks: set[asyncio.Task[str]] = set()

    def begin(self, pcm: bytes, answer: Callable[[str], None]) -> None:
        """The person may have said all. pcm: the utterance so far, 16 kHz. answer: begins the answer to these words."""
        self.drop()
        self._figures.guesses += 1
        self._words = asyncio.create_task(self._understand(pcm, answer))
        self.tasks.add(self._words)
        self._words.add_done_callback(self.tasks.discard)

    async def _understand(self, pcm: bytes, answer: Callable[[str], None]) -> str:
        text = await self._workers.transcribe(pcm, final=True)
        if text != NOT_UNDERSTOOD:
            answer(text)
        return text

    def drop(self) -> None:
        """The person goes on, or is gone."""
        words, self._words = self._words, None
        if words is not None:
            words.cancel()
        self._drop_answer()

    def take(self) -> asyncio.Task[str] | None:
        """The utterance is over: its words, which are there or will be; None if there was no guess."""
        words, self._words = self._words, None
        self._figures.guesses_used += words is not None
        return words
