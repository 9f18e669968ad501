"""The characters of which ids, names and keys consist, and messages for other characters. Pure.

Text that is pasted from a page or a chat may contain invisible or similar characters: typographic quotes, no-break
spaces, zero-width characters. People also paste templates with placeholders, and whole lines of .env files. Without a
check, all of these would be sent to the server, which answers "no such agent". Therefore the allowed characters are
listed, not the forbidden ones.
"""

from __future__ import annotations

import re
import unicodedata

from msgspec import Struct


class Form(Struct, frozen=True):
    """noun: the name of the thing, with its article. signs: the allowed characters, as a class of a regular expression.
    in_words: that class in words."""

    noun: str
    signs: str
    in_words: str


AGENT_ID = Form("an agent's id", "A-Za-z0-9_-", "letters, digits, _ and -")
VOICE_ID = Form("a voice's id", "A-Za-z0-9_-", "letters, digits, _ and -")
MODEL_ID = Form("a model's id", "A-Za-z0-9_.-", "letters, digits, and _ . -")
LLM_ID = Form("a language model's id", "A-Za-z0-9_.:@/-", "letters, digits, and _ . : @ / -")
BRANCH_ID = Form("a branch's id", "A-Za-z0-9_-", "letters, digits, _ and -")
ENVIRONMENT = Form("an environment's name", "A-Za-z0-9_.-", "letters, digits, and _ . -")
LANGUAGE = Form("a language's code", "A-Za-z0-9_-", "letters, digits, _ and -")
VARIABLE = Form("a variable's name", r"\w.-", "letters, digits, and _ . -")
# Also for tokens of the user's own server.
API_KEY = Form("a key", "A-Za-z0-9_.~+/=-", "letters, digits, and _ . ~ + / = -")

_TEMPLATE = re.compile(r"\$\{[^}]*\}|\$[A-Za-z_]\w*|\{\{.*\}\}|%[A-Za-z_]\w*%|^<.*>$", re.DOTALL)
_LINE = re.compile(r"\s*(?:export\s+)?[A-Za-z_][A-Za-z0-9_]*\s*=\s*[^=\s].*", re.DOTALL)
_QUOTES = "\"'`´‘’‚‛“”„‟«»‹›"


def trouble(text: str, form: Form) -> tuple[str, str] | None:
    """(the problem, the hint) of a text that does not have the form; None if it has. Shows only the wrong character of
    the text."""
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
    """The character and its name, such as `“ (LEFT DOUBLE QUOTATION MARK, U+201C)`; only the name of an invisible
    character."""
    number = f"U+{ord(sign):04X}"
    name = unicodedata.name(sign, "")
    if sign == " ":
        return "a blank"
    full = f"{name}, {number}" if name else number
    return f"{sign} ({full})" if sign.isprintable() and not unicodedata.combining(sign) else f"a {full}"
