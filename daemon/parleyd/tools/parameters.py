"""The parameters of a call: bounded, then checked against the tool's JSON Schema. Pure, except for pattern timeouts.

jsonschema is loaded when it is first needed (see json_schema.py): a device without tools never pays for it.

jsonschema matches patterns with Python's `re`, which can backtrack without end on a text that was made for it, and
holds the interpreter lock meanwhile: the sound would stop. Therefore patterns are matched by the package regex, which
has a timeout and releases the lock; see transcript/redaction.

A check cannot be stopped from outside, and its cost depends on the agent's values: jsonschema compares each item with
each (uniqueItems), and schemas that refer to themselves may check the same value again and again. Therefore every step
of a check is counted, and a check that needs too many is given up.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from parleyd.config import suggest
from parleyd.core.text import bounded, clean
from parleyd.tools import coercion, json_schema
from parleyd.tools.result import Fault, ToolError

if TYPE_CHECKING:
    from jsonschema import ValidationError

MAX_BYTES = 64 * 1024
MAX_DEPTH = 32
# The most values in the parameters, lists and objects included; 64 KiB would have room for 32,000.
MAX_VALUES = 10_000
# The most steps of a check. A step is a keyword of the schema applied to a value: 3 to 6 us on a PC.
MAX_STEPS = 200_000
# The processor time for matching one text, and for all texts of a call, measured in this thread.
PATTERN_S = 0.2
PATTERNS_S = 1.0
_MAX_WORDS_CHARS = 200


class _TooManyStepsError(Exception):
    pass


class Budget:
    """The steps and the time that one check may still take."""

    def __init__(self) -> None:
        self.steps_left = MAX_STEPS
        self.patterns_left_s = PATTERNS_S

    def spend(self, steps: int) -> None:
        """Subtracts steps. Raises _TooManyStepsError."""
        self.steps_left -= steps
        if self.steps_left < 0:
            raise _TooManyStepsError


# The budget of the running check: jsonschema makes a new validator for each part of a schema, without room for it.
_budget: ContextVar[Budget] = ContextVar("_budget")


class SchemaError(Exception):
    """The schema cannot be used for parameters. The text is one line."""


class Parameters:
    """The schema of one tool. check() may be called from any thread."""

    def __init__(self, schema: Mapping[str, object]) -> None:
        """schema: of an object; {} for no parameters. Names that it does not list are refused unless it allows them."""
        self.schema: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False, **schema}
        self._validator: Any = None

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.schema["properties"])

    @property
    def always_there(self) -> frozenset[str]:
        """Returns the names that every valid call has, given or by default."""
        return frozenset(self.schema.get("required", ())) & self.names | self._defaults.keys()

    def check_schema(self) -> None:
        """Raises SchemaError if the schema cannot be used."""
        json_schema.load()
        from jsonschema import Draft202012Validator, exceptions

        properties = self.schema.get("properties")
        if self.schema["type"] != "object" or not isinstance(properties, dict):
            raise SchemaError("this does not describe parameters: write `type: object`, and `properties` by name")
        try:
            Draft202012Validator.check_schema(self.schema)
        except exceptions.SchemaError as error:
            where = ".".join(str(part) for part in error.absolute_path)
            raise SchemaError(f"not a JSON Schema: {where + ': ' if where else ''}{_short(error.message)}") from None
        except RecursionError:
            raise SchemaError("not a JSON Schema: nested too deeply") from None
        for schema in _schemas(self.schema):
            _check_words(schema)
        missing = set(self.schema.get("required", ())) - set(properties)
        if missing:
            raise SchemaError(f"required names {', '.join(sorted(missing))}, which properties does not have")
        self._check_defaults()

    def _check_defaults(self) -> None:
        """Refuses defaults that violate their own schema: the agent, which omitted the value, would get the error."""
        from referencing.exceptions import Unresolvable

        _budget.set(Budget())
        with contextlib.suppress(Unresolvable, RecursionError, TimeoutError, _TooManyStepsError):
            for error in self._errors(self._defaults):
                if error.absolute_path:
                    where = ".".join(str(part) for part in error.absolute_path)
                    raise SchemaError(f"the default of {_short(where)} is not allowed: {_short(error.message)}")

    @property
    def _defaults(self) -> dict[str, object]:
        properties = self.schema["properties"].items()
        return {name: inner["default"] for name, inner in properties if "default" in _mapping(inner)}

    def check(self, given: Mapping[str, object]) -> dict[str, object]:
        """Returns the converted parameters, with the defaults of the first level. Raises ToolError."""
        depth_and_size(given)
        values = coercion.coerced({**self._defaults, **coercion.coerced(given, self.schema)}, self.schema)
        # A value that was given as text may be an object now.
        depth_and_size(values)
        problem = self._problem(values)
        if problem is not None:
            raise ToolError(Fault.BAD_PARAMETERS, f"The parameters are wrong: {problem}.")
        return values

    def _errors(self, values: Mapping[str, object]) -> Iterator[ValidationError]:
        from referencing import Registry

        if self._validator is None:
            # An empty registry: references are never fetched.
            self._validator = _validator_class()(_without_dialect(self.schema), registry=Registry())
        errors: Iterator[ValidationError] = self._validator.iter_errors(values)
        return errors

    def _problem(self, values: dict[str, object]) -> str | None:
        json_schema.load()
        from jsonschema.exceptions import best_match
        from referencing.exceptions import Unresolvable

        _budget.set(Budget())
        try:
            error = best_match(self._errors(values))
        except (Unresolvable, RecursionError):
            return "they cannot be checked against their schema"
        except TimeoutError:
            return "a text takes too long to be matched with its pattern"
        except _TooManyStepsError:
            return "there is too much in them to be checked; the call can be tried again with fewer values"
        if error is None:
            return None
        return self._in_words(error)

    def _in_words(self, error: ValidationError) -> str:
        """Describes the problem and the accepted values, so that the agent can correct the call."""
        where = ".".join(str(part) for part in error.absolute_path)
        said = error.message
        if error.validator == "type":
            said = f"{json.dumps(error.instance, ensure_ascii=False)[:_MAX_WORDS_CHARS]} is of the wrong type"
        text = f"{_short(where) + ': ' if where else ''}{_short(said)}"
        properties = self.schema["properties"]
        if error.absolute_path:
            wanted = coercion.wanted(error.schema, self.schema)
            return f"{text}; {_short(where)} takes {_short(wanted)}" if wanted else text
        takes = [f"{name} ({wanted})" if wanted else name
                 for name, inner in properties.items()
                 for wanted in [coercion.wanted(inner, self.schema)]]  # fmt: skip
        return f"{text}; it takes {_short(', '.join(takes))}" if takes else f"{text}; it takes no parameters"


def load_checker() -> None:
    """Loads all that a check needs, so that the first one does not wait for it. Thread-safe."""
    Parameters({}).check({})


# The function that checks one keyword of a schema; see jsonschema.validators.create.
_Keyword = Callable[[Any, Any, Any, Any], "Iterator[ValidationError] | None"]


@cache
def _validator_class() -> Any:
    from jsonschema import Draft202012Validator, ValidationError, validators

    def pattern(_validator: object, wanted: str, given: object, _schema: object) -> Iterator[ValidationError]:
        if isinstance(given, str) and not _is_found(wanted, given):
            yield ValidationError(f"{given!r} is not of the form {wanted}")

    def unique(_validator: object, wanted: bool, given: object, _schema: object) -> Iterator[ValidationError]:
        if wanted and isinstance(given, list):
            _budget.get().spend(_count(given))
            if len({_key(item) for item in given}) < len(given):
                yield ValidationError(f"{given!r} has non-unique elements")

    def each_with_each(word: str) -> _Keyword:
        theirs: _Keyword = Draft202012Validator.VALIDATORS[word]

        def counted(validator: object, wanted: object, given: object, schema: object) -> Any:
            if isinstance(given, list | dict):
                # The library compares each item with every other.
                _budget.get().spend(len(given) ** 2 // 100)
            return theirs(validator, wanted, given, schema)

        return counted

    own: dict[str, _Keyword] = {
        "pattern": pattern,
        "uniqueItems": unique,
        **{word: each_with_each(word) for word in ("unevaluatedItems", "unevaluatedProperties")},
    }
    words = {word: _counted(check) for word, check in {**Draft202012Validator.VALIDATORS, **own}.items()}
    return validators.extend(Draft202012Validator, words)  # type: ignore[no-untyped-call]


def _counted(check: _Keyword) -> _Keyword:
    def counted(validator: object, wanted: object, given: object, schema: object) -> Iterator[ValidationError]:
        budget = _budget.get()
        budget.spend(1)
        for error in check(validator, wanted, given, schema) or ():
            # The message contains the whole value, and errors of every level around it may repeat it.
            budget.spend(1 + len(error.message) // 256)
            yield error

    return counted


def _is_found(pattern: str, text: str) -> bool:
    """Returns whether the pattern matches somewhere in the text. Raises TimeoutError."""
    import regex

    budget = _budget.get()
    budget.spend(len(text) // 64)
    if budget.patterns_left_s <= 0:
        raise TimeoutError
    began_s = time.thread_time()
    try:
        return regex.search(pattern, text, concurrent=True, timeout=PATTERN_S) is not None
    finally:
        budget.patterns_left_s -= time.thread_time() - began_s


def _key(value: object) -> str:
    """Returns the same key for values that JSON Schema considers equal: 1 and 1.0, but not true.

    The key is text, because values can be chosen so that all their hashes are the same.
    """
    return json.dumps(_plain_numbers(value), sort_keys=True)


def _plain_numbers(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain_numbers(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain_numbers(item) for name, item in value.items()}
    return value


def _count(value: object) -> int:
    return 1 + sum(_count(inner) for inner in _inside(value))


def _without_dialect(schema: Any) -> Any:
    """Returns the schema without its dialect: the library would check a part that names one with its own validator,
    without our limits."""
    if not isinstance(schema, Mapping):
        return schema
    return {key: _part_without_dialect(key, inner) for key, inner in schema.items() if key != "$schema"}


def _part_without_dialect(key: str, inner: Any) -> Any:
    if key in _ONE:
        return _without_dialect(inner)
    if key in _LISTED:
        return [_without_dialect(one) for one in inner]
    if key in _NAMED:
        return {name: _without_dialect(one) for name, one in inner.items()}
    return inner


_DIALECT = "https://json-schema.org/draft/2020-12/schema"
# Keywords whose value is a schema, a list of schemas, or schemas by names that the user chose.
_ONE = (
    "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames", "then",
    "unevaluatedItems", "unevaluatedProperties",
)  # fmt: skip
_LISTED = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED = ("$defs", "definitions", "dependentSchemas", "properties")
# Keywords that check nothing, besides those that the library's validator knows.
_TELLING = (
    "$anchor", "$comment", "$id", "$schema", "contentEncoding", "contentMediaType", "default", "deprecated",
    "description", "examples", "maxContains", "minContains", "readOnly", "title", "writeOnly",
)  # fmt: skip


def _schemas(schema: object) -> Iterator[Mapping[str, Any]]:
    """Yields this schema and all schemas within it."""
    if not isinstance(schema, Mapping):
        return
    yield schema
    for key, inner in schema.items():
        if key in _ONE:
            yield from _schemas(inner)
        elif key in _LISTED:
            for one in inner:
                yield from _schemas(one)
        elif key in _NAMED:
            for one in inner.values():
                yield from _schemas(one)


def _check_words(schema: Mapping[str, Any]) -> None:
    """Raises SchemaError for unknown keywords. JSON Schema ignores them, but a misspelt limit would limit nothing."""
    from jsonschema import Draft202012Validator

    known = {*Draft202012Validator.VALIDATORS, *_ONE, *_LISTED, *_NAMED, *_TELLING}
    for key in schema:
        if key == "patternProperties":
            raise SchemaError("patternProperties has no use here: an agent is told the properties by name")
        if key not in known:
            near = suggest.choice(key, known)
            if near:
                hint = f"did you mean {near}?"
            elif schema[key] is None:
                hint = "put a text with a comma into quotes"
            else:
                hint = "names of parameters stand under properties"
            raise SchemaError(f"JSON Schema knows no `{_short(key)}`; {hint}")
    if schema.get("$schema", _DIALECT) != _DIALECT:
        raise SchemaError(f"the dialect {_short(str(schema['$schema']))} is another; it is {_DIALECT}")
    for key in ("$ref", "$dynamicRef"):
        if not str(schema.get(key, "#")).startswith("#"):
            raise SchemaError(f"{key} {_short(schema[key])} points elsewhere; only #/... is followed")
    if "pattern" in schema:
        import regex

        try:
            regex.compile(schema["pattern"])
        except (regex.error, ValueError, OverflowError, RecursionError) as error:
            raise SchemaError(f"the pattern {_short(schema['pattern'])} is none: {_short(str(error))}") from None


def depth_and_size(given: Mapping[str, object]) -> None:
    """Bounds the parameters before slow or recursive code sees them. Raises ToolError."""
    try:
        size_bytes = len(msgspec.json.encode(given))
    except RecursionError:
        raise ToolError(Fault.BAD_PARAMETERS, "The parameters are nested too deeply.") from None
    except UnicodeEncodeError:
        raise ToolError(Fault.BAD_PARAMETERS, "A parameter contains half a character, which is not text.") from None
    except (TypeError, ValueError):
        raise ToolError(Fault.BAD_PARAMETERS, "The parameters are not JSON.") from None
    if size_bytes > MAX_BYTES:
        raise ToolError(Fault.BAD_PARAMETERS, f"The parameters are too long: more than {MAX_BYTES // 1024} KiB.")
    layer: list[object] = [given]
    count = 0
    for _ in range(MAX_DEPTH):
        layer = [inner for outer in layer for inner in _inside(outer)]
        if not layer:
            return
        count += len(layer)
        if any(isinstance(value, float) and not math.isfinite(value) for value in layer):
            # It would pass every minimum and maximum, and JSON has no word for it.
            raise ToolError(Fault.BAD_PARAMETERS, "A parameter is not a finite number.")
        if count > MAX_VALUES:
            raise ToolError(
                Fault.BAD_PARAMETERS,
                f"The parameters hold more than {MAX_VALUES} values; the call can be tried again with fewer.",
            )
    raise ToolError(Fault.BAD_PARAMETERS, "The parameters are nested too deeply.")


def _inside(value: object) -> Iterator[object]:
    if isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _short(text: str) -> str:
    return bounded(re.sub(r"\s+", " ", clean(text)), _MAX_WORDS_CHARS).rstrip(".")
