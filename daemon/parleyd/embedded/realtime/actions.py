"""The actions of the Realtime protocol: what its state machine (protocol.py) has the front do. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from parleyd.embedded.realtime.client_messages import Plain
from parleyd.embedded.realtime.history import Asked
from parleyd.embedded.realtime.response import Event
from parleyd.embedded.record import ActivityKind
from parleyd.embedded.scenario import Trigger
from parleyd.embedded.turn_times import TurnTimes


@dataclass(frozen=True, slots=True)
class Fire:
    """The trigger of a scenario's steps."""

    trigger: Trigger
    type: str | None = None


@dataclass(frozen=True, slots=True)
class Tell:
    """An activity for the record."""

    kind: ActivityKind
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Deviation:
    """The client has violated the protocol."""

    text: str


@dataclass(frozen=True, slots=True)
class SoundArrived:
    """Sound of the client has arrived, at 24 kHz."""

    pcm: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Recognise:
    """The words of this sound are wanted (16 kHz); then recognised() has to be called. silence_ms: the silence that has
    ended it, in which it may have been guessed; None: the client has ended it."""

    item_id: str
    pcm: bytes = field(repr=False)
    silence_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Understood:
    """The words of a spoken turn are there, and its answer begins. is_ahead: they were there before the silence was
    long enough."""

    times: TurnTimes
    is_ahead: bool


@dataclass(frozen=True, slots=True)
class Guess:
    """The person may have said all. The words of this sound (16 kHz) may be recognised, and the model be asked for
    guessed()."""

    pcm: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class DropGuess:
    """The person goes on, or nothing of the guess is wanted."""


@dataclass(frozen=True, slots=True)
class Remind:
    """transcript_due() has to be called after this time."""

    item_id: str
    delay_s: float


@dataclass(frozen=True, slots=True)
class Speak:
    """These sentences are to be spoken, or written; then spoken() has to be called."""

    response_id: str
    sentences: tuple[str, ...]
    is_text: bool


@dataclass(frozen=True, slots=True)
class Ask:
    """The model is to be asked for this response; then begin_words(), sentence() and sound() as words come, and
    answered() at the end have to be called. fillers: said one after the other while the model lets the person wait,
    each ended by filled()."""

    response_id: str
    asked: Asked
    is_text: bool
    fillers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hush:
    """The sentences of this response are not wanted any more."""

    response_id: str


@dataclass(frozen=True, slots=True)
class Raw:
    """A frame that is sent unchanged; bytes make a binary frame. note: for the record."""

    content: str | bytes
    note: Plain


@dataclass(frozen=True, slots=True)
class End:
    """The connection is to be closed."""

    code: int
    reason: str


Action = (
    Event
    | Raw
    | Fire
    | Tell
    | Deviation
    | SoundArrived
    | Recognise
    | Understood
    | Guess
    | DropGuess
    | Remind
    | Speak
    | Ask
    | Hush
    | End
)
Actions = Iterator[Action]
