"""The values that this program last wrote, for each agent: a JSON file without secrets.

If the file is lost, nothing is overwritten: every value that the owner wants otherwise is then a conflict.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from parleyd.host.files import read_file, replace_file
from parleyd.platform.failures import EX_CONFIGURATION, PlatformError
from parleyd.platform.fit import Written

FILE_NAME = "platform.json"
_MOST_BYTES = 16 * 2**20


class _Agent(Struct):
    values: dict[str, Any] = {}
    added: dict[str, list[str]] = {}
    tools: dict[str, str] = {}


class _File(Struct):
    agents: dict[str, _Agent] = {}


class State:
    """path: of the file. Raises PlatformError for a file that cannot be read or written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = self._read()

    def of(self, agent: str, branch: str | None) -> Written:
        known = self._file.agents.get(_name(agent, branch), _Agent())
        return Written(known.values, known.added, known.tools)

    def store(self, agent: str, branch: str | None, written: Written) -> None:
        added = {path: list(values) for path, values in written.added.items()}
        entry = _Agent(dict(written.values), added, dict(written.tools))
        self._file.agents[_name(agent, branch)] = entry
        content = json.dumps(msgspec.to_builtins(self._file), indent=2, ensure_ascii=False, sort_keys=True)
        try:
            replace_file(self.path, f"{content}\n".encode("utf-8", "replace"))
        except OSError as error:
            raise PlatformError(
                f"{self.path} cannot be written: {error.strerror}",
                "make its folder writable; until then each change of yours is taken for somebody else's",
                EX_CONFIGURATION,
            ) from None

    def _read(self) -> _File:
        try:
            return msgspec.json.decode(read_file(self.path, _MOST_BYTES), type=_File)
        except FileNotFoundError:
            return _File()
        except OSError as error:
            raise PlatformError(
                f"{self.path} cannot be read: {error.strerror}", "make it readable for this user", EX_CONFIGURATION
            ) from None
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise PlatformError(
                f"{self.path} is damaged",
                "remove it: nothing is overwritten then, but your own earlier values are shown as conflicts",
                EX_CONFIGURATION,
            ) from None


def _name(agent: str, branch: str | None) -> str:
    return f"{agent}@{branch}" if branch else agent
