"""Runs recogniser and voice on separate threads, so that the sockets never wait for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from parleyd.embedded.figures import Figures
from parleyd.embedded.recognise import Ears
from parleyd.embedded.voice import Speaking

# Parts behind an address work on several sentences at once; a local decoder holds the state of one utterance.
_AT_ONCE = 8


class Workers:
    """One recogniser and one voice, shared by all connections; used by the server's loop only. now_s: monotonic."""

    def __init__(
        self,
        ears: Ears,
        voice: Speaking,
        figures: Figures,
        *,
        ears_elsewhere: bool = False,
        voice_elsewhere: bool = False,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._figures = figures
        self._now_s = now_s
        self._ears = ears
        self._voice = voice
        self._listener = ThreadPoolExecutor(_AT_ONCE if ears_elsewhere else 1, thread_name_prefix="agent-ears")
        self._speaker = ThreadPoolExecutor(_AT_ONCE if voice_elsewhere else 1, thread_name_prefix="agent-voice")

    async def transcribe(self, pcm: bytes, *, final: bool) -> str:
        """pcm: at 16 kHz."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._listener, lambda: self._ears.transcribe(pcm, final=final))

    async def say(self, text: str, rate_hz: int) -> bytes:
        """PCM at rate_hz. Raises VoiceError."""
        asked_s = began_s = self._now_s()

        def speak() -> bytes:
            nonlocal began_s
            began_s = self._now_s()
            return self._voice.say(text, rate_hz)

        pcm = await asyncio.get_running_loop().run_in_executor(self._speaker, speak)
        self._figures.voice_queue.add(began_s - asked_s)
        return pcm

    def close(self) -> None:
        """Waits for running work, then closes."""
        self._listener.shutdown(cancel_futures=True)
        self._speaker.shutdown(cancel_futures=True)
