"""Converts values to plain JSON types, for the control protocol and hooks. Pure."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import msgspec
from msgspec import Struct

from parleyd.core import events


def plain(value: object) -> Any:
    """Dataclasses, enums and structs as plain JSON types."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, events.Event):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Struct):
        return msgspec.to_builtins(value)
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if value is None or isinstance(value, int | float | bool):
        return value
    # UTF-8 cannot represent an unpaired surrogate.
    return str(value).encode("utf-8", "replace").decode()
