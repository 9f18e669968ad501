"""One response: the events from `response.created` to `response.done`, without their ids. Pure."""

from __future__ import annotations

import math
from binascii import b2a_base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from parleyd.audio.pcm import BYTES_PER_SAMPLE
from parleyd.audio.resample import Resampler
from parleyd.embedded.realtime import tokens, wire_formats
from parleyd.embedded.realtime.client_messages import Plain
from parleyd.embedded.realtime.items import WIRE_RATE_HZ, Item
from parleyd.embedded.realtime.thinking import Output
from parleyd.embedded.realtime.tokens import Tokens
from parleyd.embedded.scenario import ResponseEnd

Status = Literal["completed", "cancelled", "failed", "incomplete"]


@dataclass(frozen=True, slots=True)
class Event:
    """An event to be sent. note: what the record keeps of an event with sound; heard: that sound at 24 kHz."""

    plain: Plain
    note: Plain | None = None
    heard: bytes = field(default=b"", repr=False)


@dataclass
class Response:
    """wish: `response` of response.create. settings: those of this response. conversation_id None: out of band.

    waits_for: the items whose words are not recognised yet. outputs: the parts that are still to come; None: no answer
    was looked for yet. given, cached: the tokens of the input. filler_tokens, filler_ms: the part of the output that is
    no answer, so that its limit does not count it.
    """

    id: str
    wish: Plain
    settings: Plain
    conversation_id: str | None
    end: ResponseEnd
    items: list[Item]
    waits_for: set[str] = field(default_factory=set)
    outputs: list[Output] | None = None
    done_items: list[Plain] = field(default_factory=list)
    given: Tokens = tokens.NONE
    cached: Tokens = tokens.NONE
    made: Tokens = tokens.NONE
    audio_ms: float = 0.0
    filler_tokens: int = 0
    filler_ms: float = 0.0
    current: Item | None = None
    is_over: bool = False

    def __post_init__(self) -> None:
        self._format = str(self.settings["audio"]["output"]["format"]["type"])
        rate_hz = wire_formats.RATE_HZ[self._format]
        self._resampler = None if rate_hz == WIRE_RATE_HZ else Resampler(WIRE_RATE_HZ, rate_hz)
        self._back = None if rate_hz == WIRE_RATE_HZ else Resampler(rate_hz, WIRE_RATE_HZ)

    @property
    def is_text(self) -> bool:
        return bool(self.settings["output_modalities"] == ["text"])

    @property
    def voice(self) -> object:
        return self.settings["audio"]["output"]["voice"]

    def plain(self, status: str, details: Plain | None, usage: Plain | None) -> Plain:
        """The response as the client sees it."""
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": details,
            "output": list(self.done_items),
            "conversation_id": self.conversation_id,
            "output_modalities": self.settings["output_modalities"],
            "max_output_tokens": self.settings["max_output_tokens"],
            "audio": {"output": {name: self.settings["audio"]["output"][name] for name in ("format", "voice")}},
            "metadata": self.wish.get("metadata"),
            "usage": usage,
        }

    # ---------------------------------------------------------------- limits

    def audio_left_ms(self) -> float:
        """How much more sound may be sent before the response ends early."""
        left_ms = math.inf
        if self.end.status != "completed":
            left_ms = self.end.after_audio_ms - self.audio_ms
        most = self.settings["max_output_tokens"]
        if most != "inf":
            left_tokens = int(most) - (self.made.text - self.filler_tokens)
            left_ms = min(left_ms, left_tokens * tokens.AGENT_MS_PER_TOKEN - (self.audio_ms - self.filler_ms))
        return max(0.0, left_ms)

    def early_end(self) -> tuple[Status, Plain]:
        """Status and details of a response that ends early."""
        end = self.end
        if end.status == "failed":
            error = {"type": end.error_type, "code": end.code, "message": end.message}
            return "failed", {"type": "failed", "error": error}
        scripted = end.status == "incomplete" and self.audio_ms >= end.after_audio_ms
        reason = end.reason if scripted else "max_output_tokens"
        return "incomplete", {"type": "incomplete", "reason": reason}

    # ---------------------------------------------------------------- events

    def _at(self, kind: str, **fields: Any) -> Event:
        assert self.current is not None
        place = {"response_id": self.id, "item_id": self.current.id, "output_index": len(self.done_items)}
        return Event({"type": kind, **place, **fields})

    def _in_content(self, kind: str, **fields: Any) -> Event:
        return self._at(kind, content_index=0, **fields)

    def _output(self, kind: str, item: Plain) -> Event:
        return Event({"type": kind, "response_id": self.id, "output_index": len(self.done_items), "item": item})

    def open_item(self, item: Item) -> Event:
        self.current = item
        return self._output("response.output_item.added", item.plain)

    def close_item(self, status: str) -> Event:
        assert self.current is not None
        if "status" in self.current.plain:
            self.current.plain = {**self.current.plain, "status": status}
        event = self._output("response.output_item.done", self.current.plain)
        self.done_items.append(self.current.plain)
        self.current = None
        return event

    def open_part(self) -> Event:
        part = {"type": "text", "text": ""} if self.is_text else {"type": "audio", "transcript": ""}
        return self._in_content("response.content_part.added", part=part)

    def add_words(self, text: str) -> Event:
        """Adds a sentence to the text, or to the transcript."""
        assert self.current is not None
        delta = f" {text}" if self.current.text else text
        self.current.text = f"{self.current.text or ''}{delta}"
        self.made += Tokens(text=tokens.of_text(delta))
        if self.current.is_filler:
            self.filler_tokens += tokens.of_text(delta)
        kind = "response.output_text.delta" if self.is_text else "response.output_audio_transcript.delta"
        return self._in_content(kind, delta=delta)

    def add_sound(self, pcm: bytes) -> Event:
        """pcm: at 24 kHz."""
        assert self.current is not None
        sound_ms = len(pcm) / BYTES_PER_SAMPLE * 1000 / WIRE_RATE_HZ
        self.audio_ms += sound_ms
        if self.current.is_filler:
            self.filler_ms += sound_ms
        self.current.sent_ms += sound_ms
        self.current.kept_ms += sound_ms
        wire = wire_formats.encode(self._format, self._resampler.process(pcm) if self._resampler else pcm)
        event = self._in_content("response.output_audio.delta", delta=b2a_base64(wire, newline=False).decode())
        heard = wire_formats.decode(self._format, wire)
        note = {**event.plain, "delta": f"({sound_ms:.0f} ms)"}
        return Event(event.plain, note, self._back.process(heard) if self._back else heard)

    def close_part(self) -> Iterator[Event]:
        """Ends the text or the sound of the current item."""
        assert self.current is not None
        text = self.current.text or ""
        if self.is_text:
            yield self._in_content("response.output_text.done", text=text)
            part, content = {"type": "text", "text": text}, {"type": "output_text", "text": text}
        else:
            yield self._in_content("response.output_audio.done")
            yield self._in_content("response.output_audio_transcript.done", transcript=text)
            part, content = {"type": "audio", "transcript": text}, {"type": "output_audio", "transcript": text}
        self.current.plain = {**self.current.plain, "content": [content]}
        yield self._in_content("response.content_part.done", part=part)

    def add_arguments(self, arguments: str) -> Iterator[Event]:
        """The arguments of a call, whose item is the current one."""
        assert self.current is not None
        call_id, name = self.current.plain["call_id"], self.current.plain["name"]
        self.made += Tokens(text=tokens.of_text(name + arguments))
        yield self._at("response.function_call_arguments.delta", call_id=call_id, delta=arguments)
        yield self._at("response.function_call_arguments.done", call_id=call_id, name=name, arguments=arguments)

    def usage(self) -> Plain:
        audio = Tokens(audio=math.ceil(self.audio_ms / tokens.AGENT_MS_PER_TOKEN))
        return tokens.usage(self.given, self.cached, self.made + audio)
