"""The mute switch, which has to be where it was left after a restart or a power cut: a file that exists while muted."""

from __future__ import annotations

import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)


class RememberedMute:
    """directory: where state is kept; None: nothing is remembered."""

    def __init__(self, directory: Path | None) -> None:
        self._file = None if directory is None else directory / "muted"

    @property
    def on(self) -> bool:
        return self._file is not None and self._file.exists()

    def remember(self, on: bool) -> None:
        if self._file is None:
            return
        try:
            if on:
                self._file.touch(mode=0o600)
            else:
                self._file.unlink(missing_ok=True)
            directory = os.open(self._file.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                # Without this a power cut may undo it.
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            log.warning("the mute switch will not outlive a restart: %s: %s", self._file, error.strerror)
