"""Rules that the sections of all providers share: for keys, addresses and dynamic variables. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from parleyd.config import signs
from parleyd.config.base import Secret
from parleyd.config.problem import KeyProblem
from parleyd.config.schema import Variable
from parleyd.config.secrets import HIDDEN

# How a key looks, at ElevenLabs and at OpenAI.
_LOOKS_LIKE_KEY = r"sk_\w{8,}|[0-9a-f]{32}|sk-[A-Za-z0-9_-]{16,}"
_SECRET_WAYS = "{env: NAME}, {file: PATH} or {credential: NAME}"


def api_key(
    key: str, secret: Secret | str | None, form: signs.Form, examples: Mapping[str, str]
) -> Iterator[KeyProblem]:
    """A provider's secret. key: its configuration key. form: of the secret itself. examples: for each way to name its
    place, an example."""
    if isinstance(secret, str):
        if variable := re.fullmatch(r"\$\{?([A-Za-z_]\w*)\}?|([A-Z][A-Z0-9]*_[A-Z0-9_]+)", secret):
            name = variable[1] or variable[2]
            yield KeyProblem(key, "this is a variable's name, not a key", f"write api_key: {{env: {name}}}")
        elif secret != HIDDEN and (found := signs.trouble(secret, form)):
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
            if re.fullmatch(_LOOKS_LIKE_KEY, value):
                text = "this looks like the key itself, not the place where it is found"
                hint = f"put the key there, and here the name of that place: api_key: {{{name}: {examples[name]}}}"
                yield KeyProblem(f"{key}.{name}", text, hint)
            elif name == "env" and not re.fullmatch(r"[A-Za-z_]\w*", value):
                bare = re.sub(r"^\$\{?|\}$", "", value)
                hint = f"write env: {bare}" if re.fullmatch(r"[A-Za-z_]\w*", bare) else f"write env: {examples['env']}"
                yield KeyProblem(f"{key}.env", "this is no name of an environment variable", hint)


def variables(section: str, variables: Mapping[str, object]) -> Iterator[KeyProblem]:
    """Dynamic variables. section: their configuration key."""
    for name, value in variables.items():
        key = f"{section}.{name}"
        if trouble := signs.trouble(name, signs.VARIABLE):
            yield KeyProblem(key, *trouble)
        if isinstance(value, Variable):
            ways = [way for way in ("env", "file", "command") if getattr(value, way) is not None]
            if len(ways) != 1:
                text = f"{' and '.join(ways)} are given together" if ways else "it does not say where it is found"
                yield KeyProblem(key, text, "use one of {env: NAME}, {file: PATH} or {command: [PROGRAM, ARGUMENT]}")


def base_url(key: str, url: str, example: str, added: re.Pattern[str]) -> Iterator[KeyProblem]:
    """A provider's address. key: its configuration key. example: a good one. added: the end of a path that the provider
    adds by itself."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host:
        yield KeyProblem(key, "this URL has no usable host or port", f"use a URL such as {example}")
    elif odd := next((sign for sign in host if not (sign.isalnum() or sign in "-._:%[]")), None):
        is_template = odd in "${}"
        named = f"no host has {signs.named(odd)} in its name"
        text = "this is a template, and nothing fills it in here" if is_template else named
        yield KeyProblem(key, text, f"write the URL itself, such as {example}")
    elif again := added.search(parts.path):
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
