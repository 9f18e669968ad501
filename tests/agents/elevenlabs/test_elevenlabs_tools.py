"""What is printed for the platform fits the types of its official SDK."""

from __future__ import annotations

from typing import Any

import pytest
from elevenlabs.types import ArrayJsonSchemaPropertyInput, ClientToolConfigInput, LiteralJsonSchemaProperty
from elevenlabs.types import ObjectJsonSchemaPropertyInput as ObjectProperty

from parleyd.agents.elevenlabs.platform_tools import client_tool
from parleyd.agents.provider import ToolSpec
from parleyd.config.tool_sections import CommandTool, Tools
from parleyd.tools.device_tools import declared_tools
from parleyd.tools.specs import spec

SCHEMA: dict[str, object] = {
    "type": "object",
    "$defs": {"room": {"type": "string", "enum": ["kitchen", "hall"], "description": "where"}},
    "properties": {
        "room": {"$ref": "#/$defs/room"},
        "level": {"type": ["integer", "null"], "minimum": 0, "maximum": 10, "default": 5, "description": "how much"},
        "fade": {"type": "boolean", "default": True},
        "step": {"enum": [1, 2, None]},
        "colours": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
        "endless": {"$ref": "#/$defs/none"},
    },
    "required": ["room"],
}


def lamp(**more: Any) -> ToolSpec:
    section = CommandTool(description="Switches a lamp.", run=["lamp"], parameters=SCHEMA, **more)
    return spec(declared_tools(Tools(command={"lamp": section}))["lamp"])


def fits(kind: type[Any], plain: dict[str, Any]) -> None:
    """The SDK's own types let everything pass that they do not know, and that is what must not be."""
    unknown = set(plain) - set(kind.model_fields)
    assert not unknown
    kind.model_validate(plain)
    if plain.get("type") == "object":
        for inner in plain["properties"].values():
            kinds = {"object": ObjectProperty, "array": ArrayJsonSchemaPropertyInput}
            fits(kinds.get(inner["type"], LiteralJsonSchemaProperty), inner)


def test_the_request_is_one_that_the_platform_knows() -> None:
    config = client_tool(lamp())["tool_config"]
    assert config.pop("type") == "client"
    fits(ClientToolConfigInput, {key: value for key, value in config.items() if key != "parameters"})
    fits(ObjectProperty, config["parameters"])
    properties = config["parameters"]["properties"]
    assert config["parameters"]["required"] == ["room"]
    assert properties["room"] == {"type": "string", "description": "where", "enum": ["kitchen", "hall"]}
    assert properties["level"]["type"] == "integer"
    assert properties["level"]["description"] == "how much (at least 0, at most 10, 5 when left out)"
    assert properties["fade"] == {"type": "boolean", "description": "fade (true when left out)"}
    assert "enum" not in properties["step"]
    assert properties["step"]["description"] == "step (one of 1, 2, null)"
    assert properties["colours"]["items"]["properties"]["name"]["type"] == "string"


@pytest.mark.parametrize(("timeout_s", "told_s"), [(0.5, 4), (10.0, 13), (115.0, 118)])
def test_the_agent_waits_longer_than_the_tool_may_take(timeout_s: float, told_s: int) -> None:
    assert client_tool(lamp(timeout_s=timeout_s))["tool_config"]["response_timeout_secs"] == told_s
