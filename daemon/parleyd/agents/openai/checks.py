"""The doctor's examinations of an agent that speaks the OpenAI Realtime protocol: the key and the model."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from parleyd.agents.openai import http, session_settings
from parleyd.agents.provider import Check
from parleyd.config import openai_instructions
from parleyd.config.openai_section import OpenAI
from parleyd.config.schema import Config
from parleyd.core.endings import DialError, EndingKind
from parleyd.core.findings import Finding, error, good, misconfigured, note, skipped, warning

_ANSWER_S = 8.0
# How long before a model is shut down the doctor warns.
WARN_DAYS = 120


def checks(config: OpenAI, key: str | None, whole: Config) -> Sequence[Check]:
    return (
        Check("key", lambda: accepted(config, key)),
        Check("model", lambda: model(config, key)),
        Check("agent's settings", lambda: settings(config, whole)),
    )


def accepted(config: OpenAI, key: str | None) -> Iterator[Finding]:
    """Asks the server for its models, with the key."""
    if key is None:
        if config.is_openais:
            yield misconfigured("none is configured", "set openai.api_key")
        else:
            yield note("none is configured: enough for a server that wants none")
        return
    try:
        http.get(config, key, ("models",), _ANSWER_S)
    except DialError as refusal:
        ending = refusal.ending
        if ending.code in (404, 405, 501):
            yield note("the server has no list of models, with which the key could be tried")
        else:
            make = misconfigured if ending.kind is EndingKind.FINAL else error
            yield make(ending.reason, ending.hint or "try again later")
        return
    yield good("accepted")


def model(config: OpenAI, key: str | None) -> Iterator[Finding]:
    """Asks the server for the model: until when there is the model."""
    named = session_settings.model(config)
    if key is None and config.is_openais:
        yield skipped("without a key the server tells nothing")
        return
    if named is None:
        yield note("none is named: the server takes its own")
        return
    try:
        body = http.get(config, key, ("models", named), _ANSWER_S)
    except DialError as refusal:
        yield from _refused(config, named, refusal)
        return
    ends = shutdown_date(body)
    if ends is None:
        yield good(f"{named}: the server has it")
        return
    days = int((ends.timestamp() - time.time()) // 86400)
    date = ends.date().isoformat()
    if days < 0:
        yield misconfigured(f"{named} was shut down on {date}", "set openai.model to a newer one")
    elif days <= WARN_DAYS:
        yield warning(f"{named} will be shut down on {date}", "set openai.model to a newer one before that")
    else:
        yield good(f"{named}: the server has it until {date}")


def _refused(config: OpenAI, named: str, refusal: DialError) -> Iterator[Finding]:
    ending = refusal.ending
    if ending.code in (404, 405, 501) and not config.is_openais:
        # Many servers of one's own have sessions and nothing else.
        yield note(f"{named}: the server has no list of models")
    elif ending.code == 404:
        yield misconfigured(f"{named}: there is no such model, or this key may not use it", "correct openai.model")
    else:
        make = misconfigured if ending.kind is EndingKind.FINAL else error
        yield make(ending.reason, ending.hint or "try again later")


def shutdown_date(body: str) -> datetime | None:
    """The day on which the model is shut down, by the server's description of it; None: none is planned."""
    try:
        told = json.loads(body)["shutdown_date"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    try:
        if isinstance(told, int | float) and not isinstance(told, bool):
            return datetime.fromtimestamp(told, UTC)
        if isinstance(told, str):
            found = datetime.fromisoformat(told.replace("Z", "+00:00"))
            return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


def settings(config: OpenAI, whole: Config) -> Iterator[Finding]:
    """Settings that do not fit one another, or make the agent worse than it could be."""
    found = list(_settings(config, whole))
    yield from found or [good("nothing speaks against them")]


def _settings(config: OpenAI, whole: Config) -> Iterator[Finding]:
    try:
        text = openai_instructions.read(config)
    except openai_instructions.InstructionsError as problem:
        yield misconfigured(f"openai.instructions: {problem}", problem.hint)
        return
    if not text:
        yield note("there are no instructions: the agent is whoever the model is", "set openai.instructions")
    if config.language is None:
        yield note("no language is set: a cough may be taken for another language", "set openai.language")
    if config.transcription.mode == "off":
        yield warning(
            "nothing is transcribed: what was said cannot be carried over to another session",
            "set openai.transcription.mode to auto",
        )
    if whole.gate.uplink == "drop" and config.turn_detection.type != "manual":
        yield warning(
            "gate.uplink: drop sends nothing in pauses, so the server may end turns late",
            "set gate.uplink to silence, which costs no tokens",
        )
