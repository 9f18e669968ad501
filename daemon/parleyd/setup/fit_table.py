"""A plan for an agent as rows for people: what does not fit this device, and what is done about it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from parleyd.platform.desired import ALLOWED, CLIENT_EVENTS, FILE_INPUT, LANGUAGE, MAX_DURATION, MODEL, PROMPT
from parleyd.platform.fit import Change, Plan
from parleyd.platform.tree import MISSING, Path, dotted

HEADING = ("on the agent", "is now", "will be")

_NAMES: dict[Path, str] = {
    CLIENT_EVENTS: "events that it sends",
    MAX_DURATION: "longest conversation",
    FILE_INPUT: "takes files",
    LANGUAGE: "language",
    MODEL: "model of the voice",
    PROMPT: "prompt",
}
# Longer texts are shown in part.
_MOST_CHARS = 60


def rows(plan: Plan) -> list[tuple[str, str, str]]:
    """One row for each change and for the tools, and one for each conflict, which stays as it is."""
    found = [_row(change) for change in plan.changes]
    made = [tool.name for tool in plan.tools if tool.tool_id is None]
    attached = [name for name in plan.attach if name not in made]
    if made:
        found.append((_tools(made), "missing", "made, and given to the agent"))
    if attached:
        found.append((_tools(attached), "not given to it", "given to the agent"))
    found += [_row(change) for tool in plan.tools if tool.tool_id is not None for change in tool.changes]
    found += _conflicts(plan)
    return found


def _conflicts(plan: Plan) -> Iterator[tuple[str, str, str]]:
    for one in plan.conflicts:
        yield _name(one.path), _shown(one.there), f"stays; your configuration wants: {_shown(one.wanted)}"


def _tools(names: Sequence[str]) -> str:
    return f"tool{'s' if len(names) > 1 else ''} {', '.join(names)}"


def _row(change: Change) -> tuple[str, str, str]:
    if isinstance(change.new, list):
        old = change.old if isinstance(change.old, list) else []
        more = ", ".join(str(value) for value in change.new if value not in old)
        return _name(change.path), f"{len(old)} of them", f"also {more}"
    return _name(change.path), _shown(change.old), _shown(change.new)


def _name(path: Path) -> str:
    if path in _NAMES:
        return _NAMES[path]
    if path[: len(ALLOWED)] == ALLOWED:
        return f"device may set {' '.join(path[len(ALLOWED) :][-1:])}"
    return dotted(path[1:]) if len(path) > 1 and path[0] != "tools" else dotted(path)


def _shown(value: object) -> str:
    if value is MISSING or value is None or value == "":
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MOST_CHARS else f"{text[:_MOST_CHARS]}…"
