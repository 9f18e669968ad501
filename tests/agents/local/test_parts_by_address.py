"""Ears and voices behind an address: Wyoming by the package's own server, OpenAI's API by the embedded agent's."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import pytest

# An extra of its own: the oldest packages that are allowed otherwise have none of it.
pytest.importorskip("wyoming")
from local_client import Client, Start, spoken
from model_servers import wyoming

from parleyd.config.base import Secret
from parleyd.core.errors import UserError
from parleyd.embedded import parts_by_address
from parleyd.embedded.parts_by_address import VoiceByAddress, ears_at
from parleyd.embedded.recognise import NOT_UNDERSTOOD
from parleyd.embedded.settings import PartAddress


def test_wyoming_ears_and_voice() -> None:
    with wyoming("What time is it?") as place:
        heard = ears_at(PartAddress(wyoming=place)).transcribe(spoken("anything"))
        assert heard == "What time is it?"
        voice = VoiceByAddress(PartAddress(wyoming=place), None)
        pcm = voice.say("It is noon.", 16_000)
        assert 0.5 < len(pcm) / 32_000 < 3
        assert voice.say("...", 16_000) == b""
        voice.close()


@pytest.mark.parametrize("place", ["tcp://127.0.0.1:9", "silent"])
def test_parts_that_do_not_answer(place: str, caplog: pytest.LogCaptureFixture) -> None:
    with wyoming("silent") as silent:
        at = PartAddress(wyoming=silent if place == "silent" else place, timeout_s=0.5)
        assert ears_at(at).transcribe(spoken("anything")) == NOT_UNDERSTOOD
        voice = VoiceByAddress(at, "slt")
        assert voice.say("It is noon.", 16_000), "the local voice speaks in its place"
        voice.close()
    assert "does not answer" in caplog.text
    assert "noon" not in caplog.text, "words stay out of the log"


def test_a_voice_of_elevenlabs(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded agent serves their text to speech."""
    monkeypatch.setenv("THEIR_KEY", "sk_0123456789abcdef")
    server = start("agent: {api_key: sk_0123456789abcdef, require_auth: true}")
    at = PartAddress(
        elevenlabs=server.base_url, voice="their-voice", model="their-model", api_key=Secret(env="THEIR_KEY")
    )
    voice = VoiceByAddress(at, None)
    assert 0.5 < len(voice.say("It is noon.", 16_000)) / 32_000 < 3
    assert voice.say("...", 16_000) == b""
    voice.close()
    (asked,) = server.speeches
    assert asked.voice_id == "their-voice"
    assert asked.query == {"model_id": "their-model", "output_format": "pcm_16000"}
    assert "".join(asked.texts).strip() == "It is noon."


@pytest.mark.parametrize(
    ("at", "told"),
    [
        (PartAddress(elevenlabs="https://api.elevenlabs.io"), "needs its id"),
        (PartAddress(elevenlabs="https://api.elevenlabs.io", voice="x"), "needs an API key"),
        (PartAddress(elevenlabs="ftp://x", voice="x"), "no http or https URL"),
        (PartAddress(elevenlabs="http://example.com", voice="x", api_key=Secret(env="THEIR_KEY")), "unencrypted"),
    ],
)
def test_a_voice_of_elevenlabs_that_cannot_be_used(at: PartAddress, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEIR_KEY", "sk_0123456789abcdef")
    with pytest.raises(UserError, match=told) as refused:
        VoiceByAddress(at, None)
    assert "sk_0123456789abcdef" not in f"{refused.value} {refused.value.hint}"


def test_openais_api(start: Start) -> None:
    """The embedded agent serves speech over HTTP; transcriptions it does not."""
    server = start()
    at = PartAddress(base_url=f"{server.base_url}/v1", timeout_s=10)
    voice = VoiceByAddress(at, None)
    assert 0.5 < len(voice.say("It is noon.", 16_000)) / 32_000 < 3
    voice.close()
    assert ears_at(at).transcribe(spoken("anything")) == NOT_UNDERSTOOD


@pytest.mark.parametrize("at", [PartAddress(), PartAddress(wyoming="http://x"), PartAddress(wyoming="tcp://x")])
def test_an_address_that_is_none(at: PartAddress) -> None:
    with pytest.raises(UserError, match="tcp://"):
        ears_at(at)


@contextmanager
def answering(content: bytes) -> Iterator[str]:
    """A server that answers each connection with this, whatever it is asked; HOST:PORT."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            self.request.sendall(content)
            self.request.shutdown(socket.SHUT_WR)
            while self.request.recv(65536):
                pass

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def event(kind: str, data: object, payload: bytes = b"") -> bytes:
    return json.dumps({"type": kind, "data": data, "payload_length": len(payload)}).encode() + b"\n" + payload


def sound(rate_hz: object, payload: bytes = b"\0\0") -> bytes:
    told = {"rate": rate_hz, "width": 2, "channels": 1}
    return event("audio-chunk", told, payload) + event("audio-stop", {})


@pytest.mark.parametrize(
    "content",
    [
        b"[]\n", b"null\n", b'{"type": "x", "data_length": "a"}\n', event("transcript", []),
        event("transcript", {"text": None}), sound("x"), sound(0), sound(-5), sound(22050.5), sound(10**12),
        sound(22050, b"\0"), b'{"type": ' + b"[" * 50_000 + b"\n",
    ],
)  # fmt: skip
def test_garbage_of_a_wyoming_server_is_no_answer(content: bytes) -> None:
    failed: list[None] = []
    with answering(content) as place:
        at = PartAddress(wyoming=f"tcp://{place}", timeout_s=10)
        if not content.startswith(b'{"type": "audio'):
            assert ears_at(at, lambda: failed.append(None)).transcribe(bytes(3200)) == NOT_UNDERSTOOD
        with closing(VoiceByAddress(at, None, lambda: failed.append(None))) as voice:
            assert len(voice.say("Hello.", 16_000)) > 8_000, "the local voice"
    assert failed


@pytest.mark.parametrize("kind", ["application/json", "text/html"])
@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"text": null}', b'{"text": 5}', b"a page"])
def test_garbage_of_openais_api_is_no_answer(kind: str, body: bytes) -> None:
    failed: list[None] = []
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with answering(head.encode() + body) as place:
        at = PartAddress(base_url=f"http://{place}/v1", timeout_s=10)
        assert ears_at(at, lambda: failed.append(None)).transcribe(bytes(3200)) == NOT_UNDERSTOOD
        with closing(VoiceByAddress(at, None, lambda: failed.append(None))) as voice:
            assert len(voice.say("Hello.", 16_000)) > 8_000, "the local voice, and no page as sound"
    assert len(failed) == 2


@contextmanager
def endless(head: bytes, piece: bytes) -> Iterator[str]:
    """A server whose answer never ends; HOST:PORT."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            with suppress(OSError):
                self.request.sendall(head)
                while True:
                    self.request.sendall(piece)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


PCM = b"HTTP/1.1 200 OK\r\nContent-Type: audio/pcm\r\n\r\n"
CHUNK = event("audio-chunk", {"rate": 22_050, "width": 2, "channels": 1}, bytes(8192))


@pytest.mark.parametrize(
    ("kind", "head", "piece"),
    [
        ("base_url", PCM, bytes(8192)),
        ("wyoming", b"", CHUNK),
        # A line, a payload and events without end.
        ("wyoming", b"", b" " * 8192),
        ("wyoming", b'{"type": "audio-chunk", "payload_length": 1000000000000}\n', bytes(8192)),
        ("wyoming", b"", event("ping", {})),
    ],
)
def test_a_voice_that_does_not_end_is_given_up(
    kind: str, head: bytes, piece: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts_by_address, "_MOST_SOUND_S", 1)
    monkeypatch.setattr(parts_by_address, "_MOST_ANSWER_BYTES", 2**20)
    with endless(head, piece) as place:
        is_wyoming = kind == "wyoming"
        at = PartAddress(
            base_url=None if is_wyoming else f"http://{place}/v1",
            wyoming=f"tcp://{place}" if is_wyoming else None,
            timeout_s=10,
        )
        with closing(VoiceByAddress(at, None)) as voice:
            assert len(voice.say("Hello.", 16_000)) > 8_000, "the local voice"


@pytest.mark.parametrize("piece", [b" " * 8192, event("ping", {})])
def test_ears_that_do_not_come_to_an_end_are_given_up(piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_by_address, "_MOST_SOUND_S", 1)
    monkeypatch.setattr(parts_by_address, "_MOST_ANSWER_BYTES", 2**20)
    with endless(b"", piece) as place:
        at = PartAddress(wyoming=f"tcp://{place}", timeout_s=10)
        assert ears_at(at).transcribe(bytes(3200)) == NOT_UNDERSTOOD


def test_the_whole_agent_with_parts_elsewhere() -> None:
    from parleyd.embedded import scenario
    from parleyd.embedded.server import LocalAgent

    with wyoming("What time is it?") as place:
        text = f"agent: {{ears_at: {{wyoming: '{place}'}}, voice_at: {{wyoming: '{place}'}}, end_of_speech_ms: 300}}"
        script = scenario.parse(text, "test.yaml")
        with LocalAgent(script.agent, script) as server, Client(server) as client:
            client.until("agent_response")
            client.say(spoken("Good morning."))
            assert client.until("user_transcript")["user_transcription_event"]["user_transcript"] == "What time is it?"
            assert client.until("agent_response")["agent_response_event"]["agent_response"].startswith("It is ")
