"""The interface of every provider's text to speech: a text is sent, and its sound comes back in pieces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from parleyd.agents.events import AgentError
from parleyd.agents.provider import Address
from parleyd.audio.pcm import AudioFormat
from parleyd.core.endings import Ending


@dataclass(frozen=True, slots=True)
class SpeechReceived:
    """The meaning of one message. audio: in the speech's format. final: no more sound follows. error: a close
    follows."""

    audio: bytes = field(default=b"", repr=False)
    final: bool = False
    error: AgentError | None = None


class Speech(Protocol):
    """A provider's text to speech with its configuration. It has no state of a text, so one object can serve several
    texts."""

    output_format: AudioFormat
    # The configuration key that names the server; None: nobody has configured it.
    server_key: str | None
    # The hint for a server that sends sound without end.
    hint_endless: str

    def dial(self) -> Address:
        """The address to connect to. Raises DialError."""

    def messages(self, text: str) -> Sequence[bytes]:
        """All messages for a text, in order; the last one marks its end. UTF-8 JSON."""

    def receive(self, message: str | bytes) -> SpeechReceived:
        """The meaning of a message. Never raises, whatever the message is."""

    def judge_close(self, code: int | None, reason: str, error: AgentError | None) -> Ending:
        """Judges a connection that ended before the sound was complete. code: None if there was no close."""

    def judge_refusal(self, http_status: int, body: str) -> Ending:
        """Judges an HTTP error in place of the WebSocket handshake."""
