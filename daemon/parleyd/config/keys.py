"""The schema as a table of keys, for the loader, the page and the JSON Schema. Pure."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
from msgspec import Struct, inspect

from parleyd.config.base import Secret, Section
from parleyd.config.schema import Config

_UNITS = {"ms": "ms", "s": "s", "db": "dB"}


class Key(Struct, frozen=True):
    """One key of the schema.

    path: from the top of the file.
    hint: the type for msgspec.convert().
    types: the alternatives as msgspec sees them, without null.
    section: the class of the mapping below the key, if there is one.
    default: as plain values; required: the key has no default.
    choices: in the schema's order; for a list, the choices of its items.
    wording: the schema's words for a pattern.
    null_is_text: YAML's null means the text "null".
    is_partial: the value is a mapping of some keys of the whole configuration.
    """

    path: tuple[str, ...]
    hint: Any
    types: tuple[inspect.Type, ...]
    nullable: bool
    section: type[msgspec.Struct] | None
    default: Any
    required: bool
    own_description: str
    choices: tuple[str, ...]
    wording: str | None
    null_is_text: bool
    is_partial: bool

    @property
    def name(self) -> str:
        return self.path[-1]

    @property
    def description(self) -> str:
        """The key's own, or that of its section."""
        if self.own_description or self.section is None:
            return self.own_description
        # Imported here, because the daemon starts without: nobody reads a description then.
        from inspect import cleandoc

        return cleandoc(self.section.__doc__ or "")

    @property
    def dotted(self) -> str:
        return ".".join(self.path)

    @property
    def unit(self) -> str | None:
        _, underscore, suffix = self.name.rpartition("_")
        return _UNITS.get(suffix) if underscore and self.number is not None else None

    @property
    def number(self) -> inspect.IntType | inspect.FloatType | None:
        """The numeric type of a key that accepts only a number."""
        only = self.types[0] if len(self.types) == 1 else None
        return only if isinstance(only, inspect.IntType | inspect.FloatType) else None

    @property
    def is_secret(self) -> bool:
        return any(isinstance(t, inspect.StructType) and t.cls is Secret for t in self.types)

    @property
    def or_section(self) -> type[msgspec.Struct] | None:
        """The class of the mapping that may stand in the place of a text: a secret, or a file."""
        if len(self.types) < 2:
            return None
        return next((t.cls for t in self.types if isinstance(t, inspect.StructType)), None)

    @property
    def is_bool(self) -> bool:
        return isinstance(self.types[0], inspect.BoolType)

    @property
    def is_map(self) -> bool:
        """Whether the value is a mapping with names that the user chooses."""
        return isinstance(self.types[0], inspect.DictType)

    @property
    def is_map_of_text(self) -> bool:
        only = self.types[0]
        return isinstance(only, inspect.DictType) and isinstance(only.value_type, inspect.StrType)

    @property
    def entry(self) -> type[msgspec.Struct] | None:
        """The class of the values of a map, or of the items of a list."""
        only = self.types[0]
        inner = only.value_type if isinstance(only, inspect.DictType) else self.item
        return inner.cls if isinstance(inner, inspect.StructType) else None

    @property
    def item(self) -> inspect.Type | None:
        """The type of the items of a list; None for keys that accept no list."""
        only = self.types[0]
        return only.item_type if isinstance(only, inspect.ListType) else None


@cache
def keys_of(section: type[msgspec.Struct], path: tuple[str, ...] = ()) -> dict[str, Key]:
    """The keys directly below a section that stands at `path`, by name."""
    hints = typing.get_type_hints(section, include_extras=True)
    # The name in the file may differ: `from` is not a valid name in Python.
    return {
        field.encode_name: _key((*path, field.encode_name), hints[field.name], _default(field), required=field.required)
        for field in msgspec.structs.fields(section)
    }


def all_keys(section: type[msgspec.Struct] = Config, path: tuple[str, ...] = ()) -> Iterator[Key]:
    """Every key below a section, in order; each section before its own keys."""
    for key in keys_of(section, path).values():
        yield key
        if key.section is not None:
            yield from all_keys(key.section, key.path)


def limits(key: Key) -> str:
    """The limits, such as `200 to 3000 ms`; empty for a key without limits."""
    number = key.number
    if number is None:
        return ""
    low = f"above {_plain(number.gt)}" if number.gt is not None else _plain(number.ge)
    high = _plain(number.le)
    joint = "up to" if number.gt is not None else "to"
    text = f"{low} {joint} {high}" if low and high else low or high
    return f"{text} {key.unit}" if text and key.unit else text


def _plain(number: float | None) -> str:
    """Without an exponent, which not everybody reads; empty without a number."""
    if number is None:
        return ""
    return str(int(number)) if number == int(number) else f"{number:g}"


def kind(key: Key) -> str:
    """The kind of value that a key accepts, as a noun: `whole number`, `text`, ..."""
    if key.wording is not None:
        return key.wording
    if key.is_secret:
        return "{env: NAME}, {file: PATH} or {credential: NAME}"
    if key.item is not None:
        return "list"
    if key.choices:
        return joined(key.choices)
    only = key.types[0]
    if key.is_bool:
        return "true or false"
    if isinstance(only, inspect.IntType):
        return "whole number"
    if isinstance(only, inspect.FloatType):
        return "number"
    return "mapping" if key.is_map or key.section is not None else "text"


def expected(key: Key) -> str:
    """The allowed values, as part of a sentence: `a whole number from 200 to 3000 ms`."""
    noun = kind(key)
    if key.number is not None:
        text = limits(key)
        return f"a {noun}{' ' if text.startswith('above') else ' from '}{text}" if text else f"a {noun}"
    return f"a {noun}" if noun in ("mapping", "list") else noun


def joined(words: typing.Iterable[str]) -> str:
    """`a, b or c`."""
    *rest, last = words
    return f"{', '.join(rest)} or {last}" if rest else last


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default is not msgspec.NODEFAULT:
        return msgspec.to_builtins(field.default)
    return None if field.required else msgspec.to_builtins(field.default_factory())


def _key(path: tuple[str, ...], hint: Any, default: Any, *, required: bool) -> Key:
    info, description = _info(hint), ""
    extra: dict[str, Any] = {}
    if isinstance(info, inspect.Metadata):
        description = (info.extra_json_schema or {}).get("description", "")
        extra = info.extra or {}
        info = info.type
    alternatives = info.types if isinstance(info, inspect.UnionType) else (info,)
    section = info.cls if isinstance(info, inspect.StructType) else None
    return Key(
        path=path,
        hint=hint,
        types=tuple(t for t in alternatives if not isinstance(t, inspect.NoneType)),
        nullable=any(isinstance(t, inspect.NoneType) for t in alternatives),
        section=section,
        default=default,
        required=required,
        own_description=description,
        choices=_choices(hint),
        wording=extra.get("expected"),
        null_is_text=extra.get("null_is_text", False),
        is_partial=extra.get("partial", False),
    )


def _info(hint: Any) -> inspect.Type:
    """As msgspec sees the type; of a section only its class, whose own keys are looked at when they are needed."""
    return inspect.StructType(hint, ()) if isinstance(hint, type(Section)) else inspect.type_info(hint)


def _choices(hint: Any) -> tuple[str, ...]:
    """msgspec sorts the values of a Literal; users see them in the order of the schema."""
    bare = typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint
    if typing.get_origin(bare) is list:
        (bare,) = typing.get_args(bare)
    if typing.get_origin(bare) in (typing.Union, types.UnionType):
        bare = next((one for one in typing.get_args(bare) if typing.get_origin(one) is typing.Literal), bare)
    return typing.get_args(bare) if typing.get_origin(bare) is typing.Literal else ()
