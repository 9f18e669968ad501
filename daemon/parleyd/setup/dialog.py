"""Asks the questions of the set-up: a person at a terminal or through a pipe, or a file of answers."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from parleyd.core.errors import UserError
from parleyd.setup.page import Page

# Rows of a list that are shown at once; a part of a name finds the others.
_SHOWN = 12
_YES, _NO = ("y", "yes"), ("n", "no")


class SkippedError(Exception):
    """The person leaves this step out."""


class EndOfInputError(UserError):
    """Nobody answers any more: the terminal was closed, or a pipe has ended."""

    usual_exit_code = os.EX_NOINPUT

    def __init__(self) -> None:
        super().__init__(
            "the input has ended before all questions were answered", "for scripts: parleyd setup --answers FILE"
        )


@dataclass(frozen=True)
class Option:
    """value: the word for it in an answer. label: the text that a person reads. detail: more about it."""

    value: str
    label: str
    detail: str = ""


class Dialog:
    """answers: by the key of their question; None: a person is asked. Every method may raise SkippedError and
    EndOfInputError, and UserError for an answer that is impossible."""

    def __init__(self, page: Page, answers: Mapping[str, str] | None) -> None:
        self.page = page
        self._answers = answers or {}
        self.is_person = answers is None

    def answer(self, key: str) -> str | None:
        """The answer that was given beforehand."""
        return self._answers.get(key)

    def yes(self, key: str, question: str, *, default: bool = True, unattended: bool | None = None) -> bool:
        """Returns whether the answer is yes. unattended: the answer where nobody can be asked and none was given
        beforehand; None: the default."""
        if not self.is_person:
            given = self._answers.get(key)
            if given is None:
                return default if unattended is None else unattended
            if given.casefold() not in (*_YES, *_NO):
                raise self._impossible(key, given, "yes or no")
            return given.casefold() in _YES
        while True:
            word = self._line(f"{question} {'[Y/n]' if default else '[y/N]'}")
            if not word:
                return default
            if word.casefold() in (*_YES, *_NO):
                return word.casefold() in _YES
            self.page.say("Please answer y or n; skip leaves this step out.")

    def choose(self, key: str, question: str, choices: Sequence[Option], default: str | None = None) -> str:
        """Returns the value of an option. default: a value; a person takes it with Enter."""
        known = {option.value for option in choices}
        default = default if default in known else None
        if not self.is_person:
            given = self._answers.get(key, default)
            if given is None:
                values = ", ".join(option.value for option in choices[:_SHOWN])
                raise UserError(f"{key} has no answer", f"add {key}: to the answers, one of {values}", os.EX_DATAERR)
            found = _matching(choices, given)
            if len(found) != 1:
                raise self._impossible(key, given, ", ".join(f"{one.label} ({one.value})" for one in choices[:_SHOWN]))
            return found[0].value
        shown = list(choices)
        self.page.say(question)
        while True:
            self._list(shown, default)
            word = self._line(_how(shown, choices, default))
            if not word and default is not None:
                return default
            if word.isdigit() and 1 <= int(word) <= len(shown):
                return shown[int(word) - 1].value
            found = _matching(choices, word) if word else []
            if len(found) == 1:
                return found[0].value
            shown = found or list(choices)
            if not found:
                self.page.say(f"“{word}” is none of these." if word else "Please choose one.")

    def text(self, key: str, question: str, default: str = "") -> str:
        if not self.is_person:
            return self._answers.get(key, default)
        return self._line(f"{question} [{default}]" if default else question) or default

    def secret(self, question: str) -> str:
        """A text that is not shown while it is typed; "" for nothing. Only a person is asked."""
        if not sys.stdin.isatty():
            return self._line(question)
        try:
            return getpass.getpass(self.page.prompt(question)).strip()
        except EOFError:
            self.page.say()
            raise EndOfInputError from None

    def pause(self, question: str) -> None:
        """Waits for Enter, where a person is there."""
        if self.is_person:
            self._line(question)

    # ---------------------------------------------------------------- parts

    def _line(self, question: str) -> str:
        try:
            word = input(self.page.prompt(question)).strip()
        except EOFError:
            # The error stands on a line of its own.
            self.page.say()
            raise EndOfInputError from None
        if not sys.stdin.isatty():
            # The answer of a pipe is not echoed by a terminal.
            self.page.say()
        if word.casefold() == "skip":
            raise SkippedError
        return word

    def _list(self, shown: Sequence[Option], default: str | None) -> None:
        for number, option in enumerate(shown[:_SHOWN], 1):
            mark = "*" if option.value == default else " "
            detail = f" ({option.detail})" if option.detail else ""
            self.page.say(f"{option.label}{detail}", lead=f" {mark}{number:>2}  ")
        if len(shown) > _SHOWN:
            self.page.say(f"and {len(shown) - _SHOWN} more: type a part of the name", lead="     ")

    def _impossible(self, key: str, given: str, there_are: str) -> UserError:
        return UserError(f"{key}: “{given}” is not possible here", f"possible: {there_are}", os.EX_DATAERR)


def _how(shown: Sequence[Option], choices: Sequence[Option], default: str | None) -> str:
    numbers = "1" if len(shown) == 1 else f"1 to {min(len(shown), _SHOWN)}"
    if default is None:
        return f"{numbers}:"
    label = next(option.label for option in choices if option.value == default)
    return f"{numbers}, Enter: {label}:"


def _matching(choices: Sequence[Option], word: str) -> list[Option]:
    """The option with this value or label, otherwise those whose label or value contains it."""
    for option in choices:
        if word == option.value or word.casefold() == option.label.casefold():
            return [option]
    part = word.casefold()
    return [one for one in choices if part in one.label.casefold() or part in one.value.casefold()]
