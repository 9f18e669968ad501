"""The tools of a configuration in the platform's form, without their secrets: a plan for a device may be made on
another machine."""

from __future__ import annotations

from typing import Any, NoReturn

import msgspec

from parleyd.config.tool_sections import CommandTool, Tool, Tools
from parleyd.core import events
from parleyd.tools.dashboard import client_tool
from parleyd.tools.device_tools import DaemonActions, DeviceTools
from parleyd.tools.result import Fault, ToolError

# The keys that tools of every kind have.
_SHARED = Tool.__struct_fields__
_PLACEHOLDER = CommandTool(description="-", run=["true"])


def client_tools(config: Tools) -> list[dict[str, Any]]:
    """The body of POST /v1/convai/tools for each tool."""
    plain = msgspec.structs.replace(
        config,
        command={name: msgspec.structs.replace(tool, secrets={}) for name, tool in config.command.items()},
        http={name: msgspec.structs.replace(tool, secrets={}, headers={}) for name, tool in config.http.items()},
        # The package of a function need not be installed here; its declaration is all that counts.
        python={},
    )
    as_commands = {
        name: msgspec.structs.replace(_PLACEHOLDER, **{key: getattr(tool, key) for key in _SHARED})
        for name, tool in config.python.items()
    }
    plain = msgspec.structs.replace(plain, command={**plain.command, **as_commands})
    host = DaemonActions(_no_daemon, _no_daemon, _no_daemon, _no_daemon, _no_daemon)
    tools = DeviceTools(plain, host, events.Bus(), None).tools
    return [client_tool(tool) for tool in tools.values()]


def _no_daemon(*_: object) -> NoReturn:
    raise ToolError(Fault.FAILED, "There is no daemon here.")
