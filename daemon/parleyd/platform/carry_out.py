"""Writes a plan: tools first, then the agent in one request; then everything is read again and compared.

A run that is killed in between is finished by the next one, which finds a tool that was made by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from parleyd.platform.desired import TOOL_IDS, Desired
from parleyd.platform.failures import EX_NOT_KEPT, PlatformError
from parleyd.platform.fit import Plan, Written
from parleyd.platform.place import Place
from parleyd.platform.tree import dotted, holds, put, value_at


@dataclass(frozen=True, slots=True)
class Done:
    """made, changed: the names of tools. waiting: of tools that get an id, and can be attached, only later."""

    made: tuple[str, ...]
    changed: tuple[str, ...]
    waiting: tuple[str, ...]
    version_id: str | None


def carry_out(
    plan: Plan, desired: Desired, place: Place, written: Written, description: str, store: Callable[[Written], None]
) -> Done:
    """store: keeps what was written, after each step. Raises PlatformError; its exit code is 70 if the server did not
    keep what it had accepted."""
    tools, values = dict(written.tools), dict(written.values)
    added = {path: list(names) for path, names in written.added.items()}
    made, changed, waiting = [], [], []

    def keep() -> None:
        store(Written(values, added, tools))

    for change in plan.tools:
        if change.tool_id is None:
            tool_id = place.create_tool(change.body)
            made.append(change.name)
            if tool_id is None:
                waiting.append(change.name)
            else:
                tools[change.name] = tool_id
        else:
            place.update_tool(change.tool_id, change.body)
            changed.append(change.name)
            tools[change.name] = change.tool_id
        values |= {f"tools.{change.name}.{key}": value for key, value in _worded(change.body).items()}
        keep()
    fields = _fields(plan, place, tools, waiting)
    if fields:
        place.patch_agent(fields, description)
    wanted = {dotted(want.path) for want in desired.wants}
    for one in plan.changes:
        if dotted(one.path) in wanted:
            values[dotted(one.path)] = one.new
        elif isinstance(one.new, list):
            before = one.old if isinstance(one.old, list) else []
            names = added.setdefault(dotted(one.path), [])
            names += [value for value in one.new if value not in before and value not in names]
    keep()
    return Done(tuple(made), tuple(changed), tuple(waiting), _read_again(plan, place, fields))


def _worded(body: Mapping[str, Any]) -> dict[str, Any]:
    return {key: body[key] for key in ("description", "parameters", "tool_error_handling_mode") if key in body}


def _fields(plan: Plan, place: Place, tools: Mapping[str, str], waiting: list[str]) -> dict[str, Any]:
    """The body of the one request: the changed leaves, and lists as a whole."""
    fields: dict[str, Any] = {}
    for change in plan.changes:
        put(fields, change.path, change.new)
    if plan.attach or plan.detach:
        known = {str(tool.config.get("name")): tool.tool_id for tool in place.tools()} | dict(tools)
        ids = value_at(place.agent(), TOOL_IDS)
        before = list(ids) if isinstance(ids, list) else []
        new = [known[name] for name in plan.attach if name in known and name not in waiting]
        kept = [tool_id for tool_id in before if tool_id not in plan.detach]
        after = kept + [tool_id for tool_id in new if tool_id not in kept]
        if after != before:
            put(fields, TOOL_IDS, after)
    return fields


def _read_again(plan: Plan, place: Place, fields: Mapping[str, Any]) -> str | None:
    """Compares the agent with what was sent, because unknown and misplaced fields vanish without an error. Returns the
    id of the agent's version."""
    agent = place.agent()
    lost = [dotted(change.path) for change in plan.changes if not holds(value_at(agent, change.path), change.new)]
    ids = value_at(fields, TOOL_IDS)
    if isinstance(ids, list) and value_at(agent, TOOL_IDS) != ids:
        lost.append(dotted(TOOL_IDS))
    by_name = {str(tool.config.get("name")): tool.config for tool in place.tools()} if plan.tools else {}
    for tool in plan.tools:
        kept = by_name.get(tool.name, {})
        lost += [f"tools.{tool.name}.{key}" for key, value in tool.body.items() if not holds(kept.get(key), value)]
    if lost:
        raise PlatformError(
            f"the server accepted the changes and did not keep {', '.join(sorted(lost))}",
            "set it by hand at ElevenLabs, or correct the name of the field; the rest was written",
            EX_NOT_KEPT,
        )
    version = agent.get("version_id")
    return version if isinstance(version, str) else None
