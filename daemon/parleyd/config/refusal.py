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
_NUMBER = r"\s*[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)\s*"
# The units of keys and their neighbours, as people write them, each in the smallest of its kind.
_UNITS = {
    "time": {
        **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), 1),
        **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1000),
        **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60_000),
        **dict.fromkeys(("h", "hr", "hour", "hours"), 3_600_000),
    },
    "level": {"db": 1},
}


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
    if isinstance(value, str) and re.fullmatch(_NUMBER, value):
        return f"{what} is text, not a number", "remove the quotes"
    if isinstance(value, str) and key.unit and (given := re.fullmatch(rf"({_NUMBER})([a-zA-Z]+)\s*", value)):
        hint = _without_unit(float(given[1]), given[2].lower(), key.unit, number, wanted)
        return f"{what} is text, not a number", hint
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"{what} is not a number", wanted
    if isinstance(number, inspect.IntType) and not float(value).is_integer():
        return f"{what} is not a whole number", wanted
    return f"{what} is too {'small' if _is_low(number, value) else 'large'}", wanted


def _without_unit(value: float, given: str, unit: str, number: inspect.IntType | inspect.FloatType, wanted: str) -> str:
    """The hint for a number with the unit `given`: what it is in the key's own unit, which may be another."""
    factors = next((factors for factors in _UNITS.values() if unit.lower() in factors), {})
    if given in factors and factors[given] == factors[unit.lower()]:
        return f"leave out the unit and {wanted}"
    if given in factors:
        own = round(value * factors[given] / factors[unit.lower()], 6)
        is_high = (number.le is not None and own > number.le) or (number.lt is not None and own >= number.lt)
        is_whole = own.is_integer() or not isinstance(number, inspect.IntType)
        if is_whole and not is_high and not _is_low(number, own):
            return f"its unit is {unit}: write {own:.15g}"
    return f"its unit is {unit}: {wanted}"


def _is_low(number: inspect.IntType | inspect.FloatType, value: float) -> bool:
    return (number.ge is not None and value < number.ge) or (number.gt is not None and value <= number.gt)
