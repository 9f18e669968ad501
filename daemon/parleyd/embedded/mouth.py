"""Speaks one answer after the other: makes sound of the text and messages of the sound, and knows how much has been
heard."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

from parleyd.agents.elevenlabs.formats import parse_format
from parleyd.audio import pcm as sound
from parleyd.embedded import messages
from parleyd.embedded.line import ConvaiLine
from parleyd.embedded.record import ConnectionRecord
from parleyd.embedded.script import Script
from parleyd.embedded.settings import AgentSettings
from parleyd.embedded.spoken import SpokenTurn, sentences
from parleyd.embedded.voice import VoiceError
from parleyd.embedded.workers import Workers

# The pieces of an answer that are sound already and wait to be sent.
_PIECES_AHEAD = 2


class Mouth:
    """Owns the counter of event ids: a growing number for every turn, of the person and of the agent. first_sound:
    called when the first sound of an answer leaves."""

    def __init__(
        self,
        line: ConvaiLine,
        settings: AgentSettings,
        record: ConnectionRecord,
        workers: Workers,
        script: Script,
        first_sound: Callable[[], None],
    ) -> None:
        self.is_text_only = False
        # The words of the answer that is being written, as far as the client has them.
        self.written = ""
        self.last_id = 0
        self.current_id = 0
        self._line = line
        self._settings = settings
        self._record = record
        self._workers = workers
        self._script = script
        self._first_sound = first_sound
        self._rate_hz = parse_format(settings.output_format).rate_hz
        self._reserved_id: int | None = None
        self._turn: SpokenTurn | None = None

    def next_id(self) -> int:
        self.last_id += 1
        return self.last_id

    def reserve_id(self) -> int:
        """The id that the next answer will have."""
        if self._reserved_id is None:
            self._reserved_id = self.next_id()
        return self._reserved_id

    def is_heard(self) -> bool:
        """Whether the client still has sound of the last answer to play."""
        return self._turn is not None and self._turn.is_heard(time.monotonic())

    async def wait_until_heard(self) -> None:
        """Waits until the client has played everything, so that an answer does not overlap the previous one."""
        while self._turn is not None and self.is_heard():
            await asyncio.sleep(max(0.01, self._turn.ends_s - time.monotonic()))

    async def say(self, text: str) -> None:
        """Speaks a text. Returns when all of it is sent, which is long before all of it is heard."""
        event_id = self._take_id()
        await (self._write if self.is_text_only else self._speak)(text, event_id)
        await self._end(event_id)

    async def stream(self, pieces: AsyncIterator[str]) -> None:
        """Speaks a text that is still growing, piece by piece. Its whole words are told when they are complete."""
        event_id = self._take_id()
        await (self._stream_written if self.is_text_only else self._stream_spoken)(pieces, event_id)
        await self._end(event_id)

    def _take_id(self) -> int:
        """The id of the answer that begins now."""
        self.current_id = self.reserve_id()
        self._reserved_id = None
        self.written = ""
        return self.current_id

    async def _end(self, event_id: int) -> None:
        await self._line.send(messages.agent_response_complete(event_id))
        await self._script.fire("spoken")

    async def _stream_written(self, pieces: AsyncIterator[str], event_id: int) -> None:
        said: list[str] = []
        await self._line.send(messages.agent_chat_response_part("start", "", event_id))
        async for piece in pieces:
            said.append(piece)
            await self._line.send(messages.agent_chat_response_part("delta", f"{piece} ", event_id))
            self.written = " ".join(said)
        await self._line.send(messages.agent_chat_response_part("stop", "", event_id))
        self._record.tell("says", text=" ".join(said))
        await self._line.send(messages.agent_response(" ".join(said), event_id))
        self.written = ""

    async def _stream_spoken(self, pieces: AsyncIterator[str], event_id: int) -> None:
        """The next piece is written and made into sound while this one is sent."""
        made: asyncio.Queue[tuple[str, bytes] | None] = asyncio.Queue()
        room = asyncio.Semaphore(_PIECES_AHEAD)

        async def make() -> None:
            async for piece in pieces:
                await room.acquire()
                made.put_nowait((piece, await self._workers.say(piece, self._rate_hz)))

        turn: SpokenTurn | None = None
        maker = asyncio.create_task(make())
        # The end, also of a maker that failed.
        maker.add_done_callback(lambda _: made.put_nowait(None))
        try:
            while (one := await made.get()) is not None:
                piece, pcm = one
                room.release()
                if turn is None:
                    self._turn = turn = SpokenTurn(event_id, "")
                turn.add_words(piece)
                turn.add_sentence(piece, self._seconds(pcm))
                await self._send_pcm(turn, pcm)
            await maker
            if turn is not None:
                await self._tell_words(turn)
        finally:
            maker.cancel()
            with contextlib.suppress(asyncio.CancelledError, VoiceError):
                await maker
            if turn is not None:
                turn.is_streaming = False

    async def _tell_words(self, turn: SpokenTurn) -> None:
        turn.is_told = True
        self._record.tell("says", text=turn.text)
        await self._line.send(messages.agent_response(turn.text, turn.event_id))

    async def _write(self, text: str, event_id: int) -> None:
        self._record.tell("says", text=text)
        await self._line.send(messages.agent_chat_response_part("start", "", event_id))
        for sentence in sentences(text):
            await self._line.send(messages.agent_chat_response_part("delta", f"{sentence} ", event_id))
        await self._line.send(messages.agent_chat_response_part("stop", "", event_id))
        await self._line.send(messages.agent_response(text, event_id))

    async def _speak(self, text: str, event_id: int) -> None:
        turn: SpokenTurn | None = None
        try:
            for sentence in sentences(text):
                pcm = await self._workers.say(sentence, self._rate_hz)
                if turn is None:
                    self._turn = turn = SpokenTurn(event_id, text)
                    await self._tell_words(turn)
                turn.add_sentence(sentence, self._seconds(pcm))
                await self._send_pcm(turn, pcm)
        finally:
            if turn is not None:
                turn.is_streaming = False

    async def _send_pcm(self, turn: SpokenTurn, pcm: bytes) -> None:
        chunk_bytes = self._settings.chunk_ms * self._rate_hz // 1000 * sound.BYTES_PER_SAMPLE
        for start in range(0, len(pcm), chunk_bytes):
            await self._send_chunk(turn, pcm[start : start + chunk_bytes])

    async def _send_chunk(self, turn: SpokenTurn, chunk: bytes) -> None:
        await self._line.send_audio(chunk, turn.event_id)
        is_first = turn.ends_s == 0.0
        if is_first:
            turn.begin(time.monotonic())
            self._first_sound()
        turn.add_sent(self._seconds(chunk))
        if is_first:
            await self._script.fire("speaking")
        if self._settings.stream_speed:
            await asyncio.sleep(self._seconds(chunk) / self._settings.stream_speed)

    def _seconds(self, pcm: bytes) -> float:
        return len(pcm) / sound.BYTES_PER_SAMPLE / self._rate_hz

    async def interrupt(self) -> str:
        """Tells the client to be silent, and which words of the answer count as said; returns these. No answer may be
        in progress."""
        turn, self._turn = self._turn, None
        if turn is None:
            return ""
        heard = turn.heard_text(time.monotonic())
        if not turn.is_told:
            # A correction of words that the client never had would mean nothing to it.
            await self._tell_words(turn)
        event_id = turn.event_id if self._settings.interruption_id == "turn" else self.reserve_id()
        self.current_id = event_id
        self._record.tell("interrupted", heard=heard, text=turn.text)
        await self._line.send(messages.interruption(event_id))
        await self._line.send(messages.agent_response_correction(turn.text, heard, turn.event_id))
        return heard
