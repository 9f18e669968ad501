"""The keys that a new configuration changes, in words. Pure.

Apart from changes.py, because `parleyd reload` needs the words, and not the schema.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Changes:
    """The dotted keys that have changed, grouped by the time at which they take effect."""

    now: tuple[str, ...] = ()
    next_session: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()

    def in_words(self) -> str:
        told = [
            f"{how}: {', '.join(keys)}"
            for how, keys in (
                ("in force now", self.now),
                ("from the next session on", self.next_session),
                ("only after a restart", self.restart),
            )
            if keys
        ]
        return "; ".join(told) or "nothing has changed"
