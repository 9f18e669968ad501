"""Converts values to plain JSON types, for the control protocol and hooks. Pure."""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec
from msgspec import Struct


def plain(value: object) -> Any:
    """Dataclasses, structs and enums as plain JSON types."""
    # Not dataclasses.fields(): the daemon has none, and the module takes its time at the start.
    names = getattr(type(value), "__dataclass_fields__", None)
    if names is not None:
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Struct):
        if value.__struct_config__.omit_defaults:
            return msgspec.to_builtins(value)
        # Not msgspec.to_builtins(), which refuses an unpaired surrogate.
        names = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
        return {name: plain(getattr(value, field)) for name, field in names}
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if value is None or isinstance(value, int | float | bool):
        return value
    # UTF-8 cannot represent an unpaired surrogate.
    return str(value).encode("utf-8", "replace").decode()
