"""Explains why a key does not accept a value: the value found, and the values allowed. Pure; never shows a secret."""

from __future__ import annotations

import re
from typing import Any

from msgspec import inspect
from yaml.nodes import MappingNode, Node, ScalarNode

from parleyd.config import suggest
from parleyd.config.keys import Key, expected, joined
from parleyd.config.nodes import NULL, STR
from parleyd.core.text import one_line

_MAX_SHOWN = 60


def shown(text: str) -> str:
    """The text as one short line."""
    text = re.sub(r"sk_[A-Za-z0-9]{8,}", "sk_...", one_line(text))  # a key that strayed
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."


def found(node: Node, *, hide_value: bool = False) -> str:
    """The value found, as part of a sentence."""
    if not isinstance(node, ScalarNode):
        return "a mapping" if isinstance(node, MappingNode) else "a list"
    if node.tag == NULL:
        return "nothing"
    if hide_value:
        return "plain text"
    text = re.sub(r"//[^/@\s]*@", "//...@", node.value)  # a password in a URL
    return f"'{shown(text)}'" if node.tag == STR and (node.style or not text.strip() or " " in text) else shown(text)


def refusal(key: Key, node: Node, value: Any) -> tuple[str, str]:
    """(the problem, the hint) for a value that msgspec has refused."""
    what = found(node, hide_value=key.is_secret)
    default = f"{key.default:g}" if isinstance(key.default, float) else str(key.default)
    default = default.lower() if key.is_bool else default
    default = f" (default {default})" if key.default is not None and not key.wording else ""
    wanted = f"use {expected(key)}{default}"
    if value is None:
        return "there is no value", f"{wanted}, or remove the key"
    if key.is_bool:
        return f"{what} is neither true nor false", wanted
    if key.number is not None:
        return _refused_number(key, key.number, value, what, wanted)
    if not isinstance(value, str):
        return f"{what} cannot stand here", wanted
    if key.choices:
        near = suggest.choice(value, key.choices)
        return f"{what} is none of the choices", f"did you mean {near}? ({joined(key.choices)})" if near else wanted
    if not value.strip():
        return "the text is empty", wanted if key.wording else "fill it in, or remove the key"
    return f"{what} cannot stand here", wanted


def _refused_number(
    key: Key, number: inspect.IntType | inspect.FloatType, value: Any, what: str, wanted: str
) -> tuple[str, str]:
    if isinstance(value, str) and re.fullmatch(r"\s*[-+]?[0-9.]+\s*", value):
        return f"{what} is text, not a number", "remove the quotes"
    if isinstance(value, str) and key.unit and re.fullmatch(r"\s*[-+]?[0-9.]+\s*[a-zA-Z]+\s*", value):
        return f"{what} is text, not a number", f"leave out the unit and {wanted}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"{what} is not a number", wanted
    if isinstance(number, inspect.IntType) and not float(value).is_integer():
        return f"{what} is not a whole number", wanted
    is_low = (number.ge is not None and value < number.ge) or (number.gt is not None and value <= number.gt)
    return f"{what} is too {'small' if is_low else 'large'}", wanted
