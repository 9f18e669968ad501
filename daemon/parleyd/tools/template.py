"""Placeholders in arguments, URLs and JSON bodies, and how values are put there. Pure.

`{name}` stands for a parameter, `{names...}` for one argument per item of a list, `{secret:NAME}` for a secret (in
headers), `{{` and `}}` for the brackets themselves. A value never becomes more than the place that it was given.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

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


def arguments(
    templates: Sequence[Template], values: Mapping[str, object], may_be_option: Collection[str]
) -> list[str]:
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
    """Every value escaped whole; none can become a path of its own, nor take away its part of one. Raises ToolError."""
    # NUL stands around each value: escaped, none has one, and an empty value can be told from none.
    text = "".join(
        piece if isinstance(piece, str) else f"\0{quote(as_text(values[piece.name]), safe='')}\0" for piece in template
    )
    found = re.match(r"https?://[^/?#]*", text)
    host = found[0] if found else ""
    path = re.split(r"[?#]", text[len(host) :], maxsplit=1)[0]
    for segment in path.split("/"):
        bare = segment.replace("\0", "")
        if bare in (".", "..") or (segment and not bare):
            raise ToolError(Fault.BAD_PARAMETERS, "A parameter must not be empty or a mere dot in a path.")
    text = host + quote(text[len(host) :].replace("\0", ""), safe=ADDRESS_SIGNS)
    if len(text) > MAX_URL_CHARS:
        raise ToolError(Fault.BAD_PARAMETERS, "The parameters are too long for a URL.")
    return text


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
