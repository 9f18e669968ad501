"""The ElevenLabs agents protocol, as its server speaks it."""

from __future__ import annotations

import base64
import json
from typing import Any

from chaos.wire import Answer, Heard, Line, Provider

_FORMATS = {"pcm": "pcm_16000", "ulaw": "ulaw_8000"}


def metadata(conversation: str, **more: object) -> dict[str, Any]:
    event = {
        "conversation_id": conversation,
        "agent_output_audio_format": "pcm_16000",
        "user_input_audio_format": "pcm_16000",
        **more,
    }
    return {"type": "conversation_initiation_metadata", "conversation_initiation_metadata_event": event}


def audio(pcm: bytes, event_id: float) -> dict[str, Any]:
    encoded = base64.b64encode(pcm).decode()
    return {"type": "audio", "audio_event": {"audio_base_64": encoded, "event_id": event_id}}


def transcript(text: str) -> dict[str, Any]:
    return {"type": "user_transcript", "user_transcription_event": {"user_transcript": text}}


def response(text: str, event_id: float) -> dict[str, Any]:
    return {"type": "agent_response", "agent_response_event": {"agent_response": text, "event_id": event_id}}


def interruption(event_id: float) -> dict[str, Any]:
    return {"type": "interruption", "interruption_event": {"event_id": event_id}}


class Convai:
    """Implements wire.Talk."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def read_opening(self) -> None:
        self._line.read_text()

    def ready(self, conversation: str, *, takes: str = "pcm", gives: str = "pcm") -> dict[str, Any]:
        told = {"user_input_audio_format": _FORMATS.get(takes, takes)}
        return metadata(conversation, agent_output_audio_format=_FORMATS.get(gives, gives), **told)

    def half_ready(self) -> list[bytes]:
        name = b"conversation_initiation_metadata"
        return [b'{"type":"%b","%b_event":[]}' % (name, name), b'{"type":"%b"' % name]

    def take(self, message: dict[str, Any]) -> bytes:
        return base64.b64decode(message.get("user_audio_chunk", ""), validate=True)

    def words(self, text: str) -> dict[str, Any]:
        return transcript(text)

    def saying(self, text: str) -> dict[str, Any]:
        return response(text, self._line.server.next_event_id())

    def sound(self, pcm: bytes) -> dict[str, Any]:
        return audio(pcm, self._line.server.next_event_id())

    def speech_begins(self) -> None:
        """Nothing tells the client."""

    def understand(self, said: tuple[int, ...]) -> None:
        self._line.send(transcript(" ".join(f"utterance {number}" for number in said)))

    def answer(self, said: tuple[int, ...], answer: Answer, pcm: bytes) -> None:
        self.understand(said)
        event_id = self._line.server.next_event_id()
        self._line.send(response(f"answer {answer.number}", event_id))
        for at in range(0, len(pcm), 6400):
            self._line.send(audio(pcm[at : at + 6400], event_id))


def _section(base_url: str, key: dict[str, Any] | None) -> dict[str, Any]:
    more = {"api_key": key} if key else {}
    return {"elevenlabs": {"agent_id": "agent_chaos", "base_url": base_url, **more}}


def _admits(line: Line, request: str, key: str) -> bool:
    """A private agent: who shows the key is told the address to which no key goes."""
    if "conversation_signature=" in request.splitlines()[0]:
        return True
    is_good = f"xi-api-key: {key}".lower() in request.lower()
    url = f"wss://localhost:{line.server.port}/v1/convai/conversation?agent_id=a&conversation_signature=s"
    body = json.dumps({"signed_url": url} if is_good else {"detail": {"status": "invalid_api_key"}}).encode()
    status = "200 OK" if is_good else "401 Unauthorized"
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    line.write(head.encode() + b"Connection: close\r\n\r\n" + body)
    line.wait_gone(1.0)
    return False


def _acknowledges(_heard: Heard, event: dict[str, Any]) -> list[int]:
    """By the transcript, which names them."""
    if event["event"] != "heard" or not event["final"]:
        return []
    return [int(word) for word in event["text"].split() if word.isdigit()]


PROVIDER = Provider("elevenlabs", Convai, _section, _admits, _acknowledges)
