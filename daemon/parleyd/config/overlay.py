"""A configuration with some of its keys replaced: what a profile is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from parleyd.config.changes import when
from parleyd.config.keys import keys_of
from parleyd.config.schema import Config

# These say what there is on this device; a profile says how it is used.
_NOT_FOR_PROFILES = ("profiles", "hooks", "log")


def may_change(key: str) -> bool:
    """key: dotted."""
    return key.partition(".")[0] not in _NOT_FOR_PROFILES and when(key) != "restart"


def overlay(config: Config, settings: Mapping[str, object]) -> Config:
    """settings: checked, as Profile has them. Mappings of the user's own names are joined, lists are replaced."""
    plain = msgspec.to_builtins(config)
    _lay(plain, settings, Config)
    return msgspec.convert(plain, Config)


def _lay(plain: dict[str, Any], settings: Mapping[str, Any], section: type[msgspec.Struct]) -> None:
    keys = keys_of(section)
    for name, value in settings.items():
        key = keys[name]
        if key.section is not None:
            _lay(plain[name], value, key.section)
        elif key.is_map:
            plain[name] = {**plain[name], **value}
        else:
            plain[name] = value
