"""What ids, names and keys are made of, and what is to be said of a sign that none of them can hold. Pure.

What is pasted from a page or a chat brings along what cannot be seen or looks right: typographic quotes, hard blanks,
zero-width signs; what comes from elsewhere are templates that nothing fills in here, and whole lines of .env files. All
of them would go to the server as they are, and come back as "no such agent". Therefore it is listed what can stand in
an id, not what cannot.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True)
class Form:
    """noun: what it is, with its article. signs: a class of a regular expression. in_words: that class for a person."""

    noun: str
    signs: str
    in_words: str


AGENT_ID = Form("an agent's id", "A-Za-z0-9_-", "letters, digits, _ and -")
VOICE_ID = Form("a voice's id", "A-Za-z0-9_-", "letters, digits, _ and -")
MODEL_ID = Form("a model's id", "A-Za-z0-9_.-", "letters, digits, and _ . -")
LLM_ID = Form("a language model's id", "A-Za-z0-9_.:@/-", "letters, digits, and _ . : @ / -")
LANGUAGE = Form("a language's code", "A-Za-z0-9_-", "letters, digits, _ and -")
VARIABLE = Form("a variable's name", r"\w.-", "letters, digits, and _ . -")
# Tokens of one's own server, too.
API_KEY = Form("a key", "A-Za-z0-9_.~+/=-", "letters, digits, and _ . ~ + / = -")

_TEMPLATE = re.compile(r"\$\{[^}]*\}|\$[A-Za-z_]\w*|\{\{.*\}\}|%[A-Za-z_]\w*%|^<.*>$", re.DOTALL)
_LINE = re.compile(r"\s*(?:export\s+)?[A-Za-z_][A-Za-z0-9_]*\s*=\s*[^=\s].*", re.DOTALL)
_QUOTES = "\"'`´‘’‚‛“”„‟«»‹›"


def trouble(text: str, form: Form) -> tuple[str, str] | None:
    """(what is wrong, the hint) of something that cannot be such a thing; None where it can. Shows no more of the text
    than the sign that does not belong there."""
    if text and re.fullmatch(f"[{form.signs}]+", text) and not (form is API_KEY and _LINE.fullmatch(text)):
        return None
    thing = form.noun.partition(" ")[2]
    if not text.strip():
        return "there is nothing in it", f"write the {thing}"
    if _TEMPLATE.search(text):
        return "this is a template, and nothing fills it in here", f"write the {thing} itself"
    if _LINE.fullmatch(text):
        return "this is a whole line NAME=value", "give only what stands behind the ="
    place, sign = next((i, sign) for i, sign in enumerate(text) if not re.fullmatch(f"[{form.signs}]", sign))
    where = "at its beginning" if place == 0 else "at its end" if place == len(text) - 1 else "inside"
    found = f"{form.noun} has {form.in_words} only, and here is {named(sign)} {where}"
    if sign in _QUOTES:
        return found, f"give the {thing} without quotes, or in the straight quotes of YAML"
    if not sign.isprintable() or sign.isspace():
        return found, f"delete it, which may be easiest by typing the {thing} anew: it hardly shows"
    return found, f"give the {thing} alone, as its page shows it"


def named(sign: str) -> str:
    """Such as `“ (LEFT DOUBLE QUOTATION MARK, U+201C)`; of what cannot be seen, only its name."""
    number = f"U+{ord(sign):04X}"
    name = unicodedata.name(sign, "")
    if sign == " ":
        return "a blank"
    full = f"{name}, {number}" if name else number
    return f"{sign} ({full})" if sign.isprintable() and not unicodedata.combining(sign) else f"a {full}"
