"""Finds secrets in the configuration itself, where everybody who can read the file can see them. Pure.

The result is a guess, and so a warning: texts that begin like the tokens of known providers, values that are called a
token, and texts that look random.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl, urlsplit

from parleyd.config import tool_sections as sections
from parleyd.config.problem import KeyProblem
from parleyd.config.secrets import is_sensitive_name

_FEWEST_CHARS = 8
# How the tokens of known providers begin: ElevenLabs, OpenAI, Stripe, GitHub, GitLab, Slack, Hugging Face, AWS, Google;
# and JSON Web Tokens.
_KNOWN = re.compile(
    r"\b(sk|pk|rk|ghp|gho|ghs|github_pat|glpat|xox[abeoprs]|hf)[-_][A-Za-z0-9_-]{8,}|\bAKIA[0-9A-Z]{16}\b"
    r"|\bAIza[0-9A-Za-z_-]{30,}|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.?"
)
_SCHEME = re.compile(r"\s*(bearer|basic|token)\s+[A-Za-z0-9._~+/=-]{8,}\s*", re.IGNORECASE)
_LONG = re.compile(r"[A-Za-z0-9_+=-]{24,}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# Bits of entropy per character from which a text looks random. Names and words have less; 32 random hexadecimal digits
# have about 3.6.
_RANDOM_BITS = 3.3


def check(key: str, tool: sections.CommandTool | sections.HttpTool) -> Iterator[KeyProblem]:
    """Yields warnings. key: the dotted key of the tool."""
    if isinstance(tool, sections.HttpTool):
        for name, text in tool.headers.items():
            if _is_secret(name, text):
                hint = f"write {{secret:NAME}} for it, and secrets: {{NAME: {{credential: {_credential(name)}}}}}"
                yield _problem(f"{key}.headers.{name}", hint)
        header = "if the server takes it in a header, write it there as {secret:NAME}, and name it under secrets"
        if _in_url(tool.url):
            yield _problem(f"{key}.url", header)
        if tool.body is not None:
            for name in _in_body("", tool.body):
                yield _problem(f"{key}.body.{name}", header)
        return
    for name, text in tool.environment.items():
        if _is_secret(name, text):
            hint = f"move it to secrets: {{{name}: {{credential: {_credential(name)}}}}}; the program gets the same"
            yield _problem(f"{key}.environment.{name}", hint)
    if any(_looks_drawn(argument) or _KNOWN.search(argument) for argument in tool.run):
        yield _problem(f"{key}.run", "programs get secrets by their environment: secrets: {NAME: {credential: ...}}")


def _problem(key: str, hint: str) -> KeyProblem:
    return KeyProblem(key, "this looks like a secret, and who can read this file has it", hint, is_warning=True)


def _credential(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "..."


def _is_secret(name: str, text: str) -> bool:
    if "{" in text:
        # The text beside a placeholder is usually a scheme, such as Bearer.
        text = re.sub(r"\{[^}]*\}", " ", text)
    is_named = is_sensitive_name(name) and len(text.strip()) >= _FEWEST_CHARS and "/" not in text[:1]
    return is_named or bool(_SCHEME.fullmatch(text) or _KNOWN.search(text)) or _looks_drawn(text)


def _looks_drawn(text: str) -> bool:
    for found in _LONG.finditer(_UUID.sub(" ", text)):
        word = found[0]
        # Joined words and numbers have digits in one or two places only.
        is_joined = "_" in word or "-" in word or word.islower() or word.isupper()
        if not re.search(r"[A-Za-z]", word) or len(re.findall(r"\d+", word)) < (3 if is_joined else 1):
            continue
        counts = Counter(word).values()
        if -sum(count / len(word) * math.log2(count / len(word)) for count in counts) >= _RANDOM_BITS:
            return True
    return False


def _in_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    named = parse_qsl(parts.query)
    return any(_is_secret(name, text) for name, text in named) or any(
        _is_secret("", segment) for segment in parts.path.split("/")
    )


def _in_body(name: str, shape: object) -> Iterator[str]:
    """Yields for each text in the body the names that lead to it, from the outside to the inside."""
    if isinstance(shape, Mapping):
        for key, inner in shape.items():
            for rest in _in_body(str(key), inner):
                yield f"{key}.{rest}".rstrip(".")
    elif isinstance(shape, list):
        for inner in shape:
            yield from _in_body(name, inner)
    elif isinstance(shape, str) and _is_secret(name, shape):
        yield ""
