"""Converts the parameters that a language model wrote into the types of the schema, before they are checked. Pure.

Models write numbers as text ("300"), whole numbers with a decimal point (300.0), true and false as words, null for
omitted values, a choice with other capitals ("Celsius"), and lists and objects as their JSON text. Each of these has
exactly one meaning if the schema asks for another type, and is converted to it. A value without a clear meaning stays
as it is, and the check that follows refuses it: nothing is rounded, cut or guessed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

_WHOLE = re.compile(r"\s*([+-]?\d{1,40})(\.0{1,40})?\s*")
_POINT_ZERO = re.compile(r"^([+-]?\d+)\.0+$")
_NUMBER = re.compile(r"\s*([+-]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,3})?)\s*")
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
# The bound of whole numbers that a float can represent exactly; above it a float is not converted.
_EXACT = 2**53
# The depth at which conversion stops, because a schema may refer to itself.
_MOST_STEPS = 64


class _Missing:
    """The mark for a value that does not exist."""


_MISSING = _Missing()


def coerced(given: Mapping[str, object], schema: Mapping[str, Any]) -> dict[str, object]:
    """Returns the converted parameters. given: JSON values of bounded depth. schema: a valid one, of an object."""
    made = _coerced(dict(given), schema, schema, 0)
    return made if isinstance(made, dict) else dict(given)


def _coerced(value: Any, schema: Any, root: Mapping[str, Any], step: int) -> Any:
    if not isinstance(schema, Mapping) or step > _MOST_STEPS:
        return value
    for inner in _always(schema, root):
        value = _coerced(value, inner, root, step + 1)
    for key in ("anyOf", "oneOf"):
        if isinstance(schema.get(key), list):
            value = _one_of(value, schema[key], root, step + 1)
    if isinstance(schema.get("enum"), list):
        value = _choice(value, schema["enum"])
    if "const" in schema:
        value = _choice(value, [schema["const"]])
    types = _types(schema)
    if types and not _is_of(value, types):
        value = _as_type(value, types)
    if isinstance(value, float) and "integer" in types and "number" not in types:
        value = _whole(value)
    if isinstance(value, dict):
        return _object(value, schema, root, step + 1)
    if isinstance(value, list):
        return _array(value, schema, root, step + 1)
    return value


def _always(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Iterator[Any]:
    """Yields the schemas that always apply besides this one: those behind $ref and allOf."""
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        yield _referred(reference, root)
    if isinstance(schema.get("allOf"), list):
        yield from schema["allOf"]


def _referred(reference: str, root: Mapping[str, Any]) -> Any:
    """Returns the schema behind a local reference: RFC 6901, section 4."""
    found: Any = root
    for part in reference[1:].split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, Mapping) or key not in found:
            return None
        found = found[key]
    return found


def _one_of(value: Any, branches: list[Any], root: Mapping[str, Any], step: int) -> Any:
    """Returns the value unchanged if a branch may take it; otherwise the conversion by the first branch that works."""
    for branch in branches:
        if _may_take(value, branch, root, 0):
            return _coerced(value, branch, root, step)
    for branch in branches:
        made = _coerced(value, branch, root, step)
        if _may_take(made, branch, root, 0):
            return made
    return value


def _may_take(value: Any, schema: Any, root: Mapping[str, Any], step: int) -> bool:
    """Returns whether the value fits the schema, by types and choices only."""
    if not isinstance(schema, Mapping) or step > _MOST_STEPS:
        return schema is not False
    types = _types(schema)
    if types and not _is_of(value, types):
        return False
    if isinstance(schema.get("enum"), list) and not _is_among(value, schema["enum"]):
        return False
    if "const" in schema and not _is_among(value, [schema["const"]]):
        return False
    if not all(_may_take(value, inner, root, step + 1) for inner in _always(schema, root)):
        return False
    return all(
        any(_may_take(value, branch, root, step + 1) for branch in schema[key])
        for key in ("anyOf", "oneOf")
        if isinstance(schema.get(key), list)
    )


# ---------------------------------------------------------------- types


def _types(schema: Mapping[str, Any]) -> tuple[str, ...]:
    told = schema.get("type")
    return (told,) if isinstance(told, str) else tuple(told) if isinstance(told, list) else ()


def _is_of(value: Any, types: tuple[str, ...]) -> bool:
    return any(_is(value, one) for one in types)


def _is(value: Any, type_: str) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    match type_:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "null":
            return value is None
        case "number":
            return is_number
        case "integer":
            return is_number and (isinstance(value, int) or value.is_integer())
        case "object":
            return isinstance(value, dict)
        case "array":
            return isinstance(value, list)
    return False


def _as_type(value: Any, types: tuple[str, ...]) -> Any:
    """Converts a value that has none of the types; returns it unchanged if its meaning is not clear."""
    if isinstance(value, str):
        for type_ in ("integer", "number", "boolean", "null", "array", "object"):
            if type_ in types and not isinstance(made := _of_text(value, type_), _Missing):
                return made
    elif "string" in types and isinstance(value, int | float) and not isinstance(value, bool):
        return json.dumps(value)
    return value


def _of_text(text: str, type_: str) -> Any:
    word = text.strip().lower()
    match type_:
        case "integer" if found := _WHOLE.fullmatch(text):
            return int(found[1])
        case "number" if found := _WHOLE.fullmatch(text) or _NUMBER.fullmatch(text):
            number = int(found[1]) if found.re is _WHOLE else float(found[1])
            return number if math.isfinite(number) else _MISSING
        case "boolean" if word in _WORDS:
            return _WORDS[word]
        case "null" if word in ("null", "none"):
            return None
        case "array" | "object" if text.lstrip()[:1] in ("[", "{"):
            try:
                made = json.loads(text)
            except (ValueError, RecursionError):
                return _MISSING
            return made if _is(made, type_) else _MISSING
    return _MISSING


def _whole(value: float) -> int | float:
    return int(value) if abs(value) < _EXACT and value.is_integer() else value


def _choice(value: Any, choices: list[Any]) -> Any:
    """Returns the choice that the value means: with other capitals, as text or as a number, if only one is possible."""
    if _is_among(value, choices):
        return value
    word = _word(value)
    near = [choice for choice in choices if word is not None and _word(choice) == word]
    return near[0] if len(near) == 1 else value


def _is_among(value: Any, choices: list[Any]) -> bool:
    # In Python True == 1; in JSON they differ.
    return any(value == choice and isinstance(value, bool) is isinstance(choice, bool) for choice in choices)


def _word(value: Any) -> str | None:
    if isinstance(value, str):
        return _POINT_ZERO.sub(r"\1", " ".join(value.split()).casefold())
    if isinstance(value, float):
        value = _whole(value)
    return None if isinstance(value, dict | list) else json.dumps(value)


# ---------------------------------------------------------------- lists and objects


def _object(value: dict[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any], step: int) -> dict[str, Any]:
    properties = schema.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    required = schema.get("required")
    required = required if isinstance(required, list) else []
    made: dict[str, Any] = {}
    for name, inner in value.items():
        known = properties.get(name, schema.get("additionalProperties"))
        new = _coerced(inner, known, root, step)
        is_optional = name in properties and (name not in required or "default" in _mapping(known))
        if is_optional and _stands_for_none(new, known, root):
            continue
        made[name] = new
    return made


def _stands_for_none(value: Any, schema: Any, root: Mapping[str, Any]) -> bool:
    """Returns whether the value is null, or the text "null", and the schema takes neither."""
    is_name = isinstance(value, str) and value.strip().lower() in ("null", "none")
    return (value is None or is_name) and not _may_take(value, schema, root, 0)


def _array(value: list[Any], schema: Mapping[str, Any], root: Mapping[str, Any], step: int) -> list[Any]:
    first = schema.get("prefixItems")
    first = first if isinstance(first, list) else []
    rest = schema.get("items")
    return [_coerced(item, first[i] if i < len(first) else rest, root, step) for i, item in enumerate(value)]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


# ---------------------------------------------------------------- descriptions


_NAMES = {
    "string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false", "null": "null",
    "object": "an object", "array": "a list",
}  # fmt: skip


def wanted(schema: Any, root: Mapping[str, Any]) -> str:
    """Describes the accepted values, such as `a whole number from 0 to 100`; "" if the schema is not that simple."""
    if isinstance(schema, Mapping) and isinstance(schema.get("$ref"), str):
        schema = _referred(schema["$ref"], root)
    if not isinstance(schema, Mapping):
        return ""
    if isinstance(schema.get("enum"), list):
        return _joined([json.dumps(choice, ensure_ascii=False) for choice in schema["enum"]])
    if "const" in schema:
        return json.dumps(schema["const"], ensure_ascii=False)
    text = _joined([_NAMES[one] for one in _types(schema) if one in _NAMES])
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        text += f" from {low} to {high}"
    elif low is not None or high is not None:
        text += f" of at least {low}" if low is not None else f" of at most {high}"
    if isinstance(longest := schema.get("maxLength"), int):
        text += f" of at most {longest} characters"
    if isinstance(pattern := schema.get("pattern"), str):
        text += f" of the form {pattern}"
    return text.strip()


def _joined(words: list[str]) -> str:
    *rest, last = words or [""]
    return f"{', '.join(rest)} or {last}" if rest else last
