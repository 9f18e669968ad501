"""Decides what a connection of Home Assistant's is answered, and which sound is played. Pure: time is an argument."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Attribution, Describe, Info, Satellite
from wyoming.ping import Ping, Pong

from parleyd.config.wyoming_section import Wyoming

# wyoming.snd.Played, whose module would load asyncio's processes.
PLAYED = Event("played")
_LOWEST_HZ, _HIGHEST_HZ = 8_000, 48_000
_SAMPLE_BYTES = 2
_MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Send:
    """An event for the peer."""

    event: Event


@dataclass(frozen=True, slots=True)
class Play:
    """A whole announcement: mono, signed 16 bit, little-endian."""

    pcm: bytearray = field(repr=False)
    rate_hz: int

    @property
    def length_s(self) -> float:
        return len(self.pcm) / _SAMPLE_BYTES / self.rate_hz


@dataclass(frozen=True, slots=True)
class Refuse:
    """The announcement is not played. ends: the connection ends, too, because nothing else in the protocol makes the
    action of Home Assistant fail."""

    text: str
    hint: str
    ends: bool = True

    @property
    def event(self) -> Event:
        return Error(self.text, "refused").event()


Command = Send | Play | Refuse


class Turns:
    """Admits announcements: one at a time, and so many within a minute, of all connections together."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._begun_s: deque[float] = deque()
        self.is_taken = False

    def take(self, now_s: float) -> Refuse | None:
        """Takes the turn, or says why not."""
        if self.is_taken:
            return Refuse("another announcement is not over yet", "send it when that has been heard")
        while self._begun_s and now_s - self._begun_s[0] >= _MINUTE_S:
            self._begun_s.popleft()
        if len(self._begun_s) >= self._per_minute:
            text = f"there were {self._per_minute} announcements within a minute already"
            return Refuse(text, "send fewer, or raise wyoming.per_minute on the device")
        self._begun_s.append(now_s)
        self.is_taken = True
        return None

    def give_back(self) -> None:
        self.is_taken = False


class Target:
    """The rules of one connection. is_receiving: an announcement is coming, and holds the turn; after a Play the caller
    holds it, until the sound is over."""

    def __init__(self, settings: Wyoming, info: Event, turns: Turns) -> None:
        self._settings = settings
        self._info = info
        self._turns = turns
        self._rate_hz = 0
        self._pcm = bytearray()
        self.is_receiving = False

    def take(self, event: Event, now_s: float) -> Iterator[Command]:
        """Yields the commands that follow from an event. After a Refuse that ends the connection the caller
        hands no further event over."""
        if Describe.is_type(event.type):
            yield Send(self._info)
        elif Ping.is_type(event.type):
            text = event.data.get("text")
            yield Send(Pong(text if isinstance(text, str) else None).event())
        elif AudioStart.is_type(event.type):
            yield from self._refused(self._start(event, now_s))
        elif AudioChunk.is_type(event.type) and self.is_receiving:
            yield from self._refused(self._chunk(event))
        elif AudioStop.is_type(event.type) and self.is_receiving:
            yield self._stop()
        # All other events are for a satellite that has a conversation by way of Home Assistant.

    def _refused(self, refusal: Refuse | None) -> Iterator[Refuse]:
        if refusal is not None:
            # The connection may stay for as long as its peer does not read, and must not hold the turn meanwhile.
            self.over()
            yield refusal

    def over(self) -> None:
        """The connection has ended, or is about to."""
        if self.is_receiving:
            self.is_receiving = False
            self._turns.give_back()
        self._pcm = bytearray()

    def _start(self, event: Event, now_s: float) -> Refuse | None:
        if self.is_receiving:
            return Refuse("an announcement began within another", "send one after the other")
        rate_hz, width, channels = (event.data.get(name) for name in ("rate", "width", "channels"))
        if (width, channels) != (_SAMPLE_BYTES, 1) or not isinstance(rate_hz, int):
            return Refuse("the sound is not mono with 16 bits", "send it so")
        if not _LOWEST_HZ <= rate_hz <= _HIGHEST_HZ:
            return Refuse(f"the rate of the sound is {rate_hz} Hz", f"send {_LOWEST_HZ} to {_HIGHEST_HZ} Hz")
        refusal = self._turns.take(now_s)
        if refusal is None:
            self.is_receiving = True
            self._rate_hz = rate_hz
        return refusal

    def _chunk(self, event: Event) -> Refuse | None:
        self._pcm += event.payload or b""
        if len(self._pcm) > self._settings.max_s * self._rate_hz * _SAMPLE_BYTES:
            text = f"the sound is longer than {self._settings.max_s:g} s"
            return Refuse(text, "send a shorter one, or raise wyoming.max_s on the device")
        return None

    def _stop(self) -> Command:
        self.is_receiving = False
        # Not copied: it may be megabytes.
        pcm, self._pcm = self._pcm, bytearray()
        del pcm[len(pcm) - len(pcm) % _SAMPLE_BYTES :]
        if not pcm:
            self._turns.give_back()
            return Refuse("no sound came", "see the log of Home Assistant", ends=False)
        return Play(pcm, self._rate_hz)


def info(settings: Wyoming, host_name: str, version: str) -> Event:
    """The answer to `describe`: a satellite, since Home Assistant announces to nothing else. host_name: of this
    machine, for its name."""
    satellite = Satellite(
        name=settings.name or f"parleyd {host_name}",
        attribution=Attribution(name="parleyd", url=""),
        installed=True,
        description="parleyd: announcements alone, no conversation",
        version=version,
        area=settings.area,
        has_vad=False,
        active_wake_words=[],
        max_active_wake_words=0,
        supports_trigger=False,
    )
    return Info(satellite=satellite).event()
