"""The rules for the section `openai`, which types cannot express. Pure, but for reading the instructions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from parleyd.agents.openai import instructions, session_settings
from parleyd.config import signs
from parleyd.config.openai_section import MODEL, OpenAI
from parleyd.config.problem import Finding
from parleyd.config.variable import Variable
from parleyd.host.proxies import is_this_machine

KEY = "openai"
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


def check(config: OpenAI, tools: list[str], is_settled: Callable[[str], bool]) -> Iterator[Finding]:
    """tools: the keys of all tools of this device. is_settled: see rules.check()."""

    def settled(name: str) -> bool:
        return is_settled(f"{KEY}.{name}")

    if settled("base_url"):
        yield from _base_url(config)
    if settled("model") and settled("base_url"):
        yield from _model(config)
    if settled("instructions") and settled("dynamic_variables"):
        yield from _instructions(config)
    if settled("turn_detection"):
        yield from _turn_detection(config)
    if settled("transcription") and config.transcription.model is not None:
        named = config.transcription.model
        if session_settings.is_openai(config) and _ENDING_TRANSCRIPTION.fullmatch(named):
            text = f"{named} stops on 2027-02-26"
            yield Finding(f"{KEY}.transcription.model", text, "write gpt-transcribe, or remove it", is_warning=True)
    if settled("truncation") and config.truncation.mode == "disabled" and config.truncation.retention_ratio is not None:
        text = "nothing is dropped with mode: disabled, so no share is kept"
        yield Finding(f"{KEY}.truncation.retention_ratio", text, "remove one of the two")
    if (
        settled("language")
        and config.language is not None
        and (found := signs.trouble(config.language, signs.LANGUAGE))
    ):
        yield Finding(f"{KEY}.language", *found)
    if settled("dynamic_variables"):
        yield from _variables(config)
    if settled("mcp"):
        yield from _mcp(config)
    for key in tools:
        name = key.rpartition(".")[2]
        if not _TOOL_NAME.fullmatch(name):
            text = "this provider takes no tool of this name"
            yield Finding(key, text, "use letters, digits, _ and -, at most 64")


def _base_url(config: OpenAI) -> Iterator[Finding]:
    key = f"{KEY}.base_url"
    try:
        parts = urlsplit(config.base_url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host:
        yield Finding(key, "this URL has no usable host or port", "use a URL such as https://api.openai.com/v1")
    elif odd := next((sign for sign in host if not (sign.isalnum() or sign in "-._:%[]")), None):
        text = f"no host has {signs.named(odd)} in its name"
        yield Finding(key, text, "write the URL itself, such as https://api.openai.com/v1")
    elif again := re.search(r"/realtime/?$", parts.path):
        root = config.base_url.rstrip("/").removesuffix(again[0].rstrip("/"))
        yield Finding(key, f"{again[0]} is added to it by itself", f"write {root}")
    elif session_settings.is_openai(config) and parts.path.rstrip("/") != "/v1":
        yield Finding(key, "OpenAI's path is /v1", "write https://api.openai.com/v1")
    elif parts.scheme == "http" and not is_this_machine(host):
        if config.api_key is not None:
            yield Finding(key, "without TLS the key would cross the network in the open", "use https://")
        else:
            text = "without TLS all that is said can be read on the way"
            yield Finding(key, text, "use https://, unless the network is your own", is_warning=True)


def _model(config: OpenAI) -> Iterator[Finding]:
    key, named = f"{KEY}.model", config.model
    if named is None:
        return
    if found := signs.trouble(named, signs.LLM_ID):
        yield Finding(key, *found)
    elif _LIVE.match(named):
        text = "this model has a protocol of its own, which parleyd does not speak"
        yield Finding(key, text, f"write {MODEL}")
    elif session_settings.is_openai(config) and named in _ENDING:
        newer = "gpt-realtime-2.1-mini" if "mini" in named else "gpt-realtime-2.1"
        yield Finding(key, f"{named} stops on {_ENDING[named]}", f"write {newer}", is_warning=True)


def _instructions(config: OpenAI) -> Iterator[Finding]:
    key = f"{KEY}.instructions"
    try:
        text = instructions.read(config)
    except instructions.InstructionsError as problem:
        # The file may be for the daemon's user alone.
        is_elsewhere = not isinstance(config.instructions, str) and "cannot be read: Permission" in str(problem)
        yield Finding(key, str(problem), problem.hint, is_warning=is_elsewhere)
        return
    for where, words in ((key, text), (f"{KEY}.greeting", config.greeting or "")):
        for name in instructions.placeholders(words):
            if name not in config.dynamic_variables:
                problem_text = f"nothing is known for the placeholder {{{{{name}}}}}"
                yield Finding(where, problem_text, f"set {KEY}.dynamic_variables.{name}, or correct the name")


def _turn_detection(config: OpenAI) -> Iterator[Finding]:
    wanted = config.turn_detection
    of_server = [
        name for name in ("threshold", "prefix_padding_ms", "silence_duration_ms") if getattr(wanted, name) is not None
    ]
    if of_server and wanted.type in ("semantic", "manual"):
        yield Finding(
            f"{KEY}.turn_detection.{of_server[0]}", f"it has no meaning with type: {wanted.type}", "use type: server"
        )
    if wanted.eagerness is not None and wanted.type != "semantic":
        text = "it has a meaning only with type: semantic"
        yield Finding(f"{KEY}.turn_detection.eagerness", text, "use type: semantic, or remove it")


def _variables(config: OpenAI) -> Iterator[Finding]:
    for name, value in config.dynamic_variables.items():
        key = f"{KEY}.dynamic_variables.{name}"
        if found := signs.trouble(name, signs.VARIABLE):
            yield Finding(key, *found)
        if isinstance(value, Variable):
            ways = [way for way in ("env", "file", "command") if getattr(value, way) is not None]
            if len(ways) != 1:
                text = f"{' and '.join(ways)} are given together" if ways else "it does not say where it is found"
                yield Finding(key, text, "use one of {env: NAME}, {file: PATH} or {command: [PROGRAM, ARGUMENT]}")


def _mcp(config: OpenAI) -> Iterator[Finding]:
    for name, server in config.mcp.items():
        key = f"{KEY}.mcp.{name}"
        if not _TOOL_NAME.fullmatch(name):
            yield Finding(key, "this is no name for a server", "use letters, digits, _ and -, at most 64")
        if server.without_approval and server.approval == "never":
            text = "with approval: never no tool needs one"
            yield Finding(f"{key}.without_approval", text, "remove one of the two")
        if server.url.startswith("http://") and server.authorization is not None:
            text = "without TLS the token would cross the network in the open"
            yield Finding(f"{key}.url", text, "use https://")
