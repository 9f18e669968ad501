"""The rules for every question to a person about a call of the agent. Pure.

People approve what they see. Therefore the whole call is shown, with nothing masked and nothing cut, and a call that is
too long to be shown is denied. A person answers with an id that is made here, because an agent chooses its own ids and
the time at which its question ends: it could replace the question that the person is reading by another one.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from parleyd.tools.parameters import depth_and_size
from parleyd.tools.result import ToolError

# The longest parameters, as JSON, and the longest name that a person can be expected to read.
MAX_SHOWN_CHARS = 4000
MAX_NAME_CHARS = 200


@dataclass(frozen=True, slots=True)
class Answerer:
    """The person who answered, for the audit log.

    uid, pid: their process, as the kernel reports it (pid 0: it is in another namespace). role: the reason why they may
    answer: the role `approve`, or the user root or the daemon's own user.
    """

    uid: int
    pid: int
    role: Literal["approve", "root", "daemon"]

    def told(self) -> dict[str, object]:
        return asdict(self)


def new_id() -> str:
    """Returns one of 16^6 ids, so that the id of an expired question is not used again the same evening."""
    return secrets.token_hex(3)


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
