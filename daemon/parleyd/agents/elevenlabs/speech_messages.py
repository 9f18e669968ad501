"""The messages of ElevenLabs' text-to-speech WebSocket (`stream-input`), as types. Pure.

Sources: the AsyncAPI contract of the documentation, and the official Python client. Servers send `isFinal`, newer ones
`is_final`. The times of letters (`alignment`) have several names, and are not used here.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

# The first message, which opens the stream: exactly one space.
OPENING_TEXT = " "


class Text(Struct, omit_defaults=True):
    """A piece of text. flush: speak all texts so far now. An empty text marks the end."""

    text: str
    flush: bool = False


class FromServer(Struct, kw_only=True):
    """A piece of sound, the end, or an error; no message has a type."""

    audio: bytes | None = None
    isFinal: object = None  # noqa: N815 - as it is on the wire
    is_final: object = None
    message: object = None
    error: object = None
    code: object = None

    @property
    def is_last(self) -> bool:
        return self.isFinal is True or self.is_final is True


_decoder = msgspec.json.Decoder(FromServer)


def encode(message: Text) -> bytes:
    return msgspec.json.encode(message)


def decode(message: str | bytes) -> FromServer:
    """Decodes a message. Raises one of wire.UNREADABLE."""
    return _decoder.decode(message)
