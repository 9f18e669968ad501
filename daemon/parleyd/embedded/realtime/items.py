"""The items of a conversation, in their order. Pure."""

from __future__ import annotations

import math
from binascii import b2a_base64
from collections.abc import Iterator
from dataclasses import dataclass, field

from parleyd.audio.pcm import BYTES_PER_SAMPLE, PIPELINE_RATE_HZ
from parleyd.audio.resample import Resampler
from parleyd.embedded.realtime import client_messages, tokens
from parleyd.embedded.realtime.client_messages import Plain, RefusedError
from parleyd.embedded.realtime.tokens import Tokens
from parleyd.embedded.replies import ReceivedFile

WIRE_RATE_HZ = 24_000
# The sound of the person that one session keeps, for a client that asks for it: some 65 s.
MOST_SOUND_BYTES = 2 * 2**20


@dataclass
class Item:
    """plain: the item as the client sees it. text: the words in it; None: they are not recognised yet.

    pcm: the person's sound at 16 kHz; forgotten_bytes: the part of it that is not kept any more. pieces: the sentences
    of an answer, with their seconds. sent_ms, kept_ms: the sound of an answer that was sent, and the part of it that
    was not truncated. heard: the words in that part; None: it was not truncated. is_filler: said while the mind
    thought.
    """

    plain: Plain
    text: str | None = ""
    pcm: bytes = field(default=b"", repr=False)
    forgotten_bytes: int = 0
    pieces: list[tuple[str, float]] = field(default_factory=list)
    files: list[ReceivedFile] = field(default_factory=list)
    sent_ms: float = 0.0
    kept_ms: float = 0.0
    heard: str | None = None
    was_input: bool = False
    is_filler: bool = False

    @property
    def id(self) -> str:
        return str(self.plain["id"])

    @property
    def kind(self) -> str:
        """The type, or for a message its role."""
        return str(self.plain.get("role") or self.plain["type"])

    @property
    def tokens(self) -> Tokens:
        if self.kind == "assistant" and self.sent_ms:
            return Tokens(tokens.of_text(self.text or ""), math.ceil(self.kept_ms / tokens.AGENT_MS_PER_TOKEN))
        pictures = [part for part in self.plain.get("content", []) if part["type"] == "input_image"]
        image = sum(tokens.IMAGE_TOKENS[part.get("detail") or "auto"] for part in pictures)
        if audio_ms := self.input_s * 1000:
            return Tokens(0, math.ceil(audio_ms / tokens.USER_MS_PER_TOKEN), image)
        words = self.text or str(self.plain.get("output") or self.plain.get("arguments") or "")
        return Tokens(tokens.of_text(words), 0, image)

    @property
    def input_s(self) -> float:
        """The length of the person's sound, in seconds."""
        return (len(self.pcm) + self.forgotten_bytes) / BYTES_PER_SAMPLE / PIPELINE_RATE_HZ

    def forget_sound(self) -> None:
        self.forgotten_bytes += len(self.pcm)
        self.pcm = b""

    def with_audio(self) -> Plain:
        """The item as `conversation.item.retrieve` returns it: with the person's sound, at 24 kHz, if that is kept."""
        if not self.pcm:
            return self.plain
        resampler = Resampler(PIPELINE_RATE_HZ, WIRE_RATE_HZ)
        data = resampler.process(self.pcm) + resampler.flush()
        audio = b2a_base64(data, newline=False).decode()
        content = [
            {**part, "audio": audio} if part["type"] == "input_audio" else part for part in self.plain["content"]
        ]
        return {**self.plain, "content": content}


class Items:
    """Finds, adds and removes items; the errors are those of the service."""

    def __init__(self) -> None:
        self._items: list[Item] = []

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def find(self, item_id: str) -> Item:
        """Raises RefusedError."""
        for item in self._items:
            if item.id == item_id:
                return item
        raise RefusedError("item_not_found", f"Item with item_id '{item_id}' not found.", "item_id")

    def has(self, item_id: str) -> bool:
        return any(item.id == item_id for item in self._items)

    def add(self, item: Item, after: str | None = None) -> str | None:
        """Adds an item at the end, or after another; "root": at the beginning. Returns the id of the item before it.
        Raises RefusedError."""
        if self.has(item.id):
            text = f"Error adding item: an item with id '{item.id}' already exists."
            raise RefusedError("item_create_duplicate_id", text, "item.id")
        place = len(self._items)
        if after == "root":
            place = 0
        elif after is not None:
            ids = [one.id for one in self._items]
            if after not in ids:
                text = f"Error adding item: the previous item with id '{after}' does not exist."
                raise RefusedError("item_create_invalid_previous_item_id", text, "previous_item_id")
            place = ids.index(after) + 1
        self._items.insert(place, item)
        if item.pcm:
            self._bound_sound(item)
        return self._items[place - 1].id if place else None

    def _bound_sound(self, newest: Item) -> None:
        kept_bytes = sum(len(item.pcm) for item in self._items)
        for item in self._items:
            if kept_bytes <= MOST_SOUND_BYTES:
                return
            if item is not newest:
                kept_bytes -= len(item.pcm)
                item.forget_sound()

    def remove(self, item_id: str) -> None:
        """Raises RefusedError."""
        self._items.remove(self.find(item_id))

    def last_id(self) -> str | None:
        return self._items[-1].id if self._items else None


_MAY_SAY = {
    "user": {"input_text", "input_audio", "input_image"},
    "system": {"input_text"},
    "assistant": {"output_text"},
}


def from_client(plain: Plain, item_id: str, known_calls: Iterator[str]) -> Item:
    """A new item. plain: `item` of a client, checked for its shape. known_calls: the ids of the calls so far. Raises
    RefusedError."""
    plain = {**plain, "id": item_id}
    if plain["type"] == "mcp_approval_response":
        return Item(plain)
    plain |= {"object": "realtime.item", "status": "completed"}
    if plain["type"] == "function_call_output":
        if plain["call_id"] not in known_calls:
            text = f"Tool call ID '{plain['call_id']}' not found in conversation."
            raise RefusedError("invalid_tool_call_id", text, "item.call_id")
        return Item(plain)
    if plain["type"] == "function_call":
        return Item({**plain, "call_id": plain.get("call_id") or f"call_{item_id}"})
    return _message(plain)


def _message(plain: Plain) -> Item:
    item = Item(plain)
    words: list[str] = []
    content = []
    for index, part in enumerate(plain["content"]):
        param = f"item.content[{index}]"
        if part["type"] not in _MAY_SAY[plain["role"]]:
            known = ", ".join(f"'{name}'" for name in sorted(_MAY_SAY[plain["role"]]))
            text = f"Invalid value: '{part['type']}'. Supported values are: {known}."
            raise RefusedError("invalid_value", text, f"{param}.type")
        needed = {"input_image": "image_url", "input_audio": "audio"}.get(part["type"], "text")
        if needed not in part:
            raise RefusedError(
                "missing_required_parameter", f"Missing required parameter: '{param}.{needed}'.", f"{param}.{needed}"
            )
        if needed == "image_url":
            media_type, size_bytes = client_messages.picture(part["image_url"], f"{param}.image_url")
            item.files.append(ReceivedFile("a picture", media_type, size_bytes))
        elif needed == "audio":
            data = client_messages.base64_bytes(part["audio"], f"{param}.audio")
            resampler = Resampler(WIRE_RATE_HZ, PIPELINE_RATE_HZ)
            item.pcm += resampler.process(data[: len(data) // 2 * 2]) + resampler.flush()
        else:
            words.append(part["text"])
        content.append({name: value for name, value in part.items() if name != "audio"})
    item.plain = {**plain, "content": content}
    item.text = None if item.pcm else " ".join(words)
    return item
