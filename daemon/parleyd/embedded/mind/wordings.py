"""The sentences of ours that a language model is told, in both protocols: how to speak, what the person did beside
speaking, and how much of an answer was heard. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from parleyd.embedded.recognise import NOT_UNDERSTOOD
from parleyd.embedded.replies import ReceivedFile

HABITS = (
    "Your words are spoken aloud: answer in one to three short sentences of plain speech, without lists, markdown, "
    "emoji or code."
)


def system(*parts: str) -> str:
    """The first message, of those parts that are not empty."""
    return "\n\n".join(part.strip() for part in parts if part.strip())


def said(text: str, files: Sequence[ReceivedFile | None] = (), notes: Iterable[str] = ()) -> str:
    """The message of the person. text: as it was recognised or typed. files: shown with the words; None: one that was
    never received. notes: told by the device meanwhile."""
    parts = [f"[The device tells: {note}]" for note in notes]
    parts += [
        f"[The person shows a file: {file.name}, {file.media_type}.]" if file else "[A file did not arrive.]"
        for file in files
    ]
    if text.strip() and text != NOT_UNDERSTOOD:
        parts.append(text)
    elif not files:
        parts.append("[The person said something that was not understood.]")
    return "\n".join(parts)


def heard(text: str) -> str:
    """The answer of the agent of which the person heard this and no more."""
    return f"{text} … (the person interrupted here)" if text else "(interrupted before a word was heard)"
