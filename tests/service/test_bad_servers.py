"""Servers that are none, or that break off: told in a line, tried again, and never the end of the daemon."""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from harness import Daemon

from parleyd.config.schema import Config, ElevenLabs, Reconnect, Session, Wake
from parleyd.core import events

QUESTION = "What time is it now?"
METADATA = (
    b'{"type":"conversation_initiation_metadata","conversation_initiation_metadata_event":{"conversation_id":"c",'
    b'"agent_output_audio_format":"pcm_16000","user_input_audio_format":"pcm_16000"}}'
)


def read_request(connection: socket.socket) -> str:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(4096)
        if not more:
            break
        data += more
    return data.decode("latin-1")


def upgrade(connection: socket.socket) -> None:
    request = read_request(connection)
    key = next(line.split(": ")[1] for line in request.splitlines() if line.lower().startswith("sec-websocket-key"))
    digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    accept = base64.b64encode(digest).decode()
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        + f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
    )


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def reset_after_upgrade(connection: socket.socket) -> None:
    upgrade(connection)
    reset(connection)


def blank_line(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"\r\n\r\n")
    connection.close()


def not_http(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"220 mail.example ESMTP\r\n")
    connection.close()


def endless_headers(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n")
    pause = threading.Event()
    try:
        for number in range(1000):
            connection.sendall(f"X-{number}: x\r\n".encode())
            pause.wait(0.05)
    except OSError:
        pass


def redirect(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n")
    connection.close()


def dripped_metadata(connection: socket.socket) -> None:
    """Each byte well within any timeout of a socket."""
    upgrade(connection)
    pause = threading.Event()
    for byte in bytes([0x81, 126]) + struct.pack("!H", len(METADATA)) + METADATA:
        connection.sendall(bytes([byte]))
        pause.wait(0.1)


def refused_for_good_and_reset(connection: socket.socket) -> None:
    """Both the answer to the ping and that to the close meet a line that is not there any more."""
    upgrade(connection)
    reason = struct.pack("!H", 1002) + b"This request exceeds your quota limit."
    connection.sendall(bytes([0x89, 1]) + b"x" + bytes([0x88, len(reason)]) + reason)
    reset(connection)


def approval_for_ever(connection: socket.socket) -> None:
    upgrade(connection)
    call = b'{"tool_call_id":"c","tool_name":"t","state":"awaiting_approval","approval_timeout_secs":1' + b"0" * 400
    message = b'{"type":"mcp_tool_call","mcp_tool_call":' + call + b"}}"
    for text in (METADATA, message):
        connection.sendall(bytes([0x81, 126]) + struct.pack("!H", len(text)) + text)
    connection.sendall(bytes([0x88, 2]) + struct.pack("!H", 1011))


def silent_for_ever(connection: socket.socket) -> None:
    """As a server that hangs behind a line that stands."""
    upgrade(connection)
    connection.sendall(bytes([0x81, 126]) + struct.pack("!H", len(METADATA)) + METADATA)
    while connection.recv(65536):
        pass


def huge_message(connection: socket.socket) -> None:
    upgrade(connection)
    connection.sendall(bytes([0x81, 126]) + struct.pack("!H", len(METADATA)) + METADATA)
    connection.sendall(bytes([0x81, 127]) + struct.pack("!Q", 2**40) + b"x" * 1000)
    connection.recv(1)


def huge_in_fragments(connection: socket.socket) -> None:
    upgrade(connection)
    connection.sendall(bytes([0x81, 126]) + struct.pack("!H", len(METADATA)) + METADATA)
    piece = b"x" * 2**20
    try:
        for number in range(40):
            connection.sendall(bytes([0x01 if number == 0 else 0x00, 127]) + struct.pack("!Q", len(piece)) + piece)
    except OSError:
        pass


def broken_off_in_mid_message(connection: socket.socket) -> None:
    upgrade(connection)
    connection.sendall(bytes([0x81, 126]) + struct.pack("!H", len(METADATA)) + METADATA[:20])
    connection.close()


@contextmanager
def serving(play: Callable[[socket.socket], None]) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=quietly, args=(play, connection), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def quietly(play: Callable[[socket.socket], None], connection: socket.socket) -> None:
    with suppress(OSError):
        play(connection)


@pytest.mark.parametrize(
    ("play", "kind", "words"),
    [
        (reset_after_upgrade, "retry", ""),
        (blank_line, "retry", "not HTTP"),
        (not_http, "retry", "not HTTP"),
        (endless_headers, "retry", ""),
        (redirect, "final", "another address"),
        (huge_message, "retry", "16 MiB"),
        (huge_in_fragments, "retry", "16 MiB"),
        (broken_off_in_mid_message, "retry", "lost"),
        (dripped_metadata, "retry", "did not begin"),
        (refused_for_good_and_reset, "final", "no credit"),
        (approval_for_ever, "retry", "internal error"),
        (silent_for_ever, "retry", "silent"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_daemon_survives_and_tries_again(
    play: Callable[[socket.socket], None], kind: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if play is silent_for_ever:
        monkeypatch.setattr("parleyd.conversation.session.session.SILENT_S", 0.3)
    with serving(play) as base_url:
        config = Config(
            elevenlabs=ElevenLabs(agent_id="agent_test", base_url=base_url),
            session=Session(connect_timeout_s=1),
            reconnect=Reconnect(initial_s=0.1, max_s=1.0),
        )
        with Daemon(config) as daemon:
            daemon.say(QUESTION)
            for _ in range(2):
                ended = daemon.expect(events.SessionEnded)
                assert ended.ending.kind.value == kind, ended
                assert words in ended.ending.reason, ended
            assert daemon.service.failure is None


def test_a_server_that_answers_pings_may_be_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    # A busy machine has so long for the pong.
    monkeypatch.setattr("parleyd.conversation.session.session.SILENT_S", 2.0)
    pinged = threading.Semaphore(0)

    def only_pongs(connection: socket.socket) -> None:
        upgrade(connection)
        connection.sendall(bytes([0x81, 126]) + struct.pack("!H", len(METADATA)) + METADATA)
        stream = connection.makefile("rb")
        while head := stream.read(2):
            length = head[1] & 0x7F
            if length == 126:
                length = int.from_bytes(stream.read(2), "big")
            stream.read(4 + length)
            if head[0] & 0x0F == 0x9:
                pinged.release()
                connection.sendall(bytes([0x8A, 0]))

    with serving(only_pongs) as base_url:
        config = Config(elevenlabs=ElevenLabs(agent_id="agent_test", base_url=base_url), wake=Wake(mode="always"))
        with Daemon(config) as daemon:
            for _ in range(2):
                assert pinged.acquire(timeout=60)
            assert not daemon.of(events.SessionEnded)
