"""A Wyoming server as a process of its own: the package's server, with flite as the voice and fixed words as the ears.

python wyoming_parts.py WORDS [TEXTS]: prints its port. WORDS: what every utterance is; `silent`: never answers;
`error`: reports an error; `leaves`: closes the connection; `garbage`: sends what is no event. TEXTS: so many texts are
spoken, and at all further ones the connection is closed.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial

from wyoming.asr import Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event
from wyoming.server import AsyncEventHandler, AsyncTcpServer
from wyoming.tts import Synthesize

from parleyd.embedded.voice import Voice

RATE_HZ = 22_050


class Parts(AsyncEventHandler):
    texts = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000

    def __init__(self, voice: Voice, words: str, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._voice = voice
        self._words = words
        self._heard_bytes = 0

    async def handle_event(self, event: Event) -> bool:
        if self._words == "silent":
            return True
        if self._words in ("error", "leaves", "garbage") and event.type in ("audio-stop", "synthesize"):
            if self._words == "error":
                await self.write_event(Event("error", {"text": "What time is it is too hard."}))
            elif self._words == "garbage":
                self.writer.write(b"this is no event\n")
                await self.writer.drain()
            return False
        if AudioChunk.is_type(event.type):
            self._heard_bytes += len(AudioChunk.from_event(event).audio)
        elif AudioStop.is_type(event.type):
            await self.write_event(Transcript(self._words if self._heard_bytes else "").event())
        elif Synthesize.is_type(event.type):
            Parts.texts -= 1
            if Parts.texts < 0:
                return False
            pcm = self._voice.say(Synthesize.from_event(event).text, RATE_HZ)
            await self.write_event(AudioStart(RATE_HZ, 2, 1).event())
            for start in range(0, len(pcm), 4096):
                await self.write_event(AudioChunk(RATE_HZ, 2, 1, pcm[start : start + 4096]).event())
            await self.write_event(AudioStop().event())
        return True


async def main() -> None:
    server = AsyncTcpServer("127.0.0.1", 0)
    with Voice("slt") as voice:
        await server.start(partial(Parts, voice, sys.argv[1]))
        listening = server._server
        assert isinstance(listening, asyncio.Server)
        print(listening.sockets[0].getsockname()[1], flush=True)
        await asyncio.Event().wait()


asyncio.run(main())
