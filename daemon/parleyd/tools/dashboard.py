"""The definitions for the agent's page at ElevenLabs, which tell the agent about this device's tools. Pure.

The form is that of `POST /v1/convai/tools` (ToolRequestModel with a ClientToolConfig in the official Python SDK).
Its parameters have a small part of JSON Schema: types, descriptions, enums of text, and which are required. The other
rules are put into the descriptions, where a language model reads them; the device checks the whole schema in any case.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from parleyd.tools.template import as_text
from parleyd.tools.toolbox import Tool

# The agent waits longer than this device by this margin; the platform allows 120 s at most.
MARGIN_S = 3
MAX_RESPONSE_TIMEOUT_S = 120
# The description of tools with `confirm`. Without it the person hears a sound and does not know what is asked.
_CONFIRMED = (
    "The device asks the person to allow each call, on the device itself: before you call it, tell them what it will "
    "do and that they have to confirm it there. What they say to you does not count."
)
_LITERALS = ("string", "integer", "number", "boolean")
_LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "pattern": "of the form {}",
    "format": "as a {}",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "default": "{} when left out",
}


def client_tool(tool: Tool) -> dict[str, Any]:
    """Returns the body of the request that creates this tool on the platform."""
    return {
        "tool_config": {
            "type": "client",
            "name": tool.name,
            "description": f"{tool.description} {_CONFIRMED}" if tool.confirm_s is not None else tool.description,
            "expects_response": True,
            "response_timeout_secs": min(
                MAX_RESPONSE_TIMEOUT_S, math.ceil(tool.timeout_s + (tool.confirm_s or 0.0)) + MARGIN_S
            ),
            # The platform's default hides errors of client tools from the agent; ours are written for the agent.
            "tool_error_handling_mode": "passthrough",
            "parameters": _object(tool.parameters.schema, tool.parameters.schema, f"the parameters of {tool.name}"),
        }
    }


def _object(schema: Mapping[str, Any], root: Mapping[str, Any], description: str) -> dict[str, Any]:
    properties = schema.get("properties", {})
    return {
        "type": "object",
        "description": description,
        "required": [name for name in schema.get("required", []) if name in properties],
        "properties": {name: _property(name, inner, root) for name, inner in properties.items()},
    }


def _property(name: str, schema: object, root: Mapping[str, Any]) -> dict[str, Any]:
    found = _followed(schema, root)
    kind = _kind(found)
    description = _description(name, found)
    if kind == "object":
        return _object(found, root, description)
    if kind == "array":
        items = _property("item", found.get("items", {}), root)
        return {"type": "array", "description": description, "items": items}
    enum = found.get("enum")
    is_choice = kind == "string" and isinstance(enum, list) and all(isinstance(value, str) for value in enum)
    return {"type": kind, "description": description, **({"enum": enum} if is_choice else {})}


def _followed(schema: object, root: Mapping[str, Any], depth: int = 0) -> Mapping[str, Any]:
    """Returns the schema behind a local $ref."""
    if not isinstance(schema, Mapping):
        return {}
    reference = schema.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#/") or depth > 8:
        return schema
    target: object = root
    for part in reference[2:].split("/"):
        target = target.get(part) if isinstance(target, Mapping) else None
    return {**_followed(target, root, depth + 1), **{key: value for key, value in schema.items() if key != "$ref"}}


def _kind(schema: Mapping[str, Any]) -> str:
    declared = schema.get("type")
    kinds = declared if isinstance(declared, list) else [declared]
    known = [kind for kind in kinds if kind in (*_LITERALS, "object", "array")]
    return known[0] if known else "string"


def _description(name: str, schema: Mapping[str, Any]) -> str:
    """Returns the description; it is never empty, because the platform requires one for values that the agent gives."""
    text = str(schema.get("description") or name.replace("_", " "))
    limits = [words.format(as_text(schema[key])) for key, words in _LIMITS.items() if key in schema]
    enum = schema.get("enum")
    if isinstance(enum, list) and not all(isinstance(value, str) for value in enum):
        limits.append("one of " + ", ".join(as_text(value) for value in enum))
    return f"{text} ({', '.join(limits)})" if limits else text
