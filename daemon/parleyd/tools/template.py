"""Placeholders in arguments, URLs and JSON bodies, and how values replace them. Pure.

`{name}` stands for a parameter, `{names...}` for one argument per item of a list, `{secret:NAME}` for a secret (in
headers), `{{` and `}}` for the braces themselves. A value never extends beyond the place of its placeholder.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from urllib.parse import quote, unquote

from msgspec import Struct

from parleyd.tools.result import Fault, ToolError, as_json

# execve(2): MAX_ARG_STRLEN is 128 KiB per argument on every Linux with pages of 4 KiB.
MAX_ARGUMENT_BYTES = 64 * 1024
MAX_ARGUMENTS = 256
MAX_URL_CHARS = 4096
# The characters that quote() leaves unchanged in a finished address: all printable ASCII. Others are escaped.
ADDRESS_SIGNS = "".join(map(chr, range(0x21, 0x7F)))
_PIECE = re.compile(r"(\{\{|\}\})|\{(?P<kind>secret:)?(?P<name>[A-Za-z_][A-Za-z0-9_-]*)(?P<spread>\.\.\.)?\}|([{}])")


class TemplateError(Exception):
    """A text that is not a valid template. The message is one line."""


class Placeholder(Struct, frozen=True):
    name: str
    spread: bool = False
    secret: bool = False


Template = tuple[str | Placeholder, ...]


def parse(text: str) -> Template:
    """Returns literal text and placeholders, in order. Raises TemplateError."""
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
    """Returns a parameter as text for an argument or a URL: text as it is, true and false, numbers, JSON otherwise.

    Raises ToolError for lone surrogates, which have no UTF-8.
    """
    text = value if isinstance(value, str) else as_json(value)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ToolError(Fault.BAD_PARAMETERS, "A parameter contains half a character, which is not text.") from None
    return text


# ---------------------------------------------------------------- arguments


def arguments(templates: Sequence[Template], values: Mapping[str, object], may_be_option: Collection[str]) -> list[str]:
    """Returns one argument per template, and for `{names...}` one per item.

    Raises ToolError for NUL and lone surrogates, for arguments that are too long, and for a value that begins like an
    option, or looks like one, unless its name is in may_be_option.
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
        # The first part that is not empty decides how the argument begins.
        first = piece if part and not text else first
        text += part
    if isinstance(first, Placeholder) and first.name not in may_be_option and looks_like_option(text):
        raise ToolError(Fault.BAD_PARAMETERS, f"The parameter {first.name} must not begin with a dash.")
    if "\0" in text:
        raise ToolError(Fault.BAD_PARAMETERS, "A parameter contains a NUL character, which no program can be given.")
    if len(text.encode("utf-8")) > MAX_ARGUMENT_BYTES:
        raise ToolError(Fault.BAD_PARAMETERS, "A parameter is too long.")
    return text


def looks_like_option(text: str) -> bool:
    """Returns whether a program may read the text as an option: it begins with a dash of any script, perhaps behind
    invisible characters."""
    for sign in unicodedata.normalize("NFKC", text[:64]):
        category = unicodedata.category(sign)
        if category in ("Cf", "Cc", "Mn", "Me", "Zs", "Zl", "Zp"):
            continue
        return category == "Pd" or sign in "\u2212\u02d7"
    return False


# ---------------------------------------------------------------- URLs, headers, bodies


def url(template: Template, values: Mapping[str, object]) -> str:
    """Returns the URL with every value escaped, and in the path confined to its segment. Raises ToolError.

    Servers and proxies decode a path before they route, some of them twice, so that an escaped slash becomes a slash
    again one step later. Behind the first ? or # of the template nothing is routed, and escaping is enough.
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
    """Raises ToolError if a value would give the path more, fewer or other segments than the template has."""
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


# Characters that a server may take for a separator: /, \ and those that are folded to them, the beginnings of query and
# fragment, and (U+FFFD) bytes that are not UTF-8, such as a slash that is encoded in two bytes.
_SEPARATORS = re.compile(r"[/\\?#\u2044\u2215\u2216\u29f5\u29f8\u29f9\u27cb\u27cd\ufffd]")
_UNICODE_ESCAPE = re.compile(r"%u([0-9a-fA-F]{4})")


def _decoded(segment: str) -> str:
    """Returns the segment as the last of any number of servers sees it, each of which decodes and folds look-alikes."""
    before = ""
    while before != segment:
        before = segment
        segment = _UNICODE_ESCAPE.sub(lambda found: chr(int(found[1], 16)), segment)
        segment = unicodedata.normalize("NFKC", unquote(segment, errors="replace"))
    return segment


def _is_like(decoded: str, harmless: str) -> bool:
    """Returns whether it has as many parts as `harmless`, each of them a name where `harmless` has a name."""
    parts, wanted = _SEPARATORS.split(decoded), _SEPARATORS.split(harmless)
    return len(parts) == len(wanted) and all(
        _is_name(part) or not _is_name(other) for part, other in zip(parts, wanted, strict=True)
    )


def _is_name(part: str) -> bool:
    """Returns whether servers keep the part: some drop blanks, invisible characters, and all behind a semicolon."""
    if any(unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") for sign in part):
        return False
    bare = part.partition(";")[0]
    return any(sign != "." and unicodedata.category(sign) not in ("Cf", "Mn", "Me", "Zs") for sign in bare)


def header(template: Template, secrets: Mapping[str, str]) -> str:
    """Returns the header. Parameters are not allowed in headers; the rules of the configuration refuse them."""
    return "".join(piece if isinstance(piece, str) else secrets[piece.name] for piece in template)


def body(shape: object, values: Mapping[str, object]) -> object:
    """Returns the JSON with its values: "{name}" alone becomes the value itself; keys without a value are omitted."""
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
    """Yields the placeholders of a body. Raises TemplateError."""
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
