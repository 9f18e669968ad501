"""Comments and docstrings are whole, plain English sentences: the worst patterns are refused.

A sentence needs a noun as its subject. "What is left is sent later" and "Of the last hour." make the reader guess; "The
remaining frames are sent later" and "The sum of the last hour." do not. docs/glossary.md has the words to use.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "daemon" / "parleyd"
# Packages and modules whose prose has not been revised yet. The list only gets shorter: a revised package stays clean.
NOT_REVISED = {
    "audio.playback",
    "conversation",
}

PATTERNS = {
    "a relative clause as the subject; name the thing": r"(What|Who|Whom|Whoever|Whatever|Which)\b(?!.*\?\W*$)",
    "a quantity as the subject; name what is counted": r"So (much|long|many|often)\b(?! (as|that)\b)",
    "a fragment that begins with Of; write a whole sentence": r"Of\b",
    "a continuation of another comment; write a whole sentence": r"\.\.\.",
    "an arrow as a sentence; write `Returns ...`": r"→",
    "an invented word; docs/glossary.md has the field's": r".*\b([Hh]ubbub|[Ww](o|a)ke[ns]? for nothing)\b",
}


def texts(source: str) -> Iterator[tuple[int, str]]:
    """(line, text) of each comment block and of each paragraph of a docstring."""
    block: list[str] = []
    begin = end = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        is_alone = not token.line[: token.start[1]].strip()
        if block and not (is_alone and token.start[0] == end + 1):
            yield begin, " ".join(block)
            block = []
        begin, end = (begin if block else token.start[0]), token.start[0]
        block.append(token.string.lstrip("#! "))
    if block:
        yield begin, " ".join(block)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            line = node.body[0].lineno if docstring else 0
            for paragraph in re.split(r"\n\s*\n", docstring or ""):
                yield line, " ".join(paragraph.split())


def sentences(text: str) -> Iterator[str]:
    """The sentences of a text; a colon does not end one, and neither does an abbreviation."""
    for sentence in re.split(r"(?<=[a-z0-9)`\"'][.?!])\s+(?=[A-Z→.])", text):
        yield sentence.strip()


def faults(source: str) -> list[str]:
    return [
        f"line {line}: {why}: {sentence}"
        for line, text in texts(source)
        for sentence in sentences(text)
        for why, pattern in PATTERNS.items()
        if re.match(pattern, sentence)
    ]


def name_of(module: Path) -> str:
    """The dotted name below parleyd; "" for parleyd itself."""
    return ".".join(part for part in module.relative_to(PACKAGE).with_suffix("").parts if part != "__init__")


def is_within(name: str, entry: str) -> bool:
    return name == entry or name.startswith(f"{entry}.")


NAMES = {name_of(module): module for module in sorted(PACKAGE.rglob("*.py"))}
REVISED = {name: module for name, module in NAMES.items() if not any(is_within(name, entry) for entry in NOT_REVISED)}


@pytest.mark.parametrize("package", sorted({name.partition(".")[0] for name in REVISED}))
def test_the_prose_of_revised_modules_stays_plain(package: str) -> None:
    found = [
        f"{name}, {fault}"
        for name, module in REVISED.items()
        if is_within(name, package)
        for fault in faults(module.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("entry", sorted(NOT_REVISED))
def test_an_exception_names_something_that_exists(entry: str) -> None:
    assert any(is_within(name, entry) for name in NAMES)


def test_the_patterns_find_what_they_are_for() -> None:
    source = '''"""What is left is sent later."""

# Of the last hour.
A = 1
# ... and this much more.
B = 2


def counted() -> int:
    """Counts the frames. Who reads too slowly is dropped.

    → the number of frames. So long nobody has spoken.
    """
    return 0  # What remains.
'''
    assert [fault.split(":")[0] for fault in faults(source)] == ["line 3", "line 5", "line 14", "line 1"] + [
        "line 10"
    ] * 3


def test_questions_and_ordinary_sentences_pass() -> None:
    source = '"""Who speaks? The parts of an answer. So that nothing is lost, the frame that follows is kept."""\n'
    assert faults(source) == []
