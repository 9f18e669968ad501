"""The sound of a text over a WebSocket, piece by piece."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator

import websocket

from parleyd.agents.events import AgentError
from parleyd.agents.speech import SocketSpeech
from parleyd.conversation.session.bounded_socket import BoundedWebSocket
from parleyd.conversation.session.connecting import close_frame, connect, words
from parleyd.conversation.session.retries import retry
from parleyd.core.endings import NORMAL_CLOSURE, DialError

_AGAIN = "say it again a little later"


def sound_over_line(speech: SocketSpeech, text: str, timeout_s: float, look_s: float) -> Generator[bytes]:
    """The sound as it arrives, in the speech's format; an empty piece whenever look_s have passed without any. Blocks.
    Closing it closes the line. timeout_s: for connecting, and for each piece. Raises DialError, also between pieces."""
    hint = f"check the network and {speech.server_key}" if speech.server_key else "check the network"
    line = connect(speech.dial(), timeout_s, speech.judge_refusal, key=speech.server_key, hint_network=hint)
    try:
        # If sending fails, the server has closed already, but its reason may still be readable.
        with contextlib.suppress(websocket.WebSocketException, OSError):
            for message in speech.messages(text):
                line.send(message, websocket.ABNF.OPCODE_TEXT)
        yield from _received(speech, line, timeout_s, look_s)
        with contextlib.suppress(websocket.WebSocketException, OSError):
            line.send_close(NORMAL_CLOSURE, b"")
    finally:
        line.shutdown()


def _received(speech: SocketSpeech, line: BoundedWebSocket, timeout_s: float, look_s: float) -> Generator[bytes]:
    error: AgentError | None = None
    has_come = False
    until_s = time.monotonic() + timeout_s
    while True:
        yield b""
        # The limit applies even if the server sends other messages.
        if time.monotonic() >= until_s:
            raise DialError(retry(f"the server did not go on within {timeout_s:g} s", _AGAIN))
        line.until_s = time.monotonic() + look_s
        try:
            opcode, data = line.recv_data(control_frame=True)
        except websocket.WebSocketTimeoutException:
            continue
        except (websocket.WebSocketException, OSError, UnicodeDecodeError) as problem:
            raise DialError(speech.judge_close(None, words(problem), error)) from problem
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            code, reason = close_frame(data)
            # Some servers leave out the final message, and close normally.
            if has_come and code == NORMAL_CLOSURE:
                return
            raise DialError(speech.judge_close(code, reason, error))
        if opcode not in (websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY):
            continue
        received = speech.receive(data)
        error = received.error or error
        if received.audio:
            until_s = time.monotonic() + timeout_s
            has_come = True
            yield received.audio
        if received.final:
            if has_come:
                return
            raise DialError(speech.judge_close(NORMAL_CLOSURE, "", error))
