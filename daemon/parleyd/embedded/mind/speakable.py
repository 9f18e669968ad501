"""Takes those parts out of a model's text that nobody wants to hear. Pure.

Models write for a screen: thoughts in <think>, markdown, links, emoji, code, directions to an actor, and sometimes the
call of a tool as text. The text of one sentence is whole here; hidden.py is about one that grows.
"""

from __future__ import annotations

import html
import re

from parleyd.embedded.mind.directions import without_directions
from parleyd.embedded.mind.hidden import without_hidden

_IMAGE = re.compile(r"!\[[^\]\n]*\]\([^)\n]*\)")
_LINK = re.compile(r"\[([^\]\n]+)\]\((?:[^)\n]*)\)")
_URL = re.compile(r"\bhttps?://(?:www\.)?([^/\s)]+)\S*")
# The beginning of a line: bullets, boxes to tick, headings, quotations.
_LINE_START = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+|[-*+•][ \t]+(?:\[[ xX]\][ \t]+)?|>[ \t]?)", re.MULTILINE)
# The number of an item of a list, or an answer that is a number: 1. Milk, and 42. Not the numbers of a count: 1. 2. 3.
_NUMBER = re.compile(r"^[ \t]*\(?(\d{1,3})[.)](?:[ \t]+(?![\d.) \t]+$)|$)", re.MULTILINE)
# From one number to another, 2~3, as it is written in East Asia.
_RANGE = re.compile(r"(?<=\d) ?[~～] ?(?=\d)")
# A line across, or under the head of a table. Between two groups of signs stands something else: otherwise a long line
# could be divided in more ways than can be tried.
_RULE = re.compile(r"^[ \t|]*[:*_-]{3,}(?:[ \t|]+[:*_-]{3,})*[ \t|]*$", re.MULTILINE)
_HTML = re.compile(r"</?(?:br|b|i|em|strong|p|ul|ol|li|u|s|code)\s*/?>", re.IGNORECASE)
# The name of a source: [1], 【4†source】. Japanese and Chinese have such brackets for words, too.
_SOURCE = re.compile(r"(?<=[\w.,!?])[ \t]?\[\^?\d{1,3}\]|【(?:[^】\n]*†[^】\n]*|[\d:, ]+)】")
# The line break between an item of a list without a full stop and the next item.
_LIST_BREAK = re.compile(r"(?<=[^\s.,;:!?])[ \t]*\n(?=[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t])")
# Emphasis never begins or ends inside a word, such as snake_case_name.
_EMPHASIS = re.compile(r"(?<!\w)(\*\*|__|\*|_|`|~~)(?=\S)(.+?)(?<=\S)\1(?!\w)", re.DOTALL)
# Pictographs, arrows and dingbats, their modifiers and joiners (Unicode 16, blocks of emoji).
_EMOJI = re.compile("[\u2190-\u21ff\u2600-\u27bf\u2b00-\u2bff\ufe0e\ufe0f\u200d\U0001f000-\U0001faff]+")
_JSON = re.compile(r"^\s*[\[{]\s*(?:[\"{\[]|$)")

# The sign of a product, and of a power; an asterisk with a blank on one side alone is emphasis.
_TIMES = re.compile(r"(?<=[\d)])(?:\*| \* )(?=[\d(])")
_POWER = re.compile(r"(?<=[\d)])(?:\*\*| \*\* )(?=\d)")


class ListNumbers:
    """The numbers of the items of lists in one answer, which are not spoken. A list begins with 1 and goes on with the
    next number; any other number at the beginning of a line or a sentence is part of the answer."""

    def __init__(self) -> None:
        self._last = 0

    def goes_on(self, number: int) -> bool:
        """Whether an item of a list may have this number; then the next one may have the number after it."""
        if number not in (1, self._last + 1):
            return False
        self._last = number
        return True

    def without(self, text: str) -> str:
        """The text without them."""
        return _NUMBER.sub(lambda found: "" if self.goes_on(int(found[1])) else found[0], text)


def lone_number(text: str) -> int | None:
    """The number, if the text is nothing but one with a full stop or a bracket behind it; otherwise None."""
    found = _NUMBER.fullmatch(text.strip())
    return None if found is None else int(found[1])


def with_times(text: str) -> str:
    """The text with × in products and ^ in powers, whose asterisks would be taken for emphasis: 2*3 is 2 × 3."""
    return _TIMES.sub(" × ", _POWER.sub("^", text))


def speakable(text: str, numbers: ListNumbers | None = None) -> str:
    """The text as it is spoken, in one line; empty if nothing of it is for the ear. numbers: of the lists before it in
    the same answer."""
    text = without_hidden(text)
    if _JSON.match(text):
        return ""
    text = _URL.sub(r"\1", _LINK.sub(r"\1", _IMAGE.sub("", _SOURCE.sub("", text))))
    text = _LINE_START.sub("", _LIST_BREAK.sub(",\n", _RULE.sub("", _HTML.sub(" ", text))))
    text = (numbers or ListNumbers()).without(text)
    text = without_directions(text, before="")
    text = _RANGE.sub("-", text)
    # Emphasis may stand in emphasis.
    for _ in range(2):
        text = _EMPHASIS.sub(r"\2", text)
    text = html.unescape(_EMOJI.sub("", text))
    text = re.sub(r"(?<!\w)[*#|`~]+|[|`~]+|[*]+(?!\w)", " ", text)
    text = re.sub(r"\s+([.,;:!?])", r"\1", " ".join(text.split()))
    return text if any(sign.isalnum() for sign in text) else ""
