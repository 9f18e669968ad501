"""Sound cards, through PortAudio: PyAudio in callback mode, both ways.

These facts were measured with PortAudio 19.6, the version of Debian 12 and 13, and explain the design:

- Ending a stream from another thread than the one in a blocking read or write hangs or crashes; callback mode does not.
- close() without stop_stream() is the abort: silence within 5 ms, and hardly ever more than 5 ms for the call. On a
  suspended device it never returns, hence the deadline.
- The list of devices is frozen until every PyAudio object is terminated, hence one owner of the only one:
  portaudio_host.py.
- A device that is lost ends the callbacks without a message: recovery.py watches for this. Opening a stale entry of the
  list may fail an assertion, hence a new list before each new try, unless kernel and ALSA say that it is in its old
  place.
- Pa_OpenStream that fails while another stream runs may crash the process: the error passes through a variable that all
  threads of pa_linux_alsa.c share (paUtilErr_, pa_unix_util.h), the other stream sets it to "no error", and an object
  that was not opened is used as a stream. Hence ALSA is asked first, and rates that it refuses are tried last.
- close(), terminate() and open() may hang for as long as a sound server hangs; the interpreter goes on meanwhile. So an
  opening that was closed meanwhile closes its stream itself when it is over.
- A sound configuration without one usable `pcm` entry (for example ALSA_CONFIG_PATH at an empty file) fails an
  assertion inside PortAudio and aborts the process. Python cannot prevent that; the message names pa_linux_alsa.c.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Generic, Literal, TypeVar

import pyaudio

from parleyd.audio.devices import alsa, sound_server
from parleyd.audio.devices.device import Deliver, DeviceError, Fill, StreamInfo, too_few_channels
from parleyd.audio.devices.kept_state import Callback
from parleyd.audio.devices.portaudio_host import CardDevice, Direction, host
from parleyd.core.log_fields import fields

log = logging.getLogger(__name__)

# none: the device is still missing; as listed: it can be opened as before; new list: it may exist, and PortAudio's list
# is out of date.
Prospect = Literal["none", "as listed", "new list"]

# None: the device's own.
_RATES_HZ = {"input": (16_000, None, 48_000, 44_100), "output": (48_000, None, 44_100, 16_000)}
_PERIODS_PER_S = {"input": 50, "output": 100}
_BELIEVED_S = 60.0
# A period of the microphone that ended longer ago is not the last one: the device has stopped.
_FRESH_S = 0.1
_BYTES_PER_SAMPLE = pyaudio.get_sample_size(pyaudio.paInt16)
# How USB devices are called: by the kernel's driver, in ALSA's name; by PulseAudio and PipeWire.
_USB, _USB_SINK = "USB Audio", "alsa_output.usb-"


# ---------------------------------------------------------------- finding and opening


def find(spec: str, direction: Direction) -> CardDevice:
    """Finds the device. spec: `default` or a part of a name, in upper or lower case; a complete name is preferred.
    DeviceError lists the devices."""
    devices = [device for device in host.devices() if device.channels(direction)]
    if not devices:
        raise DeviceError(
            f"there is no sound {direction} device",
            "plug one in, see `arecord -l` and `aplay -l`, add the user to the group audio; "
            f"or set audio.{direction}.device to wav:PATH or null",
        )
    names = ", ".join(f"'{device.name}'" for device in devices)
    if spec == "default":
        index = host.default_index(direction)
        for device in devices:
            if device.index == index:
                return device
        raise DeviceError(f"there is no default {direction} device", f"set audio.{direction}.device to one of {names}")
    wanted = spec.casefold()
    whole = [device for device in devices if device.name.casefold() == wanted]
    parts = whole[:1] or [device for device in devices if wanted in device.name.casefold()]
    if not parts:
        if held := alsa.unlisted(device.name for device in host.devices()):
            raise DeviceError(
                f"no {direction} device that opens is called '{spec}', but {' and '.join(held)} cannot be opened now",
                f"end the program that uses it (`fuser -v /dev/snd/*` names it), or choose one of {names}",
            )
        raise DeviceError(
            f"no {direction} device is called '{spec}'; there are {names}",
            f"set audio.{direction}.device to a part of one of these names; `parleyd devices` lists them",
        )
    if len(parts) > 1:
        candidates = ", ".join(f"'{device.name}'" for device in parts)
        raise DeviceError(f"'{spec}' may be any of the {direction} devices {candidates}", "give more of the name")
    return parts[0]


def explain(error: OSError, name: str, direction: Direction) -> DeviceError:
    """PortAudio's error in words; the codes are those of portaudio.h."""
    code = error.errno if error.errno is not None else (error.args[0] if error.args else None)
    if code == pyaudio.paDeviceUnavailable:
        return DeviceError(
            f"the {direction} device '{name}' is busy",
            f"end the program that uses it (`fuser -v /dev/snd/*` names it) or choose another audio.{direction}.device",
        )
    reason = error.args[-1] if error.args else error
    return DeviceError(
        f"the {direction} device '{name}' cannot be opened: {reason}",
        f"see `parleyd devices`, or choose another audio.{direction}.device",
    )


# Makes the callback of a stream with this number of channels, and this rate.
MakesCallback = Callable[[int, int], Callback]
# Takes a period as the device delivers it: its sound, and when it ended. info: how the device was opened.
TakesPeriod = Callable[[bytes, float, StreamInfo], None]
User = TypeVar("User", Deliver, Fill)


class Ahead:
    """An opening that nobody has asked for yet. info, error: what came of it. closings: of the card, when it began."""

    def __init__(self, closings: int) -> None:
        self.info: StreamInfo | None = None
        self.error: Exception | None = None
        self.closings = closings
        self._lock = threading.Lock()
        self._callback: Callback | None = None  # of who takes or makes its sound; None: nobody yet
        self._last: tuple[bytes, float] | None = None

    def given_to(self, makes: MakesCallback, takes: TakesPeriod | None = None) -> StreamInfo:
        """makes: the callback from now on. takes: the period that came last, unless it is too old: the next one may be
        as far away as a period is long. Raises the error of the opening."""
        if self.info is None:
            assert self.error is not None
            raise self.error
        callback = makes(self.info.channels, self.info.rate_hz)
        with self._lock:
            # With the lock, so that the next period comes behind it.
            if takes is not None and self._last is not None and time.monotonic() - self._last[1] < _FRESH_S:
                takes(*self._last, self.info)
            self._callback, self._last = callback, None
        return self.info

    def until_then(self, silence_bytes: int) -> Callback:
        """The callback of the stream. silence_bytes: what a speaker plays until then, for each sample."""

        def callback(data: bytes | None, frames: int, at: Any, status: int) -> tuple[bytes | None, int]:
            if (given := self._callback) is not None:
                return given(data, frames, at, status)
            with self._lock:
                if (given := self._callback) is None:
                    if data is not None:
                        self._last = data, time.monotonic()
                    return bytes(frames * silence_bytes) or None, pyaudio.paContinue
            return given(data, frames, at, status)

        return callback


class Card(Generic[User]):
    """One direction of a sound card. The name becomes the device's own when it is open."""

    def __init__(self, spec: str, direction: Direction, *, keeps_state: bool) -> None:
        """keeps_state: see Host.open()."""
        self.name = spec
        self._keeps_state = keeps_state
        self._spec = spec
        self._direction = direction
        self._stream: Any = None
        self._older: Any = None  # the stream that runs beside it until the other has taken over
        self._closings = 0
        # Using a stream while it is being closed crashes the process.
        self._stream_lock = threading.Lock()
        self._device: CardDevice | None = None
        self._worked: StreamInfo | None = None  # the parameters of the last opening
        self._alsa_knows = False  # ALSA itself has said before that this would work
        self._place: alsa.Place | None = None
        self._closed_s = 0.0
        # Held while it is opened ahead, so that open() waits for that.
        self._ahead_lock = threading.Lock()
        self._ahead: Ahead | None = None
        self._is_asked_for = False  # open() was called

    @property
    def is_there(self) -> bool:
        """Whether the kernel knows the card. True for a device of a sound server, which cannot be seen so."""
        return self._place is None or not self._place.is_empty

    @property
    def active(self) -> bool:
        """Whether the stream is active. False is certain; True means that PortAudio reports an active stream, and that
        the kernel still knows the card."""
        if not self.is_there:
            return False
        with self._stream_lock:
            try:
                return self._stream is not None and bool(self._stream.is_active())
            except OSError:
                return False

    def prospect(self) -> Prospect:
        """The prospect of opening the device again; asks ALSA, which does not disturb other streams."""
        device, worked = self._device, self._worked
        if device is None or worked is None or not self._alsa_knows or host.cards_appeared:
            return "new list"
        if self._place is not None and not self._place.has_the_same_card:
            # In another place it would have appeared as a new card. But a list is not trusted for ever.
            return "new list" if time.monotonic() - max(host.listed_s, self._closed_s) > _BELIEVED_S else "none"
        return "as listed" if self._alsa_opens(device, worked.rate_hz) else "none"

    def _alsa_opens(self, device: CardDevice, rate_hz: int) -> bool:
        with host.calling("opening a device"):
            return alsa.opens(alsa.pcm_name(device.name), recording=self._direction == "input", rate_hz=rate_hz)

    def _counts(self, device: CardDevice) -> list[int]:
        """The numbers of channels to try, best first."""
        # Some plugins claim dozens of channels; a device with more than two rarely needs all of them.
        return sorted({1, min(2, device.channels(self._direction)), device.channels(self._direction)})

    def _attempts(self, device: CardDevice) -> Iterator[tuple[int, int, bool]]:
        """The rates and channels to try, best first: the ones that worked before, then the most suitable; and whether
        ALSA accepts them. Those that ALSA refuses come last, or are left out if ALSA was right before.
        """
        rates = [rate or device.default_rate_hz for rate in _RATES_HZ[self._direction]]
        counts = self._counts(device)
        if (worked := self._worked) is not None:
            rates.insert(0, worked.rate_hz)
            counts.sort(key=lambda channels: channels != worked.channels)
        refused = []
        for rate_hz in dict.fromkeys(rates):
            if device.host_api == "ALSA" and not self._alsa_opens(device, rate_hz):
                refused.append(rate_hz)
            else:
                yield from ((rate_hz, channels, device.host_api == "ALSA") for channels in counts)
        if not self._alsa_knows:
            yield from ((rate_hz, channels, False) for rate_hz in refused for channels in counts)

    def open_ahead(self) -> bool:
        """Opens it for the first open(), which then returns, or raises, what came of it. Until then a microphone's
        sound is dropped, but for its last period, and a speaker plays silence. Returns whether it is open; does nothing
        after an open(). Needs no numpy, which is imported meanwhile."""
        with self._ahead_lock:
            if self._is_asked_for:
                return False
            self._ahead = ahead = Ahead(self._closings)
            try:
                ahead.info = self._open(self._until_asked_for(ahead))
            except Exception as error:  # noqa: BLE001 - open() raises it
                ahead.error = error
            return ahead.info is not None

    def _opened_ahead(self) -> Ahead | None:
        """The outcome of open_ahead(), once; waits for it. None: there is none, or the card has been closed since."""
        with self._ahead_lock:
            self._is_asked_for = True
            ahead, self._ahead = self._ahead, None
        return ahead if ahead is not None and ahead.closings == self._closings else None

    def _until_asked_for(self, ahead: Ahead) -> MakesCallback:
        raise NotImplementedError

    def _open(self, callback: MakesCallback) -> StreamInfo:
        """Opens the stream, if necessary again with a new list of devices. callback(channels, rate_hz) makes the
        stream's callback."""
        try:
            return self._open_listed(callback)
        except DeviceError:
            if not host.refresh():
                raise
            info = self._open_listed(callback)
            host.unload_unused()
            return info

    def _open_listed(
        self, callback: MakesCallback, period_ms: int | None = None, *, beside: bool = False
    ) -> StreamInfo:
        """beside: the present stream goes on, as the older one."""
        with self._stream_lock:
            closings = self._closings
        device = find(self._spec, self._direction)
        refusal: OSError | None = None
        for rate_hz, channels, alsa_agrees in self._attempts(device):
            period_samples = rate_hz // _PERIODS_PER_S[self._direction]
            if period_ms is not None:
                period_samples = rate_hz * period_ms // 1000
            try:
                stream = host.open(
                    keeps_state=self._keeps_state,
                    rate=rate_hz,
                    channels=channels,
                    frames_per_buffer=period_samples,
                    stream_callback=callback(channels, rate_hz),
                    **{self._direction: True, f"{self._direction}_device_index": device.index},
                )
            except OSError as error:
                refusal = error
                if error.errno == pyaudio.paDeviceUnavailable:
                    break
                continue
            try:
                latency_s = stream.get_input_latency() if self._direction == "input" else stream.get_output_latency()
                with host.calling("starting a device"):
                    stream.start_stream()
            except OSError as error:
                host.close(stream)
                refusal = error
                continue
            with self._stream_lock:
                is_late = closings != self._closings
                if not is_late:
                    self._older, self._stream = self._stream if beside else None, stream
            if is_late:
                host.close(stream)
                words = f"the {self._direction} device '{device.name}' was opened too late"
                raise DeviceError(words, "see what keeps the sound server busy")
            self._device = device
            self._place = alsa.place(device.name)
            self.name = device.name
            self._alsa_knows = alsa_agrees
            self._worked = StreamInfo(rate_hz, channels, period_samples, float(latency_s))
            return self._worked
        if refusal is None:
            raise DeviceError(
                f"the {self._direction} device '{device.name}' cannot be opened now",
                f"check its plug, see `parleyd devices`, or choose another audio.{self._direction}.device",
            )
        raise explain(refusal, device.name, self._direction) from refusal

    def close(self) -> None:
        with self._stream_lock:
            self._closings += 1
            streams = [stream for stream in (self._stream, self._older) if stream is not None]
            self._stream = self._older = None
        if streams:
            self._closed_s = time.monotonic()
        self._end(streams)

    def _end(self, streams: list[Any]) -> None:
        if False in [host.close(stream) for stream in streams]:
            # If this lasts, the service ends with the reason: audio/recovery.py.
            words = "the %s device '%s' does not let itself be closed yet"
            log.warning(words, self._direction, self.name, extra=fields(device=self.name))


class PortAudioInput(Card[Deliver]):
    """A microphone: 16 kHz mono if it can be, else its own rate and channels; 20 ms periods.

    channel: the number of the channel, from 1; None: the mean of all channels. hears: after open(), the channels in
    words, or why they are unknown.
    """

    def __init__(self, spec: str, channel: int | None = None) -> None:
        super().__init__(spec, "input", keeps_state=True)
        self.overflows = 0
        self.hears = ""
        self._channel = channel
        self._take = channel  # of the channels that are asked for

    def _counts(self, device: CardDevice) -> list[int]:
        self._take, most, source = self._channel, device.input_channels, None
        if device.claims_any("input"):
            with host.calling("asking the sound server"):
                source = sound_server.source_behind(alsa.pcm_name(device.name))
        there_are = most if not device.claims_any("input") else len(source.positions) if source is not None else None
        behind = f" of '{source.name}' behind it" if source is not None else ""
        if self._channel is None:
            self.hears = f"the mean of {there_are} channels{behind}" if (there_are or 0) > 1 else ""
            return super()._counts(device)
        if there_are is not None:
            self.hears = f"channel {self._channel} of {there_are}{behind}"
        if source is not None:
            # With fewer channels than the source has, the server delivers a mix; with more, copies.
            choice = sound_server.choose(source, self._channel)
            self._take = choice.take
            return [choice.ask_for]
        if there_are is None:
            self.hears = (
                f"channel {self._channel}, as '{device.name}' gives it: how many channels there are behind it cannot "
                "be found out, so that it may be a mix of several"
            )
            log.warning("the microphone: %s", self.hears, extra=fields(device=device.name))
            return [max(2, self._channel)]
        if self._channel > most:
            raise too_few_channels(f"the input device '{device.name}'", most, self._channel)
        # Hardware delivers its channels in order if all of them are requested.
        return [most, self._channel]

    def open(self, deliver: Deliver) -> StreamInfo:
        """Raises DeviceError."""
        if (ahead := self._opened_ahead()) is None:
            return self._open(self._callbacks(deliver))
        from parleyd.audio import pcm as sound

        def take(data: bytes, end_s: float, info: StreamInfo) -> None:
            pcm = sound.to_mono(data, info.channels, self._take)
            deliver(pcm, end_s - len(pcm) / sound.BYTES_PER_SAMPLE / info.rate_hz)

        return ahead.given_to(self._callbacks(deliver), take)

    def _until_asked_for(self, ahead: Ahead) -> MakesCallback:
        return lambda _channels, _rate_hz: ahead.until_then(0)

    def open_beside(self, deliver: Deliver, period_ms: int | None) -> StreamInfo:
        """See OpensBeside. Hardware that is opened without a sound server has only one stream. Raises DeviceError."""
        if self._place is not None:
            raise DeviceError(f"the input device '{self.name}' has only one stream", "nothing has to be done")
        return self._open_listed(self._callbacks(deliver), period_ms, beside=True)

    def close_older(self) -> None:
        with self._stream_lock:
            older, self._older = self._older, None
        self._end([older] if older is not None else [])

    def _callbacks(self, deliver: Deliver) -> MakesCallback:
        # Imported here, because the device opens while numpy is imported.
        from parleyd.audio import pcm as sound
        from parleyd.audio.devices.safe_callbacks import SafeCallbacks

        def make(channels: int, rate_hz: int) -> Callback:
            take = self._take

            def mono(data: bytes, start_s: float) -> None:
                deliver(sound.to_mono(data, channels, take), start_s)

            safe = SafeCallbacks(self._spec).deliver(deliver if channels == 1 else mono)

            def callback(data: bytes | None, frames: int, _time: Any, status: int) -> tuple[None, int]:
                start_s = time.monotonic() - frames / rate_hz
                if status & pyaudio.paInputOverflow:
                    self.overflows += 1
                safe(data or b"", start_s)
                return None, pyaudio.paContinue

            return callback

        return make


class PortAudioOutput(Card[Fill]):
    """A speaker: 48 kHz if it can be, one channel or the same on all; 10 ms periods, for a latency of 20 ms or so."""

    def __init__(self, spec: str, *, is_cut: bool = False) -> None:
        """is_cut: a close has to end the sound at once, so that it cannot wait for a last callback."""
        super().__init__(spec, "output", keeps_state=not is_cut)
        self.underruns = 0

    def begins_at_once(self) -> bool:
        """Whether the device is of a kind that plays the first sound after it is opened, and makes no noise then: USB,
        as far as the names of ALSA and of a sound server tell. Others may swallow it (HDMI, Bluetooth) or pop (the
        amplifiers of small boards). Asks the sound server, in bounded time."""
        if self._device is None:
            return False
        if self._place is not None:
            return _USB in self.name
        with host.calling("asking the sound server"):
            sink = sound_server.sink_behind(alsa.pcm_name(self._device.name))
        return sink is not None and sink.startswith(_USB_SINK)

    def open(self, fill: Fill) -> StreamInfo:
        """Raises DeviceError."""
        if (ahead := self._opened_ahead()) is None:
            return self._open(self._callbacks(fill))
        return ahead.given_to(self._callbacks(fill))

    def _until_asked_for(self, ahead: Ahead) -> MakesCallback:
        return lambda channels, _rate_hz: ahead.until_then(channels * _BYTES_PER_SAMPLE)

    def _callbacks(self, fill: Fill) -> MakesCallback:
        # Imported here, because the device opens while numpy is imported.
        from parleyd.audio.devices.safe_callbacks import SafeCallbacks

        def make(channels: int, _rate_hz: int) -> Callback:
            safe = SafeCallbacks(self._spec).fill(fill, channels)

            def callback(_data: bytes | None, frames: int, _time: Any, status: int) -> tuple[bytes, int]:
                if status & pyaudio.paOutputUnderflow:
                    self.underruns += 1
                return safe(frames), pyaudio.paContinue

            return callback

        return make
