"""Parses YAML text into nodes with their positions, and converts nodes to plain values. Pure.

PyYAML follows YAML 1.1, where `off`, `no` and `on` are booleans, 0500 is octal and 1:30 is ninety. The core schema of
YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema) has none of these traps, and editors check against it.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import Resolver
from yaml.scanner import Scanner

from parleyd.core.errors import UserError

MAX_DEPTH = 30
MAX_VALUES = 10_000
_MAX_DIGITS = 200  # a float can hold it still; int() itself refuses some thousands

_TAG = "tag:yaml.org,2002:"
STR, NULL, BOOL, INT, FLOAT = (_TAG + name for name in ("str", "null", "bool", "int", "float"))
SEQ, MAP = _TAG + "seq", _TAG + "map"
_FLOAT = r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
# The tag of a plain scalar, found by its text and its first character; the first match decides.
CORE_SCALARS: dict[str, tuple[re.Pattern[str], list[str]]] = {
    NULL: (re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    BOOL: (re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    INT: (re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), list("-+0123456789")),
    FLOAT: (re.compile(rf"^(?:{_FLOAT})$"), list("-+.0123456789")),
}


class NodeError(UserError):
    """A node that cannot be read as YAML, or as a value. Contains no text of the file; line and column count from 1."""

    hint: str

    def __init__(self, text: str, hint: str, line: int, column: int) -> None:
        super().__init__(text, hint, os.EX_DATAERR)
        self.line = line
        self.column = column

    @classmethod
    def at(cls, node: Node, text: str, hint: str) -> NodeError:
        return cls(text, hint, node.start_mark.line + 1, node.start_mark.column + 1)


class TooLargeError(NodeError):
    """The document is too large because of aliases of aliases, or an alias of itself."""


class _CoreResolver(Resolver):
    """Resolver with the scalars of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's own way)


for _tag, (_pattern, _first_signs) in CORE_SCALARS.items():
    _CoreResolver.add_implicit_resolver(_tag, _pattern, _first_signs)


class _SlowlyError(Exception):
    """The fast parser gives up, and PyYAML's own has to say why."""


# Some texts are read differently by libyaml and PyYAML's own parser, or get other places. Anywhere these are tabs, the
# line breaks of other alphabets, and a last line without an end. Outside comments they are a comment that touches the
# head of a block, no value in brackets, and a tag. A `?` in brackets is looked for by itself.
_UNUSUAL = re.compile(r"[\t\x85\u2028\u2029\ufeff]|[^\n]\Z")
_COMMENTS = re.compile(r"^ *#.*\n", re.MULTILINE)
_SEEN_DIFFERENTLY = re.compile(r"[|>][-+0-9]*#|:\s*[#,\]}]|(?<![^\s\[{,:])!")


class _CoreLoader(Reader, Scanner, Parser, Composer, _CoreResolver):
    """Has a limit on nesting, because the composer is recursive."""

    depth = 0

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        _CoreResolver.__init__(self)

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise NodeError("nested too deeply", f"use at most {MAX_DEPTH} levels", self.line + 1, self.column + 1)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


# The class that reads with libyaml, in a twentieth of the time: libyaml's events become nodes by PyYAML's own composer.
# None: PyYAML was built without libyaml.
fast_loader: type[Any] | None = None
try:
    from yaml.cyaml import CParser  # type: ignore[attr-defined]  # the stubs leave it out
except ImportError:
    pass
else:

    class _FastLoader(Composer, CParser, _CoreResolver):
        """The composer stands first: that of the parser has no limit on nesting, and recurses in C."""

        depth = 0

        def __init__(self, text: str) -> None:
            CParser.__init__(self, text)
            Composer.__init__(self)
            _CoreResolver.__init__(self)

        def compose_node(self, parent: Node | None, index: int) -> Node | None:
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise _SlowlyError
            node = super().compose_node(parent, index)
            self.depth -= 1
            if isinstance(node, ScalarNode):
                if node.style in ("'", '"') and node.start_mark.line != node.end_mark.line:
                    # A line of it that begins with # was taken for a comment, with all that stands behind its end.
                    raise _SlowlyError
                # It calls the style of a plain scalar "".
                node.style = node.style or None
            return node

    fast_loader = _FastLoader


def compose(text: str) -> Node | None:
    """The only document in `text`; None if it is empty. Raises NodeError."""
    if fast_loader is not None and _seen_alike(text):
        # A text that it refuses is read again, because PyYAML's own parser knows the words and the place.
        with contextlib.suppress(yaml.YAMLError, ValueError, OverflowError, _SlowlyError):
            return _composed_fast(fast_loader, text)
    return _composed(text)


def _seen_alike(text: str) -> bool:
    """Whether both parsers find the same in it, as far as tests know. Takes a time that grows with the text alone."""
    if _UNUSUAL.search(text):
        return False
    bare = _COMMENTS.sub("", text)
    return not _SEEN_DIFFERENTLY.search(bare) and ("?" not in bare or not ("{" in bare or "[" in bare))


def _composed_fast(loader_class: type[Any], text: str) -> Node | None:
    loader = loader_class(text)
    try:
        node: Node | None = loader.get_single_node()
        return node
    finally:
        loader.dispose()


def _composed(text: str) -> Node | None:
    loader = None
    try:
        loader = _CoreLoader(text)
        return loader.get_single_node()
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, error.position - before.rfind("\n")
        what = f"the character U+{error.character:04X} is not allowed in YAML"
        raise NodeError(what, "remove it, or retype the line", line, column) from None
    except yaml.MarkedYAMLError as error:
        is_open = re.search("quoted scalar|flow", error.context or "") and "escape" not in (error.problem or "")
        mark = (error.context_mark if is_open else error.problem_mark) or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise NodeError(*_explained(error), line, column) from None
    except (ValueError, OverflowError):  # PyYAML lets these through: escapes beyond Unicode, absurd %YAML versions
        line, column = (loader.line + 1, loader.column + 1) if loader else (1, 1)
        raise NodeError("not valid YAML: an escape or a number out of range", "correct it", line, column) from None
    finally:
        if loader is not None:
            loader.dispose()


# On the left, the parser's short words; its longer text quotes the file, which may contain a secret.
_EXPLANATIONS = (
    (r"'\\t'", "a tab where only blanks may stand", "indent with blanks"),
    (r"another document", "a second document", "remove the line `---` and what belongs to it"),
    (
        r"mapping values are not allowed",
        "a second `: ` in this line, or a wrong indentation",
        "put the text in quotes, or align the key with its neighbours",
    ),
    (r"undefined alias", "an alias (*name) without its anchor (&name)", "put text that begins with * in quotes"),
    (r"duplicate anchor", "the same anchor (&name) twice", "rename one of them"),
    (r"cannot start any token", "a value begins with a sign that YAML reserves", "put the value in quotes"),
    (r"could not find expected ':'", "a line without a colon after its key", "write `key: value`"),
    (r"expected <block end>", "the indentation does not fit the lines above", "align the key with its neighbours"),
    (r"escape", "an escape that YAML does not know", "use 'single quotes', where \\ is nothing special"),
    (r"quoted scalar", "a quote that is opened and not closed, or text after a closed one", "correct the quotes"),
    (r"expected ',' or '\}'", "a `{` without its `}`", "close it before the next key, or put the text in quotes"),
    (r"expected ',' or '\]'", "a `[` without its `]`", "close it before the next key, or put the text in quotes"),
    (r"flow node", "a bracket that is opened and not closed, or a sign out of place", "correct the brackets"),
    (r"tag|alias|anchor", "a value begins with !, & or *, which YAML reserves", "put the value in quotes"),
    (r"directive|document start", "a line that begins with %, or text before `---`", "remove it"),
)


def _explained(error: yaml.MarkedYAMLError) -> tuple[str, str]:
    words = f"{error.problem or ''} ({error.context or ''})"
    for pattern, text, hint in _EXPLANATIONS:
        if re.search(pattern, words):
            return f"not valid YAML: {text}", hint
    return "not valid YAML", "look for a missing colon, quote or bracket in this line or the one before it"


class _CoreDumper(yaml.SafeDumper):
    """SafeDumper that also quotes text that only YAML 1.2 takes for a number, and writes no aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def represent_text(self, data: str) -> ScalarNode:
        # PyYAML folds lines at these characters, and they would be changed when they are read again.
        style = '"' if re.search("[\x85\u2028\u2029\ufeff]", data) else None
        return self.represent_scalar(STR, data, style)


_CoreDumper.add_representer(str, _CoreDumper.represent_text)
for _tag, (_pattern, _first_signs) in CORE_SCALARS.items():
    _CoreDumper.add_implicit_resolver(_tag, _pattern, _first_signs)


def dump(plain: dict[str, Any]) -> str:
    """Plain values as YAML text that has the same meaning under YAML 1.1 and 1.2."""
    text: str = yaml.dump(plain, Dumper=_CoreDumper, sort_keys=False, allow_unicode=True, width=1000)
    return text


def check_tag(node: Node) -> None:
    """Accepts only plain data. Raises NodeError on tags such as !!python/name:os.system, !!binary or !mine."""
    if isinstance(node, ScalarNode):
        is_plain = node.tag in (STR, *CORE_SCALARS)
    else:
        is_plain = node.tag == (MAP if isinstance(node, MappingNode) else SEQ)
    if not is_plain:
        shown = f"the tag !!{node.tag.removeprefix(_TAG)}" if node.tag.startswith(_TAG) else "a tag (!...)"
        raise NodeError.at(node, f"{shown} is not allowed: values are plain data", "remove the tag, or quote the value")


def scalar(node: ScalarNode) -> str | int | float | bool | None:
    """The value of a scalar: a finite number, text without unpaired surrogates, a truth value, or None. Raises
    NodeError."""
    check_tag(node)
    if node.tag == STR:
        return whole_text(node)
    if not CORE_SCALARS[node.tag][0].search(node.value) or "\n" in node.value:
        raise NodeError.at(node, f"the value does not fit its tag !!{node.tag.removeprefix(_TAG)}", "remove the tag")
    if node.tag == NULL:
        return None
    if node.tag == BOOL:
        return str(node.value).lower() == "true"
    if len(node.value) > _MAX_DIGITS:
        raise NodeError.at(node, "the number is too long", "use fewer digits")
    if node.tag == INT:
        digits, base = node.value, {"0o": 8, "0x": 16}.get(node.value[:2], 10)
        return int(digits[2:] if base != 10 else digits, base)
    number = float(re.sub(r"^([-+]?)\.(?=[inIN])", r"\1", node.value))
    if not math.isfinite(number):
        raise NodeError.at(node, "the number is not finite", "use a finite number")
    return number


def whole_text(node: ScalarNode) -> str:
    """The text, with surrogate pairs such as JSON's \\uD83D\\uDE00 joined to one character. Raises NodeError; also for
    a NUL, which no path, program or name may have."""
    if "\0" in node.value:
        raise NodeError.at(node, "a NUL (\\0) in a text", "remove it")
    try:
        return str(node.value).encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise NodeError.at(node, "half a character (a single surrogate)", "write both \\u escapes, or \\U") from None


class Values:
    """Reads nodes as plain JSON values. One object reads a whole file, because its limit on aliases is for all of
    them."""

    def __init__(self) -> None:
        self._seen = 0

    def read(self, node: Node, depth: int = 0) -> Any:
        """The node as lists, mappings with text as keys, and scalars. Raises NodeError."""
        self._seen += 1
        if self._seen > MAX_VALUES or depth > MAX_DEPTH:
            raise TooLargeError.at(node, "the aliases (*name) make this too large, or endless", "write the values out")
        if isinstance(node, ScalarNode):
            value = scalar(node)
            if isinstance(value, int) and not -(2**63) <= value < 2**64:
                raise NodeError.at(node, "the number is too large for JSON", "put it in quotes")
            return value
        check_tag(node)
        if isinstance(node, SequenceNode):
            return [self.read(item, depth + 1) for item in node.value]
        mapping: dict[str, Any] = {}
        for key, value_node in node.value:
            name = key_name(key)
            if name in mapping:
                raise NodeError.at(key, "a key that was given before in this mapping", "keep one of them")
            mapping[name] = self.read(value_node, depth + 1)
        return mapping


def is_cut_by_comment(node: Node, text: str) -> bool:
    """Whether a plain text such as `USB Microphone #2` ends before a # that may be meant as a part of it. In YAML a
    space and a # begin a comment. People write a space behind the # of a comment, and none behind the # in a name.

    text: the whole text from which the node was composed."""
    is_plain = isinstance(node, ScalarNode) and node.style is None and bool(node.value)
    return is_plain and re.compile(r"[ \t]+#[^\s#]").match(text, node.end_mark.index) is not None


def key_name(key: Node) -> str:
    """The text of a key. Raises NodeError."""
    if not isinstance(key, ScalarNode):
        raise NodeError.at(key, "a key that is a list or a mapping", "use plain text, and quote {{ }}")
    check_tag(key)
    if key.style is None and key.value == "<<":
        raise NodeError.at(key, "merge keys (<<) are not supported", "write the keys out")
    return whole_text(key)
