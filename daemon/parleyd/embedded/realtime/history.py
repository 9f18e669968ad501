"""The items of a Realtime conversation as a language model is asked for the next answer. Pure.

The items are read anew for each response, as the client has left them: what it deleted is gone, and of an answer that
it truncated only the heard words are there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from parleyd.embedded.mind import wordings
from parleyd.embedded.mind.memory import shortened
from parleyd.embedded.realtime.client_messages import Plain
from parleyd.embedded.realtime.items import Item
from parleyd.embedded.settings import ToolDefinition


@dataclass(frozen=True)
class Asked:
    """messages, tools, tool_choice: as OpenAI's chat completions have them. max_tokens: None: the client names no
    limit."""

    messages: list[dict[str, Any]]
    tools: tuple[ToolDefinition, ...]
    tool_choice: Any
    max_tokens: int | None


def asked(items: Sequence[Item], settings: Plain, instructions: str, prompt: str, *, may_shorten: bool = True) -> Asked:
    """The question to the model for one response. settings: of the response. instructions: of the client. prompt: of
    the agent, before them. may_shorten: the oldest items are left out where there are too many."""
    system = wordings.system(prompt, instructions, "" if _is_written(settings) else wordings.HABITS)
    said = list(_messages(items))
    messages = [{"role": "system", "content": system}, *(shortened(said) if may_shorten else said)]
    tools = tuple(
        ToolDefinition(
            name=str(tool["name"]),
            description=str(tool.get("description") or ""),
            parameters=dict(tool.get("parameters") or {}),
        )
        for tool in settings["tools"]
        if tool["type"] == "function"
    )
    choice = settings["tool_choice"]
    if isinstance(choice, dict):
        # Realtime has the name beside the type, chat completions have it one level lower.
        is_known = choice.get("type") == "function" and any(tool.name == choice.get("name") for tool in tools)
        choice = {"type": "function", "function": {"name": choice["name"]}} if is_known else "auto"
    most = settings["max_output_tokens"]
    return Asked(messages, () if choice == "none" else tools, choice, None if most == "inf" else int(most))


def _is_written(settings: Plain) -> bool:
    return bool(settings["output_modalities"] == ["text"])


def _messages(items: Sequence[Item]) -> Iterator[dict[str, Any]]:
    """A strict server refuses a call without a result, a result that does not follow its call at once, and two of the
    same id: the person may speak while a tool works, and a client may tell a result twice. The first one counts."""
    results: dict[str, str] = {}
    for item in items:
        if item.kind == "function_call_output":
            results.setdefault(str(item.plain["call_id"]), str(item.plain["output"]))
    made: list[tuple[dict[str, Any], str]] = []
    for item in items:
        if item.is_filler:
            # It is no word of the model.
            continue
        if item.kind == "function_call":
            # Calls of one response belong into one message.
            if (result := results.pop(str(item.plain["call_id"]), None)) is not None:
                made.append((_call(item.plain), result))
            continue
        yield from _with_results(made)
        made = []
        match item.kind:
            case "user":
                yield {"role": "user", "content": wordings.said(item.text or "", item.files)}
            case "system":
                yield {"role": "system", "content": item.text or ""}
            case "assistant":
                words = _heard(item)
                if words:
                    yield {"role": "assistant", "content": words}
            case "mcp_call":
                yield {"role": "system", "content": f"{item.plain['name']} answered: {item.plain['output']}"}
    yield from _with_results(made)


def _call(plain: Plain) -> dict[str, Any]:
    function = {"name": plain["name"], "arguments": _object(plain["arguments"])}
    return {"id": plain["call_id"], "type": "function", "function": function}


def _with_results(made: Sequence[tuple[dict[str, Any], str]]) -> Iterator[dict[str, Any]]:
    """The message with these calls, and those of their results."""
    if made:
        yield {"role": "assistant", "content": "", "tool_calls": [call for call, _ in made]}
    for call, result in made:
        yield {"role": "tool", "tool_call_id": call["id"], "content": result}


def _object(arguments: str) -> str:
    """The arguments; an empty object for what a client has told as those of an earlier call, and is none."""
    try:
        is_object = isinstance(msgspec.json.decode(arguments), dict)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        is_object = False
    return arguments if is_object else "{}"


def _heard(item: Item) -> str:
    return item.text or "" if item.heard is None else wordings.heard(item.heard)
