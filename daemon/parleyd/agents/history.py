"""The conversation so far as one text, for providers that take no lines of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from parleyd.agents.provider import Said

PREFACE = "This goes on with a conversation from {ago}. What was said so far, to be continued without a new greeting:"

# How the speakers are called in it.
_NAMES = {"person": "user", "agent": "agent"}


def prose(history: Sequence[Said]) -> str:
    """The lines with a preface that says how long ago the last of them was said. history: not empty."""
    return "\n".join([PREFACE.format(ago=_ago(history[-1].ago_s)), *map(line, history)])


def line(said: Said) -> str:
    return f"{_NAMES[said.who]}: {said.text}" + (" … (interrupted)" if said.is_cut else "")


def _ago(age_s: float) -> str:
    if age_s < 15:
        return "a moment ago"
    return f"{age_s:.0f} seconds ago" if age_s < 100 else f"{age_s / 60:.0f} minutes ago"
