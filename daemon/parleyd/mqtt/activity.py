"""The present activity of the device, in the words of Home Assistant's voice devices. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_IDLE = {"starting": "connecting", "asleep": "idle", "connecting": "connecting", "backing off": "offline"}


class Activity:
    """Follows the events of the control socket.

    The device responds until its last sound was heard, even if the session has ended by then: an automation that turns
    the music down for the answer must not turn it up in the middle of it.
    """

    def __init__(self) -> None:
        self._daemon = "starting"
        self._sounding: set[tuple[str, int]] = set()
        self.somebody_speaks = False
        self._gate_is_open = False
        self._answer_is_due = False

    def begin(self, status: Mapping[str, Any]) -> None:
        """Takes the state from the status with which the events begin."""
        microphone = status.get("microphone") or {}
        self._daemon = str(status.get("state"))
        self._sounding.clear()
        self._answer_is_due = False
        self.somebody_speaks = self._gate_is_open = bool(microphone.get("somebody_speaks"))

    def take(self, event: Mapping[str, Any]) -> None:
        match event:
            case {"event": "state_changed", "after": str(after)}:
                self._daemon = after
                self._answer_is_due = self._answer_is_due and after != "asleep"
            case {"event": "utterance_started"}:
                self.somebody_speaks = self._gate_is_open = True
                self._answer_is_due = False
            case {"event": "talk_stopped"}:
                self.somebody_speaks = False
            case {"event": "utterance_ended"}:
                self.somebody_speaks = self._gate_is_open = False
                self._answer_is_due = True
            case {"event": "heard", "final": True} | {"event": "typed" | "tool_called"}:
                self._answer_is_due = True
            case {"event": "answer_started", "answer": int(number)}:
                self._sounding.add(("answer", number))
                self._answer_is_due = False
            case {"event": "answer_ended", "answer": int(number)}:
                self._sounding.discard(("answer", number))
            case {"event": "announcement_started", "announcement": int(number)}:
                self._sounding.add(("announcement", number))
            case {"event": "announcement_ended", "announcement": int(number)}:
                self._sounding.discard(("announcement", number))
            case {"event": "answer_failed"}:
                self._answer_is_due = False
            case _:
                pass

    @property
    def agent_speaks(self) -> bool:
        return bool(self._sounding)

    @property
    def state(self) -> str:
        if self._sounding:
            return "responding"
        if self._daemon != "live":
            return _IDLE.get(self._daemon, "offline")
        if self._answer_is_due and not self._gate_is_open:
            return "processing"
        return "listening"
