"""Reads a configuration file, and reports all its problems at once, each with its line and its hint.

Rules that types cannot express are passed in as functions. checks/configuration.py has the program's rules, and the
functions to call.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field, inspect
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from parleyd.config import settings, suggest
from parleyd.config.base import Secret
from parleyd.config.keys import Key, all_keys, joined, keys_of
from parleyd.config.nodes import (
    NULL,
    NodeError,
    TooLargeError,
    Values,
    check_tag,
    compose,
    is_cut_by_comment,
    key_name,
    scalar,
    whole_text,
)
from parleyd.config.overlay import may_change, overlay
from parleyd.config.problem import ConfigError, KeyProblem, Problem
from parleyd.config.refusal import found, refusal, shown
from parleyd.config.schema import SHORTHANDS, Config
from parleyd.core.text import one_line
from parleyd.host.files import read_file

__all__ = ["MAX_BYTES", "ConfigError", "Loaded", "Problem", "Rules", "SettingsText", "load", "parse"]

# Checks a whole configuration. The second argument says whether the value of a key can be judged: it is neither faulty
# nor missing because of a misspelt name.
Rules = Callable[[Config, Callable[[str], bool]], Iterable[KeyProblem]]

MAX_BYTES = 256 * 1024


class SettingsText(Struct, frozen=True):
    """The text of the settings that are laid over a configuration file. path: used only in the problems."""

    path: str
    text: str


class Loaded(Struct, frozen=True):
    """A valid configuration, and its warnings. places: the line and the column of each key in the file, both counted
    from 1, by the key's dotted name. settings_places: the same of the settings laid over it."""

    config: Config
    warnings: tuple[Problem, ...] = ()
    file: str = ""
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    settings_places: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def placed(self, problem: KeyProblem) -> Problem:
        """Adds to a problem the line of its key, or of the nearest section in the file."""
        line, column = _nearest_place(self.places, problem.key)
        return Problem(self.file, line, column, one_line(problem.key), problem.text, problem.hint)


def load(path: Path, rules: Rules, laid: SettingsText | None = None) -> Loaded:
    """Reads and checks a file, with the settings laid over it. Raises ConfigError, also if the file cannot be read."""
    try:
        content = read_file(path, MAX_BYTES + 1, pipes=True)
    except FileNotFoundError:
        raise _unreadable(path, "there is no such file", "parleyd setup makes one; -c FILE names another") from None
    except IsADirectoryError:
        raise _unreadable(path, "this is a directory", "name the file in it") from None
    except PermissionError:
        text = f"this user (uid {os.geteuid()}) may not read it"
        raise _unreadable(path, text, "make it readable with chown, chgrp or chmod") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        text = error.strerror if isinstance(error, OSError) and error.strerror else "not a usable path"
        raise _unreadable(path, f"it cannot be read: {text}", "name another with -c FILE") from None
    if len(content) > MAX_BYTES:
        text = f"it has more than {MAX_BYTES // 1024} KiB"
        raise _unreadable(path, text, "this is probably not a configuration; name another with -c FILE")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problem = Problem(one_line(str(path)), line, None, "", "this is not UTF-8 text", "save the file as UTF-8")
        raise ConfigError([problem]) from None
    return parse(text, str(path), rules, laid)


def parse(text: str, path: str, rules: Rules, laid: SettingsText | None = None) -> Loaded:
    """Checks the text of a file, with the settings laid over it; `path` is used only in the problems. Raises
    ConfigError."""
    reader = _Reader(path)
    config = reader.read(text)
    over = _Reader(laid.path if laid is not None else "")
    if laid is not None:
        config = overlay(config, over.read_settings(laid.text))
    _apply_rules(config, rules, reader, over)
    warnings = (*sorted(reader.warnings, key=_place), *sorted(over.warnings, key=_place))
    if reader.problems or over.problems:
        raise ConfigError([*sorted(reader.problems, key=_place), *sorted(over.problems, key=_place)], warnings)
    return Loaded(config, warnings, one_line(path), reader.places, over.places)


def _apply_rules(config: Config, rules: Rules, reader: _Reader, over: _Reader) -> None:
    """over: the reader of the settings. A problem is placed where the value stands that is in force."""
    for problem in rules(config, lambda key: reader.is_settled(key) and over.is_settled(key)):
        (over if problem.key in over.places else reader).add_rule(problem)


def _unreadable(path: Path, text: str, hint: str) -> ConfigError:
    return ConfigError([Problem(one_line(str(path)), None, None, "", text, hint)])


def _place(problem: Problem) -> tuple[int, int]:
    return problem.line or 0, problem.column or 0


def _nearest_place(places: Mapping[str, tuple[int, int]], key: str) -> tuple[int, int]:
    return next((places[parent] for parent in _parents(key) if parent in places), (1, 1))


class _Reader:
    """Walks through the nodes of one file along the schema, and collects the problems."""

    def __init__(self, file: str) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self._file = one_line(file)
        self._text = ""
        self._values = Values()
        self.places: dict[str, tuple[int, int]] = {}
        self._unsettled: set[str] = set()  # keys that were faulty, or probably meant by a misspelt one

    def read(self, text: str) -> Config:
        """The valid part of the file; defaults replace the rest."""
        self._text = text
        try:
            root = compose(text)
        except NodeError as error:
            self._add_error("", error)
            self._unsettled.add("")
            return Config()
        plain = self._section(root, Config, ()) if root is not None else {}
        return msgspec.convert(plain, Config)

    def read_settings(self, text: str) -> dict[str, Any]:
        """The valid part of the settings, as sections in sections."""
        self._text = text
        try:
            root = compose(text)
        except NodeError as error:
            self._add_error("", error)
            return {}
        plain = self._section(root, Config, ()) if root is not None else {}
        for dotted, value in settings.flat(plain):
            if refused := settings.refusal(dotted, value):
                line, column = _nearest_place(self.places, dotted)
                self.problems.append(Problem(self._file, line, column, dotted, *refused))
        return plain

    def add_rule(self, problem: KeyProblem) -> None:
        """Adds a problem that a rule has found, at its key or at the nearest section."""
        line, column = _nearest_place(self.places, problem.key)
        placed = Problem(self._file, line, column, one_line(problem.key), problem.text, problem.hint)
        (self.warnings if problem.is_warning else self.problems).append(placed)

    def is_settled(self, key: str) -> bool:
        return not any(parent in self._unsettled for parent in ("", *_parents(key)))

    def _section(self, node: Node, section: type[msgspec.Struct], path: tuple[str, ...]) -> dict[str, Any]:
        if isinstance(node, ScalarNode) and node.tag == NULL:
            return {}  # all its keys are commented out
        if isinstance(node, ScalarNode) and (short := SHORTHANDS.get(".".join(path))):
            return self._shorthand(keys_of(section, path)[short], node)
        if not isinstance(node, MappingNode):
            self._unsettled.add(".".join(path))
            hint = "put its keys below it, indented, each as `key: value`" if path else "write `key: value` lines"
            where = "a mapping belongs here" if path else "the file must be a mapping"
            self._add(node, path, f"{where}, not {found(node, hide_value=True)}", hint)
            return {}
        plain: dict[str, Any] = {}
        for name, key_node, value_node in self._entries(node, path, is_secret=section is Secret):
            key = keys_of(section, path).get(name)
            if key is None:
                self._unknown_key(name, key_node, section, path)
                continue
            try:
                plain[name] = self._value(key, key_node, value_node)
            except NodeError as error:
                self._unsettled.add(".".join(path) if section is Secret else key.dotted)
                self._add_error(key.dotted, error)
        for key in keys_of(section, path).values():
            if key.required and key.dotted not in self.places:
                self._unsettled.add(key.dotted)
                self._add(node, key.path, "it is missing", f"add `{key.name}:` ({key.description})")
        return plain

    def _shorthand(self, key: Key, node: ScalarNode) -> dict[str, Any]:
        """A plain value in the place of a section."""
        try:
            return {key.name: self._value(key, node, node)}
        except NodeError as error:
            self._unsettled.add(key.dotted)
            self._add_error(key.dotted, error)
            return {}

    def _entries(
        self, node: MappingNode, path: tuple[str, ...], *, is_secret: bool = False
    ) -> Iterator[tuple[str, Node, Node]]:
        """(name, key node, value node) of each key with a readable name; of keys with the same name, the first."""
        try:
            check_tag(node)
        except NodeError as error:
            self._add_error(".".join(path), error)
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            try:
                name = key_name(key_node)
            except NodeError as error:
                self._add_error(".".join(path), error)
                continue
            dotted = path if is_secret and name not in keys_of(Secret) else (*path, name)
            if name in lines:
                self._add(key_node, dotted, f"given twice, first in line {lines[name]}", "keep one of the two")
                continue
            lines[name] = key_node.start_mark.line + 1
            self.places.setdefault(".".join(dotted), (lines[name], key_node.start_mark.column + 1))
            yield name, key_node, value_node

    def _unknown_key(self, name: str, node: Node, section: type[msgspec.Struct], path: tuple[str, ...]) -> None:
        if section is Secret:  # may be the secret itself, as in {sk_...}
            self._unsettled.add(".".join(path))
            hint = "use {env: NAME}, {file: PATH} or {credential: NAME}"
            self._add(node, path, "a key that is not env, file or credential", hint)
            return
        hint, meant = suggest.unknown_key(name, keys_of(section, path).values(), path)
        if meant is not None:
            self._unsettled.add(meant.dotted)
        self._add(node, (*path, name), "unknown key", hint)

    def _value(self, key: Key, key_node: Node, node: Node) -> Any:
        """The checked value of a key. Raises NodeError if no part of it can be used."""
        if key.section is not None:
            return self._section(node, key.section, key.path)
        if key.nullable and key.is_map and isinstance(node, ScalarNode) and node.tag == NULL:
            return None
        if key.is_partial:
            return self._partial(key, node)
        if key.is_map:
            return self._map(key, node) if key.entry is None else self._sections_by_name(key, node, key.entry)
        if key.item is not None:
            return self._list(key, key.item, node)
        if key.or_section is not None and isinstance(node, MappingNode):
            plain = self._section(node, key.or_section, key.path)
            # A missing key has been reported.
            return plain if _is_whole(plain, key.or_section) else key.default
        value = self._scalar(key, node) if isinstance(node, ScalarNode) else node.value
        try:
            return msgspec.to_builtins(msgspec.convert(value, key.hint))
        except msgspec.ValidationError:
            raise NodeError.at(key_node, *refusal(key, node, value)) from None

    def _scalar(self, key: Key, node: ScalarNode) -> str | int | float | bool | None:
        """The value in the type of the key, if it can be converted without guessing. Raises NodeError."""
        value = scalar(node)
        if not key.choices and any(isinstance(t, inspect.StrType) for t in key.types):
            self._warn_of_comment(key.dotted, node)
        if value is None and (key.nullable or not node.value):
            return None
        if key.number is None and not isinstance(value, str) and not key.is_bool:
            if isinstance(value, bool) and set(key.choices) == {"on", "off"}:
                # A program that writes YAML 1.1 turns `on` and `off` into truth values.
                return "on" if value else "off"
            # Text that looks like a number or a truth value; null in all its spellings.
            return "null" if value is None and key.null_is_text else str(node.value)
        if isinstance(key.number, msgspec.inspect.IntType) and isinstance(value, float) and value.is_integer():
            return int(value)
        return value

    def _sections_by_name(self, key: Key, node: Node, section: type[msgspec.Struct]) -> dict[str, Any]:
        """Reads a mapping from the user's own names to sections."""
        if isinstance(node, ScalarNode) and node.tag == NULL:
            return {}
        plain: dict[str, Any] = {}
        for name, _, value_node in self._entries(_mapping(node), key.path):
            entry = self._section(value_node, section, (*key.path, shown(name)))
            if _is_whole(entry, section):
                plain[name] = entry
        return plain

    def _partial(self, key: Key, node: Node) -> dict[str, Any]:
        """Reads keys of the whole configuration, of those that may change in a running daemon."""
        plain = self._section(node, Config, key.path)
        if not plain and isinstance(node, MappingNode) and node.value:
            # The whole value was faulty, which has been reported.
            self._unsettled.add(key.dotted)
        for inner in all_keys(Config, key.path):
            own = ".".join(inner.path[len(key.path) :])
            if inner.section is None and inner.dotted in self.places and not may_change(own):
                line, column = self.places[inner.dotted]
                hint = f"set {own} at the top of the file, for all the day"
                self._add_error(inner.dotted, NodeError("a profile cannot change this", hint, line, column))
        return plain

    def _list(self, key: Key, item: inspect.Type, node: Node) -> list[Any] | None:
        if isinstance(node, ScalarNode) and node.tag == NULL:
            return None if key.nullable else []
        if not isinstance(node, SequenceNode):
            text = f"a list belongs here, not {found(node, hide_value=True)}"
            raise NodeError.at(node, text, "put `- value` lines below it, or [value, value]")
        plain: list[Any] = []
        for number, entry in enumerate(node.value, 1):
            if isinstance(item, inspect.StructType):
                path, mark = (*key.path, str(number)), entry.start_mark
                self.places.setdefault(".".join(path), (mark.line + 1, mark.column + 1))
                section = self._section(entry, item.cls, path)
                if _is_whole(section, item.cls):
                    plain.append(section)
                else:
                    # The indexes of the other items no longer match the file.
                    self._unsettled.add(key.dotted)
                continue
            try:
                is_text = isinstance(item, inspect.StrType) and isinstance(entry, ScalarNode)
                if is_text:
                    self._warn_of_comment(key.dotted, entry)
                check_tag(entry)
                value = whole_text(entry) if isinstance(entry, ScalarNode) and is_text else self._values.read(entry)
                msgspec.convert([value], key.hint)
                plain.append(value)
            except NodeError as error:
                self._unsettled.add(key.dotted)
                self._add_error(key.dotted, error)
            except msgspec.ValidationError:
                self._unsettled.add(key.dotted)
                wanted = joined(key.choices) if key.choices else key.wording or "text that is not empty"
                if isinstance(item, inspect.IntType):
                    wanted = f"whole numbers from {item.ge} to {item.le}"
                near = suggest.choice(entry.value, key.choices) if isinstance(entry, ScalarNode) else None
                few = f" ({wanted})" if len(key.choices) <= 10 else ""
                hint = f"did you mean {near}?{few}" if near else f"use {wanted}"
                self._add(entry, key.path, f"{found(entry)} cannot stand in this list", hint)
        return plain

    def _map(self, key: Key, node: Node) -> dict[str, Any]:
        if isinstance(node, ScalarNode) and node.tag == NULL:
            return {}
        node = _mapping(node)
        plain: dict[str, Any] = {}
        for name, key_node, value_node in self._entries(node, key.path):
            try:
                value = self._values.read(value_node)
                if key.is_map_of_text and isinstance(value_node, ScalarNode) and value is not None:
                    value = str(value_node.value)
                msgspec.convert({name: value}, key.hint)
                plain[name] = value
            except NodeError as error:
                self._add_error(f"{key.dotted}.{shown(name)}", error)
                if isinstance(error, TooLargeError):
                    break
            except msgspec.ValidationError:
                text = f"text, a number, true or false belongs here, not {found(value_node, hide_value=True)}"
                ways = "{env: NAME}, {file: PATH} or {command: [PROGRAM, ARGUMENT]}"
                self._add(key_node, (*key.path, name), text, f"give one plain value, or {ways}")
        return plain

    def _warn_of_comment(self, key: str, node: Node) -> None:
        if is_cut_by_comment(node, self._text):
            line, column = node.start_mark.line + 1, node.start_mark.column + 1
            text = "the value ends before the #, for YAML takes the rest of the line for a comment"
            hint = "if it belongs to the value, put all of it in quotes; else put a blank behind the #"
            self.warnings.append(Problem(self._file, line, column, key, text, hint))

    def _add(self, node: Node, path: tuple[str, ...], text: str, hint: str) -> None:
        self._add_error(".".join(shown(part) for part in path), NodeError.at(node, text, hint))

    def _add_error(self, key: str, error: NodeError) -> None:
        self.problems.append(Problem(self._file, error.line, error.column, key, str(error), error.hint))


def _mapping(node: Node) -> MappingNode:
    """The node as a mapping. Raises NodeError if it is not one."""
    if not isinstance(node, MappingNode):
        text = f"a mapping belongs here, not {found(node, hide_value=True)}"
        raise NodeError.at(node, text, "put `name: value` lines below it")
    return node


def _is_whole(plain: dict[str, Any], section: type[msgspec.Struct]) -> bool:
    """Whether all required keys of the section are there; if not, that has been reported."""
    return all(not key.required or name in plain for name, key in keys_of(section).items())


def _parents(key: str) -> Iterator[str]:
    """Yields the key itself, then the sections around it."""
    while key:
        yield key
        key = key.rpartition(".")[0]
