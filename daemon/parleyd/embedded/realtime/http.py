"""OpenAI's HTTP requests that belong to a voice: the models, and text to speech. Used on the server's loop.

GET /v1/models and /v1/models/{id}; POST /v1/audio/speech, with the one voice, as PCM at 24 kHz or as WAV.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from parleyd.audio.pcm import BYTES_PER_SAMPLE
from parleyd.embedded import posts
from parleyd.embedded.api import json_response
from parleyd.embedded.posts import Post, RefusedPostError
from parleyd.embedded.realtime.front import has_key
from parleyd.embedded.realtime.items import WIRE_RATE_HZ
from parleyd.embedded.scenario import SpeechScript
from parleyd.embedded.settings import AgentSettings
from parleyd.embedded.speech import SpeechRecord
from parleyd.embedded.spoken import sentences
from parleyd.embedded.voice import VoiceError
from parleyd.embedded.workers import Workers

MODELS_PATH = "/v1/models"
SPEECH_PATH = "/v1/audio/speech"
MOST_INPUT_CHARS = 4096
# Text to speech has voices that the sessions of the Realtime protocol do not have.
MORE_SPEECH_VOICES = ("fable", "nova", "onyx")


class _Speech(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    model: str
    input: str
    voice: str | dict[str, str]
    # The service's own default is mp3, which is not spoken here.
    response_format: str = "mp3"
    instructions: str = ""
    speed: float = 1.0
    stream_format: str = "audio"


class Http:
    """The models of the settings, and the speech of the embedded voice."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings

    def answer(self, request: Request) -> Response | None:
        """The answer to a request for models; None: the request is for another part of the server."""
        path = urlsplit(request.path).path.rstrip("/")
        before, _, last = path.rpartition("/")
        is_list = path.endswith(MODELS_PATH)
        if not self._settings.realtime.dialect.models or not (is_list or before.endswith(MODELS_PATH)):
            return None
        if not has_key(request.headers, self._settings):
            return json_response(401, _error("invalid_api_key", "Incorrect API key provided."))
        known = self._settings.realtime.models
        if is_list:
            return json_response(200, {"object": "list", "data": [self._model(model) for model in known]})
        model = unquote(last)
        if model not in known:
            return json_response(404, _error("model_not_found", f"The model '{model}' does not exist", "model"))
        return json_response(200, self._model(model))

    def _model(self, model: str) -> dict[str, Any]:
        shutdown_date = self._settings.realtime.shutdown_dates.get(model)
        return {"id": model, "object": "model", "created": 0, "owned_by": "parleyd", "shutdown_date": shutdown_date}

    # ---------------------------------------------------------------- speech

    def speaks(self, path: str) -> bool:
        return path.endswith(SPEECH_PATH)

    def speech_record(self, post: Post) -> SpeechRecord:
        """The record of a request, which is checked. Raises RefusedPostError."""
        headers = Headers([(name, str(value)) for name, value in post.headers.items()])
        if not has_key(headers, self._settings):
            raise _refused(401, "invalid_api_key", "Incorrect API key provided.")
        try:
            asked = msgspec.json.decode(post.body, type=_Speech)
        except msgspec.MsgspecError as error:
            raise _refused(400, "invalid_value", str(error)) from None
        if asked.response_format not in ("pcm", "wav"):
            text = f"The format {asked.response_format} is not spoken here; ask for pcm or wav."
            raise _refused(400, "invalid_value", text, "response_format")
        voice = asked.voice if isinstance(asked.voice, str) else asked.voice.get("id", "")
        known = (*self._settings.realtime.voices, *MORE_SPEECH_VOICES)
        if isinstance(asked.voice, str) and voice not in known:
            text = f"There is no voice {voice}; known are {', '.join(known)}."
            raise _refused(400, "invalid_value", text, "voice")
        if not asked.input.strip() or len(asked.input) > MOST_INPUT_CHARS:
            text = f"The input must have 1 to {MOST_INPUT_CHARS} characters."
            raise _refused(400, "invalid_value", text, "input")
        query = {"model": asked.model, "response_format": asked.response_format}
        return SpeechRecord(voice, query, texts=[asked.input])

    async def speak(
        self, transport: asyncio.Transport, script: SpeechScript, workers: Workers, record: SpeechRecord
    ) -> None:
        """Sends the sound, sentence by sentence, with the faults of the script. Raises RefusedPostError."""
        handshake = script.handshake
        await asyncio.sleep(handshake.delay_s)
        if handshake.drop:
            transport.abort()
            return
        if handshake.garbage is not None:
            transport.write(handshake.garbage.encode())
            return
        if handshake.status is not None:
            body = handshake.body.encode()
            transport.write(posts.head(handshake.status, "application/json", f"Content-Length: {len(body)}") + body)
            return
        is_wav = record.query["response_format"] == "wav"
        chunk_bytes = self._settings.chunk_ms * WIRE_RATE_HZ // 1000 * BYTES_PER_SAMPLE
        for index, sentence in enumerate(sentences(record.texts[0])):
            try:
                pcm = await workers.say(sentence, WIRE_RATE_HZ)
            except VoiceError as error:
                if index == 0:
                    raise _refused(500, "server_error", str(error)) from error
                transport.abort()
                return
            if index == 0:
                await asyncio.sleep(script.delay_s)
                kind = "audio/wav" if is_wav else "audio/pcm"
                transport.write(posts.head(200, kind, "Transfer-Encoding: chunked"))
                if is_wav:
                    transport.write(_chunk(_wav_head()))
            for at in range(0, len(pcm), chunk_bytes):
                if script.end is not None and record.chunks >= script.end.after_chunks:
                    transport.abort()
                    return
                transport.write(_chunk(pcm[at : at + chunk_bytes]))
                record.chunks += 1
                if self._settings.stream_speed:
                    seconds = self._settings.chunk_ms / 1000
                    await asyncio.sleep(seconds / self._settings.stream_speed)
        transport.write(b"0\r\n\r\n")
        record.over = True


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _wav_head() -> bytes:
    """The head of a WAV file of unknown length, as the service sends it."""
    unknown = 0xFFFFFFFF
    rate = (1, 1, WIRE_RATE_HZ, WIRE_RATE_HZ * BYTES_PER_SAMPLE, BYTES_PER_SAMPLE, 8 * BYTES_PER_SAMPLE)
    return struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", unknown, b"WAVE", b"fmt ", 16, *rate, b"data", unknown)


def _error(code: str, message: str, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


def _refused(status: int, code: str, message: str, param: str | None = None) -> RefusedPostError:
    return RefusedPostError(status, message, _error(code, message, param))
