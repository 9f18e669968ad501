"""The tokens of a response, by the rules that OpenAI documents for Realtime. Pure.

User audio: one token per 100 ms; assistant audio: one per 50 ms. Text is estimated: one token per four characters. An
item that was part of an earlier response's input, or was an answer, is cached.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from parleyd.embedded.realtime.client_messages import Plain

USER_MS_PER_TOKEN, AGENT_MS_PER_TOKEN = 100, 50
_CHARS_PER_TOKEN = 4
# Estimates: a picture in low detail, and in any other.
IMAGE_TOKENS = {"low": 85, "auto": 765, "high": 765}


@dataclass(frozen=True, slots=True)
class Tokens:
    text: int = 0
    audio: int = 0
    image: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.text + other.text, self.audio + other.audio, self.image + other.image)

    @property
    def total(self) -> int:
        return self.text + self.audio + self.image

    def plain(self) -> Plain:
        return {"text_tokens": self.text, "audio_tokens": self.audio, "image_tokens": self.image}


NONE = Tokens()


def of_text(text: str) -> int:
    return math.ceil(len(text) / _CHARS_PER_TOKEN)


def usage(given: Tokens, cached: Tokens, made: Tokens) -> Plain:
    """given: all of the input, with the cached part of it."""
    return {
        "total_tokens": given.total + made.total,
        "input_tokens": given.total,
        "output_tokens": made.total,
        "input_token_details": {
            **given.plain(),
            "cached_tokens": cached.total,
            "cached_tokens_details": cached.plain(),
        },
        "output_token_details": {"text_tokens": made.text, "audio_tokens": made.audio},
    }
