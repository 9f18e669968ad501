"""Takes out of a model's text what nobody wants to hear. Pure.

Models write for a screen: thoughts in <think>, markdown, links, emoji, code, and sometimes the call of a tool as text.
"""

from __future__ import annotations

import re

_THOUGHT = re.compile(r"<(think|thinking|tool_call|function_call)>.*?</\1>", re.DOTALL | re.IGNORECASE)
_OPEN_THOUGHT = re.compile(r"<(think|thinking|tool_call|function_call)>.*\Z", re.DOTALL | re.IGNORECASE)
_CODE = re.compile(r"```.*?(```|\Z)", re.DOTALL)
_LINK = re.compile(r"\[([^\]\n]+)\]\((?:[^)\n]*)\)")
_URL = re.compile(r"\bhttps?://(?:www\.)?([^/\s)]+)\S*")
# The beginning of a line: bullets, numbers of lists, headings, quotations.
_LINE_START = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+|[-*+•][ \t]+|>[ \t]?|\d{1,3}[.)](?:[ \t]+|$))", re.MULTILINE)
# Between an item of a list without a full stop and the next one.
_LIST_BREAK = re.compile(r"(?<=[^\s.,;:!?])[ \t]*\n(?=[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t])")
# Not inside a word, such as snake_case_name.
_EMPHASIS = re.compile(r"(?<!\w)(\*\*|__|\*|_|`|~~)(?=\S)(.+?)(?<=\S)\1(?!\w)", re.DOTALL)
# The end of a thought whose beginning the server has left out.
_LONE_END = re.compile(r"\A(?:(?!<think>).)*</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
# Pictographs, arrows and dingbats, their modifiers and joiners (Unicode 16, blocks of emoji).
_EMOJI = re.compile("[\u2190-\u21ff\u2600-\u27bf\u2b00-\u2bff\ufe0e\ufe0f\u200d\U0001f000-\U0001faff]+")
# The beginning of JSON, where nobody speaks in braces.
_JSON = re.compile(r"^\s*[\[{]\s*(?:[\"{\[]|$)")


# Directions to an actor, in brackets, which a voice does not read out.
_DOES = (
    r"(?:[a-z]+ly )?(?:sigh(?:s|ing)?|laugh(?:s|ing|ter)?|chuckl(?:es?|ing)|giggl(?:es?|ing)|gasp(?:s|ing)?"
    r"|cough(?:s|ing)?|yawn(?:s|ing)?|groan(?:s|ing)?|sniff(?:s|ing)?|(?:ex|in)hal(?:es?|ing)|smil(?:es?|ing)"
    r"|grin(?:s|ning)?|wink(?:s|ing)?|nod(?:s|ding)?|shrug(?:s|ging)?|whisper(?:s|ing)?|pauses?"
    r"|clears? (?:[a-z]+ )?throat)(?: [a-z]+ly)?[.!…]?"
)
_DIRECTIONS = re.compile(rf"^\s*[(\[]{_DOES}[)\]][\s.,;:!]*|[(\[]{_DOES}[)\]]", re.IGNORECASE)

# The sign of a product; an asterisk with a blank on one side alone is emphasis.
_TIMES = re.compile(r"(?<=[\d)])(?:\*| \* )(?=[\d(])")
# The end of a text that may become a product.
_BEGUN_PRODUCT = re.compile(r"[\d)] ?(?:\* ?)?\Z")


def with_times(text: str) -> str:
    """The text with × in products, whose asterisks would be taken for emphasis: 2*3 is 2 × 3."""
    return _TIMES.sub(" × ", text)


def begun_product(text: str) -> int:
    """Where the end begins that may become a product with what follows; the length of the text if there is none."""
    found = _BEGUN_PRODUCT.search(text)
    return len(text) if found is None else found.start()


def without_hidden(text: str) -> str:
    """The text without thoughts, code, and calls that are written as text."""
    return _CODE.sub("", _OPEN_THOUGHT.sub("", _LONE_END.sub("", _THOUGHT.sub("", text))))


def speakable(text: str) -> str:
    """The text as it is spoken, in one line; empty if nothing of it is for the ear."""
    text = without_hidden(text)
    if _JSON.match(text):
        return ""
    text = _URL.sub(r"\1", _LINK.sub(r"\1", text))
    text = _LINE_START.sub("", _LIST_BREAK.sub(",\n", text))
    text = _DIRECTIONS.sub("", text)
    # Emphasis may stand in emphasis.
    for _ in range(2):
        text = _EMPHASIS.sub(r"\2", text)
    text = _EMOJI.sub("", text)
    text = re.sub(r"(?<!\w)[*#|`~]+|[|`~]+|[*]+(?!\w)", " ", text)
    text = re.sub(r"\s+([.,;:!?])", r"\1", " ".join(text.split()))
    return text if any(sign.isalnum() for sign in text) else ""


def may_be_call(text: str) -> bool:
    """Whether a text that begins like this may be the call of a tool, which is no speech as a whole."""
    return text.lstrip()[:1] == "{" or _JSON.match(text) is not None


def is_settled(text: str) -> bool:
    """Whether the end of the text cannot change the meaning of its beginning any more: no thought, code or call is
    open."""
    lowered = text.lower()
    for tag in ("think", "thinking", "tool_call", "function_call"):
        if lowered.count(f"<{tag}>") > lowered.count(f"</{tag}>"):
            return False
    # A tag that has just begun.
    if re.search(r"<[a-z_/]*\Z", lowered):
        return False
    return text.count("```") % 2 == 0
