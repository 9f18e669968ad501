"""Values that survive a restart or a power cut: the mute switch and the volume that a person has set, and the learnt
gain of the microphone."""

from __future__ import annotations

import logging
import os
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec

from parleyd.host.directories import runtime_place
from parleyd.host.files import read_file, replace_file

log = logging.getLogger(__name__)

# How long an order to mute waits for the disk. On a failing card fsync(2) takes seconds; the order is already in force.
WRITE_S = 0.5
_MOST_BYTES = 1000
_MOST_GAIN_BYTES = 4000


class RememberedMute:
    """The mute switch: a file that exists while the microphone is muted. A failure to store it is reported, because a
    person relies on it.

    directory: the state directory; None: nothing is stored.
    beside: a file in the runtime directory, used if the state directory is not writable. It survives a restart of the
    daemon, but not of the device.
    told: called on a separate thread after each attempt to store an order, with the problem, or None.
    """

    def __init__(
        self,
        directory: Path | None,
        beside: Path | None = None,
        told: Callable[[str | None], None] = lambda _trouble: None,
    ) -> None:
        self._file = None if directory is None else directory / "muted"
        self._beside = beside
        self._told = told
        self._orders = 0
        self._writing = threading.Lock()
        self.trouble: str | None = None

    @property
    def on(self) -> bool:
        """Whether the microphone is muted; also True if that cannot be determined."""
        return any(file is not None and _may_exist(file) for file in (self._file, self._beside))

    def remember(self, on: bool) -> str | None:
        """Stores the order. Returns why it will not survive a restart; None if it will. Blocks for WRITE_S at most."""
        self._orders += 1
        done = threading.Event()
        thread = threading.Thread(target=self._write, args=(on, self._orders, done), name="mute-switch", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._write(on, self._orders, done)
        if not done.wait(WRITE_S):
            place = self._file.parent if self._file is not None else ""
            return f"this will NOT hold after a restart until it is stored: {place} takes its time"
        return self.trouble

    def _write(self, on: bool, order: int, done: threading.Event) -> None:
        with self._writing:
            # A later order has replaced this one while the disk was slow.
            if order == self._orders:
                self.trouble = self._stored(on)
                self._told(self.trouble)
            done.set()

    def _stored(self, on: bool) -> str | None:
        if self._file is None:
            return "this will NOT hold after a restart: there is no state directory" if on else None
        try:
            _switch(self._file, on)
        except OSError as error:
            cannot = f"{self._file} cannot be {'written' if on else 'removed'}: {error.strerror}"
            if not on:
                self._switch_beside(False)
                return f"after a restart the microphone will be muted again: {cannot}"
            if self._switch_beside(True):
                return f"this holds over a restart of the daemon, but NOT when the device is switched off: {cannot}"
            return f"this will NOT hold after a restart: {cannot}"
        self._switch_beside(False)
        return None

    def _switch_beside(self, on: bool) -> bool:
        if self._beside is None:
            return False
        try:
            _switch(self._beside, on)
        except OSError:
            return False
        return True


def beside(directory: Path | None) -> Path | None:
    """A second file for the mute switch of the daemon with this state directory."""
    if directory is None or not (os.environ.get("RUNTIME_DIRECTORY") or os.environ.get("XDG_RUNTIME_DIR")):
        return None
    try:
        place = runtime_place()
    except OSError:
        return None
    # Daemons of the same user share the runtime directory, so the name depends on the state directory.
    return place / f"muted.{zlib.crc32(os.fsencode(directory.absolute())):08x}"


def _switch(file: Path, on: bool) -> None:
    """Without the directory's fsync(2) a power cut may undo it. Raises OSError."""
    if on:
        file.touch(mode=0o600)
    else:
        file.unlink(missing_ok=True)
    directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _may_exist(file: Path) -> bool:
    try:
        file.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        log.warning("muted, because it cannot be known whether it was: %s: %s", file, error.strerror)
    return True


_Level = Annotated[float, msgspec.Meta(ge=0, le=1)]


class _Volume(msgspec.Struct, frozen=True):
    """configured: the value of audio.output.volume when the volume was set."""

    volume: _Level
    configured: _Level | None


class RememberedVolume:
    """directory: where state is kept; None: nothing is remembered."""

    def __init__(self, directory: Path | None) -> None:
        self._file = None if directory is None else directory / "volume.json"

    def under(self, configured: float | None) -> float | None:
        """The volume that was set last; None if there is none, or if the configuration has been changed since."""
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
            # Steps of a volume knob must not wait for the disk.
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
    """device, configured_db: the values of audio.input.device and gain_db during learning. learnt_db: in addition to
    gain_db."""

    device: str
    configured_db: float
    learnt_db: Annotated[float, msgspec.Meta(ge=0, le=100)]


class RememberedGain:
    """directory: where state is kept; None: nothing is remembered."""

    def __init__(self, directory: Path | None) -> None:
        self._file = None if directory is None else directory / "gain.json"

    def under(self, device: str, configured_db: float) -> float | None:
        """The gain that was learnt last; None if there is none, or if it belongs to another microphone or another
        gain_db."""
        if self._file is None:
            return None
        try:
            kept = msgspec.json.decode(read_file(self._file, _MOST_GAIN_BYTES), type=_Gain)
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
