"""The keys that a new configuration changes, in words. Pure.

Apart from changes.py, because `parleyd reload` needs the words, and not the schema.
"""

from __future__ import annotations

from collections.abc import Sequence


def in_words(now: Sequence[str] = (), next_session: Sequence[str] = (), restart: Sequence[str] = ()) -> str:
    """The dotted keys that have changed, grouped by the time at which they take effect."""
    told = [
        f"{how}: {', '.join(keys)}"
        for how, keys in (
            ("in force now", now),
            ("from the next session on", next_session),
            ("only after a restart", restart),
        )
        if keys
    ]
    return "; ".join(told) or "nothing has changed"
