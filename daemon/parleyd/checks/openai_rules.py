"""The rules for the section `openai`, which types cannot express. Pure, but for reading the instructions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from parleyd.checks import agent_rules
from parleyd.config import openai_instructions, signs
from parleyd.config.openai_section import MODEL, OpenAI
from parleyd.config.problem import KeyProblem
from parleyd.config.schema import Config
from parleyd.usage.prices import price_of

KEY = "openai"
_EXAMPLES = {"env": "OPENAI_API_KEY", "file": "/etc/parleyd/openai.key", "credential": "openai"}
_ADDED = re.compile(r"/realtime/?$")
# Model names of the neighbour product, which has a protocol of its own; and of the two that stop soon.
_LIVE = re.compile(r"gpt-live")
_ENDING = {
    "gpt-realtime": "2027-01-20",
    "gpt-realtime-2025-08-28": "2027-01-20",
    "gpt-realtime-mini": "2027-01-20",
    "gpt-realtime-mini-2025-12-15": "2027-01-20",
}
_ENDING_TRANSCRIPTION = re.compile(r"whisper-1|gpt-4o-(mini-)?transcribe.*")
_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check(config: Config, is_settled: Callable[[str], bool]) -> Iterator[KeyProblem]:
    """See rules.check. The rules between settings hold only where this is the provider."""
    section = config.openai

    def settled(name: str) -> bool:
        return is_settled(f"{KEY}.{name}")

    if settled("api_key"):
        yield from agent_rules.api_key(f"{KEY}.api_key", section.api_key, signs.API_KEY, _EXAMPLES)
    if settled("dynamic_variables"):
        yield from agent_rules.variables(f"{KEY}.dynamic_variables", section.dynamic_variables)
    if not is_settled("provider") or config.provider != "openai":
        return
    if settled("base_url"):
        yield from _base_url(section)
    if settled("api_key") and section.api_key is None and section.is_openais:
        text = "OpenAI opens no session without a key"
        hint = "store it with sudo parleyd secret openai, and write api_key: {credential: openai}"
        yield KeyProblem(f"{KEY}.api_key", text, hint, is_warning=True)
    if settled("model") and settled("base_url"):
        yield from _model(section)
    if settled("instructions") and settled("dynamic_variables"):
        yield from _instructions(section)
    if settled("turn_detection"):
        yield from _turn_detection(section)
    if settled("transcription") and section.transcription.model is not None:
        named = section.transcription.model
        if section.is_openais and _ENDING_TRANSCRIPTION.fullmatch(named):
            text = f"{named} stops on 2027-02-26"
            yield KeyProblem(f"{KEY}.transcription.model", text, "write gpt-transcribe, or remove it", is_warning=True)
    truncation = section.truncation
    if settled("truncation") and truncation.mode == "disabled" and truncation.retention_ratio is not None:
        text = "nothing is dropped with mode: disabled, so no share is kept"
        yield KeyProblem(f"{KEY}.truncation.retention_ratio", text, "remove one of the two")
    language = section.language
    if settled("language") and language is not None and (found := signs.trouble(language, signs.LANGUAGE)):
        yield KeyProblem(f"{KEY}.language", *found)
    if is_settled("budget") and settled("model"):
        yield from _budget(config)
    if settled("mcp"):
        yield from _mcp(section)


def _budget(config: Config) -> Iterator[KeyProblem]:
    """A server of one's own may count no tokens, and its models have no price here."""
    budget, section = config.budget, config.openai
    in_money = [name for name in ("money_per_day", "money_per_month") if getattr(budget, name) is not None]
    in_minutes = budget.minutes_per_day is not None or budget.minutes_per_month is not None
    named = section.model or (MODEL if section.is_openais else "")
    if in_money and not in_minutes and not budget.minute_price and price_of(named, budget.prices) is None:
        text = f"no price is known for {f'the model {named}' if named else 'the model of the server'}"
        hint = "set budget.prices, or limit the minutes too"
        yield KeyProblem(f"budget.{in_money[0]}", text, hint, is_warning=True)


def _base_url(config: OpenAI) -> Iterator[KeyProblem]:
    key = f"{KEY}.base_url"
    yield from agent_rules.base_url(key, config.base_url, "https://api.openai.com/v1", _ADDED)
    if config.is_openais and urlsplit(config.base_url).path.rstrip("/") != "/v1":
        yield KeyProblem(key, "OpenAI's path is /v1", "write https://api.openai.com/v1")


def _model(config: OpenAI) -> Iterator[KeyProblem]:
    key, named = f"{KEY}.model", config.model
    if named is None:
        return
    if found := signs.trouble(named, signs.LLM_ID):
        yield KeyProblem(key, *found)
    elif _LIVE.match(named):
        text = "this model has a protocol of its own, which parleyd does not speak"
        yield KeyProblem(key, text, f"write {MODEL}")
    elif config.is_openais and named in _ENDING:
        newer = "gpt-realtime-2.1-mini" if "mini" in named else "gpt-realtime-2.1"
        yield KeyProblem(key, f"{named} stops on {_ENDING[named]}", f"write {newer}", is_warning=True)


def _instructions(config: OpenAI) -> Iterator[KeyProblem]:
    key = f"{KEY}.instructions"
    try:
        text = openai_instructions.read(config)
    except openai_instructions.InstructionsError as problem:
        # The file may be for the daemon's user alone.
        is_elsewhere = not isinstance(config.instructions, str) and "cannot be read: Permission" in str(problem)
        yield KeyProblem(key, str(problem), problem.hint, is_warning=is_elsewhere)
        return
    for where, words in ((key, text), (f"{KEY}.greeting", config.greeting or "")):
        for name in openai_instructions.placeholders(words):
            if name not in config.dynamic_variables:
                problem_text = f"nothing is known for the placeholder {{{{{name}}}}}"
                yield KeyProblem(where, problem_text, f"set {KEY}.dynamic_variables.{name}, or correct the name")


def _turn_detection(config: OpenAI) -> Iterator[KeyProblem]:
    wanted = config.turn_detection
    of_server = [
        name for name in ("threshold", "prefix_padding_ms", "silence_duration_ms") if getattr(wanted, name) is not None
    ]
    if of_server and wanted.type in ("semantic", "manual"):
        yield KeyProblem(
            f"{KEY}.turn_detection.{of_server[0]}", f"it has no meaning with type: {wanted.type}", "use type: server"
        )
    if wanted.eagerness is not None and wanted.type != "semantic":
        text = "it has a meaning only with type: semantic"
        yield KeyProblem(f"{KEY}.turn_detection.eagerness", text, "use type: semantic, or remove it")


def _mcp(config: OpenAI) -> Iterator[KeyProblem]:
    for name, server in config.mcp.items():
        key = f"{KEY}.mcp.{name}"
        if not _TOOL_NAME.fullmatch(name):
            yield KeyProblem(key, "this is no name for a server", "use letters, digits, _ and -, at most 64")
        if server.without_approval and server.approval == "never":
            text = "with approval: never no tool needs one"
            yield KeyProblem(f"{key}.without_approval", text, "remove one of the two")
        if server.url.startswith("http://") and server.authorization is not None:
            text = "without TLS the token would cross the network in the open"
            yield KeyProblem(f"{key}.url", text, "use https://")
