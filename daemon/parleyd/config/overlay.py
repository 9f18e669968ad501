"""Replaces some keys of a configuration, as a profile does. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from parleyd.config.changes import when
from parleyd.config.keys import keys_of
from parleyd.config.schema import Config

# These sections describe the device; a profile changes only how it is used.
_NOT_FOR_PROFILES = ("profiles", "hooks", "log")


def may_change(key: str) -> bool:
    """Whether a profile may change this key. key: dotted."""
    return key.partition(".")[0] not in _NOT_FOR_PROFILES and when(key) != "restart"


def overlay(config: Config, settings: Mapping[str, object]) -> Config:
    """The configuration with the settings of a profile. settings: checked, as in Profile. Mappings with the user's own
    names are merged, lists are replaced."""
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
