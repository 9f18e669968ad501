"""The agent's instructions: read, with the values of the dynamic variables in the place of their names. Pure, but for
reading a file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from parleyd.config.openai_section import InstructionsFile, OpenAI
from parleyd.config.variable_sections import Scalar
from parleyd.host.files import read_file

MOST_BYTES = 64 * 1024
# These words stand in the place of a variable whose value could not be found.
UNKNOWN = "(unknown)"

_PLACEHOLDER = re.compile(r"\{\{\s*([\w.-]+)\s*\}\}")


class InstructionsError(Exception):
    """They cannot be used. The text is one line; hint: what to do about it."""

    def __init__(self, text: str, hint: str) -> None:
        super().__init__(text)
        self.hint = hint


def read(config: OpenAI) -> str:
    """The instructions with their placeholders; empty if there are none. Raises InstructionsError."""
    wanted = config.instructions
    if wanted is None:
        return ""
    if isinstance(wanted, str):
        text = wanted
    elif isinstance(wanted, InstructionsFile):
        try:
            text = read_file(Path(wanted.file), MOST_BYTES + 1).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise InstructionsError(f"{wanted.file} is no text in UTF-8", "save it as UTF-8") from None
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else "it is no usable path"
            raise InstructionsError(
                f"{wanted.file} cannot be read: {why}", "correct the path, or let the daemon's user read it"
            ) from None
    if len(text.encode("utf-8", "replace")) > MOST_BYTES:
        raise InstructionsError(
            f"the instructions have more than {MOST_BYTES // 1024} KiB",
            "shorten them; every token of them is paid for in each session",
        )
    return text.strip()


def placeholders(text: str) -> Iterator[str]:
    """The names in the text's placeholders."""
    yield from dict.fromkeys(_PLACEHOLDER.findall(text))


def render(text: str, values: Mapping[str, Scalar]) -> str:
    """The text with values in the place of placeholders."""

    def value(found: re.Match[str]) -> str:
        known = values.get(found[1])
        if known is None:
            return UNKNOWN
        return ("yes" if known else "no") if isinstance(known, bool) else str(known)

    return _PLACEHOLDER.sub(value, text)
