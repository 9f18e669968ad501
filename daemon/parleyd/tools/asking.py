"""The rules for every question to a person about a call of the agent. Pure.

People approve what they see. Therefore the whole call is shown, with nothing masked and nothing cut, and a call that is
too long to be shown is denied. A person answers with an id that is made here, because an agent chooses its own ids and
the time at which its question ends: it could replace the question that the person is reading by another one.

After three calls in a row that were not allowed, nobody is asked for a while, so that a person cannot be worn down.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Mapping
from typing import Literal

from msgspec import Struct
from msgspec.structs import asdict

from parleyd.tools.parameters import depth_and_size
from parleyd.tools.result import ToolError

# The longest parameters, as JSON, and the longest name that a person can be expected to read.
MAX_SHOWN_CHARS = 4000
MAX_NAME_CHARS = 200
# After this many calls in a row that were not allowed within this time, nobody is asked for the rest of the time.
MOST_IN_VAIN = 3
IN_VAIN_S = 600.0


class Answerer(Struct, frozen=True):
    """The person who answered, for the audit log.

    uid, pid: their process, as the kernel reports it (pid 0: it is in another namespace). role: the reason why they may
    answer: the role `approve`, or the user root or the daemon's own user.
    """

    uid: int
    pid: int
    role: Literal["approve", "root", "daemon"]

    def told(self) -> dict[str, object]:
        return asdict(self)


class AskingLimit:
    """Limits how often a person is asked without allowing the call. now_s: monotonic. Pure."""

    def __init__(self) -> None:
        self._in_vain_s: deque[float] = deque(maxlen=MOST_IN_VAIN)

    def settled(self, now_s: float, *, allowed: bool) -> None:
        if allowed:
            self._in_vain_s.clear()
        else:
            self._in_vain_s.append(now_s)

    def over_in_s(self, now_s: float) -> float:
        """Returns the seconds until a person may be asked again; 0: now."""
        if len(self._in_vain_s) < MOST_IN_VAIN:
            return 0.0
        return max(0.0, self._in_vain_s[0] + IN_VAIN_S - now_s)


def new_id() -> str:
    """Returns one of 16^6 ids, so that the id of an expired question is not used again the same evening."""
    return os.urandom(3).hex()


def too_much_to_show(names: tuple[str, ...], parameters: Mapping[str, object]) -> str | None:
    """Returns the bound that keeps this call from being shown to a person; None: all of it can be shown."""
    if max(map(len, names)) > MAX_NAME_CHARS:
        return f"the bound on names ({MAX_NAME_CHARS} characters)"
    try:
        depth_and_size(parameters)
        chars = len(json.dumps(parameters, ensure_ascii=False))
    except (ToolError, TypeError, ValueError, RecursionError):
        return "the bound on parameters: these cannot be shown"
    return f"the bound on parameters ({MAX_SHOWN_CHARS} characters)" if chars > MAX_SHOWN_CHARS else None
