"""Changes single values in the text of a configuration file, and keeps every other character: comments, order, blanks.
Pure.

The result is composed again and compared with what it should say, so a file in an unusual form is refused and never
damaged.
"""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode, SequenceNode

from parleyd.config.nodes import NULL, NodeError, Values, compose, dump, key_name
from parleyd.core.errors import UserError

Path = tuple[str, ...]

_INDENT = "  "


class EditError(UserError):
    """The file is written in a form that cannot be changed here; the hint is the text to write by hand."""

    hint: str
    usual_exit_code = os.EX_DATAERR


def edited(text: str, changes: Mapping[Path, object]) -> str:
    """The text with these values. A key that is there as a comment (`#key: value`) gets its place back. Raises
    EditError, and NodeError if the text is no YAML."""
    for path, value in changes.items():
        text = _with(text, path, value)
    return text


def _with(text: str, path: Path, value: object) -> str:
    try:
        before = _plain(text)
        wanted = copy.deepcopy(before)
        _put(wanted, path, value)
        if before == wanted:
            return text
        new = _set(text, path, value)
        if _read_again(new) == wanted:
            return new
    except (_ResultError, _FormError):
        pass
    hint = f"write by hand: {'.'.join(path)}: {_flow(value)}"
    raise EditError(f"{'.'.join(path)} cannot be changed in this file without changing more", hint)


class _FormError(Exception):
    """The place of the value is no mapping."""


class _ResultError(Exception):
    """The changed text is no YAML."""


def _read_again(text: str) -> dict[str, Any]:
    try:
        return _plain(text)
    except NodeError:
        raise _ResultError from None


def _plain(text: str) -> dict[str, Any]:
    node = compose(text)
    plain = None if node is None else Values().read(node)
    if plain is None:
        return {}
    if not isinstance(plain, dict):
        raise _FormError
    return plain


def _put(tree: dict[str, Any], path: Path, value: object) -> None:
    for name in path[:-1]:
        inner = tree.get(name)
        if not isinstance(inner, dict):
            inner = tree[name] = {}
        tree = inner
    tree[path[-1]] = value


def _set(text: str, path: Path, value: object) -> str:
    node = compose(text)
    if node is None or (isinstance(node, ScalarNode) and node.tag == NULL):
        joint = "" if not text or text.endswith("\n") else "\n"
        return text + joint + "".join(f"{line}\n" for line in _block(path, value, 0))
    for at, name in enumerate(path):
        if not isinstance(node, MappingNode):
            raise _FormError
        entry = next(((key, inner) for key, inner in node.value if key_name(key) == name), None)
        if entry is None:
            return _inserted(text, node, path[at:], value)
        key, node = entry
        if at == len(path) - 1:
            return _replaced(text, key, node, value)
        if isinstance(node, ScalarNode) and node.tag == NULL:
            return _below(text, key, node, path[at + 1 :], value)
    raise _FormError


# ---------------------------------------------------------------- the three kinds of change


def _replaced(text: str, key: Node, old: Node, value: object) -> str:
    """The value of a key that is there."""
    colon = text.index(":", key.end_mark.index)
    is_block = isinstance(old, CollectionNode) and not old.flow_style
    if is_block or old.start_mark.index == old.end_mark.index:
        # A comment may stand between the colon and what follows in the next lines.
        between = text[colon + 1 : old.start_mark.index] if is_block else ""
        return f"{text[: colon + 1]} {_flow(value)}{between.rstrip()}{_rest(text, _end(text, old), 0)}"
    start, end = old.start_mark.index, _end(text, old)
    new = _flow(value)
    return f"{text[:start]}{new}{_rest(text, end, end - start - len(new))}"


def _inserted(text: str, mapping: MappingNode, path: Path, value: object) -> str:
    """A key that a mapping does not have."""
    if mapping.flow_style:
        new = _flow(_nested(path, value)).removeprefix("{").removesuffix("}")
        if not mapping.value:
            at = text.index("{", mapping.start_mark.index) + 1
            return f"{text[:at]}{new}{text[at:]}"
        at = _end(text, mapping.value[-1][1])
        return f"{text[:at]}, {new}{text[at:]}"
    first, last = mapping.value[0][0], mapping.value[-1][1]
    indent = int(first.start_mark.column)
    lines = text.splitlines(keepends=True)
    after = text.count("\n", 0, _end(text, last)) + 1
    found = _commented(lines, first.start_mark.line, indent, path)
    if found is not None:
        lines[found] = _uncommented(lines[found], indent, value)
    else:
        apart = ["\n"] if indent == 0 and len(path) > 1 else []
        if lines[after - 1 : after] and not lines[after - 1].endswith("\n"):
            lines[after - 1] += "\n"
        lines[after:after] = [*apart, *(f"{line}\n" for line in _block(path, value, indent))]
    return "".join(lines)


def _below(text: str, key: Node, empty: ScalarNode, path: Path, value: object) -> str:
    """A key below one without a value, such as a section whose keys are all comments."""
    lines = text.splitlines(keepends=True)
    number = key.start_mark.line
    outer = int(key.start_mark.column)
    if empty.start_mark.index != empty.end_mark.index:
        line = lines[number]
        begin = empty.start_mark.column
        lines[number] = f"{line[:begin].rstrip()}{line[empty.end_mark.column :]}"
    if not lines[number].endswith("\n"):
        lines[number] += "\n"
    indents = [len(line) - len(line.lstrip()) for line in _comments(lines, number + 1, outer + 1)]
    indent = min(indents, default=outer + len(_INDENT))
    found = _commented(lines, number + 1, indent, path)
    if found is not None:
        lines[found] = _uncommented(lines[found], indent, value)
    else:
        lines[number + 1 : number + 1] = [f"{line}\n" for line in _block(path, value, indent)]
    return "".join(lines)


# ---------------------------------------------------------------- parts


def _comments(lines: Sequence[str], first: int, least_indent: int) -> list[str]:
    """The comments from that line on, up to the first line that is none."""
    found = []
    for line in lines[first:]:
        if not line.strip():
            continue
        if not line.lstrip().startswith("#") or len(line) - len(line.lstrip()) < least_indent:
            break
        found.append(line)
    return found


def _commented(lines: Sequence[str], first: int, indent: int, path: Path) -> int | None:
    """The number of the line that has this key as a comment, in the section that begins with the line `first`."""
    if len(path) > 1:
        return None
    wanted = re.compile(rf" {{{indent}}}#{re.escape(path[0])}:(\s|$)")
    for number in range(first, len(lines)):
        line = lines[number]
        if wanted.match(line):
            return number
        if line.strip() and len(line) - len(line.lstrip()) < indent:
            return None
    return None


def _uncommented(line: str, indent: int, value: object) -> str:
    """`#key: old    # about it` with the new value; the text about it keeps its column."""
    body = line[indent + 1 :].rstrip("\n")
    name, _, rest = body.partition(":")
    about = re.search(r"(?:^|\s)(#\s.*)$", rest)
    new = f"{' ' * indent}{name}: {_flow(value)}"
    if about is None:
        return f"{new}\n"
    column = indent + 1 + len(name) + 1 + about.start(1)
    return f"{new}{' ' * max(1, column - len(new))}{about[1]}\n"


def _rest(text: str, end: int, shorter_by: int) -> str:
    """The text behind a value; a comment in the same line keeps its column."""
    about = re.compile(r"([ \t]+)(?=#)").match(text, end)
    if about is None or not shorter_by:
        return text[end:]
    return " " * max(1, len(about[1]) + shorter_by) + text[about.end() :]


def _end(text: str, node: Node) -> int:
    """The index behind the last character of a value; PyYAML takes blank lines and comments behind a block for a part
    of it."""
    if isinstance(node, ScalarNode):
        if node.style in ("|", ">"):
            return len(text[: node.end_mark.index].rstrip())
        return int(node.end_mark.index)
    if not isinstance(node, CollectionNode) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1] if isinstance(node, SequenceNode) else node.value[-1][1]
    return _end(text, last)


def _nested(path: Path, value: object) -> Any:
    for name in reversed(path):
        value = {name: value}
    return value


def _block(path: Path, value: object, indent: int) -> list[str]:
    lines = []
    for depth, name in enumerate(path):
        lead = " " * indent + _INDENT * depth
        lines.append(f"{lead}{_flow(name)}: {_flow(value)}" if depth == len(path) - 1 else f"{lead}{_flow(name)}:")
    return lines


def _flow(value: object) -> str:
    """The value in one line, as short as it can be written."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(name)}: {_flow(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str):
        shown = dump({"-": value}).removeprefix("'-': ").rstrip("\n")
        # Signs with a meaning inside braces, and texts over several lines.
        is_plain = shown == value and not re.search(r"[,\[\]{}\n]", value)
        return value if is_plain else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)
