"""The pictures that wait for a pause, since over the same line as the sound they would hold it up. Pure.

A picture goes when nobody talks, no answer is being given and none is owed; after PICTURE_WAITS_S it goes all the same.
The picture that a tool has taken waits for the person only, since the agent waits for it. Mute covers the pictures of
the camera that wait, and not the files of a person.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import msgspec
from msgspec import Struct

from parleyd.agents.commands import Prepared, ToolDone
from parleyd.conversation.dialogue.agent_input import AgentInput
from parleyd.conversation.dialogue.commands import Channel
from parleyd.core import events
from parleyd.core.faults import Fault

# The longest wait for a pause, the number of files that may wait, and the time after which it is looked again.
PICTURE_WAITS_S, MOST_PICTURES, PICTURE_LOOK_S = 60.0, 4, 0.25
# The size of all pictures that may wait, those of tools among them.
MOST_PICTURES_BYTES = 16 * 2**20
_MUTED = "this device was muted before the picture could go"


class Pause(Struct, frozen=True):
    """person: nobody talks. agent: no answer is being given, and none is owed."""

    person: bool
    agent: bool


class _Picture(Struct, frozen=True):
    """sent: the event that tells of it. until_s: the end of its wait. done: the result of the tool that took it. file,
    text: otherwise the file, and the words that go with it; see AgentInput.send_file."""

    session: Channel
    sent: events.FileSent
    until_s: float
    of_camera: bool
    done: ToolDone | None = None
    file: Prepared | None = None
    text: str | None = None


class Pictures:
    """publish: tells everybody of an event. interrupt: ends the answer that is being given, at this time."""

    def __init__(
        self, to_agent: AgentInput, publish: Callable[[events.Event], None], interrupt: Callable[[float], None]
    ) -> None:
        self._to_agent = to_agent
        self._publish = publish
        self._interrupt = interrupt
        self._waiting: deque[_Picture] = deque()
        self._is_muted = False
        # When look() has something to do; None: not before the next event.
        self.next_look_s: float | None = None

    def add_result(self, session: Channel, done: ToolDone, picture: Prepared, now_s: float, pause: Pause) -> None:
        """A tool has taken a picture. done: the tool's result, with the picture."""
        sent = events.FileSent(
            at_s=now_s, upload=0, name=picture.name, media_type=picture.media_type, size_bytes=picture.size_bytes
        )
        taken = _Picture(session, sent, now_s + PICTURE_WAITS_S, of_camera=True, done=done)
        if self._is_muted:
            self._refuse(taken, _MUTED, now_s)
        else:
            self._add(taken, now_s, pause)

    def add_file(
        self,
        session: Channel,
        file: Prepared,
        text: str | None,
        sent: events.FileSent,
        now_s: float,
        pause: Pause,
        *,
        of_camera: bool,
    ) -> bool:
        """See AgentInput.send_file. of_camera: mute covers it. Returns whether it was taken; otherwise that is told."""
        picture = _Picture(session, sent, now_s + PICTURE_WAITS_S, of_camera, file=file, text=text)
        if len(self._waiting) >= MOST_PICTURES:
            self._refuse(picture, f"{MOST_PICTURES} pictures wait for a pause already", now_s)
            return False
        return self._add(picture, now_s, pause)

    def look(self, now_s: float, pause: Pause) -> None:
        """Sends one picture; an answer to it follows, for which the next one waits."""
        self.next_look_s = now_s + PICTURE_LOOK_S if self._waiting else None
        if not self._waiting:
            return
        first = self._waiting[0]
        is_pause = pause.person and (pause.agent or first.done is not None)
        if not is_pause and now_s < first.until_s:
            return
        self._waiting.popleft()
        sent = msgspec.structs.replace(first.sent, at_s=now_s)
        if first.done is not None:
            self._publish(sent)
            self._to_agent.reply(first.session, first.done, now_s)
        else:
            assert first.file is not None, "it is a tool's or a person's"
            self._interrupt(now_s)
            self._to_agent.send_file(first.file, first.text, sent, now_s)

    def mute(self, on: bool, now_s: float) -> None:
        """Pictures of the camera that wait are not sent any more, and no further ones until `on` is False."""
        self._is_muted = on
        if on:
            self._drop(_MUTED, now_s, of_camera=True)

    def session_over(self, now_s: float) -> None:
        self._drop("the session ended before the picture could go", now_s)

    def _add(self, picture: _Picture, now_s: float, pause: Pause) -> bool:
        waiting_bytes = sum(one.sent.size_bytes for one in self._waiting)
        if waiting_bytes + picture.sent.size_bytes > MOST_PICTURES_BYTES:
            size, most = waiting_bytes / 2**20, MOST_PICTURES_BYTES // 2**20
            self._refuse(picture, f"{size:.1f} MiB of pictures wait for a pause, and {most} MiB may", now_s)
            return False
        self._waiting.append(picture)
        self.look(now_s, pause)
        if picture in self._waiting:
            self._publish(events.FileWaits(at_s=now_s, upload=picture.sent.upload, name=picture.sent.name))
        return True

    def _drop(self, why: str, now_s: float, *, of_camera: bool = False) -> None:
        """of_camera: only those, and not the files of a person."""
        for picture in [one for one in self._waiting if one.of_camera or not of_camera]:
            self._waiting.remove(picture)
            self._refuse(picture, why, now_s)
        if not self._waiting:
            self.next_look_s = None

    def _refuse(self, picture: _Picture, why: str, now_s: float) -> None:
        """Tells whoever waits for it: the person, or the agent that called the tool."""
        if picture.done is not None:
            failed = ToolDone(picture.done.call_id, f"There is no picture: {why}.", Fault.FAILED)
            self._to_agent.reply(picture.session, failed, now_s)
            return
        sent, hint = picture.sent, "send it again"
        self._publish(events.FileFailed(at_s=now_s, upload=sent.upload, name=sent.name, text=why, hint=hint))
