"""The settings of an ElevenLabs agent that this device needs, compared with those that the agent has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from parleyd.core.findings import Finding, good, misconfigured, note, skipped, warning
from parleyd.doctor.examination import Examination

if TYPE_CHECKING:  # the doctor starts without what these import
    from parleyd.platform.fit import Change, Plan, ToolChange

APPLY = "parleyd platform apply"
_ANSWER_S = 8.0
# The effect of a client event that the agent does not send.
_EVENTS = {
    "audio": "it has no voice",
    "interruption": "it cannot be interrupted, and talks on while somebody speaks",
    "user_transcript": "nothing shows that it understood, so a wake counts as false sooner, and after a lost line "
    "speech may be sent twice",
    "agent_response": "what it said cannot be carried over to the session after a lost line",
    "agent_response_correction": "what is shown of an interrupted answer was not heard in full",
    "agent_tool_response": "that it hangs up is noticed late",
    "conversation_initiation_metadata": "the formats of its sound are not known",
    "ping": "the delay of the line is not known",
    "agent_chat_response_part": "parleyd chat shows an answer only when it is complete",
    "client_tool_call": "none of the tools of this device can be called",
    "mcp_tool_call": "nothing of tools.mcp is ever asked here",
}
_MINOR_EVENTS = frozenset(("ping", "agent_chat_response_part"))


def fit(examination: Examination) -> Iterator[Finding]:
    """Reads the agent and the client tools, and changes nothing."""
    config = examination.configured()
    section = config.elevenlabs
    if config.provider != "elevenlabs":
        yield skipped("only an agent on the ElevenLabs platform is compared with the configuration")
        return
    if examination.key is None or section.agent_id is None:
        yield skipped("without a key the agent's settings cannot be read")
        return
    from parleyd.platform.desired import desired
    from parleyd.platform.failures import PlatformError
    from parleyd.platform.fit import Written
    from parleyd.platform.fit import fit as compare
    from parleyd.platform.own_tools import client_tools
    from parleyd.platform.rest import Rest

    # The wishes of elevenlabs.agent are for `parleyd platform`; a device works without them.
    needs = desired(config, client_tools(config.tools), None, wishes=False)
    place = Rest(section.base_url, examination.key, section.agent_id, section.branch_id, _ANSWER_S)
    try:
        plan = compare(needs, place.agent(), place.tools(), Written())
    except PlatformError as error:
        yield note(f"cannot be compared: {error}", error.hint or "try again later")
        return
    yield from judge(plan, config.session.max_s)


def judge(plan: Plan, max_s: float) -> Iterator[Finding]:
    """The needs that the agent does not fulfil, and notes. max_s: session.max_s."""
    found = [*_of_settings(plan, max_s), *_of_tools(plan)]
    yield from found
    for one in plan.notes:
        yield warning(one.text, one.hint) if one.is_vital else note(one.text, one.hint)
    if not found:
        yield good("it has everything that this device needs")


def _of_settings(plan: Plan, max_s: float) -> Iterator[Finding]:
    from parleyd.platform.desired import ALLOWED, CLIENT_EVENTS, EXTRA_BODY, FILE_INPUT, MAX_DURATION, PRESETS
    from parleyd.platform.tree import dotted

    for change in plan.changes:
        path = change.path
        if path == CLIENT_EVENTS:
            yield from _of_events(change)
        elif path[: len(ALLOWED)] == ALLOWED or path == EXTRA_BODY:
            yield _of_override(path[-1], change.why)
        elif path[: len(PRESETS)] == PRESETS:
            yield misconfigured(
                f"it does not have the language {path[-1]} ({change.why}): the session would never begin", APPLY
            )
        elif path == MAX_DURATION:
            yield _of_duration(change.old, change.new, max_s)
        elif path == FILE_INPUT:
            yield note("it takes no files: parleyd send-file is refused", APPLY)
        else:
            yield note(f"{dotted(path)} is missing ({change.why})", APPLY)


def _of_events(change: Change) -> Iterator[Finding]:
    there = change.old if isinstance(change.old, list) else ()
    for event in change.new:
        if event in there:
            continue
        text = f"its client events lack {event}; {_EVENTS[event]}"
        make = misconfigured if event == "audio" else note if event in _MINOR_EVENTS else warning
        yield make(text, APPLY)


def _of_override(name: str, why: str) -> Finding:
    if name == "text_only":
        text = (
            "it may not be asked for a conversation in writing alone: it speaks although audio.mode is off, and speech "
            "costs more"
        )
        return warning(text, APPLY)
    if name == "first_message" and "wake.greeting" in why and "elevenlabs.overrides" not in why:
        text = "it may not be asked to wake without a greeting: the first session after a start is opened twice"
        return warning(text, APPLY)
    return misconfigured(f"it refuses sessions that override {name} ({why})", APPLY)


def _of_duration(there: Any, needed_s: int, max_s: float) -> Finding:
    from parleyd.platform.tree import MISSING

    if there is MISSING or there is None:
        return note(f"it does not say how long a conversation may last; {needed_s} s are needed", APPLY)
    text = f"it ends every conversation after {there:g} s"
    if there <= max_s:
        return warning(f"{text}, before session.max_s ({max_s:g} s) exchanges it", APPLY)
    return note(f"{text}, less than a minute after session.max_s ({max_s:g} s)", APPLY)


def _of_tools(plan: Plan) -> Iterator[Finding]:
    changed = {tool.name: tool for tool in plan.tools}
    conflicts: dict[str, list[str]] = {}
    for conflict in plan.conflicts:
        if conflict.path[0] == "tools":
            conflicts.setdefault(conflict.path[1], []).append(conflict.path[2])
    missing = [tool.name for tool in plan.tools if tool.tool_id is None]
    unattached = [name for name in plan.attach if name not in missing]
    if missing:
        them = "it" if len(missing) == 1 else "them"
        yield warning(f"the platform lacks the client {_tools(missing)}: the agent cannot call {them}", APPLY)
    if unattached:
        them = "it is" if len(unattached) == 1 else "they are"
        yield warning(f"the agent does not have the {_tools(unattached)}: {them} never called", APPLY)
    for tool in changed.values():
        if tool.tool_id is not None:
            yield from _of_tool(tool)
    for name, keys in conflicts.items():
        text = f"the tool {name} has another {_list(keys)} on the platform than here"
        yield note(text, f"{APPLY} --take all, or correct it in the configuration")


def _of_tool(tool: ToolChange) -> Iterator[Finding]:
    for change in tool.changes:
        key = change.path[-1]
        if key == "expects_response":
            yield warning(f"the agent does not wait for the result of the tool {tool.name}", APPLY)
        elif key == "response_timeout_secs":
            text = f"the agent gives up waiting for the tool {tool.name} before this device does"
            yield warning(f"{text} (it needs {change.new} s)", APPLY)
        else:
            yield note(f"the tool {tool.name} has another {key} on the platform than here", APPLY)


def _tools(names: list[str]) -> str:
    return f"tool {names[0]}" if len(names) == 1 else f"tools {_list(names)}"


def _list(words: list[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last
