"""One field of a JSON answer, and values of an answer that the next request repeats. Pure: the time is an argument."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

# A server's name for a conversation is short; more would only make the next request larger.
MAX_REMEMBERED_CHARS = 1000


class NotThereError(Exception):
    """The answer has no such field. The message is a clause without the answer's content."""


def field_of(answer: object, path: str) -> Any:
    """The value at a path such as `response.speech.plain.speech`; a number is the place in a list, from 0. Raises
    NotThereError."""
    value = answer
    for name in path.split("."):
        if isinstance(value, Mapping) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isascii() and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            raise NotThereError(f"its answer has no {path}")
    return value


def parsed(text: str) -> Any:
    """Raises NotThereError if it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise NotThereError("its answer is not JSON") from None


class Remembered(Struct, frozen=True):
    """The values of the last answer that the next request may repeat. until_s: then they are forgotten."""

    values: Mapping[str, object]
    until_s: float

    def at(self, now_s: float) -> Mapping[str, object]:
        return self.values if now_s < self.until_s else {}


NOTHING = Remembered({}, float("-inf"))


def remembered(answer: object, paths: Mapping[str, str], now_s: float, for_s: float) -> Remembered:
    """The values at the paths, by name. A value that is missing, null or no plain one is not kept."""
    found: dict[str, object] = {}
    for name, path in paths.items():
        try:
            value = field_of(answer, path)
        except NotThereError:
            continue
        if isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= MAX_REMEMBERED_CHARS):
            found[name] = value
    return Remembered(found, now_s + for_s)
