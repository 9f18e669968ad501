"""What every provider's text-to-speech offers, in common terms: a text goes out, its sound comes back in pieces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from parleyd.agents.agent import Address, AgentError
from parleyd.audio.pcm import AudioFormat
from parleyd.core.endings import Ending


@dataclass(frozen=True, slots=True)
class SpeechReceived:
    """What one message meant. audio: in the speech's format. final: nothing more comes. error: a close follows."""

    audio: bytes = field(default=b"", repr=False)
    final: bool = False
    error: AgentError | None = None


class Speech(Protocol):
    """A provider's text-to-speech with its configuration; holds nothing of one text, so one object serves them all."""

    output_format: AudioFormat

    def dial(self) -> Address:
        """Where to connect. Raises DialError."""

    def messages(self, text: str) -> Sequence[bytes]:
        """All that is to be sent for a text, in order: the last one says that it was all. UTF-8 JSON."""

    def receive(self, message: str | bytes) -> SpeechReceived:
        """Never raises, whatever the message is."""

    def judge_close(self, code: int | None, reason: str, error: AgentError | None) -> Ending:
        """The line ended before the sound was whole. code: None when it went without a close."""

    def judge_refusal(self, http_status: int, body: str) -> Ending:
        """The WebSocket handshake was answered with an HTTP error instead."""
