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
from parleyd.core.text import name_text

_ANSWER_S = 8.0
# How long before a model is shut down the doctor warns.
WARN_DAYS = 120
# A hint shows only some of the models in a server's list.
_MOST_SHOWN, _MOST_ID_CHARS = 5, 60


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
        if _is_unknown_path(refusal):
            yield note("the server has no list of models, with which the key could be tried")
        else:
            yield _trouble(refusal)
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
        yield _refused(config, key, named, refusal)
        return
    if _id(body) is None:
        # Some servers answer every path with a page of their own.
        yield note(f"{named}: the server's answer describes no model, so nobody can tell whether it has it")
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


def _refused(config: OpenAI, key: str | None, named: str, refusal: DialError) -> Finding:
    ending = refusal.ending
    if config.is_openais and ending.code == 404:
        return misconfigured(f"{named}: there is no such model, or this key may not use it", "correct openai.model")
    if _is_unknown_path(refusal):
        # Many servers have a list of their models and no page for each, or nothing but sessions.
        return _in_list(config, key, named)
    if isinstance(refusal, http.RefusedError) and refusal.name == "model_not_found":
        return misconfigured(f"{named}: {ending.reason}", _correct(_listed(config, key)))
    return _trouble(refusal)


def _in_list(config: OpenAI, key: str | None, named: str) -> Finding:
    """The server has no page for the model: is it in the list?"""
    try:
        models = _models(http.get(config, key, ("models",), _ANSWER_S))
    except DialError as refusal:
        return note(f"{named}: the server has no list of models") if _is_unknown_path(refusal) else _trouble(refusal)
    if models is None:
        return note(f"{named}: the server's list is none of models, so nobody can tell whether it has it")
    if named in models:
        return good(f"{named}: the server lists it")
    # Azure lists models, and its sessions name deployments.
    return warning(
        f"{named}: the server does not list such a model",
        f"{_correct(models)}; where sessions name models otherwise than the list, as at Azure, all is well",
    )


def _listed(config: OpenAI, key: str | None) -> list[str]:
    """The models of the server for a hint; empty if it does not say."""
    try:
        return _models(http.get(config, key, ("models",), _ANSWER_S)) or []
    except DialError:
        return []


def _correct(models: Sequence[str]) -> str:
    if not models:
        return "correct openai.model"
    shown = ", ".join(name_text(model[:_MOST_ID_CHARS]) for model in models[:_MOST_SHOWN])
    more = len(models) - _MOST_SHOWN
    return f"correct openai.model; the server has {shown}" + (f" and {more} more" if more > 0 else "")


def _is_unknown_path(refusal: DialError) -> bool:
    """The server does not know what it is asked for, and says no more about it."""
    return isinstance(refusal, http.RefusedError) and refusal.ending.code in (404, 405, 501) and not refusal.name


def _trouble(refusal: DialError) -> Finding:
    ending = refusal.ending
    make = misconfigured if ending.kind is EndingKind.FINAL else error
    return make(ending.reason, ending.hint or "try again later")


def _id(body: str) -> str | None:
    """The model that the body describes."""
    found = _decoded(body)
    told = found.get("id") if isinstance(found, dict) else None
    return told if isinstance(told, str) else None


def _models(body: str) -> list[str] | None:
    """The ids of a list of models; None: it is none."""
    found = _decoded(body)
    data = found.get("data") if isinstance(found, dict) else None
    if not isinstance(data, list):
        return None
    return [one["id"] for one in data if isinstance(one, dict) and isinstance(one.get("id"), str)]


def _decoded(body: str) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def shutdown_date(body: str) -> datetime | None:
    """The day on which the model is shut down, by the server's description of it; None: none is planned."""
    found = _decoded(body)
    told = found.get("shutdown_date") if isinstance(found, dict) else None
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
