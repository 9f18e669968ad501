"""The events, as frozen values, and the bus that carries them.

Every event has `at_s`, the monotonic time at which it was true in the room (an answer that starts at 12.0 is audible
from 12.0 on), so that a timeline drawn from events matches a recording.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from parleyd.core.endings import Ending


class Event(Struct, frozen=True, kw_only=True):
    at_s: float


class Started(Event, frozen=True, kw_only=True):
    """The daemon listens. microphone and speaker: the devices' names; None without sound."""

    microphone: str | None
    speaker: str | None
    output_latency_ms: int


class UtteranceStarted(Event, frozen=True, kw_only=True):
    """The gate opened; at_s is the start of the speech, before the verdict."""

    utterance: int
    detected_s: float


class UtteranceEnded(Event, frozen=True, kw_only=True):
    """The gate closed; at_s is the end of the speech, before the hangover."""

    utterance: int


class TalkStopped(Event, frozen=True, kw_only=True):
    """The person pauses or has finished; at_s is the end of the speech. The gate stays open for the hangover."""

    utterance: int


class Woken(Event, frozen=True, kw_only=True):
    """Somebody wants to talk to the agent; the supervisor's next StateChanged follows from it. by device: a timer has
    gone off."""

    by: Literal["speech", "word", "command", "device"]


class StateChanged(Event, frozen=True, kw_only=True):
    """The supervisor moved. The names are those of core.states.State and Trigger."""

    before: str
    after: str
    trigger: str
    reason: str


class SessionOpened(Event, frozen=True, kw_only=True):
    """handshake_ms: from the decision to connect. resent_ms: kept speech that is sent first. tries: how often it was
    tried to open it, this time included. is_fallback: it is with the fallback, not with the agent."""

    conversation_id: str
    handshake_ms: int
    resent_ms: int
    tries: int
    is_fallback: bool = False


class FallbackBegan(Event, frozen=True, kw_only=True):
    """The fallback answers instead of the agent. reason: why the agent cannot; hint: what to do about it. is_first: the
    agent has held no session since the fallback last began."""

    reason: str
    hint: str | None
    is_first: bool


class FallbackOver(Event, frozen=True, kw_only=True):
    """The agent answers again."""


class SessionEnded(Event, frozen=True, kw_only=True):
    """A session, or an attempt at one, is over; its ending contains the reason. conversation_id: empty for an
    attempt."""

    ending: Ending
    conversation_id: str = ""


class WordsExpected(Event, frozen=True, kw_only=True):
    """The agent has taken in what the person said just now. Its words come with Heard, perhaps only after the answer,
    or NotTranscribed tells that there are none; sometimes neither comes. said: numbers what was said, upwards."""

    said: int


class Heard(Event, frozen=True, kw_only=True):
    """The words that the agent understood. said: the number of WordsExpected; 0: there was none."""

    text: str
    final: bool
    said: int = 0


class NotTranscribed(Event, frozen=True, kw_only=True):
    """The person's words have no transcript. The agent has heard them all the same. reason: one line."""

    said: int
    reason: str


class Typed(Event, frozen=True, kw_only=True):
    """A text that the person typed, which the agent takes for spoken words."""

    text: str


class AnswerPart(Event, frozen=True, kw_only=True):
    """A piece of a written answer: kind start, then delta with text, then stop. part_of: the number of the answer, the
    same for all its pieces. The whole text comes as AnswerText, before or after."""

    kind: str
    text: str
    part_of: int


class AnswerText(Event, frozen=True, kw_only=True):
    """The agent's words, or after a correction the words that were said. answer: the number of its AnswerStarted.
    greeting: it comes as early as a greeting, and so may not be an answer."""

    text: str
    corrected: bool = False
    answer: int = 0
    greeting: bool = False


class AnswerStarted(Event, frozen=True, kw_only=True):
    """The first sample of an answer is audible."""

    answer: int


class AnswerEnded(Event, frozen=True, kw_only=True):
    """The last audible sample of an answer has been heard, of all its sound so far.

    lost_ms: the end of total_ms that was dropped because the agent was too far ahead of the speaker.
    """

    answer: int
    heard_ms: int
    finished: bool
    total_ms: int = 0
    lost_ms: int = 0


class AnswerIncomplete(Event, frozen=True, kw_only=True):
    """The agent's answer ends in the middle, because of its server; the session goes on. text, hint: see AnswerFailed.
    answer: the number of its AnswerStarted; 0: nothing of it came."""

    text: str
    hint: str | None
    answer: int = 0


class AnswerFailed(Event, frozen=True, kw_only=True):
    """The agent could not answer; the session goes on. text, hint: the reason, and what to do about it, if anything.
    retry_after_s: it is asked again by itself after that; null: not before a person has done something.
    without_credit: the account has none left."""

    text: str
    hint: str | None
    retry_after_s: float | None = None
    without_credit: bool = False


class Spent(Event, frozen=True, kw_only=True):
    """The provider's count of what it bills beside the time. model: as the provider names it. tokens: by kind
    (agents.events.Token). seconds: of sound, such as for a transcription."""

    model: str
    tokens: dict[str, int]
    seconds: float


class BargedIn(Event, frozen=True, kw_only=True):
    """The answer was cut; its AnswerEnded has the time of its last sound. by: server or local."""

    by: str
    heard_ms: int


class OrderHeard(Event, frozen=True, kw_only=True):
    """The device itself has understood an order to it (barge_in.words). order: stop, louder, quieter or repeat."""

    order: str


class Ducked(Event, frozen=True, kw_only=True):
    on: bool


class SpeechLost(Event, frozen=True, kw_only=True):
    """Speech that no agent will hear, because it was too much or too old. cause: in words."""

    lost_ms: int
    cause: str


class SoundMissing(Event, frozen=True, kw_only=True):
    """Sound of the room from at_s on did not come from the microphone, or was dropped; it may have held speech.
    missing_ms: how much; 0: the sound card lost some and did not tell how much. cause: in words."""

    missing_ms: int
    cause: str


class SpeechHeldBack(Event, frozen=True, kw_only=True):
    """Sound like speech did not pass the gate. held_ms: since the last such event, for each reason
    (audio.gate.held_back.Why). total_ms: since the start."""

    held_ms: dict[str, int]
    total_ms: int


class TypedLost(Event, frozen=True, kw_only=True):
    """A typed text was discarded before an agent received it. typed_s: at_s of its Typed. cause: in words."""

    text: str
    typed_s: float
    cause: str


class ToolCalled(Event, frozen=True, kw_only=True):
    """parameters: shortened if they are long, with values masked that look like secrets."""

    name: str
    parameters: object

    def __repr__(self) -> str:
        return _without_parameters(self)


class FileWaits(Event, frozen=True, kw_only=True):
    """A picture waits for a pause: it goes over the same line as the sound. upload: as in FileSent."""

    upload: int
    name: str


class FileSent(Event, frozen=True, kw_only=True):
    """A file has reached the agent. upload: the number in the answer to `send_file` and `look`; 0: the agent itself
    took the picture, with its tool `look`. media_type: such as image/png."""

    upload: int
    name: str
    media_type: str
    size_bytes: int


class FileFailed(Event, frozen=True, kw_only=True):
    """A file has not reached the agent. text, hint: why, and what to do about it."""

    upload: int
    name: str
    text: str
    hint: str


class ToolEnded(Event, frozen=True, kw_only=True):
    """fault: one of the values of tools.result.Fault, or None after success; the audit log has the result."""

    name: str
    fault: str | None
    took_ms: int


class TimerWentOff(Event, frozen=True, kw_only=True):
    """A timer that the agent has set has gone off. late_s: how long ago it was due, if the device was off then."""

    number: int
    label: str
    late_s: float


class ApprovalWanted(Event, frozen=True, kw_only=True):
    """A call of an MCP tool waits for a person's permission; without an answer until until_s it is denied.

    approval: the id for the answer, made here. call_id: the agent's id. parameters: all of them, unchanged.
    """

    approval: str
    call_id: str
    service: str
    name: str
    description: str
    until_s: float
    parameters: object

    def __repr__(self) -> str:
        return _without_parameters(self)


class ApprovalSettled(Event, frozen=True, kw_only=True):
    """by: rule, person, deadline, or another cause that ended the question."""

    call_id: str
    name: str
    allowed: bool
    by: str


class ConfirmationWanted(Event, frozen=True, kw_only=True):
    """Somebody is to allow a call of a tool of this device; without an answer until until_s it is not done.

    approval, call_id: as in ApprovalWanted. parameters: all of them, as the tool will get them.
    """

    approval: str
    call_id: str
    name: str
    until_s: float
    parameters: object

    def __repr__(self) -> str:
        return _without_parameters(self)


class ConfirmationSettled(Event, frozen=True, kw_only=True):
    """by: person, deadline, or what else put an end to the question."""

    approval: str
    call_id: str
    name: str
    allowed: bool
    by: str


class DeviceLost(Event, frozen=True, kw_only=True):
    """A device is lost, and the daemon tries to reopen it. which: microphone or speaker. at_s: its last sign of life.
    hint: what to do about it."""

    which: str
    name: str
    cause: str
    hint: str


class DeviceBack(Event, frozen=True, kw_only=True):
    """The device works again. away_s: since its last sign of life."""

    which: str
    name: str
    away_s: float


class AnnouncementStarted(Event, frozen=True, kw_only=True):
    """The first sound of an announcement is audible. announcement: its number, as in the answer to the request."""

    announcement: int
    text: str


class AnnouncementEnded(Event, frozen=True, kw_only=True):
    """The announcement's end was heard, or it failed, perhaps before it started. finished: all of it was heard.

    reason, hint: why it failed, and what to do about it.
    """

    announcement: int
    finished: bool
    reason: str | None = None
    hint: str | None = None


class Muted(Event, frozen=True, kw_only=True):
    """The microphone was muted by command (on), or unmuted. warning: why that will not survive a restart."""

    on: bool
    warning: str | None = None


class VolumeChanged(Event, frozen=True, kw_only=True):
    """Somebody set the volume, 0 to 1."""

    volume: float


class InputGainChanged(Event, frozen=True, kw_only=True):
    """The gain of the microphone has changed: audio.input.gain_db plus the gain learnt by auto_gain. Reported for
    changes of a whole dB."""

    gain_db: float


class ProfileChanged(Event, frozen=True, kw_only=True):
    """Another profile is in force; None: the configuration without a profile. by: schedule, command or reload."""

    profile: str | None
    by: str


class SettingsChanged(Event, frozen=True, kw_only=True):
    """Settings were changed by the control socket. why: set, undone, or `went back: ` and the reason. now,
    next_session, restart: the dotted keys that changed, by the time at which they take effect."""

    revision: int
    why: str
    now: tuple[str, ...]
    next_session: tuple[str, ...]
    restart: tuple[str, ...]


class BudgetNear(Event, frozen=True, kw_only=True):
    """Four fifths of a budget are used. period: day or month. A budget is one of minutes or one of money; the fields of
    the other kind are None."""

    period: str
    left_s: float | None = None
    of_minutes: float | None = None
    left_money: float | None = None
    of_money: float | None = None
    currency: str = ""


class BudgetSpent(Event, frozen=True, kw_only=True):
    """A budget was used up during a session, which ends after the present turn."""

    reason: str
    hint: str


class WakeRefused(Event, frozen=True, kw_only=True):
    """A requested session was refused. by: the cause; device: timers have opened too many sessions."""

    by: Literal["budget", "quiet hours", "device"]
    reason: str
    hint: str


class Trouble(Event, frozen=True, kw_only=True):
    """A problem that the user should know, reported once. hint: what to do about it. part: the part that has this
    trouble until TroubleOver, shown in `status`; None for a message only."""

    text: str
    hint: str | None = None
    part: Literal["echo", "agent", "mute switch", "timer file"] | None = None


class TroubleOver(Event, frozen=True, kw_only=True):
    """The part has no trouble any more. For `agent` the moves to live or asleep end a trouble."""

    part: Literal["echo", "mute switch", "timer file"]


def _without_parameters(event: Event) -> str:
    """Its repr() without the parameters of a tool's call, which may be private and do not belong into a log."""
    names = [name for name in event.__struct_fields__ if name != "parameters"]
    return f"{type(event).__name__}({', '.join(f'{name}={getattr(event, name)!r}' for name in names)})"


def text_chars(event: Event) -> int:
    """The number of characters in the event, for queues that are also limited in text."""
    values = (getattr(event, name) for name in event.__struct_fields__)
    return sum(len(value) for value in values if isinstance(value, str))


Subscriber = Callable[[Event], None]


class Bus:
    """Hands every event to every subscriber, on the thread that publishes it, in the order in which they subscribed.

    A subscriber that lets somebody outside act upon an event (the control server, the director of the demo, a test)
    subscribes after the parts of the daemon: whoever then asks a part finds that the part has had the event, too.
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
