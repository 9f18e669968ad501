"""Directions to an actor in a model's text, such as (sighs) and *laughs*, which a voice does not read out. Pure."""

from __future__ import annotations

import re

_DOES = (
    r"(?:[a-z]+ly |(?:long|short|deep|soft|warm|brief) )*"
    r"(?:sigh(?:s|ing)?|laugh(?:s|ing|ter)?|chuckl(?:es?|ing)|giggl(?:es?|ing)|gasp(?:s|ing)?|snort(?:s|ing)?"
    r"|cough(?:s|ing)?|yawn(?:s|ing)?|groan(?:s|ing)?|sniff(?:s|ing)?|(?:ex|in)hal(?:es?|ing)|smil(?:es?|ing)"
    r"|grin(?:s|ning)?|smirk(?:s|ing)?|wink(?:s|ing)?|nod(?:s|ding)?|shrug(?:s|ging)?|whisper(?:s|ing)?"
    r"|paus(?:es?|ing)|beat|hesitat(?:es|ing)|hum(?:s|ming)|gulp(?:s|ing)?|scoff(?:s|ing)?|blush(?:es|ing)"
    r"|takes a (?:deep )?breath|(?:tilts|shakes|scratches) (?:his |her |my |its )?head|leans (?:in|back|forward)"
    r"|rolls (?:his |her |my )?eyes|raises an eyebrow|clears? (?:[a-z]+ )?throat)"
    r"(?: (?:[a-z]+ly|for a (?:moment|second|while|beat)|to (?:him|her|it|my)self|with (?:relief|joy|delight)"
    r"|under (?:his|her|my) breath|in (?:relief|agreement)|out loud))?[.!…]?"
)
_BRACKETS = rf"\({_DOES}\)|\[{_DOES}\]"
# A word between asterisks may be stressed as well. So a direction is what stands for itself: at the beginning of a
# line, after a sentence or a comma, or with nothing behind it.
_STARS = rf"(?:(?<=[\n.!?…,;:—–\"”])|(?<=[\n.!?…,;:—–\"”] ))(?:\*{_DOES}\*|_{_DOES}_)(?!\w)[,;:]?"
_LAST_STARS = rf"(?<!\w)(?:\*{_DOES}\*|_{_DOES}_)(?=[ \t]*(?:\n|\Z))"
_DIRECTIONS = re.compile(
    rf"(?<=\n)(?:{_BRACKETS}|{_STARS})[ \t.,;:!]*|{_BRACKETS}|{_STARS}|{_LAST_STARS}", re.IGNORECASE
)
# A direction behind a direction stands for itself when that is gone.
_MOST_IN_A_ROW = 4
# The end of a text that may become a direction, which is short and in one line; or is one, if nothing follows.
BEGUN = re.compile(
    rf"(?<!\w)(?:[(\[*_](?:[a-z][^()\[\]*_\n\d]{{0,60}})?|(?:\*{_DOES}\*|_{_DOES}_|{_BRACKETS})[ \t.,;:!]*)\Z",
    re.IGNORECASE,
)


def without_directions(text: str, before: str = "\n") -> str:
    """The text without directions to an actor. before: the text that came before it; a line break at the beginning."""
    before = before[-2:]
    for _ in range(_MOST_IN_A_ROW):
        text, count = _one_of_each_row(text, before)
        if not count:
            break
    return text


def _one_of_each_row(text: str, before: str) -> tuple[str, int]:
    changed, count = _DIRECTIONS.subn("", before + text)
    return changed[len(before) :], count
