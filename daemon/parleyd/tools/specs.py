"""The tools of this device as an agent is told of them. Pure."""

from __future__ import annotations

from parleyd.agents.provider import ToolSpec
from parleyd.tools.toolbox import Tool

# Without these words the person hears a sound that asks them for nothing they know.
_CONFIRMED = (
    "The device asks the person to allow each call, on the device itself: before you call it, tell them what it will "
    "do and that they have to confirm it there. What they say to you does not count."
)


def spec(tool: Tool) -> ToolSpec:
    """The tool with its description for a language model. timeout_s: with the time for a person's permission."""
    asks = tool.confirm_s is not None
    return ToolSpec(
        name=tool.name,
        description=f"{tool.description} {_CONFIRMED}" if asks else tool.description,
        parameters=tool.parameters.schema,
        timeout_s=tool.timeout_s + (tool.confirm_s or 0.0),
    )
