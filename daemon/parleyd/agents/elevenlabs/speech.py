"""ElevenLabs' text to speech over a WebSocket, with its configuration. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from parleyd.agents.elevenlabs import speech_messages as messages
from parleyd.agents.elevenlabs.address import speech_address
from parleyd.agents.elevenlabs.formats import parse_format
from parleyd.agents.elevenlabs.speech_endings import judge_close, judge_http
from parleyd.agents.events import AgentError
from parleyd.agents.provider import Address
from parleyd.agents.speech import SpeechReceived
from parleyd.agents.wire import UNREADABLE, sendable
from parleyd.config.schema import Announce
from parleyd.core.endings import Ending

_NOTHING = SpeechReceived()
# The model if none is configured.
MODEL = "eleven_flash_v2_5"


class ElevenLabsSpeech:
    """Implements agents.speech.SocketSpeech. api_key: None for a server on this machine that needs none."""

    hint_endless = "check elevenlabs.base_url and announce.model_id"

    def __init__(self, config: Announce, base_url: str, voice_id: str, api_key: str | None) -> None:
        self._config = config
        self._base_url = base_url
        self._voice_id = voice_id
        self._api_key = api_key
        self.output_format = parse_format(config.output_format)
        self.server_key: str | None = "elevenlabs.base_url"

    def __repr__(self) -> str:
        return f"<ElevenLabsSpeech {self._voice_id}, {'no key' if self._api_key is None else 'with a key'}>"

    def dial(self) -> Address:
        config = self._config
        return speech_address(
            self._base_url, self._voice_id, config.model_id or MODEL, config.output_format, self._api_key
        )

    def messages(self, text: str) -> Sequence[bytes]:
        """The text is sent as a whole, so that the voice knows the end of a sentence when it begins it."""
        text = sendable(text)
        return (
            messages.encode(messages.Text(messages.OPENING_TEXT)),
            messages.encode(messages.Text(f"{text.strip()} ", flush=True)),
            messages.encode(messages.Text("")),
        )

    def receive(self, message: str | bytes) -> SpeechReceived:
        try:
            told = messages.decode(message)
        except UNREADABLE:
            return _NOTHING
        if told.error or told.message:
            code = told.code if isinstance(told.code, int) else None
            kind = told.error if isinstance(told.error, str) else None
            return SpeechReceived(error=AgentError(" ".join(str(told.message or told.error).split()), kind, code))
        return SpeechReceived(told.audio or b"", final=told.is_last)

    def judge_close(self, code: int | None, reason: str, error: AgentError | None) -> Ending:
        if error:
            error = msgspec.structs.replace(error, message=self._without_key(error.message))
        return judge_close(code, self._without_key(reason), error)

    def judge_refusal(self, http_status: int, body: str) -> Ending:
        return judge_http(http_status, self._without_key(body))

    def _without_key(self, text: str) -> str:
        """A server may repeat the key in its error text."""
        return text.replace(self._api_key, "***") if self._api_key else text
