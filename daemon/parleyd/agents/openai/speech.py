"""OpenAI-compatible text to speech over HTTP (POST /audio/speech), with its configuration."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import ClassVar

from parleyd.agents.openai import http, session_settings
from parleyd.audio.pcm import AudioFormat
from parleyd.config.openai_section import OpenAI
from parleyd.config.schema import Announce

MODEL = "gpt-4o-mini-tts"


class OpenAISpeech:
    """Implements agents.speech.StreamedSpeech. api_key: None for a server that needs none."""

    # The voice at OpenAI if none is configured.
    VOICE: ClassVar[str] = "marin"

    hint_endless = "check openai.base_url and announce.model_id"

    def __init__(self, config: OpenAI, announce: Announce, voice: str, api_key: str | None) -> None:
        self._config = config
        self._model = announce.model_id or (MODEL if config.is_openais else "tts-1")
        self._voice = voice
        self._api_key = api_key
        # The only raw format of the protocol.
        self.output_format: AudioFormat = session_settings.PCM

    def __repr__(self) -> str:
        return f"<OpenAISpeech {self._voice}, {'no key' if self._api_key is None else 'with a key'}>"

    def stream(self, text: str, timeout_s: float) -> Iterator[bytes]:
        asked = {"model": self._model, "input": text.strip(), "voice": self._voice, "response_format": "pcm"}
        # ASCII: an unpaired surrogate has no form in UTF-8.
        body = json.dumps(asked).encode("ascii")
        return http.post(self._config, self._api_key, ("audio", "speech"), body, timeout_s)
