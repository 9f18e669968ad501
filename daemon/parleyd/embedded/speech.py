"""The embedded agent's text to speech: the WebSocket `…/text-to-speech/{voice_id}/stream-input`, with its one voice.

It follows the real service: the first text is a single space; a flush or an empty text makes it speak; after the empty
text come the final message and the close; an error is a message with `error` and a close with 1008.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from binascii import b2a_base64
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from parleyd.agents.elevenlabs.formats import parse_format
from parleyd.audio import pcm as sound
from parleyd.audio.pcm import AudioFormat
from parleyd.embedded.scenario import SpeechScript
from parleyd.embedded.settings import AgentSettings
from parleyd.embedded.spoken import sentences
from parleyd.embedded.voice import VoiceError
from parleyd.embedded.workers import Workers

SPEECH_PATH = re.compile(r"/v1/text-to-speech/(?P<voice_id>[^/]+)/stream-input$")
# The number of waiting characters that are spoken without a flush: the default of `chunk_length_schedule`.
CHUNK_CHARS = 120
INACTIVITY_S = 20.0
_NOT_HERE = ("pcm_48000",)


@dataclass(eq=False)
class SpeechRecord:
    """The requests of one connection. texts: as received, without the first. closed_by: the side that ended it."""

    voice_id: str
    query: dict[str, str]
    began_s: float = field(default_factory=time.monotonic)
    texts: list[str] = field(default_factory=list)
    flushes: int = 0
    chunks: int = 0
    over: bool = False


class _EndedError(Exception):
    """The script, or an error of the client, has ended the connection: error, message, code; no code: the connection
    drops."""

    def __init__(self, code: int | None, error: str = "", message: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.error = error


class _Text(msgspec.Struct):
    text: str
    flush: bool = False


class SpeechStream:
    """run() serves one connection to its end."""

    def __init__(
        self,
        socket: ServerConnection,
        settings: AgentSettings,
        script: SpeechScript,
        workers: Workers,
        is_key: Callable[[str], bool],
    ) -> None:
        request = socket.request
        assert request is not None
        parts = urlsplit(request.path)
        found = SPEECH_PATH.search(parts.path.rstrip("/"))
        assert found is not None
        query = {name: values[0] for name, values in parse_qs(parts.query).items() if name != "authorization"}
        self.record = SpeechRecord(unquote(found["voice_id"]), query)
        self._socket = socket
        self._settings = settings
        self._script = script
        self._workers = workers
        self._may = not (settings.require_auth or settings.api_key) or is_key(request.headers.get("xi-api-key", ""))
        self._is_first = True
        self._waiting = ""

    async def run(self) -> None:
        try:
            await self._serve()
        except _EndedError as ended:
            if ended.code is None:
                self._socket.transport.abort()
            else:
                with contextlib.suppress(ConnectionClosed):
                    if ended.error:
                        told = {"message": str(ended) or ended.error, "error": ended.error, "code": ended.code}
                        await self._send(told)
                    await self._socket.close(ended.code, (str(ended) or ended.error)[:100])
        except ConnectionClosed:
            # The client went away while it was spoken to.
            with contextlib.suppress(ConnectionClosed, _EndedError):
                while True:
                    self._note(await self._socket.recv())
        finally:
            self.record.over = True

    async def _serve(self) -> None:
        fmt = self._format()
        while True:
            try:
                # Not by wait_for: in Python 3.11 it loses a cancellation that comes together with a message.
                async with asyncio.timeout(INACTIVITY_S):
                    raw = await self._socket.recv()
            except TimeoutError:
                why = f"Have not received a new text input within the timeout of {INACTIVITY_S:g} seconds."
                raise _EndedError(1008, "input_timeout_exceeded", why) from None
            told = self._note(raw)
            if told is None:
                continue
            self._waiting += told.text
            if told.flush or not told.text or len(self._waiting) >= CHUNK_CHARS:
                text, self._waiting = self._waiting, ""
                await self._speak(text, fmt)
            if not told.text:
                break
        await self._end_by_script()
        if self._script.final:
            await self._send({"audio": None, "isFinal": True})
        await self._socket.close(1000)

    def _note(self, raw: str | bytes) -> _Text | None:
        """Records a message of the client. Returns its text, None for the first one. Raises _EndedError."""
        try:
            told = msgspec.json.decode(raw, type=_Text)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise _EndedError(1008, "invalid_input_message", "Could not parse input message.") from None
        if self._is_first:
            self._is_first = False
            if not self._may:
                raise _EndedError(1008, "invalid_api_key", "Invalid API key")
            if self._settings.voice_ids is not None and self.record.voice_id not in self._settings.voice_ids:
                why = f"A voice with the voice_id {self.record.voice_id} does not exist."
                raise _EndedError(1008, "voice_id_does_not_exist", why)
            if told.text != " ":
                raise _EndedError(1008, "invalid_input_message", "The first text must be a single space.")
            return None
        self.record.texts.append(told.text)
        self.record.flushes += told.flush
        return told

    def _format(self) -> AudioFormat:
        name = self.record.query.get("output_format", "mp3_44100_128")
        try:
            if name in _NOT_HERE:
                raise ValueError
            return parse_format(name)
        except ValueError:
            raise _EndedError(1008, "invalid_output_format", f"The output_format {name} is not spoken here.") from None

    async def _speak(self, text: str, fmt: AudioFormat) -> None:
        chunk_bytes = self._settings.chunk_ms * fmt.rate_hz // 1000 * sound.BYTES_PER_SAMPLE
        for sentence in sentences(text):
            try:
                pcm = await self._workers.say(sentence, fmt.rate_hz)
            except VoiceError as error:
                raise _EndedError(1011, "internal_error", str(error)) from error
            for at in range(0, len(pcm), chunk_bytes):
                await self._end_by_script()
                piece = pcm[at : at + chunk_bytes]
                if self.record.chunks == 0:
                    await asyncio.sleep(self._script.delay_s)
                data = b2a_base64(sound.encode(fmt, piece), newline=False).decode()
                await self._send({"audio": data, "isFinal": None, "alignment": None, "normalizedAlignment": None})
                self.record.chunks += 1
                if self._settings.stream_speed:
                    seconds = len(piece) / sound.BYTES_PER_SAMPLE / fmt.rate_hz
                    await asyncio.sleep(seconds / self._settings.stream_speed)

    async def _end_by_script(self) -> None:
        end = self._script.end
        if end is None or self.record.chunks < end.after_chunks:
            return
        raise _EndedError(None if end.drop else end.code, end.error, end.message)

    async def _send(self, message: dict[str, object]) -> None:
        await self._socket.send(msgspec.json.encode(message).decode())
