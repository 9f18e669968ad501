"""The parameters of a call: bounded, then held against the tool's JSON Schema. Pure.

jsonschema costs 4 to 10 MiB and is loaded with the first call: a device without tools never pays for it.

It looks for patterns with Python's own `re`, which backtracks without end on a text that is made for it, and holds the
interpreter lock all the while: the sound would stop. Therefore regex, which lets go of both; see transcript/redaction.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from parleyd.config import suggest
from parleyd.tools import coercion
from parleyd.tools.result import Fault, ToolError, bounded, clean

if TYPE_CHECKING:
    from jsonschema import ValidationError

MAX_BYTES = 64 * 1024
MAX_DEPTH = 32
PATTERN_S = 0.2
_MAX_WORDS_CHARS = 200


class SchemaError(Exception):
    """Not a schema of parameters. The text is one line."""


class Parameters:
    """The schema of one tool. check() may be called from many threads."""

    def __init__(self, schema: Mapping[str, object]) -> None:
        """schema: of an object; {} for no parameters. Unless it says otherwise, what it does not name is refused."""
        self.schema: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False, **schema}
        self._validator: Any = None

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.schema["properties"])

    @property
    def always_there(self) -> frozenset[str]:
        """Those that every valid call has, by itself or by a default."""
        return frozenset(self.schema.get("required", ())) & self.names | self._defaults.keys()

    def check_schema(self) -> None:
        """Raises SchemaError when it cannot be used."""
        from jsonschema import Draft202012Validator, exceptions

        properties = self.schema.get("properties")
        if self.schema["type"] != "object" or not isinstance(properties, dict):
            raise SchemaError("this describes no parameters: it takes type: object, and properties by name")
        try:
            Draft202012Validator.check_schema(self.schema)
        except exceptions.SchemaError as error:
            where = ".".join(str(part) for part in error.absolute_path)
            raise SchemaError(f"no JSON Schema: {where + ': ' if where else ''}{_short(error.message)}") from None
        except RecursionError:
            raise SchemaError("no JSON Schema: nested too deeply") from None
        for schema in _schemas(self.schema):
            _check_words(schema)
        missing = set(self.schema.get("required", ())) - set(properties)
        if missing:
            raise SchemaError(f"required names {', '.join(sorted(missing))}, which properties does not have")
        self._check_defaults()

    def _check_defaults(self) -> None:
        """One that its own schema does not allow would be held against the agent, which has left it out."""
        from referencing.exceptions import Unresolvable

        with contextlib.suppress(Unresolvable, RecursionError, TimeoutError):
            for error in self._errors(self._defaults):
                if error.absolute_path:
                    where = ".".join(str(part) for part in error.absolute_path)
                    raise SchemaError(f"the default of {_short(where)} is not allowed: {_short(error.message)}")

    @property
    def _defaults(self) -> dict[str, object]:
        properties = self.schema["properties"].items()
        return {name: inner["default"] for name, inner in properties if "default" in _mapping(inner)}

    def check(self, given: Mapping[str, object]) -> dict[str, object]:
        """The parameters as the schema means them, with its defaults (of the first level). Raises ToolError."""
        depth_and_size(given)
        values = coercion.coerced({**self._defaults, **coercion.coerced(given, self.schema)}, self.schema)
        # What was a text may hold an object now.
        depth_and_size(values)
        problem = self._problem(values)
        if problem is not None:
            raise ToolError(Fault.BAD_PARAMETERS, f"The parameters are wrong: {problem}.")
        return values

    def _errors(self, values: Mapping[str, object]) -> Iterator[ValidationError]:
        from referencing import Registry

        if self._validator is None:
            # An empty registry: a reference is never fetched from anywhere.
            self._validator = _validator_class()(self.schema, registry=Registry())
        errors: Iterator[ValidationError] = self._validator.iter_errors(values)
        return errors

    def _problem(self, values: dict[str, object]) -> str | None:
        from jsonschema.exceptions import best_match
        from referencing.exceptions import Unresolvable

        try:
            error = best_match(self._errors(values))
        except (Unresolvable, RecursionError):
            return "they cannot be checked against their schema"
        except TimeoutError:
            return "a text takes too long to be held against its pattern"
        if error is None:
            return None
        return self._in_words(error)

    def _in_words(self, error: ValidationError) -> str:
        """What is wrong, and what would be accepted: who reads it is to write it better."""
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


@cache
def _validator_class() -> Any:
    from jsonschema import Draft202012Validator, ValidationError, validators

    def pattern(_validator: object, wanted: str, given: object, _schema: object) -> Iterator[ValidationError]:
        import regex

        if isinstance(given, str) and regex.search(wanted, given, concurrent=True, timeout=PATTERN_S) is None:
            yield ValidationError(f"{given!r} is not of the form {wanted}")

    return validators.extend(Draft202012Validator, {"pattern": pattern})  # type: ignore[no-untyped-call]


# Behind these stand schemas: one, several in a list, several by names of the user's own.
_ONE = (
    "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames", "then",
    "unevaluatedItems", "unevaluatedProperties",
)  # fmt: skip
_LISTED = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED = ("$defs", "definitions", "dependentSchemas", "properties")
# What checks nothing, beside what the library's validator knows.
_TELLING = (
    "$anchor", "$comment", "$id", "$schema", "contentEncoding", "contentMediaType", "default", "deprecated",
    "description", "examples", "maxContains", "minContains", "readOnly", "title", "writeOnly",
)  # fmt: skip


def _schemas(schema: object) -> Iterator[Mapping[str, Any]]:
    """This one and all that stand in it."""
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
    """Raises SchemaError. JSON Schema lets words pass that it does not know; but a limit with a typo is none."""
    from jsonschema import Draft202012Validator

    known = {*Draft202012Validator.VALIDATORS, *_ONE, *_LISTED, *_NAMED, *_TELLING}
    for key in schema:
        if key == "patternProperties":
            raise SchemaError("patternProperties has no use here: an agent is told the properties by name")
        if key not in known:
            near = suggest.choice(key, known)
            if near:
                mend = f"did you mean {near}?"
            elif schema[key] is None:
                mend = "put a text with a comma into quotes"
            else:
                mend = "names of parameters stand under properties"
            raise SchemaError(f"JSON Schema knows no `{_short(key)}`; {mend}")
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
    """Before anything slow or recursive looks at them. Raises ToolError."""
    try:
        size_bytes = len(msgspec.json.encode(given))
    except RecursionError:
        raise ToolError(Fault.BAD_PARAMETERS, "The parameters are nested too deeply.") from None
    except UnicodeEncodeError:
        raise ToolError(Fault.BAD_PARAMETERS, "A parameter holds half a character, which is no text.") from None
    except (TypeError, ValueError):
        raise ToolError(Fault.BAD_PARAMETERS, "The parameters are no JSON.") from None
    if size_bytes > MAX_BYTES:
        raise ToolError(Fault.BAD_PARAMETERS, f"The parameters are too long: more than {MAX_BYTES // 1024} KiB.")
    layer: list[object] = [given]
    for _ in range(MAX_DEPTH):
        layer = [inner for outer in layer for inner in _inside(outer)]
        if not layer:
            return
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
