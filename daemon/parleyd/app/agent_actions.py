"""The actions of the agent on this device: the functions behind parleyd's own tools (tools/built_in.py)."""

from __future__ import annotations

import contextlib
from typing import Protocol

from parleyd.agents.provider import UploadError
from parleyd.announce.announcer import AnnouncementRefusedError, Announcer
from parleyd.app.status import StatusReport, told_to_agent
from parleyd.audio.mixer import MixerError
from parleyd.conversation.dialogue.dialogue import Dialogue
from parleyd.conversation.dialogue.uploads import Uploads
from parleyd.conversation.supervisor.supervisor import Supervisor
from parleyd.core import events
from parleyd.host.stopping import Stop
from parleyd.tools.device_tools import DaemonActions
from parleyd.tools.result import Fault, Shown, ToolError


class Device(Protocol):
    """The part of the service that the agent may use, as a person may. See Service."""

    @property
    def has_sound(self) -> bool: ...

    def mute(self, on: bool) -> str | None: ...

    def set_volume(self, volume: float) -> None: ...

    def look_at_volume(self) -> None: ...

    def status(self) -> StatusReport: ...


class AgentActions:
    """Call attach() before the first function is called. follow() takes the events of the bus.

    announcer: None: there is no voice without the agent.
    """

    def __init__(self, device: Device, announcer: Announcer | None) -> None:
        self._device = device
        self._announcer = announcer
        # Announcements that have not ended: number → (its text, the text for an agent that is there).
        self._said_aloud: dict[int, tuple[str, str]] = {}

    def attach(self, dialogue: Dialogue, supervisor: Supervisor, uploads: Uploads) -> None:
        """Gives it the parts that are built after the tools."""
        self._dialogue = dialogue
        self._supervisor = supervisor
        self._uploads = uploads

    def functions(self) -> DaemonActions:
        return DaemonActions(
            set_volume=self._set_volume,
            mute=self._mute,
            end_conversation=lambda: self._supervisor.end_soon(),
            status=self._status,
            tell=self._tell,
            look=self._look,
            say_aloud=self._say_aloud,
        )

    def follow(self, event: events.Event) -> None:
        """An agent that is there is told what was said without it. A text that the voice could not say is given to the
        agent, which says it."""
        if not isinstance(event, events.AnnouncementEnded):
            return
        text, for_agent = self._said_aloud.pop(event.announcement, ("", ""))
        if text and event.reason is not None:
            self._tell(f"{text} The device could not say this by itself. Tell the person.")
        elif text:
            self._dialogue.context(for_agent, None, by_person=False)

    def _set_volume(self, volume: float) -> None:
        self._need_sound()
        try:
            self._device.set_volume(volume)
        except MixerError as error:
            raise ToolError(Fault.FAILED, f"The volume could not be set: {error}.") from error

    def _mute(self, on: bool) -> str | None:
        self._need_sound()
        return self._device.mute(on)

    def _need_sound(self) -> None:
        if not self._device.has_sound:
            raise ToolError(Fault.FAILED, "This device has neither a microphone nor a speaker.")

    def _status(self) -> str:
        # "Louder" is relative to the level that the speaker's own buttons have set.
        with contextlib.suppress(MixerError):
            self._device.look_at_volume()
        return told_to_agent(self._device.status())

    def _tell(self, text: str) -> None:
        """Tells the agent something, in a session that is opened if necessary; and asks it to say it, unless somebody
        is talking with it."""
        self._dialogue.tell(text)
        self._supervisor.wake_for_device()

    def _look(self, stop: Stop) -> Shown:
        try:
            prepared = self._uploads.shown(stop)
        except UploadError as error:
            raise ToolError(Fault.FAILED, f"There is no picture: {error}. For the person: {error.hint}.") from error
        return Shown("The camera has taken a picture, which is shown to you now.", prepared)

    def _say_aloud(self, text: str, for_agent: str) -> bool:
        """Speaks a text without the agent; an agent that is there is told the second one. Returns whether there is a
        voice for it."""
        if self._announcer is None:
            return False
        try:
            number = self._announcer.announce(text, now=False)
        except AnnouncementRefusedError:
            return False
        self._said_aloud[number] = text, for_agent
        return True
