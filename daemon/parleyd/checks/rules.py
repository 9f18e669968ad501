"""The rules between keys, which types cannot express. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import urlsplit

from parleyd.checks import elevenlabs_rules
from parleyd.config import signs
from parleyd.config.mqtt_section import Mqtt
from parleyd.config.openai_section import OpenAI
from parleyd.config.problem import KeyProblem
from parleyd.config.retention import QuietHours
from parleyd.config.schema import Config
from parleyd.config.tool_sections import Tools
from parleyd.config.wyoming_section import Wyoming

# Ids without a rule of their own; the agent's id and the voice of announcements have more detailed checks.
_IDS = {
    "announce.model_id": signs.MODEL_ID,
}


def check(config: Config, is_settled: Callable[[str], bool]) -> Iterator[KeyProblem]:
    """Yields the problems. is_settled(key): the key's value is the user's or the default, and does not replace a faulty
    one."""
    # The rules of a section are imported where something is written in it: its defaults break none, and few
    # configurations have them all.
    yield from elevenlabs_rules.check(config, is_settled)
    if config.provider == "openai" or config.openai != OpenAI():
        from parleyd.checks import openai_rules

        yield from openai_rules.check(config, is_settled)
    if is_settled("announce.voice_id") and config.announce.voice_id is not None:
        yield from _voice(config, config.announce.voice_id)
    for name, form in _IDS.items():
        if is_settled(name) and (id_ := _at(config, name)) is not None and (trouble := signs.trouble(id_, form)):
            yield KeyProblem(name, *trouble)
    if is_settled("transcript.redact") and config.transcript.redact:
        yield from _redaction(config.transcript.redact)
    if is_settled("quiet_hours"):
        yield from hours("quiet_hours", config.quiet_hours, is_settled)
    if is_settled("tools") and config.tools != Tools():
        from parleyd.checks import tool_rules

        yield from tool_rules.check(config.tools, is_settled, has_camera=config.camera.is_there)
    if is_settled("camera") and config.camera.is_there:
        from parleyd.checks import tool_rules

        yield from tool_rules.camera(config.camera, config.tools)
    if is_settled("mqtt") and config.mqtt != Mqtt():
        from parleyd.checks import mqtt_rules

        yield from mqtt_rules.check(config, is_settled)
    if is_settled("wyoming") and config.wyoming != Wyoming():
        from parleyd.checks import wyoming_rules

        yield from wyoming_rules.check(config, is_settled)
    if is_settled("hooks") and config.hooks:
        from parleyd.checks import hook_rules

        yield from hook_rules.check(config.hooks, is_settled)
    initial_s, max_s = config.reconnect.initial_s, config.reconnect.max_s
    if is_settled("reconnect.initial_s") and is_settled("reconnect.max_s") and initial_s > max_s:
        text = f"the first delay ({initial_s:g} s) is longer than the longest (reconnect.max_s: {max_s:g} s)"
        yield KeyProblem("reconnect.initial_s", text, f"use at most {max_s:g}, or raise reconnect.max_s")
    buffer_s, pre_roll_s = config.session.buffer_s, config.gate.pre_roll_ms / 1000
    if is_settled("session.buffer_s") and is_settled("gate.pre_roll_ms") and buffer_s < pre_roll_s:
        text = f"{buffer_s:g} s cannot hold the pre-roll (gate.pre_roll_ms: {config.gate.pre_roll_ms} ms)"
        yield KeyProblem("session.buffer_s", text, f"use at least {pre_roll_s:g}, or shorten gate.pre_roll_ms")
    if is_settled("tools") and is_settled("control.socket") and config.control.socket == "off":
        yield from _nobody_confirms(config)
    barge_in = config.barge_in
    if barge_in.words == "on" and barge_in.mode == "off" and is_settled("barge_in.mode"):
        text = "no words can be heard while the agent speaks: barge_in.mode is off"
        yield KeyProblem("barge_in.words", text, "set barge_in.mode to local or server")
    if config.fallback == "local" and config.provider == "local" and is_settled("provider"):
        text = "the embedded agent is the agent itself (provider: local), and cannot answer in its place"
        yield KeyProblem("fallback", text, "remove it, or set another provider")
    key = config.button.key
    if key is not None and not re.fullmatch(r"(KEY|BTN)_[A-Z0-9_]+", key):
        yield KeyProblem("button.key", f"{key} is not the name of a key", "use a name such as KEY_ENTER or BTN_0")
    if config.button.device is not None and config.button.gpio_line is not None:
        text = "a button is an input device or a GPIO line, and button.device is set too"
        yield KeyProblem("button.gpio_line", text, "remove one of the two")


def _nobody_confirms(config: Config) -> Iterator[KeyProblem]:
    """The answers come over the socket, those of the button too."""
    tools = config.tools
    for kind, declared in (("command", tools.command), ("http", tools.http), ("python", tools.python)):
        for name, tool in declared.items():
            if tool.confirm:
                text = "nobody could allow it: control.socket is off"
                yield KeyProblem(f"tools.{kind}.{name}.confirm", text, "set control.socket to auto")
    if config.camera.is_there and config.camera.confirm and "look" in tools.built_in:
        text = "nobody could allow it: control.socket is off"
        yield KeyProblem("camera.confirm", text, "set control.socket to auto, or take look out of tools.built_in")
    if tools.confirm_built_in:
        text = "nobody could allow them: control.socket is off"
        yield KeyProblem("tools.confirm_built_in", text, "set control.socket to auto")


def hours(key: str, stretches: Sequence[QuietHours], is_settled: Callable[[str], bool]) -> Iterator[KeyProblem]:
    """Checks periods of the day. key: the dotted key of the list."""
    for number, stretch in enumerate(stretches, 1):
        one = f"{key}.{number}"
        if stretch.from_ == stretch.to and is_settled(f"{one}.from") and is_settled(f"{one}.to"):
            text = f"they end when they begin, at {stretch.to}"
            yield KeyProblem(one, text, "for a whole day use {from: 00:00, to: 23:59}, else correct one of them")
        if not stretch.days and is_settled(f"{one}.days"):
            yield KeyProblem(one, "they begin on no day", "remove `days` for every day")


def _at(config: Config, key: str) -> str | None:
    value: object = config
    for name in key.split("."):
        value = getattr(value, name)
    assert value is None or isinstance(value, str)
    return value


def _voice(config: Config, voice_id: str) -> Iterator[KeyProblem]:
    key = "announce.voice_id"
    if re.search(r"[ \t/?&#]|^<.*>$", voice_id):
        text = "an id has neither blanks nor any of / ? & # < >"
        where = ", as its page at ElevenLabs shows it, not its name" if config.provider == "elevenlabs" else ""
        yield KeyProblem(key, text, f"give the voice's id alone{where}")
    elif found := signs.trouble(voice_id, signs.VOICE_ID):
        yield KeyProblem(key, *found)
    host = urlsplit(config.elevenlabs.base_url).netloc
    if config.provider == "elevenlabs" and config.elevenlabs.api_key is None and host == "api.elevenlabs.io":
        text = "announcements need the API key, also where the agent is public"
        yield KeyProblem(key, text, "set elevenlabs.api_key", is_warning=True)


def _redaction(patterns: Sequence[str]) -> Iterator[KeyProblem]:
    from parleyd.transcript import redaction

    for pattern in patterns:
        try:
            if redaction.compiled(pattern).search(""):
                text = f"the pattern {pattern!r} fits everywhere, even where there is nothing"
                yield KeyProblem("transcript.redact", text, "use + for *, or say more")
        except redaction.PatternError as error:
            text = f"{pattern!r} is no regular expression: {error}"
            yield KeyProblem("transcript.redact", text, "correct it; in YAML it is best written in 'single quotes'")
