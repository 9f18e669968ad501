"""Speaks texts one after the other, on a thread that exists only while there are texts.

    announce() ──▶ queue (≤ 8 texts and 8 urgent) ──▶ thread: WebSocket ──▶ Announcements ──▶ the speaker

A text is sent to the server at once, and its sound is kept until there is a pause, so that the network adds no delay.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable

from msgspec import Struct, field

from parleyd.agents.speech import SocketSpeech, Speech, StreamedSpeech
from parleyd.announce.fetching import Fetching
from parleyd.announce.gap import Gap
from parleyd.announce.sound_file import SoundFile
from parleyd.audio.pcm import duration_s
from parleyd.audio.playback.announcements import Announcements
from parleyd.config.schema import Announce
from parleyd.conversation.session.retries import no_memory, retry
from parleyd.core import events
from parleyd.core.endings import DialError, Ending, EndingKind
from parleyd.core.errors import UserError
from parleyd.core.health import Pulse
from parleyd.core.log_fields import fields

log = logging.getLogger(__name__)

MOST_WAITING = 8
# The longest sound of a text; a server that sends more is faulty.
LIMIT_S = 600.0
# The delay before the only retry, which is made if no sound of the text was played yet.
RETRY_S = 0.5
# The interval of checks of the conversation, the speaker and the connection.
_LOOK_S = 0.03
_STOP_S = 0.5
_HINT_VOICE = "set announce.voice_id and the API key of the provider, or install flite or espeak-ng for a local voice"
_STOPS = Ending(EndingKind.USER, "the daemon stops")
# Voices keep to limits of their own, each shorter than this: the timeout for connecting and for each piece, and half a
# minute for the local voice. A source that sends nothing for longer hangs, such as a file on a network drive.
_TIMEOUTS, _HANGS_S = 3, 60.0
# A speaker that takes no sound for this time is lost.
_SPEAKER_GONE_S = 5.0


class AnnouncementRefusedError(UserError):
    """The text will not be spoken. kind: the reason, for programs; hint: what to do about it."""

    def __init__(self, kind: str, text: str, hint: str) -> None:
        super().__init__(text, hint)
        self.kind = kind


class _Item(Struct, eq=False):
    """A text. Its sound is collected in `sound` until it may begin. until_s: at this time it begins even while somebody
    speaks. local: the local voice is to speak it, if there is one. own: the sound that is played in place of a voice;
    the text is then its name."""

    number: int
    text: str
    now: bool
    local: bool
    until_s: float
    own: SoundFile | None = None
    sound: list[bytes] = field(default_factory=list)
    begun: bool = False
    told: bool = False
    # The voice that should have spoken it has failed.
    is_second_choice: bool = False


class _OvertakenError(Exception):
    """An urgent text came before this one had begun."""


class _StoppedError(Exception):
    """The daemon ends."""


class _SpeakerGoneError(Exception):
    """The speaker takes no sound any more."""


class Announcer:
    """announce() from any thread, never waits; stop() at the end. A subscriber of the bus.

    speech: None if no voice is configured. local: the voice of this machine, for texts that the other does not speak;
    None: there is none. timeout_s: for the handshake, and between two messages of the server.
    on_death(what, error): called if an error of this program has ended the thread.
    """

    def __init__(
        self,
        speech: Speech | None,
        section: Announce,
        track: Announcements,
        bus: events.Bus,
        *,
        timeout_s: float,
        on_death: Callable[[str, BaseException], None],
        local: StreamedSpeech | None = None,
    ) -> None:
        self._speech = speech
        self._local = local
        self._section = section
        self._timeout_s = timeout_s
        self._track = track
        self._bus = bus
        self._on_death = on_death
        self._lock = threading.Lock()
        self._gap = Gap()
        self._queue: deque[_Item] = deque()
        self._count = 0
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._told = ""  # the last failure, until something was spoken
        self.pulse = Pulse("announcer")
        bus.subscribe(self._take)

    def announce(self, text: str, *, now: bool, local: bool = False) -> int:
        """Queues a text. now: speak it at once, even while somebody speaks, and before waiting texts. local: by the
        local voice rather than the provider's. Returns its number. Raises AnnouncementRefusedError."""
        text = _printable(text)
        section = self._section
        if not any(sign.isalnum() for sign in text):
            raise AnnouncementRefusedError("nothing_to_say", "there is nothing to be spoken in it", "send some words")
        if len(text) > section.max_chars:
            why = f"the text has {len(text)} characters, an announcement at most {section.max_chars}"
            raise AnnouncementRefusedError("too_much_to_say", why, "shorten it, or raise announce.max_chars")
        if self._speech is None and self._local is None:
            why = "no voice is configured for announcements"
            raise AnnouncementRefusedError("no_voice", why, _HINT_VOICE)
        return self._enqueue(text, now=now, local=local)

    def announce_sound(self, sound: SoundFile, name: str, *, now: bool) -> int:
        """Queues a sound, like a text. name: of the sound, for events and the log. Returns its number. Raises
        AnnouncementRefusedError."""
        return self._enqueue(_printable(name) or "a sound", now=now, own=sound)

    def _enqueue(self, text: str, *, now: bool, local: bool = False, own: SoundFile | None = None) -> int:
        section = self._section
        with self._lock:
            if self._stopping.is_set():
                raise AnnouncementRefusedError("announcements_full", "the daemon is stopping", "say it after its start")
            # Urgent texts have places of their own in the queue.
            if sum(one.now is now for one in self._queue) >= MOST_WAITING:
                why = f"{MOST_WAITING} announcements wait already"
                raise AnnouncementRefusedError("announcements_full", why, "say it again a little later")
            self._count += 1
            item = _Item(self._count, text, now, local, time.monotonic() + (0.0 if now else section.wait_s), own)
            place = sum(one.now for one in self._queue) if now else len(self._queue)
            self._queue.insert(place, item)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="announcer", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:
                    self._queue.remove(item)
                    why = "the system has no thread left"
                    raise AnnouncementRefusedError("announcements_full", why, "see parleyd status") from error
                self._thread = thread
            return item.number

    def reconfigure(
        self, speech: Speech | None, section: Announce, timeout_s: float, local: StreamedSpeech | None = None
    ) -> None:
        """The new settings apply to the next text."""
        with self._lock:
            self._speech = speech
            self._local = local
            self._section = section
            self._timeout_s = timeout_s

    def stop(self) -> None:
        """Cuts the present text, with a fade, and discards waiting texts; returns within half a second."""
        with self._lock:
            self._stopping.set()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_STOP_S)

    def _take(self, event: events.Event) -> None:
        with self._lock:
            self._gap.step(event)
            talking = self._gap.talking
        self._track.under_talk(talking)

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        try:
            while (item := self._next()) is not None:
                self._speak(item)
        except _StoppedError:
            self.pulse.rest()
            for item in self._queue:
                self._tell_end(item, _STOPS)
        except Exception as error:  # noqa: BLE001 - reported to the owner, who ends the daemon
            self._on_death("announcer", error)

    def _next(self) -> _Item | None:
        """The text whose turn it is; None: there is none, and the thread ends. Raises _StoppedError if some wait."""
        with self._lock:
            if self._queue and self._stopping.is_set():
                raise _StoppedError
            if self._queue:
                return self._queue.popleft()
            # Before the next thread can report a pulse.
            self.pulse.rest()
            self._thread = None
        return None

    def _speak(self, item: _Item) -> None:
        try:
            with self._lock:
                speech, local = self._speech, self._local
            if item.own is not None:
                speech, local = item.own, None
            elif local is not None and (speech is None or item.local):
                speech, local = local, None
            ending = self._try(item, speech)
            if ending is not None and ending.kind is EndingKind.RETRY and not item.begun:
                self._wait(RETRY_S)
                item.sound.clear()
                ending = self._try(item, speech)
            if ending is not None and local is not None and not item.begun:
                self._log_failure(item, ending, "the voice of announcements failed; the local voice speaks")
                item.is_second_choice = True
                item.sound.clear()
                ending = self._try(item, local)
            if item.begun:
                self._play_out(item)
        except _OvertakenError:
            item.sound.clear()
            with self._lock:
                self._queue.insert(sum(one.now for one in self._queue), item)
            return
        except _StoppedError:
            self._track.clear()
            self._tell_end(item, _STOPS)
            raise
        except _SpeakerGoneError:
            self._track.clear()
            ending = Ending(EndingKind.FINAL, "the speaker takes no sound", "see parleyd status")
        self._conclude(item, ending)

    def _try(self, item: _Item, speech: Speech | None) -> Ending | None:
        """Fetches the sound; when the text may begin, each piece is played as it arrives. Returns why the sound is
        incomplete, or None."""
        with self._lock:
            timeout_s = self._timeout_s
        if speech is None:
            return Ending(EndingKind.FINAL, "no voice is configured for announcements", _HINT_VOICE)
        try:
            if isinstance(speech, StreamedSpeech):
                ending = self._fetch(item, speech, timeout_s)
            else:
                ending = self._listen(item, speech, timeout_s)
        except MemoryError as error:
            return no_memory(error)
        if ending is None:
            while not item.begun:
                self._wait(_LOOK_S)
                self._go_on(item, speech)
        return ending

    def _fetch(self, item: _Item, speech: StreamedSpeech, timeout_s: float) -> Ending | None:
        """The sound comes in the answer to an HTTP request, or from a file."""
        fetching = Fetching(speech, item.text, timeout_s)
        came_s = 0.0
        hangs_s = _TIMEOUTS * timeout_s + _HANGS_S
        until_s = time.monotonic() + hangs_s
        try:
            while True:
                self._go_on(item, speech)
                try:
                    came = fetching.next(_LOOK_S)
                except queue.Empty:
                    if time.monotonic() >= until_s:
                        why = f"nothing of the sound came for {hangs_s:g} s"
                        return Ending(
                            EndingKind.FINAL,
                            why,
                            "see whether the server, the disk or the network that it comes from hangs",
                        )
                    continue
                until_s = time.monotonic() + hangs_s
                if isinstance(came, Ending):
                    return came
                if came is None:
                    return None if came_s else retry("the server sent no sound", "say it again a little later")
                came_s += duration_s(speech.output_format, came)
                if came_s > LIMIT_S:
                    return _endless(speech)
                item.sound.append(came)
        finally:
            fetching.give_up()

    def _listen(self, item: _Item, speech: SocketSpeech, timeout_s: float) -> Ending | None:
        """The sound comes over a WebSocket."""
        # Imported here, as in the supervisor.
        from parleyd.conversation.session.speech_line import sound_over_line

        self.pulse.rest()
        came_s = 0.0
        try:
            with contextlib.closing(sound_over_line(speech, item.text, timeout_s, _LOOK_S)) as pieces:
                for piece in pieces:
                    if piece:
                        came_s += duration_s(speech.output_format, piece)
                        if came_s > LIMIT_S:
                            return _endless(speech)
                        item.sound.append(piece)
                    self._go_on(item, speech)
        except DialError as error:
            return error.ending
        return None

    def _go_on(self, item: _Item, speech: Speech) -> None:
        """Begins if the text may begin, and plays the sound that has arrived."""
        now_s = time.monotonic()
        self.pulse.beat()
        if self._stopping.is_set():
            raise _StoppedError
        if not item.begun:
            with self._lock:
                if self._queue and self._queue[0].now and not item.now:
                    raise _OvertakenError
                may = item.now or now_s >= item.until_s or self._gap.free(now_s)
            if not may or not item.sound:
                return
            item.begun = True
            self._track.begin(speech.output_format)
        for piece in item.sound:
            self._track.feed(piece)
        item.sound.clear()
        self._tell_start(item)

    def _play_out(self, item: _Item) -> None:
        self._track.end()
        while self._track.left(time.monotonic()):
            self._wait(_LOOK_S)
            self._tell_start(item)
        self._tell_start(item)

    def _wait(self, seconds: float) -> None:
        self.pulse.beat()
        if self._stopping.wait(seconds):
            raise _StoppedError
        if self._track.left(time.monotonic()) and time.monotonic() - self._track.last_period_s > _SPEAKER_GONE_S:
            raise _SpeakerGoneError

    # ------------------------------------------------------------ telling

    def _tell_start(self, item: _Item) -> None:
        began_s = self._track.began_s
        if began_s is not None and not item.told:
            item.told = True
            self._bus.publish(events.AnnouncementStarted(at_s=began_s, announcement=item.number, text=item.text))

    def _conclude(self, item: _Item, ending: Ending | None) -> None:
        if ending is not None:
            self._log_failure(item, ending, f"an announcement was {'cut short' if item.told else 'not spoken'}")
        elif not item.is_second_choice:
            self._told = ""
        self._tell_end(item, ending)

    def _log_failure(self, item: _Item, ending: Ending, what: str) -> None:
        """Once for each reason, until a text was spoken as it should be."""
        if ending.reason == self._told:
            log.debug("announcement %d: %s: %s", item.number, what, ending.reason)
            return
        self._told, reason, hint = ending.reason, ending.reason, ending.hint
        text = f"{what}: {reason}"
        log.warning("%s%s", text, f"; {hint}" if hint else "", extra=fields(reason=reason, hint=hint))
        self._bus.publish(events.Trouble(at_s=time.monotonic(), text=text, hint=hint))

    def _tell_end(self, item: _Item, ending: Ending | None) -> None:
        reason, hint = (None, None) if ending is None else (ending.reason, ending.hint)
        self._bus.publish(
            events.AnnouncementEnded(
                at_s=time.monotonic(), announcement=item.number, finished=ending is None, reason=reason, hint=hint
            )
        )


def _printable(text: str) -> str:
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def _endless(speech: Speech) -> Ending:
    why = f"the server sends more than {LIMIT_S:g} s of sound for a text"
    return Ending(EndingKind.FINAL, why, speech.hint_endless)
