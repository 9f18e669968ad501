"""What a model writes, as it is spoken: by table, whatever the size of its pieces."""

from __future__ import annotations

from collections.abc import Iterable

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
    ("1.\n", ["1."]),
    ("42.", ["42."]),
    ("**42.**", ["42."]),
    ("7. It is a prime number.", ["7.", "It is a prime number."]),
    ("12. März ist ein Tag, und 13. ist der nächste.", ["12.", "März ist ein Tag,", "und 13. ist der nächste."]),
    ("You have two.\n5.\nNo, it is five.", ["You have two.", "5.", "No, it is five."]),
    ("Okay! 1. 2. 3. 4. Here I come.", ["Okay!", "1.", "2.", "3.", "4.", "Here I come."]),
    ("1. 2. 3.", ["1.", "2.", "3."]),
    ("You need:\n\n1. Milk\n2. Bread\n\nThat is all.", ["You need:", "Milk", "Bread", "That is all."]),
    ("**Fruit.**\n1. Pears\n2. Plums\n\n**Nuts.**\n1. Almonds", ["Fruit.", "Pears", "Plums", "Nuts.", "Almonds"]),
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
    ("So 2**3 is 8, and 2 ** 10 is 1024.", ["So 2^3 is 8,", "and 2^10 is 1024."]),
    ("It takes 2~3 days, 我说3～4天。", ["It takes 2-3 days,", "我说3-4天。"]),
    ("It is 2*3*4, and (1+2)*(3+4) is 21.", ["It is 2 × 3 × 4,", "and (1+2) × (3+4) is 21."]),
    ("The *2 big* and **3** small ones, of 10 *very* old.", ["The 2 big and 3 small ones,", "of 10 very old."]),
    ("(sigh) Well, the light is on. (laughs)", ["Well, the light is on."]),
    ("[sighs] I am fine. (clears his throat) And you?", ["I am fine.", "And you?"]),
    ("[Chuckles softly.] Of course (softly laughing), yes [pauses].", ["Of course, yes."]),
    ("He *laughs* at it (a sigh), and nods.", ["He laughs at it (a sigh),", "and nods."]),
    ("*sighs* Well, the light is on. *laughs softly* Bye.", ["Well, the light is on.", "Bye."]),
    ("That is funny! *laughs*", ["That is funny!"]),
    ("That is funny *chuckles*\n*smiles* Is it not?", ["That is funny", "Is it not?"]),
    ("He *laughs* and she _sighs_ at it.", ["He laughs and she sighs at it."]),
    ("I *really* mean it, *all* of it.", ["I really mean it,", "all of it."]),
    ("(whispering) It is late. [long pause] Go to bed.", ["It is late.", "Go to bed."]),
    (
        "(Whispering is rude.) The pause (a short one) is over.",
        ["(Whispering is rude.)", "The pause (a short one) is over."],
    ),
    ("*clears throat* Dear friends, *takes a deep breath*, hello.", ["Dear friends,", "hello."]),
    ("*sighs* *laughs* Well, the light is on.", ["Well, the light is on."]),
    ("Well... *pauses for a moment* I think so.", ["Well...", "I think so."]),
    ("2*3*4 is 24, and 2 * 3 is *not* 5.", ["2 × 3 × 4 is 24,", "and 2 × 3 is not 5."]),
    ('I will look. {"name": "get_light", "arguments": {"room": "a. b} c"}} It is on.', ["I will look.", "It is on."]),
    ('Sure: {"name": "get_light", "arguments": {}', ["Sure:"]),
    ('I look [{"name": "a", "arguments": {"x": [1, 2]}}] now.', ["I look now."]),
    ('I look. <function=get_light>{"room": "hall"}</function> It is on.', ["I look.", "It is on."]),
    ('I look. [TOOL_CALLS][{"name": "a"}]', ["I look."]),
    ("Yes.<|im_end|> <reasoning>Was that right?</reasoning>Quite.", ["Yes.", "Quite."]),
    ("Say {name} and (maybe) more.", ["Say {name} and (maybe) more."]),
    ("Buy:\n- [ ] Milk\n- [x] Bread", ["Buy:", "Milk, Bread"]),
    ("Buy:\n1) Milk\n2) Bread\n3)", ["Buy:", "Milk, Bread"]),
    ("It is so [1], and so 【4†source】.", ["It is so,", "and so."]),
    ("Here ![a cat](http://example.org/cat.png) it is.<br>Look!", ["Here it is.", "Look!"]),
    ("Use `git push` now.", ["Use git push now."]),
    ("Fish &amp; chips, it&#39;s good.", ["Fish & chips,", "it's good."]),
    ("| Room | Light |\n|---|:---:|\n| Hall | on |", ["Room Light Hall on"]),
    ("[1, 2] are numbers.", ["[1, 2] are numbers."]),
    ("There are 12", ["There are 12"]),
    ("你好。今天天气很好。", ["你好。", "今天天气很好。"]),
    ("【注意】今天下雨。【4:0†source】", ["【注意】今天下雨。"]),
    ("Hello", ["Hello"]),
    ("", []),
    ("...", []),
]


def spoken(parts: Iterable[str]) -> str:
    """What is spoken of a text that comes in these parts."""
    cutter, cut = Pieces(), []
    for part in parts:
        cut += cutter.add(part)
    return " ".join(cut + cutter.end()).replace(" 今", "今")


@pytest.mark.parametrize(("text", "pieces"), TEXTS)
@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_a_text_in_pieces(text: str, pieces: list[str], size: int) -> None:
    assert spoken(text[start : start + size] for start in range(0, len(text), size)) == spoken_of(pieces)


def spoken_of(pieces: list[str]) -> str:
    return " ".join(pieces).replace(" 今", "今")


@pytest.mark.parametrize(("text", "pieces"), TEXTS)
def test_a_text_that_is_cut_anywhere(text: str, pieces: list[str]) -> None:
    """At each place, and at each two."""
    for first in range(len(text)):
        for second in range(first, len(text), 1 if len(text) < 60 else 5):
            parts = text[:first], text[first:second], text[second:]
            assert spoken(parts) == spoken_of(pieces), parts


def test_the_first_clause_does_not_wait_for_its_sentence() -> None:
    cutter = Pieces()
    assert cutter.add("Once upon a time, there") == ["Once upon a time,"]
    assert cutter.add(" was a speaker. It") == ["there was a speaker."]
    assert cutter.end() == ["It"]


def test_the_first_sentence_does_not_wait_for_the_second() -> None:
    cutter = Pieces()
    assert cutter.add("The kettle is on. ") == []
    assert cutter.add("It will ") == ["The kettle is on."]


def test_a_sentence_without_blanks_behind_it_does_not_wait_for_the_whole_answer() -> None:
    cutter = Pieces()
    assert cutter.add("你好。今天") == ["你好。"]
    cutter = Pieces()
    assert cutter.add("今天天气很好，你想") == ["今天天气很好，"]


def test_numbers_in_a_row_are_spoken_as_they_come() -> None:
    cutter = Pieces()
    assert cutter.add("1, 2, 3, 4, 5, 6, 7, 8,") == ["1, 2, 3, 4, 5,"]


@pytest.mark.parametrize("sign", ["-", "*", "_", ":", "- ", "|", " ", "(", "[", "<", "`", "{", "*sighs* ", "ly"])
def test_no_text_of_a_model_takes_long(sign: str) -> None:
    """A pattern that tries every division of such a text would not come to an end, and the agent stands still
    meanwhile."""
    text = sign * 200 + "x"
    cutter = Pieces()
    cutter.add(text)
    cutter.end()
    speakable(text)


@pytest.mark.parametrize("text", ["It costs 1,000,000 and 22,1 percent", "At 10:30 tomorrow"])
def test_no_clause_ends_inside_a_number(text: str) -> None:
    assert Pieces().add(text) == []


def test_markdown() -> None:
    assert speakable("# Title\n> quoted\n* **bold _both_** and `code`") == "Title quoted, bold both and code"
    assert speakable("snake_case stays") == "snake_case stays"


# Texts in which something is open for long, and how each of them goes on.
LONG = {
    "a thought": ("<think>", "and so on, ", "</think>"),
    "a thought of numbers": ("<think>", "1 * 2 <b> ", "</think>"),
    "code": ("```\n", "x = {1: [2]}\n", "```"),
    "JSON": ('[{"a": [', "[{}, {}], ", "0]}]"),
    "JSON with words": ('{"a": "', 'b} \\" {', '"}'),
    "a call as text": ("<function=look>", "{} and ", "</function>"),
    "a bracket": ("(", "so ", ") "),
    "a square bracket": ("[", "so ", "] "),
    "a brace": ("{", "  ", "} "),
    "digits": ("", "123", " "),
    "a product": ("1", " * 2", " "),
    "one long sentence": ("", "and so on ", ". "),
    "one long word": ("", "and", ". "),
    "asterisks": ("*", "so *very ", "* "),
    "abbreviations": ("", "Dr. No. ", " "),
}


@pytest.mark.parametrize(("begins", "token", "ends"), LONG.values(), ids=list(LONG))
def test_the_work_for_each_token_does_not_grow_with_the_text(begins: str, token: str, ends: str) -> None:
    """What is looked at again with a token is short, however long the text is by then."""
    cutter = Pieces()
    cutter.add(begins)
    most_chars = 0
    for _ in range(4000):
        cutter.add(token)
        most_chars = max(most_chars, cutter.held_chars)
    assert most_chars < 1000
    cut = cutter.add(f"{ends} Here it is. ")
    assert (cut + cutter.end())[-1].endswith("Here it is.")


def test_a_sentence_without_an_end_is_spoken_at_its_commas() -> None:
    text = "It is a house with a door, " + "and a window, and a roof, and a wall, " * 20
    cutter = Pieces()
    cut = [piece for word in text.split(" ") for piece in cutter.add(word + " ")]
    assert len(cut) > 1
    assert all(piece.endswith(",") for piece in cut)
    assert " ".join(cut + cutter.end()) == text.strip()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('<think>{"a": "</think>Yes, it is.', "Yes, it is."),
        ('```\n{"a": \n```\nThat is the code.', "That is the code."),
        ("```\n<think>\n```\nThat is the code.", "That is the code."),
        ('{"a": "```"} It is on.', "It is on."),
        ("I look [ { 'a': 1 } ] now.", "I look now."),
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_the_end_of_what_is_hidden_is_its_own(text: str, said: str, size: int) -> None:
    """Signs of another kind inside it begin nothing."""
    assert spoken(text[start : start + size] for start in range(0, len(text), size)) == said
