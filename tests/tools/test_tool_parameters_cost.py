"""What a check may cost is bounded, whatever the agent sends: counted in steps, not in time."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from parleyd.tools import parameters
from parleyd.tools.parameters import MAX_STEPS, MAX_VALUES, Budget, Parameters, SchemaError
from parleyd.tools.result import Fault, ToolError


def of_list(**words: object) -> dict[str, object]:
    return {"type": "object", "properties": {"x": {"type": "array", **words}}}


class Watched(dict[str, int]):
    """An object of JSON that counts how often one of its kind was looked at."""

    looks = 0

    def __eq__(self, other: object) -> bool:
        Watched.looks += 1
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]

    def __contains__(self, key: object) -> bool:
        Watched.looks += 1
        return super().__contains__(key)

    def items(self) -> Any:
        Watched.looks += 1
        return super().items()


@pytest.mark.parametrize("items", [{}, {"type": "string"}])
def test_unique_items_are_not_compared_each_with_each(items: dict[str, object]) -> None:
    Watched.looks = 0
    count = 300
    check = Parameters(of_list(uniqueItems=True, items=items)).check
    if items:
        with pytest.raises(ToolError, match="is of the wrong type"):
            check({"x": [Watched(a=number) for number in range(count)]})
    else:
        check({"x": [Watched(a=number) for number in range(count)]})
    assert 0 < Watched.looks <= 20 * count


def steps_for(monkeypatch: pytest.MonkeyPatch, schema: dict[str, object], given: dict[str, object]) -> int:
    """Of a call that may be wrong, but was checked to its end."""
    made: list[Budget] = []

    class Kept(Budget):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    monkeypatch.setattr(parameters, "Budget", Kept)
    with contextlib.suppress(ToolError):
        Parameters(schema).check(given)
    assert made[-1].steps_left >= 0
    return MAX_STEPS - made[-1].steps_left


def test_five_thousand_objects_take_steps_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = of_list(uniqueItems=True, items={"type": "object", "properties": {"a": {"type": "integer"}}})
    steps = [steps_for(monkeypatch, schema, {"x": [{"a": number} for number in range(count)]}) for count in (490, 4900)]
    assert 0 < steps[1] <= 11 * steps[0]


def chain(depth: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(depth):
        inner = [inner]
    return inner


TREE = {
    "properties": {"x": {"$ref": "#/$defs/t"}},
    "$defs": {"t": {"items": {"anyOf": [{"allOf": [{"$ref": "#/$defs/t"}, {"type": "null"}]}, {"$ref": "#/$defs/t"}]}}},
}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (TREE, chain(29)),
        ({"$schema": "https://json-schema.org/draft/2020-12/schema", **TREE}, chain(29)),
        (of_list(contains={"const": 0}, unevaluatedItems=False), list(range(9000))),
        (
            {"properties": {"x": {"properties": {"a": {}}, "unevaluatedProperties": False}}},
            {f"p{number}": 0 for number in range(5000)},
        ),
        (of_list(items={"allOf": [{"not": {"const": number}} for number in range(100)]}), [-1] * 9000),
    ],
)
def test_what_would_take_too_many_steps_is_given_up(schema: dict[str, object], value: object) -> None:
    checked = Parameters(schema)
    checked.check_schema()
    with pytest.raises(ToolError, match="too much in them to be checked; the call can be tried again") as caught:
        checked.check({"x": value})
    assert caught.value.fault is Fault.BAD_PARAMETERS


def test_many_values_are_refused_before_they_are_checked() -> None:
    Parameters(of_list()).check({"x": [1] * (MAX_VALUES - 1)})
    with pytest.raises(ToolError, match=f"more than {MAX_VALUES} values"):
        Parameters(of_list()).check({"x": [1] * MAX_VALUES})


def test_the_patterns_of_a_call_have_a_deadline_together(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = Parameters(of_list(items={"pattern": "^a"}))
    checked.check({"x": ["ab", "ac"]})
    monkeypatch.setattr(parameters, "PATTERNS_S", 1e-9)
    checked.check({"x": ["ab"]})
    with pytest.raises(ToolError, match="takes too long"):
        checked.check({"x": ["ab", "ac"]})


def test_a_schema_that_names_its_dialect_is_checked_with_the_same_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "properties": {"again": {"$ref": "#"}, "x": {"pattern": "^(a|aa)+$"}},
    }
    monkeypatch.setattr(parameters, "PATTERN_S", 0.05)
    with pytest.raises(ToolError, match="takes too long"):
        Parameters(schema).check({"again": {"x": "a" * 36 + "!"}})


@pytest.mark.parametrize("dialect", ["http://json-schema.org/draft-07/schema#", "x", 1])
def test_another_dialect_is_told(dialect: object) -> None:
    with pytest.raises(SchemaError, match=r"dialect|not a JSON Schema"):
        Parameters({"properties": {"x": {"$schema": dialect}}}).check_schema()


SMALL = st.none() | st.booleans() | st.sampled_from([0, 1, 1.0, -0.0, 0.5, 2**53, 1e300, "", "1", "a"])
JSON = st.recursive(
    SMALL,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=4,
)


@given(st.lists(JSON, max_size=5))
@settings(max_examples=400, deadline=None)
def test_unique_means_what_the_library_means(items: list[object]) -> None:
    try:
        Parameters(of_list(uniqueItems=True)).check({"x": items})
        unique = True
    except ToolError:
        unique = False
    assert unique is Draft202012Validator({"uniqueItems": True}).is_valid(items)
