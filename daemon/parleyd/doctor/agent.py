"""The key, the agent's settings, and a conversation of a second."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from parleyd.core.findings import Finding, Severity, error, good, misconfigured, note, skipped, warning
from parleyd.doctor.examination import Examination, our_name
from parleyd.doctor.network import EMBEDDED

if TYPE_CHECKING:  # the doctor starts without what these import
    from parleyd.agents.agent import Agent, AgentEvent, Ready
    from parleyd.agents.elevenlabs.agent_settings import AgentSettings
    from parleyd.config.schema import Config
    from parleyd.conversation.session.session import Session
    from parleyd.core.endings import Ending

_CREDENTIALS = Path("/run/credentials/parleyd.service")
_ANSWER_S = 8.0
# How long to wait after the formats for an agent that refuses the opening message.
_AFTERTHOUGHT_S = 0.7
_NO_AGENT = "no agent is configured"

_SWITCH_ON = (
    "switch on in the agent's settings at ElevenLabs: Advanced, Client events (by API: "
    "conversation_config.conversation.client_events)"
)
# The effect of a client event that the agent does not send.
_EVENTS = {
    "audio": "it has no voice",
    "interruption": "it cannot be interrupted, and talks on while somebody speaks",
    "user_transcript": "nothing shows that it understood, so a wake counts as false sooner, and after a lost line "
    "speech may be sent twice",
    "agent_response": "what it said cannot be carried over to the session after a lost line",
}


# ---------------------------------------------------------------- the key


def key(examination: Examination) -> Iterator[Finding]:
    """Checks the key, and stores it for later checks. It requests the signed URL with which each session of a private
    agent begins."""
    from parleyd.agents.elevenlabs.address import signed_address
    from parleyd.core.endings import DialError, EndingKind

    section = examination.configured().elevenlabs
    if examination.configured().provider == "local":
        yield skipped(EMBEDDED)
        return
    if section.agent_id is None:
        yield skipped(_NO_AGENT)
        return
    if section.api_key is None:
        yield note("none is configured: enough for a public agent, and its settings cannot be looked at")
        return
    yield from _find_key(examination)
    if examination.key is None:
        return
    try:
        signed_address(section.base_url, section.agent_id, examination.key, _ANSWER_S)
    except DialError as refusal:
        ending = refusal.ending
        make = misconfigured if ending.kind is EndingKind.FINAL else error
        yield make(ending.reason, ending.hint or "try again later")
        return
    yield good("accepted, and it may open sessions with the agent")


def _find_key(examination: Examination) -> Iterator[Finding]:
    from parleyd.config import secrets
    from parleyd.config.base import Secret

    configured = examination.configured().elevenlabs.api_key
    if isinstance(configured, Secret) and configured.credential is not None:
        # systemd passes it only to the service; while the service runs, root may read it there (systemd.exec(5),
        # CREDENTIALS).
        passed = _CREDENTIALS / configured.credential
        if "CREDENTIALS_DIRECTORY" not in os.environ and os.access(passed, os.R_OK):
            configured = Secret(file=str(passed))
    try:
        with _logged(secrets.__name__) as said:
            examination.key = secrets.resolve_key(configured)
    except secrets.SecretError as refusal:
        others = [unit.user for unit in examination.units if unit.user != our_name()]
        if others and isinstance(configured, Secret) and configured.env is not None:
            text = f"{refusal}; it may be in that of the service"
            yield Finding(Severity.SKIPPED, text, f"{configured.env}=... parleyd doctor")
        elif others and ("may not be read" in str(refusal) or "systemd passed no credentials" in str(refusal)):
            hint = "sudo parleyd doctor" if os.geteuid() else "sudo systemctl start parleyd, then try again"
            yield Finding(Severity.SKIPPED, f"the key is for the service's user {others[0]} alone to read", hint)
        else:
            yield misconfigured(str(refusal), refusal.hint)
        return
    for text in said:
        yield warning(*text.split("; hint: ", 1)) if "; hint: " in text else note(text)


@contextlib.contextmanager
def _logged(name: str) -> Iterator[list[str]]:
    """Collects the log messages of the block, and keeps them from the terminal."""
    said: list[str] = []

    class _Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    keeper, logger = _Keeper(), logging.getLogger(name)
    before, logger.propagate = logger.propagate, False
    logger.addHandler(keeper)
    try:
        yield said
    finally:
        logger.removeHandler(keeper)
        logger.propagate = before


# ---------------------------------------------------------------- its settings


def settings(examination: Examination) -> Iterable[Finding]:
    from parleyd.agents.elevenlabs.agent_settings import read_settings
    from parleyd.core.endings import DialError

    config = examination.configured()
    if config.provider == "local":
        return [skipped(EMBEDDED)]
    if examination.key is None or config.elevenlabs.agent_id is None:
        return [skipped("without a key the agent's settings cannot be read")]
    try:
        found = read_settings(config.elevenlabs.base_url, config.elevenlabs.agent_id, examination.key, _ANSWER_S)
    except DialError as refusal:
        return [
            note(
                f"cannot be read: {refusal.ending.reason}",
                "give the key the permission to read agents, or see yourself that the client events include "
                f"{', '.join(_EVENTS)}",
            )
        ]
    findings = judge_settings(found, overrides_of(config), without_greeting=_is_greeting_unwanted(config))
    return [*judge_needs(found, config), *findings]


def overrides_of(config: Config) -> set[str]:
    """The names of the settings that the opening message of a session overrides."""
    section = config.elevenlabs
    names = {name for name in section.overrides.__struct_fields__ if getattr(section.overrides, name) is not None}
    return names | ({"custom_llm_extra_body"} if section.custom_llm_extra_body else set())


def _is_greeting_unwanted(config: Config) -> bool:
    """Whether the agent is asked not to greet in a session that speech has opened."""
    return config.wake.greeting == "skip" or (config.wake.greeting == "auto" and config.wake.mode in ("speech", "word"))


def judge_settings(found: AgentSettings, overrides: Collection[str], *, without_greeting: bool) -> Iterator[Finding]:
    """overrides: those in the configuration. without_greeting: the agent will be asked not to greet."""
    from parleyd.audio.pcm import FORMATS

    formats = [name for name in (found.input_format, found.output_format) if name]
    for name in formats:
        if name not in FORMATS:
            hint = "choose PCM, or µ-law at 8 kHz, in its settings under Voice and Advanced"
            yield misconfigured(f"its audio format {name} is not known here", hint)
    yield from _judge_events(found.client_events)
    if found.allowed_overrides is not None:
        refused = sorted(set(overrides) - found.allowed_overrides)
        if refused:
            yield misconfigured(
                f"it refuses sessions that override {', '.join(refused)}, as the configuration does",
                f"allow {'it' if len(refused) == 1 else 'them'} in its settings, Security, Overrides, or remove "
                + ", ".join(name if name == "custom_llm_extra_body" else f"overrides.{name}" for name in refused)
                + " below elevenlabs",
            )
        if without_greeting and "first_message" not in {*found.allowed_overrides, *overrides}:
            yield warning(
                "it may not be asked to wake without a greeting: the first session after a start is opened twice",
                "allow First message in its settings, Security, Overrides; or set wake.greeting: play",
            )
    if "ulaw_8000" in formats or "pcm_8000" in formats:
        yield note(f"it speaks in telephone quality ({' and '.join(formats)})", "PCM at 16 kHz or more sounds better")
    events = "" if found.client_events is None else f", {len(found.client_events)} client events"
    name = f"{found.name}: " if found.name else ""
    yield good(f"{name}{' in, '.join(formats)} out{events}" if len(formats) == 2 else f"{name}they can be read{events}")


def judge_needs(found: AgentSettings, config: Config) -> Iterator[Finding]:
    """Findings about other parts of the configuration that cannot work with the agent's settings."""
    from parleyd.config.tool_sections import Mcp

    tools = config.tools
    declared = [*tools.command, *tools.http, *tools.python]
    if found.client_events is not None and declared and "client_tool_call" not in found.client_events:
        yield misconfigured(
            f"its client events lack client_tool_call; none of the tools of this device can be called "
            f"({', '.join(declared[:3])}{', …' if len(declared) > 3 else ''})",
            _SWITCH_ON,
        )
    if found.client_events is not None and tools.mcp != Mcp() and "mcp_tool_call" not in found.client_events:
        yield warning("its client events lack mcp_tool_call; nothing of tools.mcp is ever asked here", _SWITCH_ON)
    allowed = found.allowed_overrides
    if config.audio.mode == "off" and allowed is not None and "text_only" not in allowed:
        yield warning(
            "it may not be asked for a conversation in writing alone: it speaks although audio.mode is off, and speech "
            "costs more",
            "allow Text only in its settings, Security, Overrides",
        )
    language = config.elevenlabs.overrides.language
    if language is not None and found.languages is not None and language not in found.languages:
        yield misconfigured(
            f"it does not have the language {language} of elevenlabs.overrides (it has "
            f"{', '.join(sorted(found.languages))}): the session would never begin",
            "add it in its settings, Agent, Additional languages, or remove elevenlabs.overrides.language",
        )
    longest_s, max_s = found.max_duration_s, config.session.max_s
    if longest_s is not None and longest_s <= max_s:
        yield warning(
            f"it ends every conversation after {longest_s:g} s, before session.max_s ({max_s:g} s) exchanges it",
            f"raise Max conversation duration in its settings, or set session.max_s to {max(30.0, longest_s - 60):g}",
        )


def _judge_events(events: Collection[str] | None) -> Iterator[Finding]:
    if events is None:
        yield note("it does not say which client events are switched on", f"they should include {', '.join(_EVENTS)}")
        return
    for name, without in _EVENTS.items():
        if name not in events:
            text = f"its client events lack {name}; {without}"
            yield (misconfigured if name == "audio" else warning)(text, _SWITCH_ON)


# ---------------------------------------------------------------- a conversation


class _Follower:
    """Follows one session: its first formats, an error, and its end."""

    def __init__(self) -> None:
        self.happened: queue.Queue[Ready | Ending] = queue.Queue()

    def ready(self, session: Session, ready: Ready) -> None:
        self.happened.put(ready)

    def event(self, session: Session, event: AgentEvent) -> None:
        pass

    def ended(self, session: Session, ending: Ending) -> None:
        self.happened.put(ending)


def conversation(examination: Examination) -> Iterator[Finding]:
    from parleyd.agents.elevenlabs.agent import ElevenLabsAgent

    config = examination.configured()
    if config.provider == "local":
        yield from _embedded(examination)
    elif config.elevenlabs.agent_id is None:
        yield skipped(_NO_AGENT)
    elif config.elevenlabs.api_key is not None and examination.key is None:
        yield skipped("a session needs the key")
    else:
        agent = ElevenLabsAgent(config.elevenlabs, examination.key)
        yield from _converse(agent, without_greeting=_is_greeting_unwanted(config))


def _embedded(examination: Examination) -> Iterator[Finding]:
    import msgspec

    from parleyd.agents.elevenlabs.agent import ElevenLabsAgent
    from parleyd.embedded.child import AgentChild, AgentChildError

    config = examination.configured()
    try:
        with AgentChild(config.local.scenario) as child:
            section = msgspec.structs.replace(config.elevenlabs, agent_id="local", base_url=child.base_url)
            yield from _converse(ElevenLabsAgent(section, None), without_greeting=_is_greeting_unwanted(config))
    except AgentChildError as refusal:
        yield error(f"the embedded agent does not start: {refusal}", "parleyd agent")


def _converse(agent: Agent, *, without_greeting: bool) -> Iterator[Finding]:
    """Opens a session like the daemon: if the agent refuses the override of the greeting, once more without it."""
    ready, ending = converse(agent, suppress_greeting=without_greeting)
    if without_greeting and ending is not None and ending.refused_override == "first_message":
        ready, ending = converse(agent, suppress_greeting=False)
    yield judge_conversation(ready, ending)


def converse(agent: Agent, *, suppress_greeting: bool) -> tuple[Ready | None, Ending | None]:
    """The session's formats, and the reason of its end, unless the doctor has ended it."""
    from parleyd.agents.agent import Ready
    from parleyd.conversation.session.outbox import Outbox
    from parleyd.conversation.session.session import Session
    from parleyd.conversation.session.uplink import Uplink
    from parleyd.core.endings import EndingKind

    follower, faults = _Follower(), queue.Queue[BaseException]()
    session = Session(
        agent,
        Outbox(Uplink("drop", pre_roll_ms=200, capacity_ms=1000)),
        follower,
        suppress_greeting=suppress_greeting,
        timeout_s=_ANSWER_S,
        on_death=lambda _name, fault: faults.put(fault),
    )
    session.start()
    ready: Ready | None = None
    try:
        # Address, handshake and opening have a time limit each.
        while True:
            happened = follower.happened.get(timeout=3 * _ANSWER_S if ready is None else _AFTERTHOUGHT_S)
            if not isinstance(happened, Ready):
                return ready, None if happened.kind is EndingKind.USER else happened
            ready = happened
    except queue.Empty:
        session.hang_up("the doctor has seen enough")
        session.wait_over(2.0)
        if not faults.empty():
            raise faults.get() from None
        return ready, None


def judge_conversation(ready: Ready | None, ending: Ending | None) -> Finding:
    """ending: the agent's; None if the doctor has ended the session."""
    from parleyd.core.endings import EndingKind

    if ending is not None and ending.kind is EndingKind.AGENT and ready is not None:
        return warning(f"it answers, and hangs up at once: {ending.reason}", "see the agent's settings")
    if ending is not None:
        make = misconfigured if ending.kind is EndingKind.FINAL else error
        return make(ending.reason, ending.hint or "try again later")
    if ready is None:
        return error("no answer", "try again later")
    formats = (f"{one.encoding} {one.rate_hz / 1000:g} kHz" for one in (ready.input_format, ready.output_format))
    return good(f"a session was opened and closed, {' in, '.join(formats)} out")
