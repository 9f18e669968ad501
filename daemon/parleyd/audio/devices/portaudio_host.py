"""PortAudio itself: the process's only PyAudio object, its list of devices, and its calls, any of which may hang.

portaudio.py describes PortAudio's behaviour.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any, Literal

import pyaudio
from msgspec import Struct

from parleyd.audio.devices import alsa
from parleyd.audio.devices.kept_state import KeptState
from parleyd.audio.devices.native_output import portaudio_muted, silence_libraries

log = logging.getLogger(__name__)

Direction = Literal["input", "output"]

# A device that claims more channels and is not a card (hw:) is a plugin.
MOST_CARD_CHANNELS = 16
CLOSE_DEADLINE_S = 1.0  # for an abort, which takes milliseconds on working devices


class CardDevice(Struct, frozen=True):
    """One entry of PortAudio's list."""

    index: int
    """The number of the entry in PortAudio's list."""
    name: str
    """The name that PortAudio gives it."""
    host_api: str
    """The name of the host API that it belongs to, for example ALSA."""
    default_rate_hz: int
    """The rate that PortAudio names as its default."""
    input_channels: int
    """The largest number of channels to record; 0: no microphone."""
    output_channels: int
    """The largest number of channels to play; 0: no speaker."""

    def channels(self, direction: Direction) -> int:
        return self.input_channels if direction == "input" else self.output_channels

    def claims_any(self, direction: Direction) -> bool:
        """Whether it is a plugin that accepts any number of channels; it does not know the real number."""
        is_card = alsa.pcm_name(self.name) != self.name
        return self.channels(direction) > MOST_CARD_CHANNELS and not is_card


class Host:
    """Owns the process's PyAudio object. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._pa: pyaudio.PyAudio | None = None
        self._count_lock = threading.Lock()
        self._streams = 0
        self._calls: dict[object, tuple[str, float]] = {}
        self._cards: dict[int, str] = {}
        self._kept: dict[Any, KeptState] = {}  # by stream, of those that keep the state of their thread
        self.listed_s = 0.0

    def refresh(self) -> bool:
        """Makes PortAudio build a new list of devices at the next use. Returns whether that was possible: not while a
        stream is open."""
        with self._lock:
            if self._streams:
                return False
            if self._pa is not None:
                with self.calling("terminating"):
                    self._pa.terminate()
                self._pa = None
            return True

    def unload_unused(self) -> None:
        """Gives back the memory of what only the list of devices was made with. Does nothing while a device is being
        opened, which may hang."""
        if self._lock.acquire(blocking=False):
            try:
                alsa.unload_unused()
            finally:
                self._lock.release()

    def oldest_call(self) -> tuple[str, float] | None:
        """The oldest call into PortAudio that has not returned: its purpose, and its start."""
        with self._count_lock:
            return min(self._calls.values(), key=lambda call: call[1], default=None)

    @contextlib.contextmanager
    def calling(self, what: str) -> Iterator[None]:
        """The context for a call that may hang."""
        token = object()
        with self._count_lock:
            self._calls[token] = what, time.monotonic()
        try:
            yield
        finally:
            with self._count_lock:
                del self._calls[token]

    @property
    def cards_appeared(self) -> bool:
        """Whether the kernel knows a sound card that it did not know when the list of devices was made."""
        return bool(alsa.cards().items() - self._cards.items())

    def devices(self) -> list[CardDevice]:
        """All devices in PortAudio's list."""
        with self._lock:
            pa = self._object()
            found = []
            for index in range(pa.get_device_count()):
                info = pa.get_device_info_by_index(index)
                api = pa.get_host_api_info_by_index(info["hostApi"])
                keys = ("defaultSampleRate", "maxInputChannels", "maxOutputChannels")
                rate_hz, inputs, outputs = (round(info[key]) for key in keys)
                found.append(CardDevice(index, str(info["name"]), str(api["name"]), rate_hz, inputs, outputs))
            return found

    def default_index(self, direction: Direction) -> int | None:
        """The index of the default device; None: there is none."""
        with self._lock:
            pa = self._object()
            ask = pa.get_default_input_device_info if direction == "input" else pa.get_default_output_device_info
            try:
                return int(ask()["index"])
            except OSError:
                return None

    def supports(self, device: CardDevice, direction: Direction, rate_hz: int) -> bool:
        """Whether it can be opened at this rate now; also False while another program holds it."""
        channels = min(device.channels(direction), 2)
        options = {"device": device.index, "channels": channels, "format": pyaudio.paInt16}
        with self._lock, portaudio_muted(), self.calling("asking a device"):
            try:
                named = {f"{direction}_{key}": value for key, value in options.items()}
                return bool(self._object().is_format_supported(rate_hz, **named))
            except ValueError:
                return False

    def open(self, *, keeps_state: bool = False, **options: Any) -> Any:
        """Opens a PyAudio stream, not yet started. Raises OSError with PortAudio's code. keeps_state: its callbacks
        cost less, and closing it waits for one more (kept_state.py)."""
        kept = KeptState() if keeps_state else None
        if kept is not None:
            options["stream_callback"] = kept.callback(options["stream_callback"])
        with self._lock, portaudio_muted(), self.calling("opening a device"):
            stream = self._object().open(format=pyaudio.paInt16, start=False, **options)
            with self._count_lock:
                self._streams += 1
                if kept is not None:
                    self._kept[stream] = kept
            return stream

    def close(self, stream: Any) -> bool:
        """Aborts the stream. Returns False if PortAudio did not return in time; the stream counts as open until it
        does."""
        done = threading.Event()
        with self._count_lock:
            kept = self._kept.pop(stream, None)

        def abort() -> None:
            with self.calling("closing a device"):
                if kept is not None:
                    kept.let_go()
                try:
                    stream.close()
                except OSError as error:
                    log.debug("closing a sound stream: %s", error)
            with self._count_lock:
                self._streams -= 1
            done.set()

        # PortAudio may hang here; only this thread is lost then.
        try:
            threading.Thread(target=abort, name="portaudio close", daemon=True).start()
        except RuntimeError:
            # The system has no thread left. If the call hangs, oldest_call() shows it.
            abort()
        return done.wait(CLOSE_DEADLINE_S)

    def _object(self) -> pyaudio.PyAudio:
        if self._pa is None:
            silence_libraries()
            self._cards = alsa.cards()
            self.listed_s = time.monotonic()
            with portaudio_muted(), self.calling("listing the devices"):
                self._pa = pyaudio.PyAudio()
        return self._pa


host = Host()
