"""The rules between keys, which types cannot express. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from parleyd.checks import hook_rules, tool_rules
from parleyd.config import signs
from parleyd.config.base import Secret
from parleyd.config.problem import KeyProblem
from parleyd.config.retention import QuietHours
from parleyd.config.schema import Config, Variable
from parleyd.config.secrets import HIDDEN
from parleyd.transcript import redaction

# Ids without a rule of their own; the agent's id and the voice of announcements have more detailed checks.
_IDS = {
    "elevenlabs.overrides.voice_id": signs.VOICE_ID,
    "elevenlabs.overrides.llm": signs.LLM_ID,
    "elevenlabs.overrides.language": signs.LANGUAGE,
    "announce.model_id": signs.MODEL_ID,
}
_SECRET_WAYS = "{env: NAME}, {file: PATH} or {credential: NAME}"
_EXAMPLES = {"env": "ELEVENLABS_API_KEY", "file": "/etc/parleyd/elevenlabs.key", "credential": "elevenlabs"}


def check(config: Config, is_settled: Callable[[str], bool]) -> Iterator[KeyProblem]:
    """Yields the problems. is_settled(key): the key's value is the user's or the default, and does not replace a faulty
    one."""
    if is_settled("provider") and config.provider == "elevenlabs" and is_settled("elevenlabs.agent_id"):
        yield from _agent_id(config.elevenlabs.agent_id)
    if is_settled("elevenlabs.api_key"):
        yield from api_key(config.elevenlabs.api_key)
    if is_settled("elevenlabs.base_url"):
        yield from _base_url(config.elevenlabs.base_url)
    if is_settled("announce.voice_id") and config.announce.voice_id is not None:
        yield from _voice(config, config.announce.voice_id)
    for name, form in _IDS.items():
        if is_settled(name) and (id_ := _at(config, name)) is not None and (trouble := signs.trouble(id_, form)):
            yield KeyProblem(name, *trouble)
    if is_settled("elevenlabs.dynamic_variables"):
        yield from _variables(config.elevenlabs.dynamic_variables)
    if is_settled("transcript.redact"):
        yield from _redaction(config.transcript.redact)
    if is_settled("quiet_hours"):
        yield from hours("quiet_hours", config.quiet_hours, is_settled)
    if is_settled("tools"):
        yield from tool_rules.check(config.tools, is_settled)
    if is_settled("hooks"):
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


def _agent_id(agent_id: str | None) -> Iterator[KeyProblem]:
    copy = "copy it from the agent's page at ElevenLabs, or use `provider: local`"
    if agent_id is None:
        yield KeyProblem("elevenlabs.agent_id", "the agent's id is missing", copy)
    elif re.fullmatch(r"(?i)(agent_)?(x+|\.+|…+)|<.*>|your.*", agent_id):
        yield KeyProblem("elevenlabs.agent_id", "this is the example's placeholder, not the id of an agent", copy)
    elif re.search(r"[ \t/?&#]", agent_id):
        text = "an id has neither blanks nor any of / ? & #"
        yield KeyProblem("elevenlabs.agent_id", text, "give the id alone (agent_...), not the address of a page")
    elif found := signs.trouble(agent_id, signs.AGENT_ID):
        yield KeyProblem("elevenlabs.agent_id", *found)


def _voice(config: Config, voice_id: str) -> Iterator[KeyProblem]:
    key = "announce.voice_id"
    if re.search(r"[ \t/?&#]|^<.*>$", voice_id):
        text = "an id has neither blanks nor any of / ? & # < >"
        yield KeyProblem(key, text, "give the voice's id alone, as its page at ElevenLabs shows it, not its name")
    elif found := signs.trouble(voice_id, signs.VOICE_ID):
        yield KeyProblem(key, *found)
    host = urlsplit(config.elevenlabs.base_url).netloc
    if config.provider == "elevenlabs" and config.elevenlabs.api_key is None and host == "api.elevenlabs.io":
        text = "announcements need the API key, also where the agent is public"
        yield KeyProblem(key, text, "set elevenlabs.api_key", is_warning=True)


def api_key(secret: Secret | str | None) -> Iterator[KeyProblem]:
    key = "elevenlabs.api_key"
    if isinstance(secret, str):
        if variable := re.fullmatch(r"\$\{?([A-Za-z_]\w*)\}?|([A-Z][A-Z0-9]*_[A-Z0-9_]+)", secret):
            name = variable[1] or variable[2]
            yield KeyProblem(key, "this is a variable's name, not a key", f"write api_key: {{env: {name}}}")
        elif secret != HIDDEN and (found := signs.trouble(secret, signs.API_KEY)):
            yield KeyProblem(key, *found)
        else:
            text = "the key itself stands in this file, for all who can read it"
            hint = "move it to a file that only the daemon can read and write api_key: {file: PATH}"
            yield KeyProblem(key, text, hint, is_warning=True)
    elif secret is not None:
        ways = {name: value for name in secret.__struct_fields__ if (value := getattr(secret, name)) is not None}
        if len(ways) != 1:
            text = f"{' and '.join(ways)} are given together" if ways else "no place of the key is given"
            yield KeyProblem(key, text, f"use one of {_SECRET_WAYS}" if ways else f"use {_SECRET_WAYS}, or remove it")
        for name, value in ways.items():
            if re.fullmatch(r"sk_\w{8,}|[0-9a-f]{32}", value):
                text = "this looks like the key itself, not the place where it is found"
                hint = f"put the key there, and here the name of that place: api_key: {{{name}: {_EXAMPLES[name]}}}"
                yield KeyProblem(f"{key}.{name}", text, hint)
            elif name == "env" and not re.fullmatch(r"[A-Za-z_]\w*", value):
                bare = re.sub(r"^\$\{?|\}$", "", value)
                hint = f"write env: {bare}" if re.fullmatch(r"[A-Za-z_]\w*", bare) else "write env: ELEVENLABS_API_KEY"
                yield KeyProblem(f"{key}.env", "this is no name of an environment variable", hint)


def _variables(variables: Mapping[str, object]) -> Iterator[KeyProblem]:
    for name, value in variables.items():
        key = f"elevenlabs.dynamic_variables.{name}"
        if trouble := signs.trouble(name, signs.VARIABLE):
            yield KeyProblem(key, *trouble)
        if isinstance(value, Variable):
            ways = [way for way in ("env", "file", "command") if getattr(value, way) is not None]
            if len(ways) != 1:
                text = f"{' and '.join(ways)} are given together" if ways else "it does not say where it is found"
                yield KeyProblem(key, text, "use one of {env: NAME}, {file: PATH} or {command: [PROGRAM, ARGUMENT]}")


def _redaction(patterns: Sequence[str]) -> Iterator[KeyProblem]:
    for pattern in patterns:
        try:
            if redaction.compiled(pattern).search(""):
                text = f"the pattern {pattern!r} fits everywhere, even where there is nothing"
                yield KeyProblem("transcript.redact", text, "use + for *, or say more")
        except redaction.PatternError as error:
            text = f"{pattern!r} is no regular expression: {error}"
            yield KeyProblem("transcript.redact", text, "correct it; in YAML it is best written in 'single quotes'")


def _base_url(url: str) -> Iterator[KeyProblem]:
    key = "elevenlabs.base_url"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host:
        yield KeyProblem(key, "this URL has no usable host or port", "use a URL such as https://api.elevenlabs.io")
    elif odd := next((sign for sign in host if not (sign.isalnum() or sign in "-._:%[]")), None):
        is_template = odd in "${}"
        named = f"no host has {signs.named(odd)} in its name"
        text = "this is a template, and nothing fills it in here" if is_template else named
        yield KeyProblem(key, text, "write the URL itself, such as https://api.elevenlabs.io")
    elif again := re.search(r"/v\d+(/convai.*)?/?$", parts.path):
        root = url.removesuffix("/").removesuffix(again[0].removesuffix("/")) or url
        yield KeyProblem(key, f"{again[0]} is added to it by itself", f"write {root}")
    elif parts.scheme == "http" and not _is_loopback(host):
        text = "without TLS the key and all that is said can be read on the way"
        yield KeyProblem(key, text, "use https://, unless the network is your own", is_warning=True)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
