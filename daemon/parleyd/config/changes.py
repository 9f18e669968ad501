"""Compares two configurations, and says when each change takes effect. Pure."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

from parleyd.config import changed_keys
from parleyd.config.keys import all_keys
from parleyd.config.schema import Config

When = Literal["now", "next_session", "restart"]

# When a change of a section or a key takes effect; the longest matching name decides. All others need a restart.
_WHEN: dict[str, When] = {
    "elevenlabs": "next_session",
    "openai": "next_session",
    "local.after_s": "now",
    "local.text": "now",
    "wake": "now",
    "audio.input.gain_db": "now",
    "audio.output.volume": "now",
    "gate.vad": "now",
    "gate.aggressiveness": "now",
    "gate.hangover_ms": "now",
    "barge_in.confirm_ms": "now",
    "session": "now",
    "session.connect_timeout_s": "next_session",
    "session.buffer_s": "restart",
    "continuity": "now",
    "budget": "now",
    "quiet_hours": "now",
    "reconnect": "now",
    **dict.fromkeys(
        (
            f"tools.{name}"
            for name in (
                *("built_in", "confirm_built_in", "confirm_s", "command", "http", "python"),
                *("at_once", "per_minute", "per_session", "result_chars"),
            )
        ),
        "now",
    ),
    "camera": "now",
    "hooks": "now",
    "profiles": "now",
    "announce": "now",
    "log.level": "now",
}


class Changes(Struct, frozen=True):
    """The dotted keys that have changed, grouped by the time at which they take effect."""

    now: tuple[str, ...] = ()
    next_session: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()

    def in_words(self) -> str:
        return changed_keys.in_words(self.now, self.next_session, self.restart)


def changes(old: Config, new: Config) -> Changes:
    before, after = msgspec.to_builtins(old), msgspec.to_builtins(new)
    found: dict[When, list[str]] = {"now": [], "next_session": [], "restart": []}
    for key in all_keys():
        if key.section is None and _at(before, key.path) != _at(after, key.path):
            found[when(key.dotted)].append(key.dotted)
    return Changes(tuple(found["now"]), tuple(found["next_session"]), tuple(found["restart"]))


def in_force(old: Config, new: Config) -> Config:
    """The new configuration, with the old values of all keys that need a restart."""
    plain, before = msgspec.to_builtins(new), msgspec.to_builtins(old)
    for dotted in changes(old, new).restart:
        *parents, name = dotted.split(".")
        _at(plain, tuple(parents))[name] = _at(before, (*parents, name))
    return msgspec.convert(plain, Config)


def when(key: str) -> When:
    """key: dotted."""
    parts = key.split(".")
    listed = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((_WHEN[one] for one in listed if one in _WHEN), "restart")


def _at(plain: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        plain = plain[name]
    return plain
