"""One client's WebSocket: filters the sent messages, records them, and produces the faults of a connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from parleyd.audio import pcm as sound
from parleyd.audio.pcm import AudioFormat
from parleyd.embedded import messages
from parleyd.embedded.record import Closed, ConnectionRecord
from parleyd.embedded.settings import AgentSettings

_MAX_REASON_BYTES = 123


class LineClosedError(Exception):
    """Nothing more can be sent."""


class Line:
    """Any task of the server's loop may send; only one task may receive. omitted: fields that no message has."""

    def __init__(
        self, socket_: ServerConnection, record: ConnectionRecord, omitted: frozenset[str] = frozenset()
    ) -> None:
        self._socket = socket_
        self._record = record
        self._omitted = omitted
        self._open_gate = asyncio.Event()
        self._open_gate.set()
        self._closing: asyncio.Task[None] | None = None
        self._is_gone = False

    @property
    def is_closing(self) -> bool:
        return self._is_gone or self._closing is not None

    async def received(self) -> AsyncIterator[str | bytes]:
        """Yields the client's messages until the connection ends; nothing while stalled."""
        while True:
            await self._open_gate.wait()
            try:
                message = await self._socket.recv()
            except ConnectionClosed:
                return
            await self._open_gate.wait()
            yield message

    async def send(self, message: messages.Message, note: messages.Message | None = None, heard: bytes = b"") -> None:
        """Sends the message. note: what the record keeps of a message with sound; heard: that sound, as the client
        decodes it. Raises LineClosedError."""
        if self._omitted:
            message = messages.without(message, self._omitted)
        await self._send(msgspec.json.encode(message).decode())
        self._record.add_sent(message if note is None else note, heard)

    async def send_raw(self, content: str | bytes, note: dict[str, Any]) -> None:
        """Sends any text or bytes; bytes make a binary frame. note: for the record. Raises LineClosedError."""
        await self._send(content)
        self._record.add_sent(note)

    async def _send(self, content: str | bytes) -> None:
        await self._open_gate.wait()
        if self.is_closing:
            raise LineClosedError
        try:
            await self._socket.send(content)
        except ConnectionClosed:
            raise LineClosedError from None

    # ---------------------------------------------------------------- ends

    def close(self, code: int, reason: str = "") -> None:
        """Sends a close frame after all messages; may be called twice. Does not wait for the client's answer."""
        if not self.is_closing:
            reason = reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
            self._closing = asyncio.create_task(self._close(code, reason))

    async def _close(self, code: int, reason: str) -> None:
        with contextlib.suppress(ConnectionClosed, OSError):
            await self._socket.close(code, reason)

    def drop(self) -> None:
        """Ends TCP without a close frame."""
        self._is_gone = True
        self._open_gate.set()
        self._socket.transport.abort()

    def reset(self) -> None:
        """Sends a TCP RST."""
        raw = self._socket.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.drop()

    async def stall(self, seconds: float) -> None:
        """Stops reading and sending; the client's buffers fill up."""
        self._open_gate.clear()
        self._socket.transport.pause_reading()
        # Not by wait_for: in Python 3.11 it loses a cancellation that comes together with the end of the connection.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._socket.wait_closed()
        if not self._is_gone and not self._socket.transport.is_closing():
            self._socket.transport.resume_reading()
        self._open_gate.set()

    async def ended(self) -> Closed:
        """How the connection ended; call it after the last message."""
        if self._closing is not None:
            await self._closing
        await self._socket.wait_closed()
        code, reason = self._socket.close_code, self._socket.close_reason
        if self._is_gone or code in (None, 1006):
            return Closed(1006, "", "nobody")
        by_us = self._closing is not None and not self._socket.protocol.close_rcvd_then_sent
        if by_us and self._socket.protocol.close_sent is not None:
            sent = self._socket.protocol.close_sent
            return Closed(sent.code, sent.reason, "agent")
        return Closed(code or 1006, reason or "", "client")


class ConvaiLine(Line):
    """The line of a client that speaks the ElevenLabs protocol: an agent has a list of the events that it sends."""

    def __init__(
        self, socket_: ServerConnection, settings: AgentSettings, record: ConnectionRecord, output_format: AudioFormat
    ) -> None:
        super().__init__(socket_, record, frozenset(settings.omit_fields))
        self._output_format = output_format
        self._enabled = messages.ALWAYS_SENT | set(settings.client_events) | set(settings.more_client_events)

    def sends(self, type_: str) -> bool:
        """Whether the agent's list of client events contains this type."""
        return type_ in self._enabled

    async def send(self, message: messages.Message, note: messages.Message | None = None, heard: bytes = b"") -> None:
        """Sends the message, unless the list of client events forbids it. Raises LineClosedError."""
        if self.sends(message["type"]):
            await super().send(message, note, heard)

    async def send_audio(self, pcm: bytes, event_id: int) -> None:
        """Sends sound. pcm: at the output rate. Raises LineClosedError."""
        data = sound.encode(self._output_format, pcm)
        note = {"type": "audio", "audio_event": {"event_id": event_id}, "samples": len(pcm) // 2}
        await self.send(messages.audio(data, event_id), note, sound.decode(self._output_format, data))
