"""Compares the demands of a device with the agent as it is, and decides on the changes. Pure.

Needs are added wherever they are missing, and nothing of anybody else's is removed for them. Wants have three sides:
the configuration, the platform, and the value that this program last wrote. A value that somebody changed on the
platform since then is a conflict: it is shown, and written only if the owner says so (`take`).
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from parleyd.platform.desired import DEFAULT_MODEL, ENGLISH_MODELS, LANGUAGE, MODEL, TOOL_IDS, Desired, Need, Want
from parleyd.platform.notes import Note, notes
from parleyd.platform.tree import MISSING, Path, dotted, holds, is_blank, put, value_at

ALL = "all"


@dataclass(frozen=True, slots=True)
class Change:
    """old: MISSING if there is none. new: the whole value, also of a list. why: the key that asks for it."""

    path: Path
    old: Any
    new: Any
    why: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """A value that the owner wants otherwise, and that somebody else has set. written: the value that this program last
    wrote; MISSING if it never did."""

    path: Path
    wanted: Any
    there: Any
    written: Any
    why: str


@dataclass(frozen=True, slots=True)
class ToolChange:
    """A client tool that has to be made (tool_id: None) or changed. body: the whole tool_config to send. changes: what
    differs, for people; their paths begin with `tools` and the name."""

    name: str
    tool_id: str | None
    body: Mapping[str, Any]
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class RemoteTool:
    """is_listed: False for a tool that the platform has and the folder does not list with its id."""

    tool_id: str
    config: Mapping[str, Any]
    is_listed: bool = True


@dataclass(frozen=True, slots=True)
class Doubt:
    """Tools that are to be made may exist already, unseen. forbids: one of them is known to be there, and nothing is
    written before it is known which one."""

    text: str
    hint: str
    forbids: bool


@dataclass(frozen=True, slots=True)
class Written:
    """The last values that this program wrote. values: of wants and of tools, by dotted path. added: the values that
    needs have added to lists, by dotted path. tools: their ids by name."""

    values: Mapping[str, Any] = field(default_factory=dict)
    added: Mapping[str, Sequence[str]] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """attach: the names of the tools that the agent shall get, in addition to those that it has; detach: ids of tools
    that it shall lose. The tools themselves are never deleted."""

    changes: tuple[Change, ...] = ()
    tools: tuple[ToolChange, ...] = ()
    attach: tuple[str, ...] = ()
    detach: tuple[str, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    notes: tuple[Note, ...] = ()
    doubt: Doubt | None = None

    @property
    def made(self) -> tuple[str, ...]:
        """The names of the tools that have to be made."""
        return tuple(tool.name for tool in self.tools if tool.tool_id is None)

    @property
    def is_in_step(self) -> bool:
        return not (self.changes or self.tools or self.attach or self.detach or self.conflicts)

    @property
    def has_work(self) -> bool:
        return bool(self.changes or self.tools or self.attach or self.detach)


def fit(
    desired: Desired,
    agent: Mapping[str, Any],
    tools: Sequence[RemoteTool],
    written: Written,
    *,
    take: Collection[str] = (),
    prune: bool = False,
) -> Plan:
    """agent: as `GET /v1/convai/agents/{id}` describes it. tools: all of the workspace. take: dotted paths of conflicts
    that are decided for the configuration, or "all". prune: what needs have added before, and do not ask for any more,
    is removed."""
    work = _Work(agent, written, take)
    for want in desired.wants:
        work.want(want)
    for need in desired.needs:
        work.need(need)
    if prune:
        work.prune(desired.needs)
    work.pair_language_and_model()
    tool_changes, attached = [], []
    for body in desired.tools:
        tool = _find(str(body["tool_config"]["name"]), tools, written, _attached(agent))
        change = work.tool(body["tool_config"], tool)
        if change is not None:
            tool_changes.append(change)
        if tool is None or tool.tool_id not in _attached(agent):
            attached.append(str(body["tool_config"]["name"]))
    names = {str(body["tool_config"]["name"]) for body in desired.tools}
    detach = [
        tool_id
        for name, tool_id in written.tools.items()
        if prune and name not in names and tool_id in _attached(agent)
    ]
    return Plan(
        tuple(work.changes.values()),
        tuple(tool_changes),
        tuple(attached),
        tuple(detach),
        tuple(work.conflicts),
        tuple(notes(desired, work.after, tools)),
    )


class _Work:
    """after: the agent as it will be."""

    def __init__(self, agent: Mapping[str, Any], written: Written, take: Collection[str]) -> None:
        self._before = agent
        self._written = written
        self._take = take
        self.after: dict[str, Any] = copy.deepcopy(dict(agent))
        self.changes: dict[Path, Change] = {}
        self.conflicts: list[Conflict] = []

    def _set(self, path: Path, new: Any, why: str) -> None:
        known = self.changes.get(path)
        if known is not None:
            why = known.why if why in known.why.split(", ") else f"{known.why}, {why}"
        self.changes[path] = Change(path, value_at(self._before, path), new, why)
        put(self.after, path, new)

    def _may_write(self, path: Path, there: Any) -> bool:
        last = self._written.values.get(dotted(path), MISSING)
        if is_blank(there) or (last is not MISSING and _is_same(there, last)):
            return True
        return ALL in self._take or dotted(path) in self._take

    def want(self, want: Want) -> None:
        there = value_at(self._before, want.path)
        if _is_same(there, want.value) or (want.value is None and is_blank(there)):
            return
        if self._may_write(want.path, there):
            self._set(want.path, want.value, want.why)
        else:
            last = self._written.values.get(dotted(want.path), MISSING)
            self.conflicts.append(Conflict(want.path, want.value, there, last, want.why))

    def need(self, need: Need) -> None:
        there = value_at(self.after, need.path)
        match need.kind:
            case "contains":
                values = list(there) if isinstance(there, list) else []
                if need.value not in values:
                    self._set(need.path, [*values, need.value], need.why)
            case "has":
                if there is MISSING:
                    self._set(need.path, need.value, need.why)
            case "is":
                if there != need.value:
                    self._set(need.path, need.value, need.why)
            case "at_least":
                is_number = isinstance(there, int | float) and not isinstance(there, bool)
                if not is_number or there < need.value:
                    self._set(need.path, need.value, need.why)

    def prune(self, needs: Sequence[Need]) -> None:
        """Removes what earlier needs have added."""
        wanted = {(dotted(need.path), str(need.value)) for need in needs if need.kind == "contains"}
        for name, values in self._written.added.items():
            path = tuple(name.split("."))
            there = value_at(self.after, path)
            if not isinstance(there, list):
                continue
            kept = [value for value in there if value not in values or (name, str(value)) in wanted]
            if kept != there:
                self._set(path, kept, "--prune: nothing asks for it any more")

    def pair_language_and_model(self) -> None:
        """A language other than English, with a model that speaks English alone, is refused as a whole."""
        language, model = value_at(self.after, LANGUAGE), value_at(self.after, MODEL)
        if not isinstance(language, str) or language.partition("-")[0] == "en" or MODEL in self.changes:
            return
        if LANGUAGE in self.changes and (model is MISSING or model in ENGLISH_MODELS):
            # The platform's own default speaks English alone, too.
            known = DEFAULT_MODEL if model is MISSING else model
            self._set(MODEL, ENGLISH_MODELS[known], f"{known} speaks English alone, and the language is {language}")

    def tool(self, wanted: Mapping[str, Any], found: RemoteTool | None) -> ToolChange | None:
        name = str(wanted["name"])
        if found is None:
            change = Change(("tools", name), MISSING, wanted["description"], f"tools: {name}")
            return ToolChange(name, None, wanted, (change,))
        changes = []
        if not found.is_listed:
            why = "the platform has this tool, and the folder does not list it"
            changes.append(Change(("tools", name, "id"), MISSING, found.tool_id, why))
        for key, value in wanted.items():
            there = found.config.get(key, MISSING)
            path: Path = ("tools", name, key)
            if key == "response_timeout_secs":
                if isinstance(there, int | float) and there >= value:
                    continue
            elif _is_same_parameters(there, value) if key == "parameters" else _is_same(there, value):
                continue
            why = f"tools: {name}"
            # Without an answer, or with one that is too late, the tool is of no use; the rest is worded by people.
            if key in ("expects_response", "response_timeout_secs") or self._may_write(path, there):
                changes.append(Change(path, there, value, why))
            else:
                last = self._written.values.get(dotted(path), MISSING)
                self.conflicts.append(Conflict(path, value, there, last, why))
        if not changes:
            return None
        # The platform replaces the whole config of a tool, and other people's fields must survive.
        body = {**found.config, **{change.path[-1]: change.new for change in changes if change.path[-1] in wanted}}
        return ToolChange(name, found.tool_id, body, tuple(changes))


def _attached(agent: Mapping[str, Any]) -> Sequence[str]:
    ids = value_at(agent, TOOL_IDS)
    return ids if isinstance(ids, list) else ()


def _find(name: str, tools: Sequence[RemoteTool], written: Written, attached: Sequence[str]) -> RemoteTool | None:
    """The tool of this name: the one that this program made, else one that the agent has, else the first."""
    known = written.tools.get(name)
    for tool in tools:
        if tool.tool_id == known:
            return tool
    named = [tool for tool in tools if tool.config.get("name") == name and tool.config.get("type") == "client"]
    return min(named, key=lambda tool: (tool.tool_id not in attached, tool.tool_id), default=None)


def _is_same(there: Any, wanted: Any) -> bool:
    return there is not MISSING and holds(there, wanted)


def _is_same_parameters(there: Any, wanted: Any) -> bool:
    """Like _is_same, and the platform knows no parameter that the device does not know."""
    if not _is_same(there, {key: value for key, value in wanted.items() if key not in ("properties", "required")}):
        return False
    if set(there.get("required") or ()) != set(wanted.get("required") or ()):
        return False
    here, wanted_here = there.get("properties") or {}, wanted.get("properties") or {}
    if set(here) != set(wanted_here):
        return False
    return all(
        _is_same_parameters(here[name], inner) if inner.get("type") == "object" else _is_same(here[name], inner)
        for name, inner in wanted_here.items()
    )
