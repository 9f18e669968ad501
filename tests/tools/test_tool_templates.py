"""Values in arguments, URLs and bodies: hostile ones stay where they were put."""

from __future__ import annotations

import posixpath
import string
import unicodedata
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parleyd.tools import template
from parleyd.tools.parameters import MAX_BYTES, Parameters
from parleyd.tools.result import Fault, ToolError
from parleyd.tools.template import TemplateError, looks_like_option, parse

TEXT = {"type": "object", "properties": {"x": {}}, "required": ["x"]}


def argument(text: str, value: object, *may_be_option: str) -> list[str]:
    return template.arguments([parse(text)], {"x": value}, may_be_option)


# ---------------------------------------------------------------- templates


@pytest.mark.parametrize("text", ["{", "}", "{x", "x}", "{1}", "{x y}", "{}", "a{x...}", "{x...}{y}", "{{{"])
def test_what_is_no_template(text: str) -> None:
    with pytest.raises(TemplateError):
        parse(text)


def test_brackets_of_their_own() -> None:
    assert argument('{{"a": {x}}}', 5) == ['{"a": 5}']


# ---------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        ("", ""),
        ("a b\tc", "a b\tc"),
        ("a\n--flag", "a\n--flag"),
        ("'; rm -rf / #$(reboot)`id`", "'; rm -rf / #$(reboot)`id`"),
        ("{x}", "{x}"),
        ("ünï😀", "ünï😀"),
        (True, "true"),
        (7, "7"),
        (None, "null"),
        (["a", 1], '["a",1]'),
        ({"a": "b c"}, '{"a":"b c"}'),
    ],
)
def test_a_value_is_one_argument_as_it_stands(value: object, expected: str) -> None:
    assert argument("{x}", value) == [expected]


@pytest.mark.parametrize(
    "value",
    [
        "-rf", "--flag", "-", -5, -0.5, "‐x", "–x", "—x", "−x", "﹣x", "-x",
        "\u200b-x", "\ufeff--x", " -x", "\n-x", "\u0301-x", "\u2028-x",
    ],
)  # fmt: skip
def test_nothing_becomes_an_option(value: object) -> None:
    with pytest.raises(ToolError) as caught:
        argument("{x}", value)
    assert caught.value.fault is Fault.BAD_PARAMETERS
    assert argument("--level={x}", value) == [f"--level={template.as_text(value)}"]
    assert argument("{x}", value, "x") == [template.as_text(value)]


def test_an_empty_value_does_not_let_the_next_one_begin_an_option() -> None:
    templates = [parse("{a}{b}")]
    with pytest.raises(ToolError):
        template.arguments(templates, {"a": "", "b": "--flag"}, ["a"])
    assert template.arguments(templates, {"a": "v", "b": "--flag"}, []) == ["v--flag"]


@pytest.mark.parametrize("value", ["a\0b", "\ud800", "x\udc80", "\udfff\ud800", "x" * 1024 * 1024])
def test_what_no_program_can_be_given(value: str) -> None:
    with pytest.raises(ToolError) as caught:
        argument("{x}", value)
    assert caught.value.fault is Fault.BAD_PARAMETERS


def test_a_list_becomes_arguments_only_where_that_is_declared() -> None:
    assert argument("{x...}", ["a", "b c", 3]) == ["a", "b c", "3"]
    assert argument("{x...}", []) == []
    with pytest.raises(ToolError):
        argument("{x...}", ["a", "--flag"])
    with pytest.raises(ToolError):
        argument("{x...}", ["a"] * 300)


HOSTILE = st.text(max_size=40) | st.text("-–—−\u200b \n\0{}='\"$`;a", max_size=12) | st.sampled_from(
    ["--help", "-rf", "\ud800", "a\0", "x" * (1024 * 1024), "{x}", "$(id)"]
)  # fmt: skip
VALUES = st.recursive(
    HOSTILE | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(HOSTILE, inner, max_size=3),
    max_leaves=6,
)
LITERALS = st.text(string.ascii_letters + string.digits + "-=/ .", max_size=8)


SHAPES = st.tuples(LITERALS, st.sampled_from(["", "{x}", "{y}", "{x}{y}"]), LITERALS)


@given(st.lists(SHAPES, max_size=5), VALUES, VALUES)
@settings(max_examples=400, deadline=None)
def test_whatever_the_parameters_the_vector_is_the_declared_one(
    shapes: list[tuple[str, str, str]], x: object, y: object
) -> None:
    """As many arguments as declared; each literal where it was; none begins an option but by its own literal."""
    texts = ["".join(shape) for shape in shapes]
    try:
        arguments = template.arguments([parse(text) for text in texts], {"x": x, "y": y}, ())
    except ToolError:
        return
    assert len(arguments) == len(texts)
    used = "".join(texts)
    filled = {name: template.as_text(value) for name, value in (("x", x), ("y", y)) if f"{{{name}}}" in used}
    for (before, holes, after), argument in zip(shapes, arguments, strict=True):
        inside = "".join(filled[name] for name in "xy" if f"{{{name}}}" in holes)
        assert argument == before + inside + after
        assert "\0" not in argument
        argument.encode("utf-8")
        if not before and inside:
            assert not argument.startswith("-")
            assert not looks_like_option(argument)


# ---------------------------------------------------------------- URLs and bodies


@given(HOSTILE, HOSTILE)
@settings(max_examples=300, deadline=None)
def test_whatever_the_parameters_the_url_is_the_declared_one(x: str, y: str) -> None:
    try:
        made = template.url(parse("https://api.example.org:8443/v1/{x}/end?q={y}&z=1"), {"x": x, "y": y})
    except ToolError:
        return
    parts = urlsplit(made)
    assert (parts.scheme, parts.netloc, parts.fragment) == ("https", "api.example.org:8443", "")
    assert made.isascii()
    assert made.isprintable()
    first, version, value, end = parts.path.split("/")
    assert (first, version, unquote(value, errors="strict"), end) == ("", "v1", x, "end")
    assert value not in ("", ".", "..")
    assert parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True) == [("q", y), ("z", "1")]


@pytest.mark.parametrize("value", ["", ".", "..", "x" * 5000, "\ud800"])
@pytest.mark.parametrize("text", ["http://h/{x}", "http://h/lamps/{x}/state", "http://h/{x}?y=1"])
def test_values_that_no_url_takes(text: str, value: str) -> None:
    with pytest.raises(ToolError):
        template.url(parse(text), {"x": value})


@pytest.mark.parametrize(
    ("text", "value", "made"),
    [
        ("http://h/a{x}?q={x}", "", "http://h/a?q="),
        ("http://h//{x}/", "b", "http://h//b/"),
        ("http://h/München/{x}?q=%C3%BC", "ü", "http://h/M%C3%BCnchen/%C3%BC?q=%C3%BC"),
        ("http://bücher.example/{x}", "%41", "http://bücher.example/%2541"),
        (
            "http://h/{x}",
            "São Paulo; 100 % off, v1.2...",
            "http://h/S%C3%A3o%20Paulo%3B%20100%20%25%20off%2C%20v1.2...",
        ),
        ("http://h/a%2Fb/./{x}/..%2f?p={x}#{x}", "c", "http://h/a%2Fb/./c/..%2f?p=c#c"),
        ("http://h/x?p=/{x}#/{x}", "../a", "http://h/x?p=/..%2Fa#/..%2Fa"),
    ],
)
def test_the_rest_of_the_address_is_kept(text: str, value: str, made: str) -> None:
    assert template.url(parse(text), {"x": value}) == made


@pytest.mark.parametrize(
    "value",
    [
        "../../admin/users", "x/../../../admin/users", "..\\..\\admin", "%2e%2e/%2e%2e/admin", "..%2fadmin", "a%2Fb",
        "a%252fb", "a%25252525252fb", "%c0%ae%c0%ae%c0%afadmin", "a%c0%afb", "..%u2215admin", "a%u002fb",
        "%2e", "%2e%2e", "%252e.", "．．", "‥", ". .", "..;a", "...", " ", "%20", "\u200b", "%e2%80%8b", ".\u200b.",
        "a／b", "a＼b", "a∕b", "a⁄b", "a%ef%bc%8fb", "c/o", "℅", "a%00b", "a%0d%0aX: y", "a\x1bb", "a\u2028b",
        "7?x=1", "7%3fx=1", "7#x", "7%23x", "a\x85b",
    ],
)  # fmt: skip
@pytest.mark.parametrize("text", ["http://h/v1/{x}", "http://h/v1/{x}/state?q=1"])
def test_no_value_leaves_its_place_in_the_path_for_any_reader(text: str, value: str) -> None:
    with pytest.raises(ToolError, match=r"value of x cannot stand in the path.*tried again") as caught:
        template.url(parse(text), {"x": value})
    assert caught.value.fault is Fault.BAD_PARAMETERS
    # In a query it is what it is.
    assert parse_qsl(urlsplit(template.url(parse("http://h/?q={x}"), {"x": value})).query, keep_blank_values=True) == [
        ("q", value)
    ]


@pytest.mark.parametrize(
    ("text", "x", "y"),
    [("http://h/{x}{y}", "%2", "f"), ("http://h/{x}{y}", ".", "."), ("http://h/%2{x}-{y}", "f", "a"),
     ("http://h/.{x}{y}", ".", ""), ("http://h/{x}2f{y}", "%", "a"), ("http://h/a%2f{x}{y}", ".", "%2e")],
)  # fmt: skip
def test_values_and_text_cannot_make_one_together(text: str, x: str, y: str) -> None:
    with pytest.raises(ToolError, match="value of x and y cannot stand"):
        template.url(parse(text), {"x": x, "y": y})


ESCAPED = st.lists(
    st.sampled_from(
        ["%", "25", "2f", "2F", "5c", "2e", ".", "/", "\\", "／", "．", "c0", "af", "u002f", "a", "é", ";", " "]
    ),
    max_size=10,
).map("".join)  # fmt: skip


@given(ESCAPED | HOSTILE, ESCAPED)
@settings(max_examples=500, deadline=None)
def test_however_often_the_path_is_decoded_it_has_the_segments_of_the_template(x: str, y: str) -> None:
    try:
        made = template.url(parse("https://h/v1/{x}/a{y}/end"), {"x": x, "y": y})
    except ToolError:
        return
    path, before = urlsplit(made).path, ""
    while path != before:
        segments = path.replace("\\", "/").split("/")
        assert len(segments) == 5
        assert posixpath.normpath(path) == path
        path, before = unicodedata.normalize("NFKC", unquote(path)), path


def test_bodies_keep_types_and_leave_out_what_is_not_there() -> None:
    shape = {"a": "{n}", "b": "no. {n}", "c": ["{gone}", "{n}"], "d": {"e": "{gone}"}, "f": 1, "g": "{l}"}
    assert template.body(shape, {"n": 5, "l": [{"x": None}]}) == {
        "a": 5, "b": "no. 5", "c": [5], "d": {}, "f": 1, "g": [{"x": None}],
    }  # fmt: skip


# ---------------------------------------------------------------- before any of that


def nested(depth: int) -> object:
    value: object = "x"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"x": "y" * MAX_BYTES}, "too long"),
        ({"x": nested(40)}, "nested"),
        ({"x": nested(100_000)}, "nested"),
        ({"x": "\ud800"}, "half a character"),
        ({"x": float("nan")}, "finite"),
        ({"x": ["y", {"z": float("inf")}]}, "finite"),
        ({}, "required"),
        ({"x": 1, "х": 2}, "unexpected"),  # a Cyrillic look-alike
    ],
)
def test_parameters_are_bounded_before_they_are_looked_at(given: dict[str, object], word: str) -> None:
    with pytest.raises(ToolError, match=word) as caught:
        Parameters(TEXT).check(given)
    assert caught.value.fault is Fault.BAD_PARAMETERS
    assert len(str(caught.value)) < 500


def test_defaults_are_filled_in_and_checked_with_the_rest() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "default": 3}, "m": {"enum": ["on", "off"]}}}
    assert Parameters(schema).check({"m": "on"}) == {"m": "on", "n": 3}
    with pytest.raises(ToolError, match="m: 'оn' is not one of"):  # Cyrillic о
        Parameters(schema).check({"m": "оn"})
    assert Parameters({}).check({}) == {}
    with pytest.raises(ToolError):
        Parameters({}).check({"x": 1})


def test_a_reference_is_never_fetched() -> None:
    with pytest.raises(ToolError, match="cannot be checked"):
        Parameters({"properties": {"x": {"$ref": "http://127.0.0.1:9/s.json"}}}).check({"x": 1})
    endless = {"properties": {"x": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"$ref": "#/$defs/a"}}}
    with pytest.raises(ToolError, match="cannot be checked"):
        Parameters(endless).check({"x": 1})


def test_a_text_made_to_keep_a_pattern_busy_is_given_up() -> None:
    parameters = Parameters({"properties": {"x": {"type": "string", "pattern": "^(a|aa)+$"}}})
    assert parameters.check({"x": "aaa"})
    with pytest.raises(ToolError, match="x: 'b' is not of the form"):
        parameters.check({"x": "b"})
    with pytest.raises(ToolError, match="takes too long"):
        parameters.check({"x": "a" * 36 + "!"})
