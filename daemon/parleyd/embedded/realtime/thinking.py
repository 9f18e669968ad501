"""Finds the answer to a conversation, a list of items, among the replies of the embedded agent. Pure.

The agent's memory is read from the items each time, so a client that deletes an item, or brings the items of an earlier
session, changes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from parleyd.embedded import replies
from parleyd.embedded.realtime.client_messages import Plain
from parleyd.embedded.realtime.items import Item
from parleyd.embedded.recognise import NOT_UNDERSTOOD
from parleyd.embedded.replies import Memory, Reply
from parleyd.embedded.settings import AgentSettings, ToolSpec

# The client's own tools with which an agent may hang up; the protocol has no message for that.
_HANG_UP = ("end_conversation", "end_call", "hang_up")


@dataclass(frozen=True, slots=True)
class Words:
    """A message of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a function of the client. reply: what is said when its result has come."""

    tool: ToolSpec
    reply: Reply


Output = Words | Call


@dataclass(frozen=True)
class Question:
    """instructions: of this response alone. calls: the reply that waits for each call of a function."""

    items: Sequence[Item]
    calls: Mapping[str, Reply]
    tools: Sequence[Plain]
    tool_choice: str | Plain
    instructions: str
    settings: AgentSettings


def unanswered(items: Iterable[Item]) -> list[Item]:
    """The items after the agent's last one: questions, and the results of calls."""
    found: list[Item] = []
    for item in items:
        if item.kind in ("assistant", "function_call", "mcp_approval_request"):
            found.clear()
        elif item.kind in ("user", "function_call_output", "mcp_approval_response", "mcp_call"):
            found.append(item)
    return found


def think(question: Question, now: datetime) -> list[Output]:
    """The parts of the answer, in order."""
    waiting = unanswered(question.items)
    reply = _reply(question, waiting, now)
    functions = [str(tool["name"]) for tool in question.tools if tool["type"] == "function"]
    if question.tool_choice == "none":
        functions = []
    forced = _forced(question.tool_choice, functions)
    if forced is not None and (reply.tool is None or reply.tool.name != forced):
        return [Call(ToolSpec(name=forced), Reply("{result}"))]
    outputs: list[Output] = []
    if reply.tool is not None:
        if reply.tool.name in functions:
            return [Call(reply.tool, reply)]
        return [Words(reply.with_result(f"I have no tool {reply.tool.name}.", is_error=True))]
    if reply.say:
        outputs.append(Words(reply.say))
    hang_up = next((name for name in _HANG_UP if name in functions), None)
    if reply.end_call and hang_up is not None:
        outputs.append(Call(ToolSpec(name=hang_up), Reply("")))
    return outputs


def _forced(choice: str | Plain, functions: Sequence[str]) -> str | None:
    """The function that has to be called."""
    if isinstance(choice, dict):
        name = str(choice.get("name"))
        return name if choice["type"] == "function" and name in functions else None
    return functions[0] if choice == "required" and functions else None


def _reply(question: Question, waiting: Sequence[Item], now: datetime) -> Reply:
    said = replies.quoted(question.instructions)
    if said is not None:
        return Reply(said)
    memory = _memory(question, waiting, now)
    results = [_after_call(item, question) for item in waiting if item.kind != "user"]
    asked = [item for item in waiting if item.kind == "user"]
    if asked:
        last = asked[-1]
        if last.files:
            reply = replies.answer_files(last.files, last.text or "", memory)
        else:
            reply = replies.answer(last.text or NOT_UNDERSTOOD, memory, question.settings.replies, now)
        say = " ".join([*results, reply.say]) if reply.tool is None else reply.say
        return Reply(say, reply.tool, reply.end_call)
    if results:
        return Reply(" ".join(text for text in results if text))
    if question.instructions:
        return replies.follow(question.instructions, memory, question.settings, now)
    return Reply(question.settings.first_message)


def _memory(question: Question, waiting: Sequence[Item], now: datetime) -> Memory:
    """All that was said before the question that is to be answered."""
    memory = Memory()
    asked = [item for item in waiting if item.kind == "user"]
    for item in question.items:
        match item.kind:
            case "system":
                memory.add_update(item.text or "", item.id)
            case "user" if item.text and (not asked or item is not asked[-1]):
                last_answer = memory.last_answer
                replies.answer(item.text, memory, question.settings.replies, now)
                memory.last_answer = last_answer
            case "assistant":
                memory.last_answer = item.text or ""
    return memory


def _after_call(item: Item, question: Question) -> str:
    plain = item.plain
    if item.kind == "function_call_output":
        reply = question.calls.get(plain["call_id"], Reply("{result}"))
        return reply.with_result(str(plain["output"]), is_error=False)
    if item.kind == "mcp_call":
        return f"{plain['name']} answered: {plain['output']}"
    return "" if plain["approve"] else "You did not allow it."
