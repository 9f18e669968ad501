"""What outlives a restart or a power cut: what a person has set by hand, the mute switch and the volume, and the gain
that was learnt for the microphone."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated

import msgspec

from parleyd.host.files import read_file, replace_file

log = logging.getLogger(__name__)

_MOST_BYTES = 1000
_MOST_GAIN_BYTES = 4000


class RememberedMute:
    """A file that exists while muted. directory: where state is kept; None: nothing is remembered."""

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


_Level = Annotated[float, msgspec.Meta(ge=0, le=1)]


class _Volume(msgspec.Struct, frozen=True):
    """configured: what audio.output.volume was meanwhile."""

    volume: _Level
    configured: _Level | None


class RememberedVolume:
    """directory: where state is kept; None: nothing is remembered."""

    def __init__(self, directory: Path | None) -> None:
        self._file = None if directory is None else directory / "volume.json"

    def under(self, configured: float | None) -> float | None:
        """What was set last; None if nothing was, or if the configuration has changed its mind since."""
        if self._file is None:
            return None
        try:
            kept = msgspec.json.decode(read_file(self._file, _MOST_BYTES), type=_Volume)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning("the volume that was set last is not known: %s: %s", self._file, error)
            return None
        return kept.volume if kept.configured == configured else None

    def remember(self, volume: float, configured: float | None) -> None:
        if self._file is None:
            return
        try:
            # Somebody turns a knob: each step waits for no disk.
            replace_file(self._file, msgspec.json.encode(_Volume(volume, configured)) + b"\n", at_once=False)
        except OSError as error:
            log.warning("the volume will not outlive a restart: %s: %s", self._file, error.strerror)

    def forget(self) -> None:
        if self._file is None:
            return
        try:
            self._file.unlink(missing_ok=True)
        except OSError as error:
            log.warning("the volume that was set before will come back: %s: %s", self._file, error.strerror)


class _Gain(msgspec.Struct, frozen=True):
    """device, configured_db: what audio.input.device and gain_db were meanwhile. learnt_db: on top of that."""

    device: str
    configured_db: float
    learnt_db: Annotated[float, msgspec.Meta(ge=0, le=100)]


class RememberedGain:
    """directory: where state is kept; None: nothing is remembered."""

    def __init__(self, directory: Path | None) -> None:
        self._file = None if directory is None else directory / "gain.json"

    def under(self, device: str, configured_db: float) -> float | None:
        """What was learnt last; None if nothing was, or for another microphone or another configured gain."""
        if self._file is None:
            return None
        try:
            with self._file.open("rb") as file:
                kept = msgspec.json.decode(file.read(_MOST_GAIN_BYTES), type=_Gain)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning("the gain that was learnt is not known, and is learnt anew: %s: %s", self._file, error)
            return None
        return kept.learnt_db if (kept.device, kept.configured_db) == (device, configured_db) else None

    def remember(self, device: str, configured_db: float, learnt_db: float) -> None:
        if self._file is None:
            return
        try:
            kept = _Gain(device, configured_db, round(learnt_db, 1))
            replace_file(self._file, msgspec.json.encode(kept) + b"\n", at_once=False)
        except OSError as error:
            log.warning("the learnt gain will not outlive a restart: %s: %s", self._file, error.strerror)
