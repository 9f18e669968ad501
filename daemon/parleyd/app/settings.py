"""The settings of the running daemon: changed by the control socket, on probation for two minutes, undone by revision.

The settings lie over the user's file (config/settings.py). If they are faulty, the daemon starts with the file alone: a
device in a wall has to come back.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from parleyd.app.probation import Kept, Probation, TakenBack
from parleyd.app.settings_files import MOST_BYTES, NAME, Note, SettingsFiles, WentBack
from parleyd.checks.configuration import ConfigError, Loaded, SettingsText, load
from parleyd.config import settings
from parleyd.config.changes import Changes, when
from parleyd.config.nodes import NodeError
from parleyd.config.secrets import masked
from parleyd.config.settings import Settings
from parleyd.core import events
from parleyd.core.errors import UserError
from parleyd.core.health import Pulse, Trouble
from parleyd.core.log_fields import fields
from parleyd.core.states import State

log = logging.getLogger(__name__)

TICK_S = 1.0
# More events of sessions than these do not come between two looks.
_MOST_SESSIONS = 64


class SettingsError(UserError):
    """Settings were not changed. kind: for programs."""

    def __init__(self, kind: str, text: str, hint: str | None = None) -> None:
        super().__init__(text, hint)
        self.kind = kind


class ProbationReport(Struct, frozen=True):
    """left_s: the rest of the probation. confirmed: nobody has to confirm the settings any more. after_restart: some
    keys take effect with a restart only, and the health is judged after it. untried: some keys are used by the next
    session only, and none has used them yet. after_session: the health is judged with that session, for the two minutes
    after the change are over; left_s: after that time they are kept without one."""

    left_s: int
    confirmed: bool
    after_restart: bool
    untried: bool
    after_session: bool


class SettingsReport(Struct, frozen=True):
    """revision: counts the changes. keys: the number of keys that are set. probation: None: the settings are kept."""

    revision: int
    keys: int
    probation: ProbationReport | None


class Outcome(Changes, frozen=True):
    """The keys that a change has changed, by the time at which they take effect. revision: the new revision.
    probation_s: the time for which the health is watched. confirm: the change goes back unless somebody confirms it
    within that time."""

    revision: int = 0
    probation_s: int = 0
    confirm: bool = False


class Value(Struct, frozen=True):
    """The value of one key. value: masked if secret. origin: settings, file or default. when: a change takes effect
    now, next_session or restart. settable: a setting may change it."""

    value: Any
    origin: str
    when: str
    settable: bool


class Listing(Struct, frozen=True):
    """The whole configuration. values: by the keys' dotted names, with the settings and without the profile in force.
    versions: the older revisions that `undo_config` can bring back. label: of the settings, as `put_config` gave it;
    changed_since: they were changed after that. went_back: the last change, if it did not stand its probation."""

    revision: int
    values: dict[str, Value]
    probation: ProbationReport | None
    versions: tuple[int, ...]
    label: str
    changed_since: bool
    went_back: WentBack | None
    schema: dict[str, Any] | None = field(default=None)


class SettingsKeeper:
    """Use load() for the configuration of the start, start() when the daemon is ready, and stop(). Thread-safe.

    config_path: the user's file. directory: the state directory; None: there are no settings.
    """

    def __init__(self, config_path: Path, directory: Path | None, bus: events.Bus) -> None:
        self._config_path = config_path
        self._files = SettingsFiles(directory) if directory is not None else None
        self._bus = bus
        self._lock = threading.RLock()
        self._present = Settings()
        self._loaded: Loaded | None = None
        self._broken: str | None = None
        self._taken_back: str | None = None
        self._note: Note | None = None
        self._went_back: WentBack | None = None
        self._probation: Probation | None = None
        # All keys that the settings have had since the start: other keys that wait for a restart are the file's.
        self._touched: set[str] = set()
        # The process was started with the settings that are on probation, perhaps before another change joined them.
        self._started_on_probation = False
        # The thread of the probation takes them from here.
        self._sessions: deque[events.StateChanged | events.SessionOpened] = deque(maxlen=_MOST_SESSIONS)
        self._is_ready = False
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.pulse = Pulse("settings")

    # ---------------------------------------------------------------- the start and the end

    def load_first(self, alone: Loaded) -> Loaded:
        """The configuration for the start. Settings that kept an earlier start from being ready have gone back; faulty
        settings are left out, which the log tells. alone: the configuration file without settings."""
        with self._lock:
            self._loaded = alone
            self._count_start()
            self._touched.update(self._present.values)
            if not self._present.values:
                # The file is not read again: it may be a pipe.
                return alone
            try:
                self._loaded = self._load(None if self._files is None else self._files.text())
                return self._loaded
            except ConfigError as error:
                for problem in error.problems:
                    log.error("%s", problem)
                self._broken = f"the settings are not in force: {error.problems[0].text}"
                log.error("the settings are left out until this is fixed; the configuration file alone is in force")
                return alone

    def _load(self, text: str | None) -> Loaded:
        """text: of the settings. Raises ConfigError."""
        if self._files is None or text is None:
            return load(self._config_path)
        return load(self._config_path, SettingsText(str(self._files.path), text))

    def start(
        self,
        take: Callable[[Loaded], Changes],
        troubles: Callable[[], tuple[Trouble, ...]],
        restart: Callable[[], None],
    ) -> None:
        """The daemon is ready. take: puts a configuration in force; raises UserError. restart: ends the daemon, so that
        the service manager starts it again."""
        self._take, self._troubles, self._restart = take, troubles, restart
        self._bus.subscribe(self._hear)
        with self._lock:
            self._is_ready = True
            if self._broken is not None:
                hint = "correct it with `parleyd set` or `parleyd unset`, or go back with `parleyd settings undo`"
                self._bus.publish(events.Trouble(at_s=time.monotonic(), text=self._broken, hint=hint))
            if self._taken_back is not None:
                self._publish(f"went back: {self._taken_back}", Changes())
            if self._note is not None:
                self._begin_probation(self._note)

    def reload(self, take: Callable[[Loaded], Changes]) -> tuple[Loaded, Changes]:
        """Reads the configuration file, with the settings, and puts it in force; no change comes between the two.
        Raises ConfigError, and the errors of take; then nothing has changed."""
        with self._lock:
            text = None if self._files is None else self._files.text()
            loaded = self._load(text)
            # A person may have edited the file.
            present = self._present if self._files is None else self._present.as_written(self._files.parsed(text or ""))
            changed = take(loaded)
            self._loaded, self._present, self._broken = loaded, present, None
            self._touched.update(present.values)
            self._look_for_restart(changed)
            return loaded, changed

    def stop(self, *, failed: bool) -> None:
        """Ends the probation's thread; the probation goes on after the next start. failed: the daemon ends because of a
        fault, for which settings on probation may be the reason."""
        self._stopping.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(0.5)
        # A thread that is stuck may hold the lock for ever.
        if not self._lock.acquire(timeout=0.5):
            return
        try:
            if self._is_ready and self._note is not None and self._probation is not None:
                # A session that began a moment ago may be why it fails.
                self._tell_sessions(self._probation)
                # An end in order is no failed start; nor is one hours after the change, before a session has tried it.
                starts = max(1, self._note.starts) if failed and not self._probation.waits else 0
                self._write_note(msgspec.structs.replace(self._note, starts=starts))
        finally:
            self._lock.release()

    # ---------------------------------------------------------------- requests

    @property
    def report(self) -> SettingsReport:
        """For the status, which must not wait for a change that is under way."""
        present = self._present
        return SettingsReport(present.revision, len(present.values), self._probation_report())

    def listing(self, *, schema: bool) -> Listing:
        """Every key, with its value and its origin."""
        # Imported here, because the daemon is ready without.
        from parleyd.config.json_schema import json_schema

        with self._lock:
            loaded = self._loaded
            assert loaded is not None, "load_first() comes first"
            plain = dict(settings.flat(masked(loaded.config)))
            may = {key.dotted for key in settings.settable()}
            values = {
                dotted: Value(value, self._origin(dotted, loaded), when(dotted), dotted in may)
                for dotted, value in plain.items()
            }
            versions = self._files.versions() if self._files is not None else ()
            present = self._present
            return Listing(
                present.revision, values, self._probation_report(), versions, present.label, present.changed_since,
                self._went_back, json_schema() if schema else None,
            )  # fmt: skip

    def put(
        self, revision: int | None, changes: Mapping[str, Any], *, confirm: bool, label: str | None = None
    ) -> Outcome:
        """Changes settings. revision: the one that the change is based on; None: whatever it is. changes: values by
        dotted names; None: without this setting. confirm: it goes back unless keep() confirms it within two minutes.
        label: what the caller calls the settings from now on. Raises SettingsError; then nothing has changed."""
        with self._lock:
            self._need_revision(revision)
            changes = settings.leaves(changes)
            unset = [key for key, value in changes.items() if value is None and key not in self._present.values]
            if unset:
                text = "\n".join(f"{key}: there is no such setting; `parleyd settings` lists them" for key in unset)
                raise SettingsError("bad_settings", text, "nothing was changed")
            return self._change(self._present.changed(changes, label), "set", confirm=confirm)

    def keep(self, revision: int) -> None:
        """Confirms the settings that are on probation; if they wait for a session, they do not any more. Raises
        SettingsError."""
        with self._lock:
            self._need_revision(revision)
            if self._probation is None or self._note is None:
                raise SettingsError("nothing_waits", "no settings are on probation", "they are kept already")
            self._probation.confirm()
            self._write_note(msgspec.structs.replace(self._note, confirmed=True))

    def undo(self, revision: int | None, to: int | None) -> Outcome:
        """Brings an older revision back; to: None: the one before. revision: as in put(). Raises SettingsError."""
        with self._lock:
            self._need_revision(revision)
            files = self._need_files()
            kept = files.versions()
            wanted = to if to is not None else next((one for one in (*kept, 0) if one < self._present.revision), None)
            older = files.version(wanted) if wanted is not None and (wanted in kept or wanted == 0) else None
            if older is None:
                there = ", ".join(str(one) for one in kept) or "none"
                raise SettingsError("unknown_revision", "there is no such older revision", f"these are kept: {there}")
            return self._change(older.undone_after(self._present), "undone", confirm=False)

    # ---------------------------------------------------------------- under the lock

    def _need_revision(self, revision: int | None) -> None:
        if revision is not None and revision != self._present.revision:
            text = f"the settings have changed since revision {revision}: they are at revision {self._present.revision}"
            raise SettingsError("stale_revision", text, "read them again, and repeat the change")

    def _need_files(self) -> SettingsFiles:
        if self._files is None:
            hint = "give the daemon a state directory that it may write (STATE_DIRECTORY)"
            raise SettingsError("unavailable", "this daemon has no place for settings", hint)
        return self._files

    def _change(self, after: Settings, why: str, *, confirm: bool) -> Outcome:
        files, before = self._need_files(), self._present
        if not self._is_ready:
            raise SettingsError("unavailable", "the daemon is starting", "try again in a moment")
        try:
            after = after.by_keys()
            text = after.text()
        except RecursionError:
            raise SettingsError("bad_settings", "a value is nested too deeply", "nothing was changed") from None
        if len(text.encode()) > MOST_BYTES:
            raise SettingsError("bad_settings", f"the settings exceed {MOST_BYTES // 1024} KiB", "nothing was changed")
        try:
            loaded = load(self._config_path, SettingsText(str(files.path), text))
            files.parsed(text)  # with the next start
        except ConfigError as error:
            lines = "\n".join(f"{problem.key or NAME}: {problem.text}; {problem.hint}" for problem in error.problems)
            raise SettingsError("bad_settings", lines, "nothing was changed") from None
        # A change during a probation joins it: it confirms nothing, and excuses no trouble of the first change.
        running = self._note
        troubled = running.troubled if running is not None else tuple(sorted({one.part for one in self._troubles()}))
        back_to = running.back_to if running is not None else before.revision
        confirmed = not confirm and (running is None or running.confirmed)
        # Noted before they are stored, and stored before they are in force: whatever ends the process in between, the
        # next start knows that they are on probation. It is known afterwards whether they need a session.
        self._store_note(Note(after.revision, back_to, confirmed, False, troubled, untried=True))
        try:
            files.write(before, after, kept=back_to)
        except OSError as error:
            self._store_note(running)
            text = f"the settings cannot be stored: {files.path.parent}: {error.strerror}"
            raise SettingsError("unavailable", text, "nothing was changed") from error
        try:
            changed = self._take(loaded)
        except UserError as error:
            self._put_back(files, before, running)
            raise SettingsError("bad_settings", str(error), error.hint) from error
        self._present, self._loaded, self._broken = after, loaded, None
        if self._went_back is not None and (not self._went_back.label or (after.label and not after.changed_since)):
            # Settings with a label that went back stay known for the program that made them until it makes others.
            self._write_went_back(None)
        # Compared with the keys that are in force: those of earlier changes that still wait are among them, and those
        # that have been undone, or that took effect with the start of this process, are not.
        self._touched.update(before.values, after.values)
        restarts = self._needs_restart(changed)
        untried = bool(changed.next_session) or (running is not None and running.untried)
        older = files.version(back_to)
        if older is not None and after.values == older.values:
            # They are those again from before the change: sessions have used them, and there is nothing to go back to.
            untried = False
        note = Note(after.revision, back_to, confirmed, restarts, troubled, untried=untried)
        self._write_note(note)
        self._begin_probation(note)
        self._publish(why, changed)
        log.info("settings, revision %d: %s", after.revision, changed.in_words())
        probation = self._probation
        left_s = round(probation.left_s(time.monotonic())) if probation is not None else 0
        return Outcome(changed.now, changed.next_session, changed.restart, after.revision, left_s, not confirmed)

    def _needs_restart(self, changed: Changes) -> bool:
        """Whether keys of the settings wait for a restart: not only keys that the file alone has changed."""
        return not self._touched.isdisjoint(changed.restart)

    def _look_for_restart(self, changed: Changes) -> None:
        """The file was read again: it may say now what is in force already, where the settings waited for a restart."""
        note = self._note
        if note is None or not note.restarts or note.starts or self._needs_restart(changed):
            return
        if self._probation is not None:
            self._write_note(msgspec.structs.replace(note, restarts=False))
            return
        # The two minutes are over, and only the restart was waited for.
        self._write_note(None)
        log.info("the settings of revision %d are kept: nothing waits for a restart any more", self._present.revision)

    def _put_back(self, files: SettingsFiles, before: Settings, running: Note | None) -> None:
        try:
            files.write(Settings(), before)
        except OSError as error:
            # Their note stays with them.
            log.error("the refused settings stay in %s: %s", files.path, error.strerror)
        else:
            self._store_note(running)

    def _begin_probation(self, note: Note) -> None:
        now_s = time.monotonic()
        self._probation = Probation(note.troubled, now_s, confirmed=note.confirmed, untried=note.untried)
        if self._thread is not None:
            return
        thread = threading.Thread(target=self._watch, name="settings", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The next start, or the next change, goes on with the probation.
            log.warning("the settings are not watched: the system has no thread left")
            return
        self._thread = thread

    def _hear(self, event: events.Event) -> None:
        """Called by whatever publishes: the decision is left to the thread of the probation."""
        match event:
            case events.StateChanged(after=State.CONNECTING.value) | events.SessionOpened(is_fallback=False):
                self._sessions.append(event)

    def _tell_sessions(self, probation: Probation) -> None:
        while self._sessions:
            event = self._sessions.popleft()
            if isinstance(event, events.SessionOpened):
                probation.session_opened(event.at_s - event.handshake_ms / 1000, event.at_s)
            else:
                probation.session_begins(event.at_s)

    def _noted(self, note: Note, probation: Probation, *, waited: bool) -> Note:
        """Writes what of the probation has to outlive the process; waited: for a session, until now. Returns the note
        as it is then."""
        # A trouble that was excused while it waited stays excused after a restart, and when another change joins.
        now = msgspec.structs.replace(note, untried=probation.untried, troubled=tuple(sorted(probation.excuses)))
        if not (note.restarts and not note.starts):
            # While nothing is watched, the end of the process does not count against the settings, as it does when a
            # session has begun to use them. Keys that took effect with a start have been judged by then.
            if probation.waits:
                now = msgspec.structs.replace(now, starts=0, restarts=False)
            elif waited:
                now = msgspec.structs.replace(now, starts=1)
        if now != note:
            self._write_note(now)
        if probation.waits and not waited:
            words = "no session has used the settings of revision %d yet: the health is judged with the next one"
            log.info(words, self._present.revision)
        return now

    def _watch(self) -> None:
        while not self._stopping.wait(TICK_S):
            self.pulse.beat()
            with self._lock:
                probation, note = self._probation, self._note
                if probation is None or note is None:
                    self.pulse.rest()
                    # Under the lock, so that the next change starts another thread however soon it comes.
                    self._thread = None
                    return
                waited = probation.waits
                self._tell_sessions(probation)
                decision = probation.look([(one.part, one.text) for one in self._troubles()], time.monotonic())
                note = self._noted(note, probation, waited=waited)
                match decision:
                    case Kept(untried):
                        self._settle(note, untried=untried)
                    case TakenBack(reason):
                        self._go_back(note, reason)
            self.pulse.rest()

    def _settle(self, note: Note, *, untried: bool) -> None:
        self._probation = None
        if note.restarts and not note.starts:
            # The keys that take effect with a new start have not been tried yet.
            self._write_note(msgspec.structs.replace(note, confirmed=True, untried=False))
            return
        self._write_note(None)
        untried_words = "; no session has used some of them" if untried else ""
        log.info("the settings of revision %d are kept%s", self._present.revision, untried_words)

    def _go_back(self, note: Note, reason: str) -> None:
        self._probation = None
        has_started_with_them = self._started_on_probation
        assert self._files is not None, "a note is in a file"
        older = self._files.version(note.back_to)
        if older is None:
            self._write_note(None)
            log.error("the settings stay, although %s: revision %d is gone", reason, note.back_to)
            return
        before, after = self._present, older.after(self._present)
        # A key that the process was started without is in the older version alone.
        self._touched.update(before.values, after.values)
        self._store_older(before, after, note)
        try:
            loaded = load(self._config_path, SettingsText(str(self._files.path), after.text()))
            changed = self._take(loaded)
        except (ConfigError, UserError) as error:
            log.error("the settings could not go back to revision %d: %s", note.back_to, error)
            return
        self._present, self._loaded = after, loaded
        self._write_went_back(WentBack(before.revision, before.label, reason))
        log.warning("the settings went back to those of revision %d: %s", note.back_to, reason)
        self._publish(f"went back: {reason}", changed)
        if has_started_with_them and self._needs_restart(changed):
            # They had taken effect with the start of this process.
            if os.environ.get("INVOCATION_ID"):
                log.warning("the daemon is started again, because %s take effect then", ", ".join(changed.restart))
                self._restart()
            else:
                log.warning("restart the daemon: only then these go back: %s", ", ".join(changed.restart))

    def _count_start(self) -> None:
        """Reads the settings. If an earlier start with the same settings on probation failed, they go back first."""
        files = self._files
        if files is None:
            return
        try:
            self._present = files.read()
        except (OSError, NodeError, UnicodeDecodeError) as error:
            self._broken = f"the settings cannot be read: {error}"
            log.error("%s: %s; they are kept as settings.broken.yaml", files.path, self._broken)
            self._present = Settings(files.next_revision())
            try:
                files.set_aside()
            except OSError as problem:
                log.error("they could not be kept: %s", problem.strerror)
            return
        self._went_back = files.went_back()
        note = files.note()
        if note is None:
            return
        if note.back_to < self._present.revision < note.revision:
            # The change that the note is about was not stored any more; the one that it had joined is on probation.
            note = msgspec.structs.replace(note, revision=self._present.revision)
        if note.revision != self._present.revision:
            self._write_note(None)
            return
        if note.starts:
            older = files.version(note.back_to)
            if older is None:
                self._write_note(None)
                log.error("the settings stay as they are: revision %d is gone", note.back_to)
                return
            before, after = self._present, older.after(self._present)
            self._store_older(before, after, note)
            self._present = after
            self._taken_back = (
                "the daemon ended within two minutes of its start, or of a session, with them, or never became ready"
            )
            self._write_went_back(WentBack(before.revision, before.label, self._taken_back))
            log.error("the settings went back to those of revision %d: %s", note.back_to, self._taken_back)
            return
        self._write_note(msgspec.structs.replace(note, starts=1))
        self._started_on_probation = True

    def _store_older(self, before: Settings, after: Settings, note: Note) -> None:
        """Stores settings that have gone back, and ends their probation. Where the disk does not take them they go back
        all the same, and again with the next start: the note goes last, so that a power cut keeps none that are bad."""
        assert self._files is not None, "a note is in a file"
        try:
            self._files.write(before, after)
        except OSError as error:
            hint = "see the disk (df, dmesg)"
            text = f"the settings go back, which cannot be stored: {self._files.path}: {error.strerror}"
            log.error("%s; they go back again with the next start; %s", text, hint, extra=fields(hint=hint))
            self._note, self._started_on_probation = None, False
            self._store_note(msgspec.structs.replace(note, starts=max(1, note.starts)))
        else:
            self._write_note(None)

    def _write_note(self, note: Note | None) -> None:
        self._note = note
        if note is None:
            self._started_on_probation = False
        self._store_note(note)

    def _store_note(self, note: Note | None) -> None:
        if self._files is None:
            return
        try:
            self._files.write_note(note)
        except OSError as error:
            log.warning("the probation of the settings does not outlive a restart: %s", error.strerror)

    def _write_went_back(self, what: WentBack | None) -> None:
        if what == self._went_back:
            return
        self._went_back = what
        try:
            if self._files is not None:
                self._files.write_went_back(what)
        except OSError as error:
            log.warning("that settings went back is forgotten with a restart: %s", error.strerror)

    def _probation_report(self) -> ProbationReport | None:
        probation, note = self._probation, self._note
        if note is None:
            return None
        waits = note.restarts and not note.starts
        if probation is None:
            return ProbationReport(0, note.confirmed, waits, untried=note.untried, after_session=False)
        left_s = round(probation.left_s(time.monotonic()))
        return ProbationReport(left_s, probation.confirmed, waits, probation.untried, probation.waits)

    def _origin(self, dotted: str, loaded: Loaded) -> str:
        if dotted in loaded.settings_places:
            return "settings"
        return "file" if dotted in loaded.places else "default"

    def _publish(self, why: str, changed: Changes) -> None:
        self._bus.publish(
            events.SettingsChanged(
                at_s=time.monotonic(),
                revision=self._present.revision,
                why=why,
                now=changed.now,
                next_session=changed.next_session,
                restart=changed.restart,
            )
        )
