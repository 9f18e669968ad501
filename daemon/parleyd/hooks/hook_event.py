"""The events for which hooks run, and what a hook is told about each. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

from msgspec import Struct, field

from parleyd.config.hook_sections import HookName
from parleyd.core import events
from parleyd.core.plain import plain
from parleyd.core.states import State

# The longest text in an event for a hook; texts of an agent and parameters of a tool may be longer.
MAX_TEXT_CHARS = 4000
_MAX_DEPTH = 6

STATES: dict[str, HookName] = {
    State.ASLEEP.value: "asleep",
    State.CONNECTING.value: "connecting",
    State.LIVE.value: "live",
    State.BACKING_OFF.value: "backing_off",
}
# Events that hooks get unchanged. The events for states, `heard` and `muted` are made by HookEvents.
_NAMES: dict[type[events.Event], HookName] = {
    events.Started: "started",
    events.Woken: "woken",
    events.UtteranceStarted: "utterance_started",
    events.UtteranceEnded: "utterance_ended",
    events.AnswerStarted: "answer_started",
    events.AnswerText: "answer_text",
    events.AnswerEnded: "answer_ended",
    events.BargedIn: "barged_in",
    events.AnnouncementStarted: "announcement_started",
    events.AnnouncementEnded: "announcement_ended",
    events.VolumeChanged: "volume_changed",
    events.ProfileChanged: "profile_changed",
    events.ToolCalled: "tool_called",
    events.ToolEnded: "tool_ended",
    events.ApprovalWanted: "approval_wanted",
    events.ConfirmationWanted: "confirmation_wanted",
    events.TimerWentOff: "timer_went_off",
    events.WakeRefused: "wake_refused",
    events.BudgetNear: "budget_near",
    events.BudgetSpent: "budget_spent",
    events.FallbackBegan: "fallback_began",
    events.FallbackOver: "fallback_over",
    events.DeviceLost: "device_lost",
    events.DeviceBack: "device_back",
    events.Trouble: "trouble",
}
# Events that report how something is: only the newest event of each subject matters.
_STANDS: dict[HookName, str] = {
    **dict.fromkeys(STATES.values(), "state"),
    "utterance_started": "utterance",
    "utterance_ended": "utterance",
    "answer_started": "answer",
    "answer_ended": "answer",
    "announcement_started": "announcement",
    "announcement_ended": "announcement",
    "muted": "muted",
    "unmuted": "muted",
    "volume_changed": "volume",
    "profile_changed": "profile",
    "fallback_began": "fallback",
    "fallback_over": "fallback",
}


class HookEvent(Struct, frozen=True):
    """state: by its name in the configuration. conversation_id: of the session, or of the one that just ended, or "".

    more: fields for the hook besides the event's own.
    """

    name: HookName
    at_s: float
    state: HookName = "asleep"
    conversation_id: str = ""
    profile: str = ""
    event: events.Event | None = None
    more: dict[str, object] = field(default_factory=dict)

    def supersedes(self, older: HookEvent) -> bool:
        """Returns whether the older one is out of date, because this one reports a newer state of the same thing."""
        subject = _STANDS.get(self.name)
        return subject is not None and _STANDS.get(older.name) == subject

    def document(self) -> bytes:
        """Returns one JSON object in ASCII, so that nothing in it can control a terminal or end a line."""
        told = {} if self.event is None else _fields(self.event)
        told |= {
            "event": self.name,
            "at_s": self.at_s,
            "state": self.state,
            "conversation_id": self.conversation_id or None,
            "profile": self.profile or None,
            **self.more,
        }
        return json.dumps(told).encode() + b"\n"

    def environment(self) -> dict[str, str]:
        """Returns environment variables that are safe in any script: none of them contains free text."""
        is_plain = re.fullmatch(r"[A-Za-z0-9_-]{1,100}", self.conversation_id)
        return {
            "PARLEYD_EVENT": self.name,
            "PARLEYD_STATE": self.state,
            "PARLEYD_CONVERSATION_ID": self.conversation_id if is_plain else "",
            "PARLEYD_PROFILE": self.profile,
        }


class HookEvents:
    """A subscriber of the bus that turns each event into what hooks are told; None: no hook can run for it."""

    def __init__(self) -> None:
        self._state: HookName = "asleep"
        self._conversation_id = ""
        self._profile = ""
        self._going_live: events.StateChanged | None = None

    def __call__(self, event: events.Event) -> HookEvent | None:
        match event:
            case events.StateChanged(after=State.LIVE.value):
                # Reported together with the session's id, which follows at once.
                self._going_live = event
                return None
            case events.StateChanged(after=after):
                self._state = STATES[after]
                hook_event = self._hook_event(self._state, event)
                self._conversation_id = ""
                return hook_event
            case events.SessionOpened(conversation_id=conversation_id):
                self._state, self._conversation_id = "live", conversation_id
                before, self._going_live = self._going_live, None
                return self._hook_event("live", event, {} if before is None else _fields(before))
            case events.Heard(final=final):
                return self._hook_event("heard", event) if final else None
            case events.Muted(on=on):
                return self._hook_event("muted" if on else "unmuted", event)
            case events.ProfileChanged(profile=profile):
                self._profile = profile or ""
        name = _NAMES.get(type(event))
        return None if name is None else self._hook_event(name, event)

    def stopped(self, now_s: float) -> HookEvent:
        """Returns the event for the end of the daemon."""
        return HookEvent("stopped", now_s, self._state, self._conversation_id, self._profile)

    def _hook_event(self, name: HookName, event: events.Event, more: dict[str, object] | None = None) -> HookEvent:
        return HookEvent(name, event.at_s, self._state, self._conversation_id, self._profile, event, more or {})


def _fields(event: events.Event) -> dict[str, Any]:
    if isinstance(event, events.ApprovalWanted | events.ConfirmationWanted):
        # These are bounded already, and a person who is asked must see the whole call.
        return {name: plain(getattr(event, name)) for name in event.__struct_fields__}
    return {name: plain(_bounded(getattr(event, name))) for name in event.__struct_fields__}


def _bounded(value: Any, depth: int = 0) -> Any:
    if isinstance(value, str):
        return value[:MAX_TEXT_CHARS]
    if isinstance(value, dict | list) and depth == _MAX_DEPTH:
        return None
    if isinstance(value, dict):
        return {name: _bounded(one, depth + 1) for name, one in value.items()}
    return [_bounded(one, depth + 1) for one in value] if isinstance(value, list) else value
