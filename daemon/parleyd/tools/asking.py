"""What holds for every question that a person is asked about a call of the agent's. Pure.

A person approves what they see. Therefore they are shown all of it, nothing masked and nothing cut, and what is too
long for that is denied. They answer by an id that is made here: an agent chooses its own ids, and when its question
ends, and could put another question in the place of the one that is being read. And a person who has not allowed
several calls in a row is left in peace for a while, so that nobody is worn down until they allow one.
"""

from __future__ import annotations

import json
import secrets
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from parleyd.tools.parameters import depth_and_size
from parleyd.tools.result import ToolError

# What a person can be expected to read, as JSON; of a name.
MAX_SHOWN_CHARS = 4000
MAX_NAME_CHARS = 200
# So many calls in a row that were not allowed, within this time, are enough for the rest of it.
MOST_IN_VAIN = 3
IN_VAIN_S = 600.0


@dataclass(frozen=True, slots=True)
class Answerer:
    """Who answered, for the audit log: their process, as the kernel told of it (pid: 0 in another namespace), and what
    they had for it: the role approve, or being root or the daemon's own user."""

    uid: int
    pid: int
    role: Literal["approve", "root", "daemon"]

    def told(self) -> dict[str, object]:
        return asdict(self)


class Patience:
    """How often a person is asked in vain. now_s: monotonic. Pure."""

    def __init__(self) -> None:
        self._in_vain_s: deque[float] = deque(maxlen=MOST_IN_VAIN)

    def settled(self, now_s: float, *, allowed: bool) -> None:
        if allowed:
            self._in_vain_s.clear()
        else:
            self._in_vain_s.append(now_s)

    def over_in_s(self, now_s: float) -> float:
        """So long nobody is asked any more; 0: somebody may be."""
        if len(self._in_vain_s) < MOST_IN_VAIN:
            return 0.0
        return max(0.0, self._in_vain_s[0] + IN_VAIN_S - now_s)


def new_id() -> str:
    """16^6 of them: a question that has run out leaves an id that no other question of this evening will have."""
    return secrets.token_hex(3)


def too_much_to_show(names: tuple[str, ...], parameters: Mapping[str, object]) -> str | None:
    """Why nobody can be asked about this call; None: all of it can be shown."""
    if max(map(len, names)) > MAX_NAME_CHARS:
        return f"the bound on names ({MAX_NAME_CHARS} characters)"
    try:
        depth_and_size(parameters)
        chars = len(json.dumps(parameters, ensure_ascii=False))
    except (ToolError, TypeError, ValueError, RecursionError):
        return "the bound on parameters: these cannot be shown"
    return f"the bound on parameters ({MAX_SHOWN_CHARS} characters)" if chars > MAX_SHOWN_CHARS else None
