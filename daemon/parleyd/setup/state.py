"""The state that the steps share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from parleyd.config.schema import Config
from parleyd.setup.dialog import Dialog
from parleyd.setup.file import Changes, ConfigFile
from parleyd.setup.fitting import Fit
from parleyd.setup.page import Page


@dataclass
class Setup:
    """base_url: the option --base-url. key: the key of the provider, once it is known; it stands in no file that others
    can read. language: the language of an agent that was just made. next: the command with which a person goes on after
    the last step."""

    page: Page
    dialog: Dialog
    file: ConfigFile
    fit: Fit
    base_url: str | None = None
    key: str | None = None
    language: str | None = None
    next: str | None = None
    has_written: bool = False

    @property
    def config(self) -> Config:
        return self.file.config

    def write(self, changes: Changes) -> None:
        """Writes the values, and tells the person which of them have changed."""
        was_there = not self.file.is_new
        written = self.file.write(changes)
        if not written and was_there:
            self.page.say(f"{self.file.path} says so already.")
            return
        self.has_written = True
        self.page.good(f"written to {self.file.path}{'' if was_there else ', a new file'}")
        for line in written:
            self.page.command(line)


@dataclass(frozen=True)
class Step:
    """run: does the step, and returns its outcome in a few words. Raises SkippedError, EndOfInputError, and UserError
    for a fault that a person can put right."""

    name: str
    title: str
    run: Callable[[Setup], str]
