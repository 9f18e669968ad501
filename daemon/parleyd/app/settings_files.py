"""The files of the settings in the state directory: the present ones, five older versions, and a note of the probation
that survives a restart."""

from __future__ import annotations

import contextlib
import errno
import logging
import re
from pathlib import Path

import msgspec

from parleyd.config import settings
from parleyd.config.nodes import NodeError
from parleyd.config.problem import ConfigError, Problem
from parleyd.config.settings import Settings
from parleyd.host.files import read_file, replace_file

log = logging.getLogger(__name__)

NAME = "settings.yaml"
KEPT_VERSIONS = 5
_VERSION = r"settings\.([0-9]{1,15})\.yaml"
MOST_BYTES = 256 * 1024
# The limit for a note, which has a few numbers and names.
_MOST_NOTE_BYTES = 64 * 1024


class Note(msgspec.Struct, frozen=True):
    """A change on probation. revision: of the change. back_to: the revision that returns if it fails. starts: how often
    the daemon has been started with it and has not ended in order. restarts: the change has keys that take effect with
    a new start only, so that its health is judged after that. troubled: the parts that had a trouble before it, or
    while it waited for a session. untried: it has keys that the next session uses, and none has yet."""

    revision: int
    back_to: int
    confirmed: bool
    restarts: bool
    troubled: tuple[str, ...] = ()
    starts: int = 0
    untried: bool = False


class WentBack(msgspec.Struct, frozen=True):
    """Settings that did not stand their probation. revision, label: theirs. reason: in words."""

    revision: int
    label: str
    reason: str


class SettingsFiles:
    """directory: the state directory. The writing methods raise OSError."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.path = directory / NAME
        self._note = directory / "settings.probation.json"
        self._went_back = directory / "settings.went-back.json"

    def read(self) -> Settings:
        """The present settings; of a file that is gone, none. Raises OSError and NodeError."""
        present = self._read(self.path) or Settings()
        if present.revision >= max(self.versions(), default=0):
            return present
        return msgspec.structs.replace(present, revision=self.next_revision())

    def next_revision(self) -> int:
        """A revision that no older version has: revisions go on, whatever became of the present file, so that no older
        version is overwritten, or newer than a later one."""
        return max(self.versions(), default=0) + 1

    def text(self) -> str:
        """The content of the file; empty if there is none. Raises ConfigError."""
        try:
            content = _content(self.path)
            return "" if content is None else content.decode()
        except (OSError, UnicodeDecodeError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
            text, hint = f"the settings cannot be read: {why}", "mend the file, or move it away to do without settings"
            raise ConfigError([Problem(str(self.path), None, None, "", text, hint)]) from error

    def parsed(self, text: str) -> Settings:
        """The settings in such a content. Raises ConfigError."""
        try:
            return settings.read(text)
        except NodeError as error:
            problem = Problem(str(self.path), error.line, error.column, "", str(error), error.hint)
            raise ConfigError([problem]) from None

    def version(self, revision: int) -> Settings | None:
        """An older version; None if it is not kept, or cannot be read."""
        if revision == 0:
            return Settings()
        try:
            return self._read(self._version(revision))
        except (OSError, NodeError, UnicodeDecodeError) as error:
            log.warning("the settings of revision %d cannot be read: %s", revision, error)
            return None

    def versions(self) -> tuple[int, ...]:
        """The revisions of the older versions, the newest first."""
        found = (re.fullmatch(_VERSION, file.name) for file in self._directory.glob("settings.*.yaml"))
        return tuple(sorted((int(match[1]) for match in found if match), reverse=True))

    def write(self, before: Settings, after: Settings, kept: int = 0) -> None:
        """Keeps the settings from before as a version, and writes the new ones. kept: a version that stays, however
        many there are."""
        if before.revision:
            replace_file(self._version(before.revision), before.text().encode())
        replace_file(self.path, after.text().encode())
        for revision in self.versions()[KEPT_VERSIONS:]:
            if revision == kept:
                continue
            with contextlib.suppress(OSError):
                self._version(revision).unlink()

    def set_aside(self) -> None:
        """Keeps a file that cannot be read under another name."""
        self.path.replace(self._directory / "settings.broken.yaml")

    def note(self) -> Note | None:
        try:
            return msgspec.json.decode(read_file(self._note, _MOST_NOTE_BYTES), type=Note)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning("it is not known whether settings are on probation: %s: %s", self._note, error)
            return None

    def write_note(self, note: Note | None) -> None:
        if note is None:
            self._note.unlink(missing_ok=True)
        else:
            replace_file(self._note, msgspec.json.encode(note) + b"\n")

    def went_back(self) -> WentBack | None:
        """Returns the last change, if it went back by itself."""
        try:
            return msgspec.json.decode(read_file(self._went_back, _MOST_NOTE_BYTES), type=WentBack)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning("it is not known whether settings went back: %s: %s", self._went_back, error)
            return None

    def write_went_back(self, what: WentBack | None) -> None:
        if what is None:
            self._went_back.unlink(missing_ok=True)
        else:
            replace_file(self._went_back, msgspec.json.encode(what) + b"\n")

    def _version(self, revision: int) -> Path:
        return self._directory / f"settings.{revision}.yaml"

    def _read(self, path: Path) -> Settings | None:
        content = _content(path)
        return None if content is None else settings.read(content.decode())


def _content(path: Path) -> bytes | None:
    """None: there is no such file."""
    try:
        content = read_file(path, MOST_BYTES + 1)
    except FileNotFoundError:
        return None
    if len(content) > MOST_BYTES:
        raise OSError(errno.EFBIG, f"it has more than {MOST_BYTES // 1024} KiB")
    return content
