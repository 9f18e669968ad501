"""Where agents and their tools stand: the interface of the platform's API and of a folder of files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from parleyd.platform.fit import Doubt, RemoteTool


class Place(Protocol):
    """Every method may block, and raises PlatformError. Descriptions are plain JSON, and keep fields that this program
    does not know."""

    def agent(self) -> Mapping[str, Any]:
        """The agent as it is now."""

    def tools(self) -> Sequence[RemoteTool]:
        """All client tools, over all pages."""

    def doubt(self, made: Sequence[str]) -> Doubt | None:
        """Why a tool with one of the names in `made` may be there, although tools() has none. None: there is none."""

    def create_tool(self, config: Mapping[str, Any]) -> str | None:
        """Makes a tool. Returns its id; None: it gets one later, when somebody pushes the folder."""

    def update_tool(self, tool_id: str, config: Mapping[str, Any]) -> None:
        """Replaces the whole config of a tool; a folder lists it with its id afterwards."""

    def patch_agent(self, fields: Mapping[str, Any], description: str) -> None:
        """Merges the fields into the agent; lists are replaced. description: of the new version."""
