"""The two parsers of the configuration: libyaml, and PyYAML's own, which a PyYAML without libyaml has alone.

What one of them reads the other reads, too, with the same values at the same places; and every problem has the words
and the place of PyYAML's own."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from yaml.nodes import CollectionNode, Node, ScalarNode, SequenceNode

from parleyd.checks.configuration import ConfigError, parse
from parleyd.config import nodes
from parleyd.setup import __file__ as setup_file

EXAMPLE = (Path(setup_file).parent / "parleyd.yaml").read_text()
# Pieces of YAML, valid and not; joined at random they make what people mistype.
PIECES = (
    *("a", "b: ", "key: value", "- ", "\n", "\n  ", "\n    ", ": ", ":", "{", "}", "[", "]", ", ", '"', "'", "#", " "),
    *(" # c", "|", "|\n", ">", "&x ", "*x", "!t ", "!!str ", "---", "\n---\n", "...", "%YAML 1.2\n", "1", "0x1", "~"),
    *("null", "\\u0041", "\\", "?", "? ", "é", "\u2028", "\x85", "😀", "\r\n", "@", "`", "\ufeff", "<<: ", "-", "="),
    *("<", "|2", "\t"),
)

# A tag without a name, and what stands behind the end of a quoted text in a line that begins with #, as a comment does.
SEEN_DIFFERENTLY = (
    *("a: !\n", "- !\n- b\n", "a: [!, b]\n", "a: {b: !,}\n", "a: [!-,]\n", "[!:,]\n"),
    *('["\n#", a?]\n', '["\n  #", ?]\n', '{"\n#": ,}\n', "['\n#', a: ]\n", "- '\n  #': !\n", '{"\n#": ? }\n'),
)


def facts(node: Node | None) -> Any:
    """A node as values that can be compared."""
    if node is None:
        return None
    start, end = node.start_mark, node.end_mark
    places = start.line, start.column, start.index, end.line, end.column, end.index
    if isinstance(node, ScalarNode):
        return node.tag, places, node.value, node.style
    assert isinstance(node, CollectionNode)
    inner = node.value if isinstance(node, SequenceNode) else [one for pair in node.value for one in pair]
    return node.tag, places, bool(node.flow_style), [facts(one) for one in inner]


def composed(text: str) -> Any:
    """The facts, or the problem."""
    try:
        return facts(nodes.compose(text))
    except nodes.NodeError as error:
        return str(error), error.hint, error.line, error.column


def texts() -> Iterator[str]:
    yield EXAMPLE
    yield from SEEN_DIFFERENTLY
    for seed in range(4000):
        pick = random.Random(seed)
        yield "".join(pick.choices(PIECES, k=pick.randint(1, 9))) + pick.choice(("\n", "\n", ""))
    for depth in (nodes.MAX_DEPTH - 1, nodes.MAX_DEPTH, 100_000):
        yield "[" * depth + "]" * depth + "\n"


def test_both_parsers_read_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    if nodes.fast_loader is None:
        pytest.skip("PyYAML was built without libyaml")
    with_libyaml = [composed(text) for text in texts()]
    monkeypatch.setattr(nodes, "fast_loader", None)
    for text, fast in zip(texts(), with_libyaml, strict=True):
        assert fast == composed(text), repr(text[:100])


def test_the_example_is_read_by_libyaml(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else every start would take the slow way, and nobody would notice."""
    if nodes.fast_loader is None:
        pytest.skip("PyYAML was built without libyaml")
    monkeypatch.delattr(nodes, "_composed")
    assert nodes.compose(EXAMPLE) is not None
    assert nodes.compose("# Don't ask.\nname: Hello! How are you?\nagent: agent_1  # it's mine!\n") is not None


@pytest.mark.parametrize("parser", ["libyaml", "PyYAML's own"])
@pytest.mark.parametrize(
    ("text", "line", "column", "key"),
    [
        ("provider: local\ngate:\n  # the pause\n  hangovr_ms: 3\n", 4, 3, "gate.hangovr_ms"),
        ("provider: local\ngate: {aggressiveness: 9}\n", 2, 8, "gate.aggressiveness"),
        ("provider: local\naudio:\n  input:\n    device: [1\n", 4, 13, ""),
        ("provider: local\n\nwake: {mode: shout}\n", 3, 8, "wake.mode"),
    ],
)
def test_a_problem_has_its_line_and_column(
    text: str, line: int, column: int, key: str, parser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if parser != "libyaml":
        monkeypatch.setattr(nodes, "fast_loader", None)
    with pytest.raises(ConfigError) as caught:
        parse(text, "parleyd.yaml")
    problem = caught.value.problems[0]
    assert (problem.line, problem.column, problem.key) == (line, column, key)
