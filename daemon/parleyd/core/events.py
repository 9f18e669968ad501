"""What happens, as frozen values, and the bus that carries them.

Every event has `at_s`, the monotonic time at which it was true in the room (an answer that starts at 12.0 is audible
from 12.0 on), so that a timeline drawn from events matches a recording.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Literal

from parleyd.core.endings import Ending


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Event):
    """The daemon listens. microphone and speaker: the devices' names; None without sound."""

    microphone: str | None
    speaker: str | None
    output_latency_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UtteranceStarted(Event):
    """The gate opened; at_s is the start of the speech, before the verdict."""

    utterance: int
    detected_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UtteranceEnded(Event):
    """The gate closed; at_s is the end of the speech, before the hangover."""

    utterance: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TalkStopped(Event):
    """The person pauses or has finished; at_s is the end of the speech. The gate stays open for the hangover."""

    utterance: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Woken(Event):
    """Somebody wants the agent; the supervisor's next StateChanged follows from it. by device: nobody does, but a timer
    has gone off."""

    by: Literal["speech", "word", "command", "device"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged(Event):
    """The supervisor moved. The names are those of core.states.State and Trigger."""

    before: str
    after: str
    trigger: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOpened(Event):
    """handshake_ms: from the decision to connect. resent_ms: kept speech that goes up first."""

    conversation_id: str
    handshake_ms: int
    resent_ms: int
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnded(Event):
    """A session, or an attempt at one, is over; by whom, its ending tells. conversation_id: empty for an attempt."""

    ending: Ending
    conversation_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard(Event):
    """What the agent understood."""

    text: str
    final: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed(Event):
    """What the person typed, for the agent to take as said."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerPart(Event):
    """A piece of an answer in writing, as it is made: kind start, then delta with text, then stop. part_of: the same
    for all pieces of one answer, as the provider numbers it. The whole text comes as AnswerText, before or after."""

    kind: str
    text: str
    part_of: int | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerText(Event):
    """What the agent says, or after a correction what of it was said. answer: which AnswerStarted will sound of it.
    greeting: it comes as early as a greeting does, and so perhaps answers nothing."""

    text: str
    corrected: bool = False
    answer: int = 0
    greeting: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerStarted(Event):
    """The first sample of an answer is audible."""

    answer: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerEnded(Event):
    """The last sample of an answer that will be heard has been heard, of all that had come of it.

    lost_ms: of total_ms, the end that could not be kept, because the agent was too far ahead of the speaker.
    """

    answer: int
    heard_ms: int
    finished: bool
    total_ms: int = 0
    lost_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BargedIn(Event):
    """The answer was cut; its AnswerEnded tells when the last of it sounded. by: server or local."""

    by: str
    heard_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ducked(Event):
    on: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechLost(Event):
    """Speech that no agent will hear: dropped because too much or too old. Cause in words."""

    lost_ms: int
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechHeldBack(Event):
    """Something sounded like speech and did not get through the gate. held_ms: since the last such event, for each
    reason (audio.held_back.Why). total_ms: since the start."""

    held_ms: dict[str, int]
    total_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedLost(Event):
    """What no agent will read of what was typed. typed_s: at_s of its Typed. Cause in words."""

    text: str
    typed_s: float
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCalled(Event):
    """parameters: with what looks like a secret masked, and cut when they are long."""

    name: str
    parameters: object = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSent(Event):
    """A file has reached the agent. upload: the number that `send_file` was answered with. media_type: as image/png."""

    upload: int
    name: str
    media_type: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFailed(Event):
    """A file has not reached the agent. text, hint: why, and what to do about it."""

    upload: int
    name: str
    text: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolEnded(Event):
    """fault: one of tools.result.Fault's words, or None where all went well; what came of it is in the audit log."""

    name: str
    fault: str | None
    took_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerWentOff(Event):
    """A timer that the agent has set. late_s: it was due so long ago, while the device was off."""

    number: int
    label: str
    late_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalWanted(Event):
    """Somebody is to allow or deny a call of an MCP tool; without an answer until until_s it is denied.

    approval: what the answer names; made here. call_id: the agent's own. parameters: all of them, as they are.
    """

    approval: str
    call_id: str
    service: str
    name: str
    description: str
    until_s: float
    parameters: object = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalSettled(Event):
    """by: rule, person, deadline, or what else put an end to the question."""

    call_id: str
    name: str
    allowed: bool
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationWanted(Event):
    """Somebody is to allow a call of a tool of this device; without an answer until until_s it is not done.

    approval, call_id: as in ApprovalWanted. parameters: all of them, as the tool will get them.
    """

    approval: str
    call_id: str
    name: str
    until_s: float
    parameters: object = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationSettled(Event):
    """by: person, deadline, or what else put an end to the question."""

    approval: str
    call_id: str
    name: str
    allowed: bool
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLost(Event):
    """No more sound from or to a device; it is looked for. which: microphone or speaker. at_s: its last sign.
    hint: what to do about it."""

    which: str
    name: str
    cause: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceBack(Event):
    """Sound again. away_s: since its last sign of life."""

    which: str
    name: str
    away_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnouncementStarted(Event):
    """The first sound of an announcement is audible. announcement: its number, as the request was answered."""

    announcement: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnouncementEnded(Event):
    """The last of it was heard, or it failed, perhaps before it started. finished: all of it was heard.

    reason, hint: why not, and what to do about it.
    """

    announcement: int
    finished: bool
    reason: str | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Muted(Event):
    """The microphone was muted by command (on), or is heard again. warning: why that will not outlive a restart."""

    on: bool
    warning: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeChanged(Event):
    """Somebody set the volume, 0 to 1."""

    volume: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InputGainChanged(Event):
    """The microphone is made louder by so much now, by audio.input.gain_db and by what auto_gain has learnt. Told
    when a whole dB has come together."""

    gain_db: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileChanged(Event):
    """Another profile is in force; None: the configuration without any. by: schedule, command or reload."""

    profile: str | None
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetNear(Event):
    """Four fifths of a budget are used. period: day or month."""

    period: str
    left_s: float
    of_minutes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSpent(Event):
    """A budget came to its end in a session, which is over after the turn that is under way."""

    reason: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeRefused(Event):
    """There is no session now although one was asked for. by: what refuses it; device: timers have opened too
    many sessions."""

    by: Literal["budget", "quiet hours", "device"]
    reason: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble(Event):
    """Something the user should know, once. hint: what to do about it. part: what is not as it should be from now until
    TroubleOver, and so in `status`; None where the text is all."""

    text: str
    hint: str | None = None
    part: Literal["echo", "agent", "mute switch", "timer file"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TroubleOver(Event):
    """The part is taken to be as it should be again. For `agent` the daemon's moves say so: live, or asleep."""

    part: Literal["echo", "mute switch", "timer file"]


def text_chars(event: Event) -> int:
    """How much text is in it: for queues, which are bounded in that as well as in number."""
    values = (getattr(event, one.name) for one in fields(event))
    return sum(len(value) for value in values if isinstance(value, str))


Subscriber = Callable[[Event], None]


class Bus:
    """Hands every event to every subscriber, on the thread that publishes it.

    Subscribers must return at once and must not raise: who has work to do puts the event into a queue of its own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscribers: tuple[Subscriber, ...] = ()

    def subscribe(self, subscriber: Subscriber) -> None:
        with self._lock:
            self._subscribers = (*self._subscribers, subscriber)

    def publish(self, event: Event) -> None:
        for subscriber in self._subscribers:
            subscriber(event)
