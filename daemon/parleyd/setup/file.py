"""The configuration file of the set-up: it is read, changed in single values, and replaced as a whole."""

from __future__ import annotations

import contextlib
import importlib.resources
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

from parleyd.checks.configuration import ConfigError, parse_without_agent
from parleyd.config.edit import EditError, edited
from parleyd.config.loader import MAX_BYTES
from parleyd.config.nodes import NodeError
from parleyd.config.schema import Config
from parleyd.config.secrets import masked
from parleyd.core.errors import UserError
from parleyd.host.files import read_file, replace_file

_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Changes = Mapping[tuple[str, ...], object]


class ConfigFile:
    """path: it need not exist; then the example is the beginning. Raises UserError if it cannot be read, or is
    invalid."""

    def __init__(self, path: Path) -> None:
        # A link keeps leading to the file.
        self.path = path.resolve() if path.exists() else path
        self._is_kept = False
        try:
            content = read_file(self.path, MAX_BYTES + 1)
            self.is_new = False
        except FileNotFoundError:
            content = importlib.resources.files("parleyd.setup").joinpath("parleyd.yaml").read_bytes()
            self.is_new = True
            # There is nothing to keep.
            self._is_kept = True
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a usable path"
            hint = "name another with -c FILE, or run it as the user who may read it"
            raise UserError(f"{path} cannot be read: {reason}", hint, os.EX_NOINPUT) from None
        self._text = content.decode("utf-8-sig", "surrogateescape")
        self.config = self._parsed(self._text)

    @property
    def kept_as(self) -> Path:
        """Returns the path under which the file is kept as it was."""
        return self.path.with_name(f"{self.path.name}.before-setup")

    def preview(self, changes: Changes) -> Config:
        """The configuration with the changes, which are not written. Raises UserError."""
        return self._parsed(self._edited(changes))

    def write(self, changes: Changes) -> list[str]:
        """Writes the values that differ from those in force. Returns the changed keys with their values; without a
        change nothing is written. Raises UserError."""
        wanted = {path: value for path, value in changes.items() if not self._holds(path, value)}
        text = self._edited(wanted)
        config = self._parsed(text)
        if text == self._text and not self.is_new:
            return []
        with finished():
            self._replace(text)
        self._text, self.config, self.is_new = text, config, False
        return [f"{'.'.join(path)}: {_shown(value)}" for path, value in wanted.items()]

    # ---------------------------------------------------------------- parts

    def _holds(self, path: tuple[str, ...], value: object) -> bool:
        tree: object = masked(self.config)
        for name in path:
            if not isinstance(tree, Mapping) or name not in tree:
                return False
            tree = tree[name]
        if isinstance(tree, Mapping) and isinstance(value, Mapping):
            return {name: inner for name, inner in tree.items() if inner is not None} == dict(value)
        return tree == value and not (isinstance(tree, bool) ^ isinstance(value, bool))

    def _edited(self, changes: Changes) -> str:
        try:
            return edited(self._text, changes)
        except (EditError, NodeError) as error:
            raise UserError(f"{self.path}: {error}", error.hint, os.EX_DATAERR) from None

    def _parsed(self, text: str) -> Config:
        try:
            return parse_without_agent(text, str(self.path)).config
        except ConfigError as error:
            first = error.problems[0]
            hint = f"correct it first; parleyd check -c {self.path} shows everything"
            raise UserError(str(first), hint, os.EX_CONFIG) from None

    def _replace(self, text: str) -> None:
        content = text.encode("utf-8", "surrogateescape")
        try:
            if not self.path.parent.is_dir():
                self.path.parent.mkdir(mode=0o755, parents=True)
            if not self.path.exists():
                replace_file(self.path, content, 0o644)
                return
            facts = self.path.stat()
            if not self._is_kept:
                replace_file(self.kept_as, self.path.read_bytes(), facts.st_mode & 0o777)
                self._is_kept = True
            replace_file(self.path, content, facts.st_mode & 0o777)
            for path in (self.path, self.kept_as):
                if path.exists() and (path.stat().st_uid, path.stat().st_gid) != (facts.st_uid, facts.st_gid):
                    # Only root can keep another owner; for others the file stays readable as it was.
                    with contextlib.suppress(PermissionError):
                        os.chown(path, facts.st_uid, facts.st_gid)
        except OSError as error:
            hint = "run it as the user who may write it (sudo), or name another with -c FILE"
            raise UserError(f"{self.path} cannot be written: {error.strerror}", hint, os.EX_CANTCREAT) from None


@contextlib.contextmanager
def finished() -> Iterator[None]:
    """A block that runs to its end before Ctrl-C, SIGTERM or a closed terminal takes effect. It must be short."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {inner}" for name, inner in value.items()) + "}"
    return "null" if value is None else str(value)
