"""Whatever stands in a file: a configuration or a ConfigError, and what is dumped reads the same."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from parleyd.checks.configuration import ConfigError, Problem, parse
from parleyd.config.keys import all_keys
from parleyd.config.nodes import dump
from parleyd.config.schema import Config, ElevenLabs

PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(
    ["off", "1e3", "0o17", "0x1F", "12:30", "~", "null", "wav:", "<<", "=", "500ms", ".inf", "2024-01-01", "\ud800"]
)  # fmt: skip
NAMES = st.sampled_from(sorted({key.name for key in all_keys()} | {"env", "file", "credential"}))
TREES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=4), inner, max_size=5)
)
SIGNS = st.text("ab01.: \n\t-[]{},&*!|>'\"%@`#?\\~<=UxX", max_size=60)


def read(text: str) -> None:
    """Raises nothing but ConfigError; every problem is one printable line in the file."""
    problems: tuple[Problem, ...] = ()
    try:
        loaded = parse(text, "p.yaml")
        json.dumps(msgspec.to_builtins(loaded.config), allow_nan=False, ensure_ascii=False).encode()
    except ConfigError as error:
        problems = error.problems
    for problem in problems:
        assert str(problem).isprintable()
        assert problem.line is not None
        assert 1 <= problem.line <= len(text.splitlines()) + 1
        assert problem.text
        assert problem.hint


@given(SIGNS | st.text(max_size=40))
@settings(max_examples=400, deadline=None)
def test_any_text(text: str) -> None:
    read(text)


@given(TREES, st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_tree(tree: object, flow: bool) -> None:
    read(yaml.dump(tree, default_flow_style=flow))


@given(NAMES, NAMES, SIGNS)
@settings(max_examples=200, deadline=None)
def test_any_value_at_a_real_key(outer: str, inner: str, value: str) -> None:
    read(f"{outer}:\n  {inner}: {value}")


# Of texts, those without halves of a surrogate pair and without a NUL.
# By the names that the hypothesis of Debian 12 knows, too (scripts/test-arm64).
SOUND = st.characters(blacklist_categories=["Cs"], blacklist_characters="\0")
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(SOUND)
    | st.sampled_from(["off", "yes", "1e3", "0o17", "0x1F", "12:30", "~", "null", "", "=", "<<", "1_0", "2024-01-01"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(SOUND, max_size=4), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.text(SOUND, max_size=6), JSON_VALUES, max_size=4))
@settings(max_examples=200, deadline=None)
def test_what_is_dumped_reads_the_same(body: dict[str, object]) -> None:
    config = Config(provider="local", elevenlabs=ElevenLabs(custom_llm_extra_body=body))
    assert parse(dump(msgspec.to_builtins(config)), "p.yaml").config == config


def test_problems_do_not_hide_each_other() -> None:
    leaves = [key for key in all_keys() if key.section is None]
    tree: dict[str, Any] = {}
    for key in leaves:
        node = tree
        for name in key.path[:-1]:
            node = node.setdefault(name, {})
        node[key.name] = [["no key takes this"]]
    with pytest.raises(ConfigError) as caught:
        parse(dump(tree), "p.yaml")
    # Of a list of sections, the first.
    assert [problem.key.removesuffix(".1") for problem in caught.value.problems] == [key.dotted for key in leaves]
