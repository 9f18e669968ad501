"""The interfaces of every provider's text to speech: a text is sent, and its sound comes back in pieces, over a
WebSocket or in the answer to an HTTP request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from parleyd.agents.events import AgentError
from parleyd.agents.provider import Address
from parleyd.audio.pcm import AudioFormat
from parleyd.core.endings import Ending
from parleyd.core.veiled import Veiled


class SpeechReceived(Veiled, frozen=True):
    """The meaning of one message. audio: in the speech's format. final: no more sound follows. error: a close
    follows."""

    hidden = ("audio",)

    audio: bytes = b""
    final: bool = False
    error: AgentError | None = None


@runtime_checkable
class StreamedSpeech(Protocol):
    """Text to speech in the answer to an HTTP request. It has no state of a text, so one object can serve several
    texts."""

    output_format: AudioFormat
    # The hint for a server that sends sound without end.
    hint_endless: str

    def stream(self, text: str, timeout_s: float) -> Iterator[bytes]:
        """The sound of a text, piece by piece; blocks. timeout_s: for connecting, and for each piece. Raises DialError,
        also between pieces."""


class SocketSpeech(Protocol):
    """Text to speech over a WebSocket. It has no state of a text, so one object can serve several texts."""

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


Speech = SocketSpeech | StreamedSpeech
