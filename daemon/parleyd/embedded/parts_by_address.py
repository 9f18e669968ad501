"""Ears and voices behind an address: OpenAI's HTTP API, Wyoming, the protocol of Home Assistant's voice parts, or
ElevenLabs' text to speech.

Blocking; they run on worker threads. An ear that does not answer has understood nothing; a voice that does not answer
is replaced by the local one, so that the person is not met with silence.
"""

from __future__ import annotations

import io
import logging
import os
import socket
import threading
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import BinaryIO, cast
from urllib.parse import urlsplit

import openai
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event, read_event, write_event
from wyoming.tts import Synthesize, SynthesizeVoice

from parleyd.agents.elevenlabs.speech import ElevenLabsSpeech
from parleyd.audio.pcm import BYTES_PER_SAMPLE, PIPELINE_RATE_HZ
from parleyd.audio.resample import Resampler
from parleyd.config.schema import Announce
from parleyd.config.secrets import resolve
from parleyd.conversation.session.speech_line import sound_over_line
from parleyd.core.endings import DialError
from parleyd.core.errors import UserError
from parleyd.embedded import part_url
from parleyd.embedded.bounded_wire import BoundedWire
from parleyd.embedded.recognise import NOT_UNDERSTOOD
from parleyd.embedded.settings import PartAddress
from parleyd.embedded.voice import Voice, VoiceError

log = logging.getLogger("parleyd.agent")

# The rate of `response_format: pcm` (platform.openai.com, API reference, audio/speech).
_OPENAI_SPEECH_HZ = 24_000
_CHUNK_BYTES = PIPELINE_RATE_HZ // 10 * BYTES_PER_SAMPLE
# The rates of a sound that can be speech.
_RATES_HZ = range(4_000, 192_001)
# The rate of the sound from ElevenLabs, which an account of every size may have.
_ELEVENLABS_HZ = 16_000
# No piece of an answer is longer, and none takes longer to come; a server that goes on is given up.
_MOST_SOUND_S = 120
_MOST_ANSWER_BYTES = _MOST_SOUND_S * _RATES_HZ[-1] * BYTES_PER_SAMPLE
# The errors of the packages at JSON of another shape than they expect; neither of them checks it.
_GARBAGE = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


class _BadAnswerError(ValueError):
    """The part has sent something else than an answer; the text says what, in words of this program."""


def _nobody() -> None:
    """Nobody counts failures."""


class OpenAIEars:
    """POST /audio/transcriptions. failed: called for each utterance that is not answered, on a worker thread."""

    def __init__(self, at: PartAddress, failed: Callable[[], None] = _nobody) -> None:
        self._at = at
        self._failed = failed
        self._client = _openai_client(at)

    def transcribe(self, pcm: bytes, *, final: bool = True) -> str:
        if not final:
            # A request for each part of a sentence would cost as much as the sentence.
            return NOT_UNDERSTOOD
        file = io.BytesIO()
        with wave.open(file, "wb") as wav:
            wav.setparams((1, BYTES_PER_SAMPLE, PIPELINE_RATE_HZ, 0, "NONE", ""))
            wav.writeframes(pcm)
        try:
            answer = self._client.audio.transcriptions.create(
                file=("speech.wav", file.getvalue()),
                model=self._at.model or "whisper-1",
                language=self._at.language or openai.omit,
            )
            return _words(answer.text)
        except (openai.OpenAIError, *_GARBAGE) as error:
            return _not_heard(self._at, self._failed, error)


class WyomingEars:
    """`transcribe`, the sound, `transcript`. failed: see OpenAIEars."""

    def __init__(self, at: PartAddress, failed: Callable[[], None] = _nobody) -> None:
        self._at = at
        self._failed = failed
        _wyoming_place(at)

    def transcribe(self, pcm: bytes, *, final: bool = True) -> str:
        if not final:
            return NOT_UNDERSTOOD
        try:
            with _wyoming(self._at) as wire:
                write_event(Transcribe(name=self._at.model, language=self._at.language).event(), wire)
                write_event(AudioStart(PIPELINE_RATE_HZ, BYTES_PER_SAMPLE, 1).event(), wire)
                for start in range(0, len(pcm), _CHUNK_BYTES):
                    sound = pcm[start : start + _CHUNK_BYTES]
                    write_event(AudioChunk(PIPELINE_RATE_HZ, BYTES_PER_SAMPLE, 1, sound).event(), wire)
                write_event(AudioStop().event(), wire)
                while (event := _read(wire)) is not None:
                    if Transcript.is_type(event.type):
                        return _words(Transcript.from_event(event).text)
        except (OSError, *_GARBAGE) as error:
            return _not_heard(self._at, self._failed, error)
        return _not_heard(self._at, self._failed, _BadAnswerError("it closed the connection"))


class VoiceByAddress:
    """A voice that is spoken elsewhere, and the local one in its place while that does not answer. failed: called for
    each text that is not answered, on a worker thread."""

    def __init__(self, at: PartAddress, local: str | None, failed: Callable[[], None] = _nobody) -> None:
        self._at = at
        self._failed = failed
        self._local_name = local
        self._local: Voice | None = None
        self._lock = threading.Lock()
        self._client = _openai_client(at) if at.base_url is not None else None
        self._elevenlabs = _elevenlabs_voice(at, at.elevenlabs) if at.elevenlabs is not None else None
        if self._client is None and self._elevenlabs is None:
            _wyoming_place(at)

    def say(self, text: str, rate_hz: int) -> bytes:
        """Mono signed 16-bit PCM at rate_hz. Raises VoiceError if there is no local voice either."""
        if not any(sign.isalnum() for sign in text):
            return b""
        try:
            pcm, native_hz = self._spoken(text)
        except (openai.OpenAIError, DialError, OSError, *_GARBAGE) as error:
            self._failed()
            told = _place(self._at), _why(error)
            try:
                local = self._local_voice()
            except VoiceError:
                log.warning("the voice at %s does not answer, and there is no local one: %s", *told)
                raise
            log.warning("the voice at %s does not answer, so the local one speaks: %s", *told)
            return local.say(text, rate_hz)
        resampler = Resampler(native_hz, rate_hz)
        return resampler.process(pcm) + resampler.flush()

    def _local_voice(self) -> Voice:
        # Several sentences may fail at once.
        with self._lock:
            if self._local is None:
                self._local = Voice(self._local_name)
            return self._local

    def close(self) -> None:
        if self._local is not None:
            self._local.close()

    def _spoken(self, text: str) -> tuple[bytes, int]:
        if self._client is not None:
            return self._by_openai(text)
        if self._elevenlabs is not None:
            return self._by_elevenlabs(text)
        return self._by_wyoming(text)

    def _by_elevenlabs(self, text: str) -> tuple[bytes, int]:
        assert self._elevenlabs is not None
        pcm = bytearray()
        with closing(sound_over_line(self._elevenlabs, text, self._at.timeout_s, self._at.timeout_s)) as pieces:
            for piece in pieces:
                pcm += piece
                if len(pcm) > _MOST_SOUND_S * _ELEVENLABS_HZ * BYTES_PER_SAMPLE:
                    raise _BadAnswerError("its sound does not end")
        return _checked(bytes(pcm), _ELEVENLABS_HZ)

    def _by_openai(self, text: str) -> tuple[bytes, int]:
        assert self._client is not None
        until_s = time.monotonic() + _MOST_SOUND_S
        pcm = bytearray()
        with self._client.audio.speech.with_streaming_response.create(
            input=text, model=self._at.model or "tts-1", voice=self._at.voice or "alloy", response_format="pcm"
        ) as answer:
            # A page or a message of an error would be heard as noise.
            if answer.headers.get("content-type", "").startswith(("text/", "application/json")):
                raise _BadAnswerError("the answer is no sound")
            for piece in answer.iter_bytes():
                pcm += piece
                if len(pcm) > _MOST_SOUND_S * _OPENAI_SPEECH_HZ * BYTES_PER_SAMPLE or time.monotonic() > until_s:
                    raise _BadAnswerError("its sound does not end")
        return _checked(bytes(pcm), _OPENAI_SPEECH_HZ)

    def _by_wyoming(self, text: str) -> tuple[bytes, int]:
        voice = None
        if self._at.voice is not None or self._at.language is not None:
            voice = SynthesizeVoice(name=self._at.voice, language=self._at.language)
        pcm, rate_hz = bytearray(), 0
        with _wyoming(self._at) as wire:
            write_event(Synthesize(text, voice).event(), wire)
            while (event := _read(wire)) is not None:
                if AudioChunk.is_type(event.type):
                    chunk = AudioChunk.from_event(event)
                    if (chunk.width, chunk.channels) != (BYTES_PER_SAMPLE, 1):
                        raise _BadAnswerError("its sound is not mono with 16 bits")
                    rate_hz = chunk.rate
                    pcm += chunk.audio
                    if isinstance(rate_hz, int) and len(pcm) > _MOST_SOUND_S * max(rate_hz, 1) * BYTES_PER_SAMPLE:
                        raise _BadAnswerError("its sound does not end")
                elif AudioStop.is_type(event.type):
                    return _checked(bytes(pcm), rate_hz)
        raise _BadAnswerError("it closed the connection")


def ears_at(at: PartAddress, failed: Callable[[], None] = _nobody) -> OpenAIEars | WyomingEars:
    """failed: see OpenAIEars. Raises UserError if the address or the key cannot be used."""
    return OpenAIEars(at, failed) if at.base_url is not None else WyomingEars(at, failed)


def _openai_client(at: PartAddress) -> openai.OpenAI:
    """Raises UserError if the address is none, or the key cannot be read."""
    part_url.check(at.base_url or "")
    key = None if at.api_key is None else resolve(at.api_key)
    return openai.OpenAI(base_url=at.base_url, api_key=key or "none", max_retries=1, timeout=at.timeout_s)


def _elevenlabs_voice(at: PartAddress, base_url: str) -> ElevenLabsSpeech:
    """Raises UserError if the address or the key cannot be used."""
    if at.voice is None:
        raise UserError("a voice of ElevenLabs needs its id", "set voice_at.voice", os.EX_CONFIG)
    key = None if at.api_key is None else resolve(at.api_key)
    how = Announce(model_id=at.model, output_format="pcm_16000")
    speech = ElevenLabsSpeech(how, base_url, at.voice, key)
    # It is not the server of the daemon's own section.
    speech.server_key = None
    try:
        speech.dial()
    except DialError as error:
        hint = "voice_at: elevenlabs wants an https address, and api_key a key with the permission for text to speech"
        raise UserError(f"the voice of ElevenLabs cannot be used: {error}", hint, os.EX_CONFIG) from error
    return speech


def _wyoming_place(at: PartAddress) -> tuple[str, int]:
    parts = urlsplit(at.wyoming or "")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if parts.scheme != "tcp" or not host or not port:
        text = "a part needs base_url (OpenAI's API), or wyoming, such as tcp://127.0.0.1:10300"
        raise UserError(text, "give one of the two; a voice may have elevenlabs instead", os.EX_CONFIG)
    return host, port


@contextmanager
def _wyoming(at: PartAddress) -> Iterator[BinaryIO]:
    with socket.create_connection(_wyoming_place(at), at.timeout_s) as connection:
        # It has the methods of a binary file that the package uses.
        yield cast(BinaryIO, BoundedWire(connection, at.timeout_s, _MOST_SOUND_S, _MOST_ANSWER_BYTES))


def _read(wire: BinaryIO) -> Event | None:
    wire.flush()
    event = read_event(wire)
    if event is not None and event.type == "error":
        raise _BadAnswerError("it reported an error")
    return event


def _checked(pcm: bytes, rate_hz: object) -> tuple[bytes, int]:
    """The sound, if it is one. Raises _BadAnswerError."""
    if not pcm or len(pcm) % BYTES_PER_SAMPLE:
        raise _BadAnswerError("the answer is no PCM")
    if not isinstance(rate_hz, int) or rate_hz not in _RATES_HZ:
        raise _BadAnswerError("its sound has no rate of speech")
    return pcm, rate_hz


def _words(text: str) -> str:
    """Raises AttributeError for what is no text."""
    text = " ".join(text.split())
    return text if any(sign.isalnum() for sign in text) else NOT_UNDERSTOOD


def _not_heard(at: PartAddress, failed: Callable[[], None], error: Exception) -> str:
    failed()
    log.warning("the recogniser at %s does not answer: %s", _place(at), _why(error))
    return NOT_UNDERSTOOD


def _place(at: PartAddress) -> str:
    return part_url.shown(at.base_url or at.wyoming or at.elevenlabs or "nowhere")


def _why(error: Exception) -> str:
    # The text of any other error may repeat what was said.
    match error:
        case _BadAnswerError():
            return str(error)
        case DialError():
            # Behind it the server's own words may follow.
            return error.ending.reason.partition(" (")[0]
        case openai.APIStatusError():
            return f"HTTP {error.status_code}"
        case TimeoutError() | openai.APITimeoutError():
            return "it took too long"
        case openai.APIConnectionError():
            return "it cannot be reached"
        case OSError() if error.strerror:
            return error.strerror
        case _:
            return f"its answer cannot be read ({type(error).__name__})"
