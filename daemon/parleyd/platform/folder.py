"""A folder of the platform's official command-line tool: agents.json, tools.json, and one file of JSON for each.

agents.json  {"agents": [{"config": "agent_configs/Kitchen.json", "id": "agent_...", ...}]}
tools.json   {"tools": [{"type": "client", "config": "tool_configs/lamp.json", "id": "tool_..."}]}

A tool without an id is made when somebody pushes the folder; only then can it be attached to the agent.
Source: `@elevenlabs/cli` 1.3.0.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from parleyd.core.text import name_text
from parleyd.host.files import read_file, replace_file
from parleyd.platform.failures import EX_CONFIGURATION, PlatformError
from parleyd.platform.fit import RemoteTool

_MOST_BYTES = 16 * 2**20
_FILE_MODE = 0o644


class Folder:
    """Implements place.Place. agent_id: of the entry; None: the folder has a single one. Raises PlatformError."""

    def __init__(self, folder: Path, agent_id: str | None) -> None:
        self._folder = folder
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
        if not (self._folder / "tools.json").exists():
            return ()
        # A tool that was not pushed yet is known by its file.
        return tuple(
            RemoteTool(str(entry.get("id") or entry["config"]), self._read(entry["config"]))
            for entry in _entries(self._read("tools.json"), "tools", self._folder)
            if entry.get("type", "client") == "client" and isinstance(entry.get("config"), str)
        )

    def create_tool(self, config: Mapping[str, Any]) -> str | None:
        listed = self._read("tools.json") if (self._folder / "tools.json").exists() else {"tools": []}
        # Names of tools have only letters, digits, _ and -.
        file = f"tool_configs/{re.sub(r'[^A-Za-z0-9_-]', '_', str(config['name']))}.json"
        self._write(file, config)
        if all(entry.get("config") != file for entry in _entries(listed, "tools", self._folder)):
            listed["tools"].append({"type": "client", "config": file})
        self._write("tools.json", listed)
        return None

    def update_tool(self, tool_id: str, config: Mapping[str, Any]) -> None:
        for entry in _entries(self._read("tools.json"), "tools", self._folder):
            if tool_id in (entry.get("id"), entry.get("config")):
                self._write(str(entry["config"]), config)

    def patch_agent(self, fields: Mapping[str, Any], description: str) -> None:
        self._write(self._config, _merged(self._read(self._config), fields))

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
            replace_file(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode(), _FILE_MODE)
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


def _merged(tree: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """As the platform merges: objects are merged, all else is replaced."""
    merged = copy.deepcopy(dict(tree))
    for name, value in fields.items():
        before = merged.get(name)
        is_both = isinstance(before, dict) and isinstance(value, Mapping)
        merged[name] = _merged(before or {}, value) if is_both else copy.deepcopy(value)
    return merged
