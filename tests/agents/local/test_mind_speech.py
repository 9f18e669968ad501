"""What a model writes, as it is spoken: by table, whatever the size of its pieces."""

from __future__ import annotations

import pytest

# An extra of its own: the oldest packages that are allowed otherwise have none of it.
pytest.importorskip("sentence_stream")

from parleyd.embedded.mind.pieces import Pieces
from parleyd.embedded.mind.speakable import speakable

TEXTS = [
    (
        "It is 22.5 degrees in the kitchen, and 18,3 outside. Dr. Smith called at 10:30. Bye!",
        ["It is 22.5 degrees in the kitchen,", "and 18,3 outside.", "Dr. Smith called at 10:30.", "Bye!"],
    ),
    ("Well, yes. And no.", ["Well, yes.", "And no."]),
    ("<think>Let me see, now. Yes.</think>The moon is far away.", ["The moon is far away."]),
    ("The moon <thinking>or the sun?</thinking>is far away.", ["The moon is far away."]),
    ('I will look. <tool_call>{"name": "x"}</tool_call>', ["I will look."]),
    ("**Sure!** Here:\n1. Milk\n2. Bread", ["Sure! Here:", "Milk", "Bread"]),
    ("1.\n", []),
    ('{"name": "get_time", "arguments": {"a": "b. c"}}', []),
    ('[{"name": "get_time"}]', []),
    (
        "See [the page](https://example.org/a) or https://www.example.com/x?y=1 now.",
        ["See the page or example.com now."],
    ),
    ("```python\nprint(1)\n```\nThat is the code.", ["That is the code."]),
    ("It is written in C#, with snake_case_name.", ["It is written in C#,", "with snake_case_name."]),
    ("No, I think.</think>Yes, it is.", ["Yes, it is."]),
    ("Good morning 😀👍🏽!", ["Good morning!"]),
    ("2 * 3 * 4 is 24.", ["2 × 3 × 4 is 24."]),
    ("It is 2*3*4, and (1+2)*(3+4) is 21.", ["It is 2 × 3 × 4,", "and (1+2) × (3+4) is 21."]),
    ("The *2 big* and **3** small ones, of 10 *very* old.", ["The 2 big and 3 small ones,", "of 10 very old."]),
    ("(sigh) Well, the light is on. (laughs)", ["Well, the light is on."]),
    ("[sighs] I am fine. (clears his throat) And you?", ["I am fine.", "And you?"]),
    ("[Chuckles softly.] Of course (softly laughing), yes [pauses].", ["Of course, yes."]),
    ("He *laughs* at it (a sigh), and nods.", ["He laughs at it (a sigh),", "and nods."]),
    ("[1, 2] are numbers.", ["[1, 2] are numbers."]),
    ("There are 12", ["There are 12"]),
    ("你好。今天天气很好。", ["你好。", "今天天气很好。"]),
    ("Hello", ["Hello"]),
    ("", []),
    ("...", []),
]


@pytest.mark.parametrize(("text", "pieces"), TEXTS)
@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_a_text_in_pieces(text: str, pieces: list[str], size: int) -> None:
    cutter, cut = Pieces(), []
    for start in range(0, len(text), size):
        cut += cutter.add(text[start : start + size])
    assert " ".join(cut + cutter.end()).replace(" 今", "今") == " ".join(pieces).replace(" 今", "今")


def test_the_first_clause_does_not_wait_for_its_sentence() -> None:
    cutter = Pieces()
    assert cutter.add("Once upon a time, there") == ["Once upon a time,"]
    assert cutter.add(" was a speaker. It") == ["there was a speaker."]
    assert cutter.end() == ["It"]


def test_the_first_sentence_does_not_wait_for_the_second() -> None:
    cutter = Pieces()
    assert cutter.add("The kettle is on. ") == []
    assert cutter.add("It will ") == ["The kettle is on."]


@pytest.mark.parametrize("text", ["It costs 1,000,000 and 22,1 percent", "At 10:30 tomorrow"])
def test_no_clause_ends_inside_a_number(text: str) -> None:
    assert Pieces().add(text) == []


def test_markdown() -> None:
    assert speakable("# Title\n> quoted\n* **bold _both_** and `code`") == "Title quoted, bold both and code"
    assert speakable("snake_case stays") == "snake_case stays"
