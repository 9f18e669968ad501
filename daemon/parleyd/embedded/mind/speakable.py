"""Takes those parts out of a model's text that nobody wants to hear. Pure.

Models write for a screen: thoughts in <think>, markdown, links, emoji, code, directions to an actor, and sometimes the
call of a tool as text. While a text grows, settled_until() says how much of it cannot change its meaning any more.
"""

from __future__ import annotations

import html
import re

# The tags of Qwen, DeepSeek, Hermes and others around text that is not spoken, and the signs of Mistral and Llama
# before a call, which goes on to the end.
_TAG = "think|thinking|thought|thoughts|reasoning|scratchpad|tool_calls?|tool_response|function_calls?"
_THOUGHT = re.compile(rf"<({_TAG})>.*?</\1>|<function=[^>]*>.*?</function>", re.DOTALL | re.IGNORECASE)
_OPEN_THOUGHT = re.compile(
    rf"(?:<(?:{_TAG})>|<function=|\[TOOL_CALLS\]|<\|python_tag\|>).*\Z", re.DOTALL | re.IGNORECASE
)
# The tokens of models' own formats.
_TOKEN = re.compile(r"<[|｜][^<>\n]{1,40}[|｜]>")
_CODE = re.compile(r"```.*?(```|\Z)", re.DOTALL)
# The end of a text that may become a thought, a token, code or JSON.
_BEGUN = re.compile(r"(?:<[/|｜]?[a-z_=|｜]{0,40}|<function=[^>]*|\[[A-Z_]{0,10}|`{1,2}|[{\[]\s*)\Z", re.IGNORECASE)
# The beginning of JSON, where nobody speaks in braces.
_JSON_OPENS = re.compile(r"\{\s*(?=[\"'}])|\[\s*(?=\{\s*[\"'])")
_IMAGE = re.compile(r"!\[[^\]\n]*\]\([^)\n]*\)")
_LINK = re.compile(r"\[([^\]\n]+)\]\((?:[^)\n]*)\)")
_URL = re.compile(r"\bhttps?://(?:www\.)?([^/\s)]+)\S*")
# The beginning of a line: bullets, boxes to tick, numbers of lists, headings, quotations.
_LINE_START = re.compile(
    r"^[ \t]*(?:#{1,6}[ \t]+|[-*+•][ \t]+(?:\[[ xX]\][ \t]+)?|>[ \t]?|\(?\d{1,3}[.)](?:[ \t]+|$))", re.MULTILINE
)
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
# The end of a thought whose beginning the server has left out.
_LONE_END = re.compile(r"\A(?:(?!<think>).)*</(?:think(?:ing)?|reasoning)>", re.DOTALL | re.IGNORECASE)
# Pictographs, arrows and dingbats, their modifiers and joiners (Unicode 16, blocks of emoji).
_EMOJI = re.compile("[\u2190-\u21ff\u2600-\u27bf\u2b00-\u2bff\ufe0e\ufe0f\u200d\U0001f000-\U0001faff]+")
_JSON = re.compile(r"^\s*[\[{]\s*(?:[\"{\[]|$)")

# Directions to an actor, which a voice does not read out.
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
# A word between asterisks may be stressed as well. Therefore it is a direction only where it stands alone: at the
# beginning of a line, after a sentence or a comma, or with nothing behind it.
_STARS = rf"(?:(?<=[\n.!?…,;:—–\"”])|(?<=[\n.!?…,;:—–\"”] ))(?:\*{_DOES}\*|_{_DOES}_)(?!\w)[,;:]?"
_LAST_STARS = rf"(?<!\w)(?:\*{_DOES}\*|_{_DOES}_)(?=[ \t]*(?:\n|\Z))"
_DIRECTIONS = re.compile(
    rf"(?<=\n)(?:{_BRACKETS}|{_STARS})[ \t.,;:!]*|{_BRACKETS}|{_STARS}|{_LAST_STARS}", re.IGNORECASE
)
# The end of a text that may become a direction, which is short and in one line; or is one, if nothing follows.
_BEGUN_DIRECTION = re.compile(
    rf"(?<!\w)(?:[(\[*_](?:[a-z][^()\[\]*_\n\d]{{0,60}})?|(?:\*{_DOES}\*|_{_DOES}_|{_BRACKETS})[ \t.,;:!]*)\Z",
    re.IGNORECASE,
)

# The sign of a product; an asterisk with a blank on one side alone is emphasis.
_TIMES = re.compile(r"(?<=[\d)])(?:\*| \* )(?=[\d(])")
# The end of a text that may become a product. Not a row of numbers, which may be long: 1, 2, 3.
_BEGUN_PRODUCT = re.compile(r"[\d)][\d().,]*(?: ?\* ?[\d().,]+)*(?: ?\*)? ?\Z")


def with_times(text: str) -> str:
    """The text with × in products, whose asterisks would be taken for emphasis: 2*3 is 2 × 3."""
    return _TIMES.sub(" × ", text)


def without_hidden(text: str) -> str:
    """The text without thoughts, code, and calls that are written as text."""
    text = _OPEN_THOUGHT.sub("", _LONE_END.sub("", _THOUGHT.sub("", text)))
    text = _TOKEN.sub("", _CODE.sub("", text))
    while (span := _json_span(text)) is not None:
        text = text[: span[0]] + text[span[1] :]
    return text


def without_directions(text: str, before: str = "\n") -> str:
    """The text without directions to an actor. before: the text that came before it; a line break at the beginning."""
    before = before[-2:]
    return _DIRECTIONS.sub("", before + text)[len(before) :]


def settled_until(text: str) -> int:
    """The length of the part of a growing text whose meaning no later text can change: no thought, code, call, product
    or direction is open in it."""
    ends = [len(text)]
    rest = _THOUGHT.sub(lambda found: " " * len(found[0]), text)
    if (found := _OPEN_THOUGHT.search(rest)) is not None:
        ends.append(found.start())
    if text.count("```") % 2:
        ends.append(text.rindex("```"))
    begun = (found for one in (_BEGUN, _BEGUN_PRODUCT, _BEGUN_DIRECTION) if (found := one.search(text)) is not None)
    ends += [found.start() for found in begun]
    at = 0
    while (span := _json_span(text, at)) is not None:
        if span[1] == len(text):
            # It is open, or a comma and another call may follow.
            ends.append(span[0])
        at = span[1]
    return min(ends)


def _json_span(text: str, at: int = 0) -> tuple[int, int] | None:
    """The beginning and the end of the next JSON object or list of objects; an open one ends with the text."""
    found = _JSON_OPENS.search(text, at)
    if found is None:
        return None
    depth, quote, is_escaped = 0, "", False
    for place in range(found.start(), len(text)):
        sign = text[place]
        if quote:
            if is_escaped:
                is_escaped = False
            elif sign == "\\":
                is_escaped = True
            elif sign == quote:
                quote = ""
        elif sign == '"':
            quote = sign
        elif sign in "{[":
            depth += 1
        elif sign in "}]":
            depth -= 1
            if depth == 0:
                return found.start(), place + 1
    return found.start(), len(text)


def speakable(text: str) -> str:
    """The text as it is spoken, in one line; empty if nothing of it is for the ear."""
    text = without_hidden(text)
    if _JSON.match(text):
        return ""
    text = _URL.sub(r"\1", _LINK.sub(r"\1", _IMAGE.sub("", _SOURCE.sub("", text))))
    text = _LINE_START.sub("", _LIST_BREAK.sub(",\n", _RULE.sub("", _HTML.sub(" ", text))))
    text = _DIRECTIONS.sub("", text)
    # Emphasis may stand in emphasis.
    for _ in range(2):
        text = _EMPHASIS.sub(r"\2", text)
    text = html.unescape(_EMOJI.sub("", text))
    text = re.sub(r"(?<!\w)[*#|`~]+|[|`~]+|[*]+(?!\w)", " ", text)
    text = re.sub(r"\s+([.,;:!?])", r"\1", " ".join(text.split()))
    return text if any(sign.isalnum() for sign in text) else ""
