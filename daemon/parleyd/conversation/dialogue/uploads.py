"""Files for the agent: each is made ready on a thread of its own, and then sent with the person's words to it.

The caller hands over an open file, never a path: the daemon may read other files than the person may.
"""

from __future__ import annotations

import io
import logging
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import PurePath

from msgspec import Struct
from msgspec.structs import replace

from parleyd.agents.commands import Prepared
from parleyd.agents.pictures import ENDINGS
from parleyd.agents.provider import ANY_MEDIA_TYPE, Agent, Attachment, Capabilities, UploadError
from parleyd.conversation.dialogue.dialogue import Dialogue
from parleyd.core import events
from parleyd.core.no_memory import HINT
from parleyd.core.text import name_text
from parleyd.host import handed_over
from parleyd.host.handed_over import Whose
from parleyd.host.stopping import Stop
from parleyd.tools.camera import CameraError, Picture

log = logging.getLogger(__name__)

# For the whole of it; each step within has a shorter time of its own.
LONGEST_S = 120.0
STEP_S = 20.0
# A session that was asleep has to come about first.
SESSION_S = 20.0
ACTIVE_EVERY_S = 5.0
# How much of a file is read at a time; an agent takes it in smaller pieces.
_PIECE_BYTES = 256 * 1024


class Uploads:
    """One at a time. The outcome of each is told as FileSent or FileFailed on the bus. camera: takes a picture; blocks,
    and raises CameraError."""

    def __init__(
        self,
        agent: Agent,
        dialogue: Dialogue,
        bus: events.Bus,
        camera: Callable[[Stop], Picture] | None = None,
        may_show: Callable[[], None] = lambda: None,
        fallback: Agent | None = None,
    ) -> None:
        """camera: takes a picture. may_show: raises CameraError if no picture of it may go now. fallback: the agent of
        sessions that are with the fallback."""
        self.configured = agent
        self._fallback = fallback
        self._is_fallback = False
        self._camera = camera
        self._may_show = may_show
        self._stops: set[Stop] = set()
        self._dialogue = dialogue
        self._bus = bus
        self._changed = threading.Condition()
        self._conversation_id: str | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._count = 0
        bus.subscribe(self._take)

    def stop(self) -> None:
        """A file that is under way is given up; its thread ends by itself."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for stop in tuple(self._stops):
            stop.set()

    @property
    def agent(self) -> Agent:
        """The agent of the session that is open, or was open last."""
        return self._fallback if self._is_fallback and self._fallback is not None else self.configured

    def send(self, descriptor: int, name: str, text: str | None, uid: int | None = None) -> int:
        """Takes the descriptor over, also where it refuses. Returns the upload's number. Raises UploadError.

        name: with its ending, which tells the type; a folder before it is cut off. uid: of the user who hands it over;
        None: the daemon's own. The caller wakes the daemon. Blocks while the file is looked at, for
        handed_over.ANSWER_S at most."""
        can = self.agent.capabilities
        try:
            name = PurePath(name).name
            whose = Whose(name_text(name), os.geteuid() if uid is None else uid)
            name, media_type, size_bytes = _in_time(lambda: _examined(descriptor, name, can), whose)
            reader = _Reader(descriptor, name, whose, self._goes_on)
            attachment = Attachment(name, media_type, size_bytes, reader.read)
            return self._begin(lambda: attachment, name, text, lambda: handed_over.close(descriptor))
        except BaseException:
            handed_over.close(descriptor)
            raise

    def look(self, text: str | None) -> int:
        """Takes a picture and sends it; otherwise like send()."""
        if self._camera is None or not takes_pictures(self.agent.capabilities):
            raise UploadError("this agent takes no pictures", "describe it to the agent in words")
        stop = Stop()
        self._stops.add(stop)
        try:
            return self._begin(
                lambda: self._picture(stop), "picture", text, lambda: self._stops.discard(stop), of_camera=True
            )
        except UploadError:
            self._stops.discard(stop)
            raise

    def shown(self, stop: Stop) -> Prepared:
        """Takes a picture for the session that is open, on the caller's thread. Raises UploadError."""
        with self._changed:
            conversation_id = self._conversation_id
        if conversation_id is None:
            raise UploadError("no session is open", "`parleyd look` takes a picture and opens one")
        picture = self._picture(stop)
        prepared = self.agent.prepare(conversation_id, picture, STEP_S)
        self._check_camera()
        return replace(prepared, size_bytes=picture.size_bytes)

    def _picture(self, stop: Stop) -> Attachment:
        assert self._camera is not None
        try:
            picture = self._camera(stop)
        except CameraError as error:
            raise UploadError(str(error), error.hint) from error
        _fits(self.agent.capabilities, picture.name, picture.media_type, len(picture.data))
        return Attachment(picture.name, picture.media_type, len(picture.data), io.BytesIO(picture.data).read)

    def _check_camera(self) -> None:
        """Somebody may have muted the device while the picture was prepared. Raises UploadError."""
        try:
            self._may_show()
        except CameraError as error:
            raise UploadError(str(error), error.hint) from error

    def _begin(
        self,
        attach: Callable[[], Attachment],
        name: str,
        text: str | None,
        close: Callable[[], None],
        *,
        of_camera: bool = False,
    ) -> int:
        with self._changed:
            if self._thread is not None:
                raise UploadError("another file is being sent", "wait until it is through")
            self._count += 1
            job = _Job(self._count, attach, name, text, close, of_camera)
            thread = threading.Thread(target=self._run, args=(job,), name="upload", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise UploadError("the system has no thread left", "see `parleyd status`") from error
            self._thread = thread
        return job.number

    def _take(self, event: events.Event) -> None:
        now: str | None = None
        match event:
            case events.SessionOpened(conversation_id=conversation_id, is_fallback=is_fallback):
                now, self._is_fallback = conversation_id, is_fallback
            case events.StateChanged(after=after) if after != "live":
                pass
            case _:
                return
        with self._changed:
            self._conversation_id = now
            self._changed.notify_all()

    def _run(self, job: _Job) -> None:
        try:
            try:
                self._send(job)
            except MemoryError as error:
                raise UploadError("there is not enough memory for it", HINT) from error
        except UploadError as error:
            log.info("the file %s was not sent: %s", job.name, error)
            self._over()
            self._bus.publish(
                events.FileFailed(
                    at_s=time.monotonic(), upload=job.number, name=job.name, text=str(error), hint=error.hint
                )
            )
        finally:
            self._over()
            job.close()

    def _over(self) -> None:
        """Called before the outcome is told: a listener may send the next file at once."""
        with self._changed:
            if self._thread is threading.current_thread():
                self._thread = None

    def _send(self, job: _Job) -> None:
        conversation_id = self._session()
        attachment = job.attach()
        prepared = self.agent.prepare(conversation_id, attachment, STEP_S)
        if job.of_camera:
            self._check_camera()
        with self._changed:
            same = self._conversation_id == conversation_id
        self._over()
        sent = events.FileSent(
            at_s=time.monotonic(),
            upload=job.number,
            name=attachment.name,
            media_type=attachment.media_type,
            size_bytes=attachment.size_bytes,
        )
        if not same or not self._dialogue.send_file(prepared, job.text, sent, of_camera=job.of_camera):
            raise UploadError("the session ended while the file was on its way", "send it again")

    def _session(self) -> str:
        with self._changed:
            self._changed.wait_for(lambda: self._conversation_id is not None or self._stopping, SESSION_S)
            if self._conversation_id is None or self._stopping:
                raise UploadError(f"no session came about within {SESSION_S:g} s", "see `parleyd status`")
            return self._conversation_id

    def _goes_on(self) -> None:
        """The session shall not end for want of activity meanwhile."""
        if self._stopping:
            raise UploadError("the daemon stops", "send it again later")
        self._dialogue.user_active()


class _Job(Struct, frozen=True):
    """attach: reads or makes the file; may block. close: at the end, in each case. of_camera: mute covers it."""

    number: int
    attach: Callable[[], Attachment]
    name: str
    text: str | None
    close: Callable[[], None]
    of_camera: bool


class _Reader:
    def __init__(self, descriptor: int, name: str, whose: Whose, goes_on: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._name, self._whose = name, whose
        self._goes_on = goes_on
        self._at_bytes = 0
        self._ahead = b""
        self._until_s = time.monotonic() + LONGEST_S
        self._told_s = float("-inf")

    def read(self, most_bytes: int) -> bytes:
        now_s = time.monotonic()
        if now_s >= self._until_s:
            raise UploadError(f"the file was not sent within {LONGEST_S:g} s", "send a smaller one, or see the network")
        if now_s - self._told_s >= ACTIVE_EVERY_S:
            self._told_s = now_s
            self._goes_on()
        try:
            if not self._ahead:
                self._ahead = handed_over.in_time(self._piece, self._whose, handed_over.PIECE_S)
        except handed_over.BusyError as error:
            raise UploadError("other files hang, and this one was not read", handed_over.HINT) from error
        except handed_over.HangsError as error:
            why = f"{self._name} does not answer within {handed_over.PIECE_S:g} s"
            raise UploadError(why, handed_over.HINT) from error
        except OSError as error:
            raise UploadError(f"{self._name} cannot be read: {error.strerror}", "send another file") from error
        if not self._ahead:
            raise UploadError(f"{self._name} became shorter while it was sent", "send it again")
        piece, self._ahead = self._ahead[:most_bytes], self._ahead[most_bytes:]
        self._at_bytes += len(piece)
        return piece

    def _piece(self) -> bytes:
        # Not where the descriptor stands: it may be shared with the one who handed it over.
        return os.pread(self._descriptor, _PIECE_BYTES, self._at_bytes)


def _in_time(examine: Callable[[], tuple[str, str, int]], whose: Whose) -> tuple[str, str, int]:
    try:
        return handed_over.in_time(examine, whose)
    except handed_over.BusyError as error:
        raise UploadError("other files hang, and this one was not looked at", handed_over.HINT) from error
    except handed_over.HangsError as error:
        raise UploadError(f"the file does not answer within {handed_over.ANSWER_S:g} s", handed_over.HINT) from error


def _examined(descriptor: int, name: str, can: Capabilities) -> tuple[str, str, int]:
    """Name, media type, size. can: of the agent that is to get the file. Raises UploadError."""
    if not can.attachments:
        raise UploadError("this agent takes no files", "describe it to the agent in words")
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise UploadError(f"{name} is not a file", f"send a regular file: {_wanted(can)}")
    if not found.st_size:
        raise UploadError(f"{name} is empty", "send another file")
    # Imported here, because the first file is early enough.
    import mimetypes

    media_type, packing = mimetypes.guess_type(name, strict=False)
    if media_type is None or packing is not None:
        raise UploadError(f"the ending of {name!r} does not tell its type", "name it so, such as .png, .jpg or .pdf")
    _fits(can, name, media_type, found.st_size)
    return name, media_type, found.st_size


def _fits(can: Capabilities, name: str, media_type: str, size_bytes: int) -> None:
    """Raises UploadError."""
    most_bytes = can.attachments.get(media_type, can.attachments.get(ANY_MEDIA_TYPE))
    if most_bytes is None:
        raise UploadError(f"this agent takes no {media_type}", f"send {_wanted(can)}")
    if size_bytes > most_bytes:
        most = most_bytes // 2**20
        raise UploadError(f"{name} has {size_bytes / 2**20:.1f} MiB; {most} are allowed", "send a smaller one")


def takes_pictures(can: Capabilities) -> bool:
    return ANY_MEDIA_TYPE in can.attachments or not ENDINGS.keys().isdisjoint(can.attachments)


def _wanted(can: Capabilities) -> str:
    return "an image or a PDF" if ANY_MEDIA_TYPE in can.attachments else " or ".join(sorted(can.attachments))
