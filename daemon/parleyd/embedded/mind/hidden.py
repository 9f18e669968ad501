"""Takes thoughts, code and calls of tools out of a model's text while it grows. Pure.

A thought or a call that is open is dropped as it comes, and of the rest only the last few signs are held, which may
become the beginning of one. So the work for each token does not depend on what came before it.
"""

from __future__ import annotations

import re

from parleyd.embedded.mind import directions

# The tags of Qwen, DeepSeek, Hermes and others for what is not said, and the signs of Mistral and Llama for calls,
# which go on to the end.
_TAG = "think|thinking|thought|thoughts|reasoning|scratchpad|tool_calls?|tool_response|function_calls?"
# The beginning of JSON, where nobody speaks in braces.
_JSON_OPENS = r"\{\s*(?=[\"'}])|\[\s*(?=\{\s*[\"'])"
_OPENS = re.compile(
    rf"<(?P<tag>{_TAG})>|(?P<call><function=)|(?P<last>\[TOOL_CALLS\]|<\|python_tag\|>)|(?P<code>```)"
    rf"|(?P<json>{_JSON_OPENS})",
    re.IGNORECASE,
)
# The end of a text that may become one of these, or a product.
_BEGUN = re.compile(
    r"(?:<[/|｜]?[a-z_=|｜]{0,40}|\[[A-Z_]{0,10}|`{1,2}|[{\[]\s*(?:\{\s*)?)\Z|"
    # Not a row of numbers, which may be long: 1, 2, 3.
    r"[\d)][\d().,]*(?: ?\*{1,2} ?[\d().,]+)*(?: ?\*{1,2})? ?\Z",
    re.IGNORECASE,
)
# A longer end is not held, whatever it may become.
MOST_HELD_CHARS = 200
# The tokens of models' own formats.
_TOKEN = re.compile(r"<[|｜][^<>\n]{1,40}[|｜]>")
# The end of a thought whose beginning the server has left out.
_LONE_END = re.compile(r"\A(?:(?!<think>).)*</(?:think(?:ing)?|reasoning)>", re.DOTALL | re.IGNORECASE)


class Shown:
    """Use add() for each part of the text, and end() once. Both return what is not hidden."""

    def __init__(self) -> None:
        self._held = ""
        self._open: _Until | _Json | None = None

    @property
    def held_chars(self) -> int:
        """How much of the text is looked at again with the next part."""
        return len(self._held)

    @property
    def is_open(self) -> bool:
        """Whether the text ends, so far, within something that is hidden."""
        return self._open is not None

    def add(self, text: str) -> str:
        """The text that cannot change its meaning by what follows."""
        self._held += text
        shown: list[str] = []
        while True:
            if self._open is not None:
                at = self._open.end(self._held)
                if at is None:
                    self._held = self._held[len(self._held) - self._open.held_chars(self._held) :]
                    return "".join(shown)
                self._held, self._open = self._held[at:], None
            elif (found := _OPENS.search(self._held)) is not None:
                shown.append(self._held[: found.start()])
                self._held, self._open = self._held[found.end() :], _opened(found)
            else:
                at = _begun_at(self._held)
                shown.append(self._held[:at])
                self._held = self._held[at:]
                return "".join(shown)

    def end(self) -> str:
        """The rest. A thought or a call that is still open is hidden, too."""
        rest, self._held = self._held, ""
        return "" if self._open is not None else rest


class _Until:
    """Something that goes on to a fixed sign; None: to the end of the text."""

    def __init__(self, sign: str | None) -> None:
        self._sign = sign

    def end(self, text: str) -> int | None:
        """Where in the text it is over."""
        found = None if self._sign is None else re.search(re.escape(self._sign), text, re.IGNORECASE)
        return None if found is None else found.end()

    def held_chars(self, text: str) -> int:
        """How much of the text may be the beginning of its end."""
        return 0 if self._sign is None else min(len(self._sign) - 1, len(text))


class _Json:
    """An object, or a list of objects, whose first bracket has been read."""

    def __init__(self) -> None:
        self._depth, self._quote, self._is_escaped = 1, "", False

    def end(self, text: str) -> int | None:
        """See _Until. Each part of the text is given once."""
        for place, sign in enumerate(text):
            if self._quote:
                if self._is_escaped:
                    self._is_escaped = False
                elif sign == "\\":
                    self._is_escaped = True
                elif sign == self._quote:
                    self._quote = ""
            elif sign == '"':
                self._quote = sign
            elif sign in "{[":
                self._depth += 1
            elif sign in "}]":
                self._depth -= 1
                if self._depth == 0:
                    return place + 1
        return None

    def held_chars(self, text: str) -> int:
        return 0


def _opened(found: re.Match[str]) -> _Until | _Json:
    if found["tag"]:
        return _Until(f"</{found['tag']}>")
    if found["call"]:
        return _Until("</function>")
    if found["code"]:
        return _Until("```")
    return _Until(None) if found["last"] else _Json()


def _begun_at(text: str) -> int:
    """Where something may begin that is not complete; the length of the text if nothing does."""
    first = max(0, len(text) - MOST_HELD_CHARS)
    found = (one.search(text, first) for one in (_BEGUN, directions.BEGUN))
    return min((one.start() for one in found if one is not None), default=len(text))


def without_lone_signs(text: str) -> str:
    """The text without the tokens of models' own formats, and without all that stands before the lone end of a
    thought."""
    return _TOKEN.sub("", _LONE_END.sub("", text))


def without_hidden(text: str) -> str:
    """A whole text without all these."""
    shown = Shown()
    return without_lone_signs(shown.add(text) + shown.end())
