"""Cleans and limits foreign texts (of an agent, a server, a program) for terminals and for agents. Pure."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

# Persian words and combined emoji need these characters, and they cannot control a terminal.
_JOINERS = "\u200c\u200d"
# The longest cause of an error that is told to a listener.
MAX_CAUSE_CHARS = 300
_CUT = " [cut: {left} more characters]"


def printable(text: str) -> str:
    """The text without characters that control the terminal or change the direction of writing. Line breaks stay."""
    return "".join(map(_printable, text.replace("\r\n", "\n")))


def one_line(text: str) -> str:
    """On one line; what a terminal would not show as it is stands there as an escape, such as \\x1b."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in text)


def name_text(name: str) -> str:
    """A foreign name within a sentence, in quotes if it could be taken for more than a name."""
    return name if re.fullmatch(r"[\w.:/@-]+", name) and name.isprintable() else json_text(name)


def question(asked: Mapping[str, Any]) -> str:
    """The whole call about which a person is asked (events approval_wanted, confirmation_wanted), such as: pay of bank
    with {"amount": 5}; without a service it is a tool of this device."""
    service = asked.get("service")
    of = "" if service is None else f" of {name_text(service)}"
    return f"{name_text(asked['name'])}{of} with {json_text(asked['parameters'])}"


def settled(name: str, by: str, *, allowed: bool) -> str:
    """The result of a question about a tool of this device, in words (event confirmation_settled)."""
    match by:
        case "person":
            return f"a person {'allowed' if allowed else 'denied'} {name_text(name)}"
        case "deadline":
            return f"{name_text(name)} was not done: nobody allowed it in time"
        case _:
            return f"{name_text(name)} was not done: {by}"


def json_text(value: object) -> str:
    """JSON on one line, with readable letters of all languages and without characters that control the terminal."""
    return json_escaped(json.dumps(value, ensure_ascii=False))


def json_escaped(text: str) -> str:
    """The JSON on one line, with escapes for the special characters that json.dumps keeps; its meaning is the same."""
    return text if text.isprintable() else re.sub(r"[^ -~]", _json_escaped, text)


def _json_escaped(found: re.Match[str]) -> str:
    sign = found[0]
    return sign if sign.isprintable() else json.dumps(sign)[1:-1]


def _printable(sign: str) -> str:
    if sign.isprintable() or sign == "\n" or sign in _JOINERS:
        return sign
    # A character without width is removed without a space.
    return "" if unicodedata.category(sign) == "Cf" else " "


def clean(text: str) -> str:
    """The text without control characters, except line feeds and tabs, and without unpaired surrogates."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "", text.replace("\r\n", "\n"))


def bounded(text: str, limit_chars: int) -> str:
    """The text cut to limit_chars, with a note about the missing part."""
    if len(text) <= limit_chars:
        return text
    room = max(0, limit_chars - len(_CUT.format(left=len(text))))
    return text[:room] + _CUT.format(left=len(text) - room)


def cause(text: str, secrets: Iterable[str] = ()) -> str:
    """The last line that is not empty, shortened: usually the cause of a program's failure."""
    text = without(text, secrets)
    lines = [line.strip() for line in clean(text).splitlines() if line.strip()]
    return bounded(lines[-1], MAX_CAUSE_CHARS) if lines else ""


def without(text: str, secrets: Iterable[str]) -> str:
    """The text without these secrets, which a program or a server may repeat, also escaped as in JSON. Call it before
    cutting.

    Control characters are removed, too: otherwise their later removal could restore a secret.
    """
    text = clean(text)
    for secret in secrets:
        for form in (secret, json.dumps(secret)[1:-1]):
            text = text.replace(form, "********")
    return text
