"""A folder of the platform's official command-line tool: agents.json, tools.json, and one file of JSON for each.

agents.json  {"agents": [{"config": "agent_configs/Kitchen.json", "id": "agent_...", ...}]}
tools.json   {"tools": [{"type": "client", "config": "tool_configs/lamp.json", "id": "tool_..."}]}

A tool without an id is made when somebody pushes the folder; only then can it be attached to the agent. The tool does
not look for one of the same name before: so the ids of tools that the platform has are taken into the folder, if the
platform can be asked. Source: `@elevenlabs/cli` 1.3.0.
"""

from __future__ import annotations

import copy
import functools
import itertools
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from parleyd.core.text import name_text
from parleyd.host.files import read_file, replace_file
from parleyd.platform.desired import TOOL_IDS
from parleyd.platform.failures import EX_CONFIGURATION, PlatformError
from parleyd.platform.fit import Doubt, RemoteTool
from parleyd.platform.tree import value_at

_MOST_BYTES = 16 * 2**20
_FILE_MODE = 0o644


class Folder:
    """Implements place.Place. agent_id: of the entry; None: the folder has a single one. wanted: the names of the
    device's tools. platforms_tools: asks the platform for its client tools; None: there is no key to ask with. Raises
    PlatformError."""

    def __init__(
        self,
        folder: Path,
        agent_id: str | None,
        wanted: Collection[str] = (),
        platforms_tools: Callable[[], Sequence[RemoteTool]] | None = None,
    ) -> None:
        self._folder = folder
        self._wanted = frozenset(wanted)
        self._platforms_tools = None if platforms_tools is None else functools.cache(platforms_tools)
        entries = _entries(self._read("agents.json"), "agents", folder)
        if agent_id is None and len(entries) != 1:
            text = f"{folder / 'agents.json'} has {len(entries)} agents"
            raise PlatformError(text, "name one of them with --agent ID", EX_CONFIGURATION)
        found = [entry for entry in entries if agent_id is None or entry.get("id") == agent_id]
        if not found or not isinstance(found[0].get("config"), str):
            text = f"{folder / 'agents.json'} has no agent {agent_id}"
            raise PlatformError(text, "pull it with `elevenlabs agents pull`, or check the id", EX_CONFIGURATION)
        self._config = str(found[0]["config"])
        self.agent_id = str(found[0].get("id") or self._config)

    def agent(self) -> Mapping[str, Any]:
        return self._read(self._config)

    def tools(self) -> Sequence[RemoteTool]:
        """Those of the folder, and of the wanted ones those that the platform has and the folder does not list with
        their id."""
        # A tool that was not pushed yet is known by its file.
        listed = [
            RemoteTool(str(entry.get("id") or entry["config"]), self._read(entry["config"]))
            for entry in self._listed()["tools"]
            if entry.get("type", "client") == "client" and isinstance(entry.get("config"), str)
        ]
        ids = self._ids()
        pushed = {str(tool.config.get("name")) for tool in listed if tool.tool_id in ids}
        missing = self._wanted - pushed
        if not missing or self._platforms_tools is None:
            return tuple(listed)
        # A tool that is listed under another name was renamed in the folder, and keeps its id.
        there = [
            tool for tool in self._platforms_tools() if tool.config.get("name") in missing and tool.tool_id not in ids
        ]
        names = {tool.config["name"] for tool in there}
        return (
            *(tool for tool in listed if tool.config.get("name") not in names),
            *(RemoteTool(tool.tool_id, tool.config, is_listed=False) for tool in there),
        )

    def doubt(self, made: Sequence[str]) -> Doubt | None:
        if self._platforms_tools is not None:
            return None
        attached = value_at(self.agent(), TOOL_IDS)
        ids = self._ids()
        unknown = [str(one) for one in attached if one not in ids] if isinstance(attached, list) else []
        path, names = self._folder / "tools.json", " or ".join(made)
        if unknown:
            text = f"the agent has tools that {path} does not list ({', '.join(unknown)})"
            more = f"if one of them is {names}, the push makes it a second time"
        else:
            text = f"without a key the platform cannot be asked whether it has the tool {names} already"
            more = "if it has, the push makes a second one"
        hint = f"run `elevenlabs tools pull --all` in {self._folder}, or name a key with --key-file FILE"
        return Doubt(f"{text}: {more}", hint, forbids=bool(unknown))

    def create_tool(self, config: Mapping[str, Any]) -> str | None:
        self._store_tool(config, None)
        return None

    def update_tool(self, tool_id: str, config: Mapping[str, Any]) -> None:
        for entry in self._listed()["tools"]:
            if tool_id in (entry.get("id"), entry.get("config")) and isinstance(entry.get("config"), str):
                self._write(entry["config"], _sorted(config))
                return
        self._store_tool(config, tool_id)

    def _store_tool(self, config: Mapping[str, Any], tool_id: str | None) -> None:
        """Writes the file of a tool, and lists it."""
        listed = self._listed()
        entry = next((entry for entry in listed["tools"] if self._waits(entry, config["name"])), None)
        if entry is None:
            entry = {"type": "client", "config": self._free_file(str(config["name"]), listed["tools"])}
            listed["tools"].append(entry)
        self._write(entry["config"], _sorted(config))
        if tool_id is not None:
            entry["id"] = tool_id
        self._write("tools.json", listed)

    def _waits(self, entry: Mapping[str, Any], name: str) -> bool:
        """The entry is that of the client tool of this name, which was not pushed yet."""
        if entry.get("id") or entry.get("type", "client") != "client" or not isinstance(entry.get("config"), str):
            return False
        return self._read(entry["config"]).get("name") == name

    def _free_file(self, name: str, entries: Sequence[Mapping[str, Any]]) -> str:
        """The path of a new file for the tool. A tool of another kind may have the same name, and a file that is not
        listed is a draft of somebody's."""
        # Names of tools have only letters, digits, _ and -.
        stem = f"tool_configs/{re.sub(r'[^A-Za-z0-9_-]', '_', name)}"
        taken = {entry.get("config") for entry in entries}
        numbers = (f"{stem}-{number}.json" for number in itertools.count(2))
        names = itertools.chain([f"{stem}.json"], numbers)
        return next(file for file in names if file not in taken and not (self._folder / file).exists())

    def _listed(self) -> dict[str, Any]:
        """The content of tools.json; its list is one of objects."""
        content = self._read("tools.json") if (self._folder / "tools.json").exists() else {"tools": []}
        return {**content, "tools": _entries(content, "tools", self._folder)}

    def _ids(self) -> set[object]:
        return {entry["id"] for entry in self._listed()["tools"] if isinstance(entry.get("id"), str)}

    def patch_agent(self, fields: Mapping[str, Any], description: str) -> None:
        self._write(self._config, _sorted(_merged(self._read(self._config), fields)))

    def _read(self, name: str) -> dict[str, Any]:
        path = self._inside(name)
        try:
            content = json.loads(read_file(path, _MOST_BYTES))
        except OSError as error:
            hint = "name the folder in which `elevenlabs agents init` was run"
            raise PlatformError(f"{path} cannot be read: {error.strerror}", hint, EX_CONFIGURATION) from None
        except (ValueError, RecursionError) as error:
            line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
            raise PlatformError(f"{path} is not JSON{line}", "correct it, or pull it anew", EX_CONFIGURATION) from None
        if not isinstance(content, dict):
            raise PlatformError(f"{path} is no JSON object", "correct it, or pull it anew", EX_CONFIGURATION)
        return content

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        path = self._inside(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            mode = path.stat().st_mode & 0o777 if path.exists() else _FILE_MODE
            # As the official tool writes it, so that a team's repository shows only what has changed.
            replace_file(path, json.dumps(content, indent=4, ensure_ascii=False).encode(), mode)
        except OSError as error:
            hint = "make the folder writable for this user"
            raise PlatformError(f"{path} cannot be written: {error.strerror}", hint, EX_CONFIGURATION) from None

    def _inside(self, name: str) -> Path:
        path = (self._folder / name).resolve()
        if not path.is_relative_to(self._folder.resolve()):
            text = f"{self._folder} names a file outside itself: {name_text(name)}"
            raise PlatformError(text, "correct agents.json and tools.json", EX_CONFIGURATION)
        return path


def _entries(listed: Mapping[str, Any], key: str, folder: Path) -> list[dict[str, Any]]:
    entries = listed.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        text = f"{folder / key}.json does not list {key}"
        raise PlatformError(text, "correct it, or run `elevenlabs agents init` anew", EX_CONFIGURATION)
    return entries


def _sorted(config: Mapping[str, Any]) -> dict[str, Any]:
    """With its keys in the order in which the official tool writes the files of agents and tools."""
    return {key: _sorted(value) if isinstance(value, Mapping) else value for key, value in sorted(config.items())}


def _merged(tree: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """As the platform merges: objects are merged, all else is replaced."""
    merged = copy.deepcopy(dict(tree))
    for name, value in fields.items():
        before = merged.get(name)
        is_both = isinstance(before, dict) and isinstance(value, Mapping)
        merged[name] = _merged(before or {}, value) if is_both else copy.deepcopy(value)
    return merged
