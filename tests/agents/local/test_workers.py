"""The threads of recogniser and voice."""

from __future__ import annotations

import asyncio
import threading

from parleyd.embedded.figures import Figures
from parleyd.embedded.recognise import NoEars
from parleyd.embedded.workers import Workers


class HeldVoice:
    """Speaks when it is let."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.may_speak = threading.Event()

    def say(self, text: str, rate_hz: int) -> bytes:
        self.begun.set()
        assert self.may_speak.wait(60)
        return b"\0\0" * rate_hz

    def close(self) -> None: ...


def test_how_long_a_sentence_waits_for_the_voice_is_a_figure() -> None:
    """The clock is the test's: the second sentence is asked for at 10 s, and the voice is free at 13 s."""
    clock_s = 10.0
    voice, figures = HeldVoice(), Figures()
    workers = Workers(NoEars(), voice, figures, now_s=lambda: clock_s)

    async def run() -> None:
        nonlocal clock_s
        first = asyncio.create_task(workers.say("One.", 8000))
        assert await asyncio.to_thread(voice.begun.wait, 60)
        second = asyncio.create_task(workers.say("Two.", 8000))
        # Now the second one waits.
        await asyncio.sleep(0)
        clock_s = 13.0
        voice.may_speak.set()
        await asyncio.gather(first, second)

    asyncio.run(run())
    workers.close()
    assert figures.voice_queue.count == 2
    assert figures.voice_queue.sum_s == 3.0
