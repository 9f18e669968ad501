"""Keeps the messages of PortAudio, ALSA and JACK from standard error."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Iterator

# The beginnings of PortAudio's lines, and of those of Berkeley DB, which JACK's library opens.
_NOISE = (b"Expression '", b"BDB")


def silence_libraries() -> None:
    """Silences ALSA and JACK, which print dozens of lines about cards that do not exist."""
    # A function of C that does nothing with what it gets. One of Python would wait for the interpreter at each line, a
    # tenth of a second in all while modules are imported (docs/measurements/light.md).
    ignore = ctypes.cast(ctypes.CDLL(None).abs, ctypes.c_void_p)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libasound.so.2").snd_lib_error_set_handler(ignore)
    with contextlib.suppress(OSError, AttributeError):
        # Only if PortAudio has already loaded it.
        jack = ctypes.CDLL("libjack.so.0", mode=os.RTLD_NOLOAD | os.RTLD_NOW)
        jack.jack_set_error_function(ignore)
        jack.jack_set_info_function(ignore)


class _Mute:
    """Keeps PortAudio from writing to file descriptor 2. Threads may mute at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._muters = 0
        self._kept = -1
        self._caught = -1

    def begin(self, *, keep_others: bool) -> None:
        """Raises OSError without a standard error. keep_others: text that others write is passed on at the end."""
        with self._lock, contextlib.ExitStack() as unneeded:
            # First the steps that need a file handle: if none is left, nothing is muted.
            nothing = -1
            if not keep_others:
                nothing = os.open(os.devnull, os.O_WRONLY)
                unneeded.callback(os.close, nothing)
            if self._muters == 0:
                caught = os.memfd_create("stderr")
                try:
                    self._kept = os.dup(2)
                except OSError:
                    os.close(caught)
                    raise
                self._caught = caught
                os.dup2(caught, 2)
            self._muters += 1
            if nothing >= 0:
                os.dup2(nothing, 2)

    def end(self) -> None:
        with self._lock:
            self._muters -= 1
            if self._muters:
                return
            os.dup2(self._kept, 2)
            os.close(self._kept)
            os.lseek(self._caught, 0, os.SEEK_SET)
            with os.fdopen(self._caught, "rb") as file:
                others = b"".join(line for line in file if not line.startswith(_NOISE))
            if others:
                with contextlib.suppress(OSError):
                    os.write(2, others)


_mute = _Mute()
_apart = False


@contextlib.contextmanager
def portaudio_muted(*, keep_others: bool = True) -> Iterator[None]:
    """Redirects file descriptor 2 into a file during an attempt, because PortAudio prints each failed attempt there and
    offers no hook. Text that others write in this time is passed on afterwards. A child process that another thread
    starts in these milliseconds keeps the file as its standard error.

    keep_others=False: for a longer time; text written in this time is lost. Does nothing unless keep_stderr_apart() was
    called, after which this program does not write to descriptor 2 any more."""
    if not keep_others and not _apart:
        yield
        return
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.flush()
    try:
        _mute.begin(keep_others=keep_others)
    except OSError:
        # There is no standard error.
        yield
        return
    try:
        yield
    finally:
        _mute.end()


def keep_stderr_apart() -> None:
    """Gives sys.stderr a descriptor of its own, so that muting PortAudio does not mute this program. For an unplugged
    device PortAudio writes the same lines without end (PortAudio issue 1037), until its stream is closed."""
    global _apart
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.flush()
        _apart = True
        sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
