"""The OpenAI Realtime protocol, as its server speaks it. What the daemon sends against the protocol is written down."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Sequence
from typing import Any

from chaos.voices import FRAME_S, tone
from chaos.wire import TURN_LEAST_FRAMES, Answer, Heard, Line, Provider

# Of the sound, which has 16 kHz in both directions: the server says so, and every frame comes as it was spoken.
BYTES_PER_MS = 32
_FORMATS: dict[str, dict[str, object]] = {
    "pcm": {"type": "audio/pcm", "rate": 16_000},
    "ulaw": {"type": "audio/pcmu"},
}
_PIECE_BYTES = 6400
_PREFIX_MS = 300


class Realtime:
    """Implements wire.Talk. A response is sent at once, and has ended when it has been sent, unless a fault leaves it
    open.

    active: the response that runs. owed: the utterances that a response failed to answer, until it is asked for again.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._formats = ("pcm", "pcm")
        self._received_bytes = 0
        self._is_created = False
        self._event_ids: set[str] = set()
        self._items: set[str] = set()
        self._utterance = ""
        self.active = ""
        self.owed: tuple[int, ...] = ()
        self.item_ms: dict[str, int] = {}
        self.truncated_ms: dict[str, int] = {}
        self.calls: set[str] = set()
        # What becomes of the next answers: the status, and its details.
        self.fails: list[tuple[str, dict[str, Any]]] = []
        self.transcribes = True

    # ------------------------------------------------------------ words for the faults

    def next_id(self, prefix: str) -> str:
        return f"{prefix}_{self._line.server.next_event_id()}"

    def send(self, kind: str, **fields: object) -> None:
        self._line.send(self.message(kind, **fields))

    def message(self, kind: str, **fields: object) -> dict[str, Any]:
        return {"type": kind, "event_id": self.next_id("event"), **fields}

    def error(self, code: str, words: str, event_id: str | None = None, kind: str = "invalid_request_error") -> None:
        told = {"type": kind, "code": code, "message": words, "param": None, "event_id": event_id}
        self.send("error", error=told)

    @property
    def position_ms(self) -> int:
        return self._received_bytes // BYTES_PER_MS

    # ------------------------------------------------------------ the session

    def read_opening(self) -> None:
        self._create()
        self._line.read_text()

    def _create(self) -> None:
        self._is_created = True
        self.send("session.created", session=self._session("sess_chaos"))

    def _session(self, name: str) -> dict[str, Any]:
        takes, gives = (_FORMATS.get(one, {"type": one}) for one in self._formats)
        return {
            "id": name,
            "object": "realtime.session",
            "type": "realtime",
            "model": "chaos",
            "expires_at": None,
            "audio": {
                "input": {"format": takes, "turn_detection": {"type": "server_vad", "interrupt_response": True}},
                "output": {"format": gives, "voice": "chaos"},
            },
        }

    def ready(self, conversation: str, *, takes: str = "pcm", gives: str = "pcm") -> dict[str, Any]:
        self._formats = (takes, gives)
        return self.message("session.updated", session=self._session(conversation))

    def half_ready(self) -> list[bytes]:
        return [
            b'{"type":"session.updated","session":[]}',
            b'{"type":"session.updated","session":{"audio":{"input":5}}}',
            b'{"type":"session.updated"',
        ]

    # ------------------------------------------------------------ what the daemon says

    def take(self, message: dict[str, Any]) -> bytes:
        kind = message.get("type", "")
        event_id = message.get("event_id")
        if event_id is not None:
            if event_id in self._event_ids:
                self._wrong(f"the event id {event_id} came twice")
            self._event_ids.add(event_id)
        if kind == "input_audio_buffer.append":
            pcm = base64.b64decode(message["audio"], validate=True)
            self._received_bytes += len(pcm)
            return pcm
        if not self._line.deaf:
            self._obey(kind, message, event_id)
        return b""

    def _obey(self, kind: str, message: dict[str, Any], event_id: str | None) -> None:
        match kind:
            case "session.update":
                self._line.send(self.ready("sess_chaos"))
            case "conversation.item.create":
                self._item(message["item"])
            case "conversation.item.truncate":
                self._truncate(message["item_id"], message["audio_end_ms"], event_id)
            case "conversation.item.delete":
                if message["item_id"] not in self._items:
                    self._wrong(f"an item that there is not was deleted: {message['item_id']}")
                self.send("conversation.item.deleted", item_id=message["item_id"])
            case "response.create":
                self._respond(event_id)
            case "response.cancel":
                self._cancel(message.get("response_id"), event_id)
            case _:
                self._wrong(f"the message {kind}")

    def _item(self, item: dict[str, Any]) -> None:
        if item.get("id") in self._items:
            self._wrong(f"the item {item.get('id')} was made twice")
        self._items.add(item.get("id", ""))
        if item["type"] == "function_call_output":
            if item["call_id"] not in self.calls:
                self._wrong(f"the result of a call that does not wait: {item['call_id']}")
            self.calls.discard(item["call_id"])
        for kind in ("added", "done"):
            self.send(f"conversation.item.{kind}", previous_item_id=None, item={**item, "status": "completed"})

    def _truncate(self, item_id: str, end_ms: int, event_id: str | None) -> None:
        most_ms = self.item_ms.get(item_id)
        if most_ms is None or not 0 <= end_ms <= most_ms:
            self._wrong(f"{item_id} was cut to {end_ms} ms, and has {most_ms}")
            self.error("", f"Audio content of {most_ms}ms is already shorter than {end_ms}ms", event_id)
            return
        self.truncated_ms[item_id] = end_ms
        self.send("conversation.item.truncated", item_id=item_id, content_index=0, audio_end_ms=end_ms)

    def _respond(self, event_id: str | None) -> None:
        if event_id is None:
            self._wrong("a request for a response without an id of its own")
        if self.active:
            words = "Conversation already has an active response in progress"
            self.error("conversation_already_has_active_response", words, event_id)
            return
        if self.owed:
            said, self.owed = self.owed, ()
            self._line.answer(said)
            return
        self.respond("yes", tone(-1, 0.2))

    def _cancel(self, response_id: str | None, event_id: str | None) -> None:
        if not self.active or response_id not in (None, self.active):
            self.error("response_cancel_not_active", "Cancellation failed: no active response found", event_id)
            return
        self.done(self.active, "cancelled", {"type": "cancelled", "reason": "client_cancelled"})

    def _wrong(self, what: str) -> None:
        self._line.server.heard.wrongs.append(what)

    # ------------------------------------------------------------ what the server says

    def words(self, text: str) -> dict[str, Any]:
        kind = "conversation.item.input_audio_transcription.completed"
        item_id = self._utterance or self.next_id("item")
        return self.message(kind, item_id=item_id, content_index=0, transcript=text)

    def saying(self, text: str) -> dict[str, Any]:
        fields = {"response_id": self.next_id("resp"), "item_id": self.next_id("item")}
        return self.message("response.output_audio_transcript.done", **fields, content_index=0, transcript=text)

    def sound(self, pcm: bytes) -> dict[str, Any]:
        fields = {"response_id": self.next_id("resp"), "item_id": self.next_id("item")}
        self.item_ms[fields["item_id"]] = len(pcm) // BYTES_PER_MS
        return self.message("response.output_audio.delta", **fields, delta=base64.b64encode(pcm).decode())

    def speech_begins(self) -> None:
        self._utterance = self.next_id("item")
        start_ms = max(0, self.position_ms - round(TURN_LEAST_FRAMES * FRAME_S * 1000) - _PREFIX_MS)
        if self.item_ms:
            # Sound of an earlier session goes on: this one has said nothing that the person could speak into.
            self._line.server.heard.interrupted(time.monotonic())
        self.send("input_audio_buffer.speech_started", audio_start_ms=start_ms, item_id=self._utterance)
        if self.active:
            self.done(self.active, "cancelled", {"type": "cancelled", "reason": "turn_detected"})

    def commit(self) -> None:
        """The turn is over, and part of the conversation."""
        item_id = self._utterance or self.next_id("item")
        self._utterance = item_id
        self.send("input_audio_buffer.speech_stopped", audio_end_ms=self.position_ms, item_id=item_id)
        self.send("input_audio_buffer.committed", item_id=item_id, previous_item_id=None)
        content = [{"type": "input_audio", "transcript": None}]
        item = {"id": item_id, "type": "message", "role": "user", "status": "completed", "content": content}
        self.send("conversation.item.added", previous_item_id=None, item=item)
        self.send("conversation.item.done", previous_item_id=None, item=item)

    def understand(self, said: tuple[int, ...]) -> None:
        self._line.send(self.words(" ".join(f"utterance {number}" for number in said)))

    def answer(self, said: tuple[int, ...], answer: Answer, pcm: bytes) -> None:
        self.commit()
        # The transcript runs beside the answer, and comes before it or behind it.
        is_first = answer.number % 2 == 0
        if is_first and self.transcribes:
            self.understand(said)
        if self.fails:
            status, details = self.fails.pop(0)
            self.owed += said
            answer.excused = f"the response was {status}"
            self.begin_response(self.next_id("resp"))
            self.done(self.active, status, details)
        else:
            self.respond(f"answer {answer.number}", pcm)
        if not is_first and self.transcribes:
            self.understand(said)

    def respond(self, text: str, pcm: bytes) -> tuple[str, str]:
        """A whole response. → its id, and that of its item."""
        response_id, item_id = self.next_id("resp"), self.next_id("item")
        self.begin_response(response_id)
        for message in self.pieces(response_id, item_id, text, pcm):
            self._line.send(message)
        self.done(response_id, "completed")
        return response_id, item_id

    def begin_response(self, response_id: str) -> None:
        self.active = response_id
        self.send("response.created", response={"id": response_id, "status": "in_progress", "output": []})

    def pieces(self, response_id: str, item_id: str, text: str, pcm: bytes) -> Iterator[dict[str, Any]]:
        of = {"response_id": response_id, "item_id": item_id, "output_index": 0, "content_index": 0}
        item = {"id": item_id, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        yield self.message("response.output_item.added", response_id=response_id, output_index=0, item=item)
        yield self.message("conversation.item.added", previous_item_id=None, item=item)
        yield self.message("response.output_audio_transcript.delta", **of, delta=text)
        yield self.message("response.output_audio_transcript.done", **of, transcript=text)
        for at in range(0, len(pcm), _PIECE_BYTES):
            piece = pcm[at : at + _PIECE_BYTES]
            self.item_ms[item_id] = self.item_ms.get(item_id, 0) + len(piece) // BYTES_PER_MS
            self._line.server.heard.sounds(time.monotonic(), len(piece) / BYTES_PER_MS / 1000)
            yield self.message("response.output_audio.delta", **of, delta=base64.b64encode(piece).decode())
        yield self.message("response.output_audio.done", **of)
        whole = {**item, "status": "completed", "content": [{"type": "output_audio", "transcript": text}]}
        yield self.message("response.output_item.done", response_id=response_id, output_index=0, item=whole)

    def done(
        self,
        response_id: str,
        status: str,
        details: dict[str, Any] | None = None,
        output: Sequence[dict[str, Any]] = (),
    ) -> None:
        if self.active == response_id:
            self.active = ""
        response = {"id": response_id, "status": status, "status_details": details, "output": list(output)}
        self.send("response.done", response={**response, "usage": None})

    def call(self, *calls: tuple[str, str, object]) -> None:
        """A response that calls tools: name, id and arguments of each."""
        response_id = self.next_id("resp")
        self.begin_response(response_id)
        output = []
        for name, call_id, arguments in calls:
            self.calls.add(call_id)
            item = {"id": self.next_id("item"), "type": "function_call", "status": "completed", "name": name}
            output.append({**item, "call_id": call_id, "arguments": arguments})
            self.send("response.output_item.done", response_id=response_id, output_index=0, item=output[-1])
        self.done(response_id, "completed", output=output)


def _section(base_url: str, key: dict[str, Any] | None) -> dict[str, Any]:
    more = {"api_key": key} if key else {}
    return {"provider": "openai", "openai": {"base_url": f"{base_url}/v1", "model": "chaos", **more}}


def _admits(line: Line, request: str, key: str) -> bool:
    if f"authorization: bearer {key}".lower() in request.lower():
        return True
    line.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    line.wait_gone(1.0)
    return False


def _acknowledges(heard: Heard, event: dict[str, Any]) -> Sequence[int]:
    """By the answer, whose words name it: a transcript alone proves nothing."""
    if event["event"] != "answer_text":
        return ()
    word, _, number = event["text"].partition(" ")
    if word != "answer" or not number.isdigit():
        return ()
    return next((answer.to for answer in heard.answers if answer.number == int(number)), ())


PROVIDER = Provider("openai", Realtime, _section, _admits, _acknowledges)
