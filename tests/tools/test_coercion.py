"""Parameters as language models write them: taken where they have one meaning, refused with an invitation otherwise."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from parleyd.agents.events import ToolCall
from parleyd.checks.configuration import parse
from parleyd.core import events
from parleyd.tools.coercion import coerced, wanted
from parleyd.tools.device_tools import DaemonActions, DeviceTools
from parleyd.tools.parameters import Parameters
from parleyd.tools.result import Fault, Result, ToolError, failed

INTEGER = {"type": "integer", "minimum": 0, "maximum": 500}


def one(value: object, schema: dict[str, Any], *, required: bool = True) -> object:
    """What becomes of it as the parameter x; "refused" where it is."""
    whole = {"properties": {"x": schema}, "required": ["x"] if required else []}
    parameters = Parameters(whole)
    parameters.check_schema()
    try:
        return parameters.check({"x": value}).get("x", "left out")
    except ToolError as error:
        return "refused" if error.fault is Fault.BAD_PARAMETERS else error.fault


@pytest.mark.parametrize(
    ("value", "schema", "expected"),
    [
        ("300", INTEGER, 300), ("5.0", INTEGER, 5), (" 40 ", INTEGER, 40), ("+7", INTEGER, 7), (300.0, INTEGER, 300),
        ("400%", INTEGER, "refused"), ("perhaps", INTEGER, "refused"), (70.5, INTEGER, "refused"),
        ("70.5", INTEGER, "refused"), (True, INTEGER, "refused"), ("", INTEGER, "refused"), ("1e2", INTEGER, "refused"),
        ("501", INTEGER, "refused"), (-1, INTEGER, "refused"), ("٣", INTEGER, 3), (None, INTEGER, "refused"),
        ("21.5", {"type": "number"}, 21.5), ("21", {"type": "number"}, 21), ("1e2", {"type": "number"}, 100.0),
        ("NaN", {"type": "number"}, "refused"), ("inf", {"type": "number"}, "refused"),
        ("1e999", {"type": "number"}, "refused"), ("21,5", {"type": "number"}, "refused"), (5, {"type": "number"}, 5),
        ("true", {"type": "boolean"}, True), ("False", {"type": "boolean"}, False), ("on", {"type": "boolean"}, True),
        ("no", {"type": "boolean"}, False), ("perhaps", {"type": "boolean"}, "refused"),
        (1, {"type": "boolean"}, "refused"), ("", {"type": "boolean"}, "refused"),
        (7, {"type": "string"}, "7"), ("7", {"type": "string"}, "7"), ("true", {"type": "string"}, "true"),
        (True, {"type": "string"}, "refused"), ([], {"type": "string"}, "refused"),
        ("Celsius", {"enum": ["celsius", "fahrenheit"]}, "celsius"), ("kelvin", {"enum": ["celsius"]}, "refused"),
        (" very  loud", {"enum": ["Very Loud"]}, "Very Loud"), ("a", {"enum": ["A", "ä", "a"]}, "a"),
        ("B", {"enum": ["b", "b "]}, "refused"), (1, {"enum": ["1", "2"]}, "1"), ("2", {"enum": [1, 2]}, 2),
        (2.0, {"enum": ["1", "2"]}, "2"), (True, {"enum": [1]}, "refused"), ("ON", {"const": "on"}, "on"),
        ("5", {"type": ["integer", "string"]}, "5"), ("5", {"type": ["integer", "null"]}, 5),
        ("null", {"type": ["integer", "null"]}, None), (None, {"type": ["integer", "null"]}, None),
        ("5", {"anyOf": [{"type": "integer"}, {"type": "boolean"}]}, 5),
        ("yes", {"oneOf": [{"type": "integer"}, {"type": "boolean"}]}, True),
        (5.0, {"anyOf": [{"type": "integer"}, {"type": "string"}]}, 5),
        ("5", {"anyOf": [{"type": "integer"}, {"type": "string"}]}, "5"),
        ("x", {"anyOf": [{"type": "integer"}, {"type": "boolean"}]}, "refused"),
        (["1", 2.0, 3], {"type": "array", "items": {"type": "integer"}}, [1, 2, 3]),
        ('["1", 2]', {"type": "array", "items": {"type": "integer"}}, [1, 2]),
        (["1", "b"], {"type": "array", "items": {"type": "integer"}}, "refused"),
        ("[1", {"type": "array"}, "refused"), ("{}", {"type": "array"}, "refused"), ("1", {"type": "array"}, "refused"),
        (["4", "4"], {"prefixItems": [{"type": "integer"}], "items": {"type": "string"}}, [4, "4"]),
        ({"a": {"b": "5"}}, {"properties": {"a": {"properties": {"b": INTEGER}}}}, {"a": {"b": 5}}),
        ('{"b": "5"}', {"type": "object", "properties": {"b": INTEGER}}, {"b": 5}),
        ({"b": None, "c": None}, {"type": "object", "properties": {"b": INTEGER, "c": {}}}, {"c": None}),
        ({"z": "5"}, {"type": "object", "additionalProperties": INTEGER}, {"z": 5}),
        ("5", {"allOf": [{"type": "integer"}, {"minimum": 3}]}, 5),
    ],
)  # fmt: skip
def test_one_meaning_is_taken_and_nothing_is_guessed(value: object, schema: dict[str, Any], expected: object) -> None:
    made = one(value, schema)
    assert made == expected
    # 300 and 300.0 are equal, and are not spoken alike.
    assert json.dumps(made) == json.dumps(expected)


@pytest.mark.parametrize("value", [None, "null", "None"])
def test_null_for_what_is_optional_is_leaving_it_out(value: object) -> None:
    assert one(value, INTEGER, required=False) == "left out"
    assert one(value, {**INTEGER, "default": 7}) == 7
    assert one(value, INTEGER, required=True) == "refused"
    assert one(value, {"type": ["string", "null"]}, required=False) == value
    kept = "left out" if value is None else value
    assert one(value, {"type": "string"}, required=False) == kept


def test_schemas_that_refer_to_others_and_to_themselves() -> None:
    tree = {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}, "next": {"$ref": "#"}}}
    schema = {**tree, "$defs": {"n": INTEGER, "loop": {"$ref": "#/$defs/loop"}}}
    assert coerced({"n": "5", "next": {"n": 6.0, "next": {"n": "7"}}}, schema) == {
        "n": 5, "next": {"n": 6, "next": {"n": 7}},
    }  # fmt: skip
    loop = {"type": "object", "properties": {"x": {"$ref": "#/$defs/loop"}}, "$defs": schema["$defs"]}
    assert coerced({"x": "5"}, loop) == {"x": "5"}
    assert coerced({"x": "5"}, {"properties": {"x": {"$ref": "#/nowhere"}}}) == {"x": "5"}


def test_a_text_that_hides_depth_is_looked_at_again() -> None:
    deep: object = "5"
    for _ in range(40):
        deep = [deep]
    assert one(json.dumps(deep), {"type": "array"}) == "refused"


# ---------------------------------------------------------------- generated


def schemas() -> st.SearchStrategy[dict[str, Any]]:
    leaves: list[dict[str, Any]] = [
        {"type": "integer"}, {"type": "number"}, {"type": "boolean"}, {"type": "string"},
        {"type": ["integer", "null"]},
        {"type": "integer", "minimum": 0, "maximum": 100}, {"enum": ["low", "High"]}, {"enum": [1, 2, 3]}, {},
        {"anyOf": [{"type": "integer"}, {"type": "boolean"}]}, {"oneOf": [{"type": "boolean"}, {"type": "string"}]},
    ]  # fmt: skip
    return st.recursive(
        st.sampled_from(leaves),
        lambda inner: st.one_of(
            inner.map(lambda items: {"type": "array", "items": items}),
            st.tuples(st.dictionaries(st.sampled_from("abc"), inner, max_size=3), st.sets(st.sampled_from("abc"))).map(
                lambda pair: {"type": "object", "properties": pair[0], "required": sorted(pair[1] & pair[0].keys())}
            ),
        ),
        max_leaves=5,
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
    | st.sampled_from(["5", "5.0", "true", "null", "[1]", "{}", "low", "HIGH", "1e999", "nan", "[" * 50]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def valid(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values of the generated schemas."""
    if "anyOf" in schema or "oneOf" in schema:
        return valid((schema.get("anyOf") or schema["oneOf"])[0])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "integer" | ["integer", "null"]:
            return st.integers(schema.get("minimum", -(2**50)), schema.get("maximum", 2**50))
        case "number":
            return st.floats(-1e9, 1e9).map(lambda x: round(x, 3))
        case "boolean":
            return st.booleans()
        case "array":
            return st.lists(valid(schema["items"]), max_size=3)
        case "object":
            return st.fixed_dictionaries({name: valid(inner) for name, inner in schema["properties"].items()})
    return st.text(max_size=5)


def as_models_write(value: Any, schema: dict[str, Any], pick: Any) -> Any:
    """The same, in one of the forms in which models write it. pick(list) → one of the list."""
    if "anyOf" in schema or "oneOf" in schema:
        return as_models_write(value, (schema.get("anyOf") or schema["oneOf"])[0], pick)
    match value:
        case str() if "enum" in schema:
            return pick([value, value.upper(), f" {value} "])
        case bool():
            # Where text may stand as well, the word is a text.
            return pick([value, str(value), str(value).lower()])
        case int():
            return pick([value, str(value), float(value), f"{value}.0"])
        case float():
            return pick([value, str(value)])
        case list():
            items = [as_models_write(item, schema["items"], pick) for item in value]
            return pick([items, json.dumps(items)])
        case dict():
            made = {
                name: as_models_write(inner, schema["properties"][name], pick) if schema.get("properties") else inner
                for name, inner in value.items()
            }
            return pick([made, json.dumps(made)])
    return value


@settings(deadline=None)
@given(schema=schemas(), value=JSON)
def test_whatever_comes_nothing_is_raised_and_what_is_right_stays(schema: dict[str, Any], value: Any) -> None:
    whole = {"type": "object", "properties": {"x": schema}, "required": ["x"]}
    made = coerced({"x": value}, whole)
    assert coerced(made, whole) == made
    if Draft202012Validator(whole).is_valid({"x": value}):
        # Dropping a null that an object's own schema takes not at all is the one thing that may change.
        assert Draft202012Validator(whole).is_valid(made)
        assert made == {"x": value}


@settings(deadline=None)
@given(data=st.data())
def test_what_models_write_is_what_they_mean(data: st.DataObject) -> None:
    schema = data.draw(schemas())
    if "oneOf" in json.dumps(schema):
        return  # a word is text there
    value = data.draw(valid(schema))
    whole = {"type": "object", "properties": {"x": schema}, "required": ["x"]}
    written = as_models_write(value, schema, lambda forms: data.draw(st.sampled_from(forms)))
    made = coerced({"x": written}, whole)
    assert made == {"x": value}
    assert Draft202012Validator(whole).is_valid(made)


# ---------------------------------------------------------------- what the agent is told


def box(tmp_path: Path) -> tuple[DeviceTools, list[float]]:
    volumes: list[float] = []
    host = DaemonActions(volumes.append, lambda _on: None, lambda: None, str, lambda _text: None)
    text = 'provider: local\ntools:\n  command:\n    warm:\n      description: d\n      run: [/bin/echo, "{degrees}"]\n'
    text += "      parameters:\n        properties: {degrees: {type: integer, minimum: 5, maximum: 30}}\n"
    text += "        required: [degrees]\n"
    return DeviceTools(parse(text, "t").config.tools, host, events.Bus(), tmp_path), volumes


@pytest.mark.parametrize("written", ["40", "40.0", 40.0, 40])
def test_the_built_in_tools_and_those_of_the_configuration_take_it(tmp_path: Path, written: object) -> None:
    tools, volumes = box(tmp_path)
    try:
        assert tools.by_hand("set_volume", {"percent": written}, 30).text == "The volume is 40 percent now."
        assert volumes == [0.4]
        assert tools.by_hand("set_timer", {"seconds": "300", "minutes": None, "label": None}, 30).text == (
            "Timer 1 rings in 5 minutes."
        )
        half = f"{float(written) / 2:g}.0" if isinstance(written, str) else float(written) / 2  # type: ignore[arg-type]
        assert tools.by_hand("warm", {"degrees": half}, 30).text == "20"
    finally:
        tools.close()


@pytest.mark.parametrize(
    ("tool", "parameters", "said"),
    [
        ("set_volume", {"percent": 400}, "percent: 400 is greater than the maximum of 100; "
         "percent takes a whole number from 0 to 100."),
        ("set_volume", {"percent": 70.5}, "percent: 70.5 is of the wrong type; "
         "percent takes a whole number from 0 to 100."),
        ("set_volume", {"percent": "perhaps"}, 'percent: "perhaps" is of the wrong type; '
         "percent takes a whole number from 0 to 100."),
        ("set_volume", {"percent": None}, "percent: null is of the wrong type; "
         "percent takes a whole number from 0 to 100."),
        ("set_volume", {}, "'percent' is a required property; it takes percent (a whole number from 0 to 100)."),
        ("list_timers", {"x": 1}, "properties are not allowed ('x' was unexpected); it takes no parameters."),
        ("get_time", {"timezone": "Mars"}, "There is no such time zone; names are like Europe/Berlin."),
    ],
)  # fmt: skip
def test_a_refusal_invites_the_second_try(tmp_path: Path, tool: str, parameters: dict[str, object], said: str) -> None:
    tools, volumes = box(tmp_path)
    try:
        result = tools.by_hand(tool, parameters, 30)
    finally:
        tools.close()
    assert said in result.text
    assert result.text.endswith(
        " Nothing was done. Correct that and call it again; ask the person for what you do not know."
    )
    assert "Tell the person that this did not work" not in result.text
    assert volumes == []


@pytest.mark.parametrize("fault", Fault)
def test_only_a_real_failure_is_to_be_told_as_one(fault: Fault) -> None:
    result: Result = failed(ToolError(fault, "So it was."))
    is_told = "Tell the person that this did not work; do not claim that it was done." in result.text
    assert is_told is (fault not in (Fault.BAD_PARAMETERS, Fault.BUSY, Fault.TOO_MANY, Fault.DENIED))
    assert is_told or "Nothing was done." in result.text


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        (INTEGER, "a whole number from 0 to 500"), ({"type": "number", "minimum": 3}, "a number of at least 3"),
        ({"type": ["string", "null"]}, "text or null"), ({"enum": ["a", 1]}, '"a" or 1'), ({}, ""),
        ({"type": "string", "maxLength": 5, "pattern": "^x"}, "text of at most 5 characters of the form ^x"),
        (True, ""), ({"const": 4}, "4"), ({"$ref": "#/$defs/a"}, "true or false"),
    ],
)  # fmt: skip
def test_what_is_wanted_in_words(schema: Any, text: str) -> None:
    assert wanted(schema, {"$defs": {"a": {"type": "boolean"}}}) == text


def test_the_call_of_a_session_takes_it_too(tmp_path: Path) -> None:
    tools, volumes = box(tmp_path)
    results: list[Result] = []
    try:
        done = threading.Event()

        def respond(result: Result) -> bool:
            results.append(result)
            done.set()
            return True

        tools.call(ToolCall("set_volume", "c", {"percent": "30"}, expects_response=True), respond)
        assert done.wait(60)
    finally:
        tools.close()
    assert (results[0].text, volumes) == ("The volume is 30 percent now.", [0.3])


@pytest.mark.parametrize(
    ("value", "schema", "expected"),
    [
        ("5", {"anyOf": [{"type": "string", "enum": ["6"]}, {"type": "integer"}]}, 5),
        ("5", {"anyOf": [{"type": "string", "const": "6"}, {"type": "integer"}]}, 5),
        ("5", {"anyOf": [{"allOf": [{"type": "boolean"}]}, {"type": "integer"}]}, 5),
        ("5", {"anyOf": [False, {"type": "integer"}]}, 5),
        ("5", {"anyOf": [True, {"type": "integer"}]}, "5"),
        ("5", {"type": "colour"}, "5"),
    ],
)
def test_a_branch_that_cannot_take_it_is_passed_over(value: object, schema: dict[str, Any], expected: object) -> None:
    whole = {"properties": {"x": schema}}
    assert coerced({"x": value}, whole) == {"x": expected}
