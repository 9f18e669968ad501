"""The schema as JSON Schema (draft 2020-12), for editors. Pure."""

from __future__ import annotations

from inspect import cleandoc
from typing import Any

import msgspec
from msgspec import inspect

from parleyd.config.base import Secret
from parleyd.config.keys import Key, keys_of
from parleyd.config.overlay import may_change
from parleyd.config.schema import SHORTHANDS, Config

_NULL = {"type": "null"}
_TYPE_NAMES = {
    inspect.StrType: "string",
    inspect.IntType: "integer",
    inspect.FloatType: "number",
    inspect.BoolType: "boolean",
}


def json_schema() -> dict[str, Any]:
    """The schema for yaml-language-server and other editors. It is as strict as the loader, as far as JSON Schema can
    express it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "parleyd.yaml",
        **_section(Config, ()),
    }


def _section(section: type[msgspec.Struct], path: tuple[str, ...]) -> dict[str, Any]:
    keys = keys_of(section, path)
    required = [name for name, key in keys.items() if key.required]
    return {
        "description": cleandoc(section.__doc__ or ""),
        # If all keys of a section are commented out, the section is null.
        "type": "object" if required else ["object", "null"],
        "properties": {name: _property(key) for name, key in keys.items()},
        "additionalProperties": False,
        **({"required": required} if required else {}),
    }


def _property(key: Key) -> dict[str, Any]:
    if key.section is not None:
        section = _section(key.section, key.path)
        if (short := SHORTHANDS.get(key.dotted)) is None:
            return section
        return {"anyOf": [section, _property(keys_of(key.section, key.path)[short])]}
    alternatives = [_alternative(key, info) for info in key.types]
    if key.nullable or key.is_map or key.item is not None or key.null_is_text:
        alternatives.append(_NULL)
    return {
        "description": f"{key.description}{f' [{key.unit}]' if key.unit else ''}",
        **(alternatives[0] if len(alternatives) == 1 else {"anyOf": alternatives}),
        **({} if key.required else {"default": key.default}),
    }


def _alternative(key: Key, info: inspect.Type) -> dict[str, Any]:
    if isinstance(info, inspect.ListType):
        return {"type": "array", "items": _of(info.item_type, key.path)}
    if isinstance(info, inspect.StructType):
        return _entry(info.cls, key.path)
    if key.is_partial:
        return _changeable(Config, ())
    if isinstance(info, inspect.DictType):
        if key.entry is not None:
            return {"type": "object", "additionalProperties": _entry(key.entry, key.path)}
        return {"type": "object", "additionalProperties": _any_of(info.value_type, key.path)}
    if key.choices:
        return {"enum": list(key.choices)}
    return _plain(info)


def _changeable(section: type[msgspec.Struct], path: tuple[str, ...]) -> dict[str, Any]:
    """The keys that a profile may contain."""
    properties = {}
    for name, key in keys_of(section, path).items():
        if key.section is None and may_change(key.dotted):
            properties[name] = {what: told for what, told in _property(key).items() if what != "default"}
        elif key.section is not None and (inner := _changeable(key.section, key.path))["properties"]:
            properties[name] = inner
    return {"type": ["object", "null"], "properties": properties, "additionalProperties": False}


def _entry(section: type[msgspec.Struct], path: tuple[str, ...]) -> dict[str, Any]:
    if section is Secret:
        return {**_section(Secret, path), "type": "object", "minProperties": 1, "maxProperties": 1}
    return _section(section, path)


def _any_of(info: inspect.Type, path: tuple[str, ...]) -> Any:
    return {"anyOf": [_of(t, path) for t in info.types]} if isinstance(info, inspect.UnionType) else True


def _of(info: inspect.Type, path: tuple[str, ...]) -> dict[str, Any]:
    if isinstance(info, inspect.StructType):
        return {**_section(info.cls, path), "type": "object"}
    return {"enum": list(info.values)} if isinstance(info, inspect.LiteralType) else _plain(info)


def _plain(info: inspect.Type) -> dict[str, Any]:
    limits = {
        "minimum": getattr(info, "ge", None),
        "exclusiveMinimum": getattr(info, "gt", None),
        "maximum": getattr(info, "le", None),
        "minLength": getattr(info, "min_length", None),
        "pattern": getattr(info, "pattern", None),
    }
    return {"type": _TYPE_NAMES[type(info)], **{name: limit for name, limit in limits.items() if limit is not None}}
