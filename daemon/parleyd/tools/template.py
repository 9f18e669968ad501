"""Placeholders in arguments, URLs and JSON bodies, and how values are put there. Pure.

`{name}` stands for a parameter, `{names...}` for one argument per item of a list, `{secret:NAME}` for a secret (in
headers), `{{` and `}}` for the brackets themselves. A value never becomes more than the place that it was given.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

from parleyd.tools.result import Fault, ToolError, as_json

# execve(2): MAX_ARG_STRLEN is 128 KiB per argument on every Linux with pages of 4 KiB.
MAX_ARGUMENT_BYTES = 64 * 1024
MAX_ARGUMENTS = 256
MAX_URL_CHARS = 4096
# All that quote() leaves alone in what is an address already: it escapes what is no ASCII, and what is no sign.
ADDRESS_SIGNS = "".join(map(chr, range(0x21, 0x7F)))
_PIECE = re.compile(r"(\{\{|\}\})|\{(?P<kind>secret:)?(?P<name>[A-Za-z_][A-Za-z0-9_-]*)(?P<spread>\.\.\.)?\}|([{}])")


class TemplateError(Exception):
    """A template that is not one. The text is one line."""


@dataclass(frozen=True, slots=True)
class Placeholder:
    name: str
    spread: bool = False
    secret: bool = False


Template = tuple[str | Placeholder, ...]


def parse(text: str) -> Template:
    """Literal text and placeholders, in order. Raises TemplateError."""
    pieces: list[str | Placeholder] = []
    literal, position = "", 0
    for found in _PIECE.finditer(text):
        literal += text[position : found.start()]
        position = found.end()
        if found[1]:
            literal += found[1][0]
        elif found["name"]:
            if literal:
                pieces.append(literal)
            literal = ""
            pieces.append(Placeholder(found["name"], bool(found["spread"]), bool(found["kind"])))
        else:
            raise TemplateError(f"a `{found[0]}` that belongs to no {{placeholder}}; write it twice to mean itself")
    literal += text[position:]
    if literal:
        pieces.append(literal)
    if any(isinstance(piece, Placeholder) and piece.spread for piece in pieces) and len(pieces) > 1:
        raise TemplateError("a {placeholder...} stands alone in its argument")
    return tuple(pieces)


def placeholders(template: Template) -> Iterator[Placeholder]:
    return (piece for piece in template if isinstance(piece, Placeholder))


def as_text(value: object) -> str:
    """A parameter as it stands in an argument or a URL: text as it is, true and false, numbers, JSON for the rest.

    Raises ToolError for half characters: they have no UTF-8.
    """
    text = value if isinstance(value, str) else as_json(value)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ToolError(Fault.BAD_PARAMETERS, "A parameter holds half a character, which is no text.") from None
    return text


# ---------------------------------------------------------------- arguments


def arguments(templates: Sequence[Template], values: Mapping[str, object], may_be_option: Collection[str]) -> list[str]:
    """One argument per template, but for `{names...}`: one per item.

    Raises ToolError: for NUL and half characters, for what begins like an option (or looks like it) without being
    declared in may_be_option, for what is too long.
    """
    result: list[str] = []
    for template in templates:
        first = template[0] if template else ""
        if isinstance(first, Placeholder) and first.spread:
            items = values[first.name]
            result += [
                _argument((first,), {first.name: item}, may_be_option)
                for item in (items if isinstance(items, list) else [items])
            ]
        else:
            result.append(_argument(template, values, may_be_option))
    if len(result) > MAX_ARGUMENTS:
        raise ToolError(Fault.BAD_PARAMETERS, f"There are more than {MAX_ARGUMENTS} values.")
    return result


def _argument(template: Template, values: Mapping[str, object], may_be_option: Collection[str]) -> str:
    text, first = "", None
    for piece in template:
        part = piece if isinstance(piece, str) else as_text(values[piece.name])
        # What the argument begins with decides, and an empty value begins nothing.
        first = piece if part and not text else first
        text += part
    if isinstance(first, Placeholder) and first.name not in may_be_option and looks_like_option(text):
        raise ToolError(Fault.BAD_PARAMETERS, f"The parameter {first.name} must not begin with a dash.")
    if "\0" in text:
        raise ToolError(Fault.BAD_PARAMETERS, "A parameter holds a NUL character, which no program can be given.")
    if len(text.encode("utf-8")) > MAX_ARGUMENT_BYTES:
        raise ToolError(Fault.BAD_PARAMETERS, "A parameter is too long.")
    return text


def looks_like_option(text: str) -> bool:
    """Begins with a dash, or with what a program may fold to one: dashes of all scripts, behind what is invisible."""
    for sign in unicodedata.normalize("NFKC", text[:64]):
        category = unicodedata.category(sign)
        if category in ("Cf", "Cc", "Mn", "Me", "Zs", "Zl", "Zp"):
            continue
        return category == "Pd" or sign in "\u2212\u02d7"
    return False


# ---------------------------------------------------------------- URLs, headers, bodies


def url(template: Template, values: Mapping[str, object]) -> str:
    """Every value escaped whole, and in the path held to its place, however often it is decoded. Raises ToolError.

    Servers and proxies decode a path before they route, some of them twice, so an escaped slash is a slash again one
    reader later. Behind the first ? or # of the template nothing is routed, and escaping is enough.
    """
    filled = _filled(template, values)
    text = "".join(piece if isinstance(piece, str) else piece[1] for piece in filled)
    found = re.match(r"https?://[^/?#]*", text)
    host = found[0] if found else ""
    text = host + quote(text[len(host) :], safe=ADDRESS_SIGNS)
    if len(text) > MAX_URL_CHARS:
        raise ToolError(Fault.BAD_PARAMETERS, "The parameters are too long for a URL.")
    _stay_in_path(filled, host)
    return text


# A literal piece, or the name of a parameter and its value, escaped.
_Filled = list[str | tuple[str, str]]


def _filled(template: Template, values: Mapping[str, object]) -> _Filled:
    return [
        piece if isinstance(piece, str) else (piece.name, quote(as_text(values[piece.name]), safe=""))
        for piece in template
    ]


def _stay_in_path(filled: _Filled, host: str) -> None:
    """Raises ToolError when a value would give the path more, fewer or other segments than the template has."""
    segments: list[_Filled] = [[]]
    for index, piece in enumerate(filled):
        if not isinstance(piece, str):
            segments[-1].append(piece)
            continue
        literal = piece[len(host) :] if index == 0 else piece
        path = re.split(r"[?#]", literal, maxsplit=1)[0]
        first, *others = path.split("/")
        segments[-1].append(first)
        segments += [[one] for one in others]
        if len(path) < len(literal):
            break
    for segment in segments:
        names = dict.fromkeys(piece[0] for piece in segment if not isinstance(piece, str))
        if not names:
            continue
        sent = "".join(piece if isinstance(piece, str) else piece[1] for piece in segment)
        harmless = "".join(piece if isinstance(piece, str) else "x" for piece in segment)
        if not _is_like(_decoded(sent), _decoded(harmless)):
            raise ToolError(
                Fault.BAD_PARAMETERS,
                f"The value of {' and '.join(names)} cannot stand in the path of a URL: it must not be empty or blank, "
                "nor only dots, nor hold a slash, a backslash, ?, # or a control character, escaped ones included. "
                "The call can be tried again with a value without them.",
            )


# What some reader takes for a separator: /, \ and what is folded to them, the beginnings of query and fragment, and
# (U+FFFD) bytes that are no UTF-8, such as a slash that is encoded in two bytes.
_SEPARATORS = re.compile(r"[/\\?#\u2044\u2215\u2216\u29f5\u29f8\u29f9\u27cb\u27cd\ufffd]")
_UNICODE_ESCAPE = re.compile(r"%u([0-9a-fA-F]{4})")


def _decoded(segment: str) -> str:
    """As the last of any number of readers sees it, who decode escapes and fold look-alikes."""
    before = ""
    while before != segment:
        before = segment
        segment = _UNICODE_ESCAPE.sub(lambda found: chr(int(found[1], 16)), segment)
        segment = unicodedata.normalize("NFKC", unquote(segment, errors="replace"))
    return segment


def _is_like(decoded: str, harmless: str) -> bool:
    """Whether it has as many parts, none of them empty or of dots alone that has a name in the other."""
    parts, wanted = _SEPARATORS.split(decoded), _SEPARATORS.split(harmless)
    return len(parts) == len(wanted) and all(
        _is_name(part) or not _is_name(other) for part, other in zip(parts, wanted, strict=True)
    )


def _is_name(part: str) -> bool:
    """Not what a server drops or climbs by: some take away blanks, invisible signs, and all from a semicolon on."""
    if any(unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") for sign in part):
        return False
    bare = part.partition(";")[0]
    return any(sign != "." and unicodedata.category(sign) not in ("Cf", "Mn", "Me", "Zs") for sign in bare)


def header(template: Template, secrets: Mapping[str, str]) -> str:
    """Parameters have no place in headers; the configuration's rules see to that."""
    return "".join(piece if isinstance(piece, str) else secrets[piece.name] for piece in template)


def body(shape: object, values: Mapping[str, object]) -> object:
    """JSON with values: "{name}" alone becomes the value itself, of its type; a key without its value is left out."""
    if isinstance(shape, Mapping):
        filled = {key: body(inner, values) for key, inner in shape.items()}
        return {key: inner for key, inner in filled.items() if inner is not _LEFT_OUT}
    if isinstance(shape, list):
        return [item for item in (body(inner, values) for inner in shape) if item is not _LEFT_OUT]
    if not isinstance(shape, str):
        return shape
    template = parse(shape)
    if any(placeholder.name not in values for placeholder in placeholders(template)):
        return _LEFT_OUT
    if len(template) == 1 and isinstance(template[0], Placeholder):
        return values[template[0].name]
    return "".join(piece if isinstance(piece, str) else as_text(values[piece.name]) for piece in template)


def body_placeholders(shape: object) -> Iterator[Placeholder]:
    """Raises TemplateError."""
    if isinstance(shape, Mapping):
        for inner in shape.values():
            yield from body_placeholders(inner)
    elif isinstance(shape, list):
        for inner in shape:
            yield from body_placeholders(inner)
    elif isinstance(shape, str):
        yield from placeholders(parse(shape))


class _LeftOut:
    pass


_LEFT_OUT = _LeftOut()
