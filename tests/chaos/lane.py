"""One daemon's life: it is started, talked to, wronged, talked to again, and its books are closed."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from chaos import books, voices
from chaos.choosing import Choice, Life
from chaos.daemon import LEAD_S, Control, Daemon, Load, crashes
from chaos.machine import Machine, Unable, faketime, run
from chaos.outcome import LifeOutcome, Outcome
from chaos.tls import Authority
from chaos.wire import SOUNDED_S, Heard, Line, Provider, Server, Session

KEY = "sk_chaos_0123456789abcdef"
# How long the daemon may take for what it does at once on an idle machine, before it counts as hanging.
PATIENCE_S = 30.0
# Quiet before somebody speaks, so that what is said is an utterance of its own.
QUIET_S = 1.3
# Between two sentences of one who does not wait.
BREATH_S = 1.0
# How long the microphone counts as silent after an announcement (audio.echo.tail_ms), and what the gate then needs.
DEAF_S = 0.5
# A session that stands for so long after a fault has outlived it.
OUTLIVED_S = 1.0
# Growth of a daemon's threads and file handles that is no leak: a line of the control socket, a thread on its way out.
MOST_MORE = 3


@dataclass(frozen=True)
class Kind:
    """A kind of fault. strike: does it, and returns when it is over; the daemon may still suffer from it.

    world: line, tls or clock. live: it needs a live session. cuts: an utterance that it overlaps may be lost for it,
    and in which words. exits: the daemon ends by it. patience_s: for the recovery. seconds: what it takes, about.
    tells: what the log has to say where that happened.
    mutes: answers that are due meanwhile need not be heard. again: afterwards somebody speaks once more.
    """

    name: str
    row: str
    strike: Callable[[Lane, Random], None]
    world: str = "line"
    live: bool = True
    cuts: str = ""
    tells: str = ""
    exits: bool = False
    patience_s: float = PATIENCE_S
    seconds: float = 5.0
    mutes: str = ""
    again: bool = False
    speaks_itself: bool = False


class Lane:
    """What a fault may lay its hands on: the daemon, the server, the machine, the microphone."""

    def __init__(
        self,
        life: Life,
        machine: Machine,
        folder: Path,
        kinds: dict[str, Kind],
        spoken: voices.Voices,
        until_s: float,
        tell: Callable[[str], None],
        provider: Provider,
    ) -> None:
        self.life = life
        self.provider = provider
        self.machine = machine
        self.folder = folder
        self._until_s = until_s
        self._tell = tell
        self._voices = spoken
        self._kinds = kinds
        self.heard = Heard()
        self.authority = Authority() if life.world == "tls" else None
        self.server = Server(
            self.heard,
            provider,
            KEY if self.authority else None,
            self.authority.good if self.authority else None,
        )
        self.state = folder / "state"
        self.state.mkdir()
        self.small_disk = False
        self.outcome = LifeOutcome(life.number, life.world, [])
        self.said: list[books.Said] = []
        self._excused: dict[int, str] = {}
        self._excused_answers: dict[int, str] = {}
        self._lives: list[Daemon] = []
        self._tones: dict[int, float] = {}
        self._records: list[dict[str, Any]] = []
        self._events: list[dict[str, Any]] = []
        self._fault = -1
        self._spoken_until_s = 0.0
        self._number = 0
        self.late = 0
        self._waited_for: set[int] = set()
        self._heard_before_s: dict[int, float] = {}
        self.started_s = time.monotonic()
        self.back_s: float | None = None
        self._clock_file = folder / "clock"
        self.daemon: Daemon

    # ------------------------------------------------------------ for faults

    @property
    def control(self) -> Control:
        return self.daemon.control

    def set_clock(self, to: str) -> None:
        """In one step: libfaketime reads the file at every question, and ends a process for which it is empty."""
        new = self._clock_file.with_suffix(".new")
        new.write_text(to)
        new.replace(self._clock_file)

    @property
    def pid(self) -> int:
        return self.daemon.process.pid

    def pause(self, seconds: float) -> None:
        """For the length of a fault or of sound, which pass in real time."""
        time.sleep(seconds)  # As long as the fault is to last.

    def cut(self, *, fin: bool = False) -> None:
        """The live line, if there is one, is reset, so that the daemon has to connect again."""
        line = self.server.live
        if line is not None:
            line.do((lambda one: one.close()) if fin else (lambda one: one.reset()), 5.0)
            line.over.wait(5.0)

    def order(self, do: str, **fields: object) -> bool:
        """To the control socket; whether it was done."""
        try:
            self.control.ask(do, **fields)
        except (OSError, ValueError):
            return False
        return True

    def speak(self, dice: Random, *, long: bool = False) -> books.Said:
        """As soon as it can be, and never before the last word was said; it sounds from `start_s` on."""
        # The microphone takes sound in real time.
        time.sleep(max(0.0, self._spoken_until_s + BREATH_S - LEAD_S - time.monotonic()))
        line = dice.choice(self._voices.long if long else self._voices.short)
        self._number += 1
        start_s, sound, in_time = self.daemon.say(line.pcm, self.life.number * 10_000 + self._number)
        loud = set(line.loud)
        for index in range(len(sound) // voices.FRAME_SAMPLES):
            piece = sound[index * voices.FRAME_SAMPLES : (index + 1) * voices.FRAME_SAMPLES].tobytes()
            self.heard.known[piece] = (self._number, index, index in loud)
        said = books.Said(self._number, self._fault, start_s, start_s + line.length_s, line.loud)
        self.said.append(said)
        if not in_time:
            self.excuse(said, "the harness wrote it after the daemon had read on")
            self.late += 1
        self._spoken_until_s = max(self._spoken_until_s, said.end_s)
        return said

    def excuse(self, said: books.Said, why: str) -> None:
        self._excused[said.number] = why

    def restart(self) -> None:
        """The daemon has ended; here is another, with the same state."""
        self._close_books_of_daemon()
        self._start()

    # ------------------------------------------------------------ a life

    def _config(self) -> dict[str, Any]:
        tls = self.authority is not None
        scheme, host = ("https", "localhost") if tls else ("http", self.machine.host)
        return {
            **self.provider.section(f"{scheme}://{host}:{self.server.port}", {"env": "CHAOS_KEY"} if tls else None),
            "session": {"connect_timeout_s": 3, "idle_timeout_s": 25, "false_wake_s": 25},
            "reconnect": {"initial_s": 0.5, "max_s": 2},
            "transcript": {"enabled": True},
            "earcons": dict.fromkeys(("listening", "sleeping", "error", "muted", "unmuted", "timer", "budget"), "off"),
        }

    def _start(self) -> None:
        folder = self.folder / f"daemon-{len(self._lives) + 1}"
        folder.mkdir()
        environment: dict[str, str] = {}
        if self.authority is not None:
            self.authority.write(self.folder / "ca.pem")
            environment |= {"SSL_CERT_FILE": str(self.folder / "ca.pem"), "CHAOS_KEY": KEY}
        if self.life.world == "clock":
            self.set_clock("+0")
            environment |= {
                "LD_PRELOAD": str(faketime()),
                "FAKETIME_TIMESTAMP_FILE": str(self._clock_file),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        seed = self.life.number * 100 + len(self._lives)
        self.daemon = Daemon(
            folder,
            self._config(),
            seed,
            environment,
            self.state,
            lambda event: self.provider.acknowledges(self.heard, event),
        )
        self._lives.append(self.daemon)
        self.outcome.daemons += 1
        self.daemon.wait_started()

    def play(self) -> LifeOutcome:
        baseline: Load | None = None
        try:
            try:
                with contextlib.suppress(Unable):
                    self.machine.small_disk(self.state)
                    self.small_disk = True
                self._start()
            except Unable as why:
                for choice in self.life.faults:
                    row = self._kinds[choice.kind].row
                    self.outcome.outcomes.append(
                        Outcome(choice.kind, choice.token, row, self.life.number, self.provider.name, skipped=str(why))
                    )
                return self.outcome
            if not self._warm_up():
                self.outcome.failures.append("the daemon was not usable before any fault")
            baseline = self._asleep_load()
            for index, choice in enumerate(self.life.faults):
                if time.monotonic() > self._until_s:
                    break
                self._one(index, choice)
                self._tell(choice.kind)
            self._wait_settled(15.0)
            self._take_growth(baseline)
            code = self.daemon.stop()
            if code != 0:
                self.outcome.failures.append(
                    "SIGTERM did not end it within 30 s" if code is None else f"SIGTERM ended it with {code}"
                )
        finally:
            for daemon in self._lives:
                daemon.kill()
            self._close_books_of_daemon()
            self.server.stop()
            if self.small_disk:
                with contextlib.suppress(Unable):
                    run("umount", "-l", self.state)
        self._close_books()
        self.outcome.seconds = time.monotonic() - self.started_s
        return self.outcome

    def _warm_up(self) -> bool:
        for number in range(3):
            said = self.speak(Random(number))
            if self._wait(lambda said=said: self._acknowledged(said), 12.0):  # type: ignore[misc]
                return True
        return False

    def _asleep_load(self) -> Load | None:
        self._wait_settled(5.0)
        if not self.daemon.alive or not self.order("sleep"):
            return None
        self._wait(lambda: self.control.state == "asleep" and self.server.live is None, 10.0)
        # Threads of the session that was are on their way out.
        self.pause(0.8)
        load = self.daemon.load()
        self.outcome.most_rss_mib = max(self.outcome.most_rss_mib, load.rss_mib)
        return load

    def _take_growth(self, baseline: Load | None) -> None:
        if baseline is None or not self.daemon.alive:
            return
        load = self._asleep_load()
        for _ in range(5):
            # What goes away by itself is no leak.
            if load is None or (load.threads <= baseline.threads and load.handles <= baseline.handles):
                break
            self.pause(1.0)
            load = self.daemon.load()
        if load is None:
            self.outcome.failures.append("at its end it did not go to sleep when told")
            return
        threads, handles = load.threads - baseline.threads, load.handles - baseline.handles
        self.outcome.growth = (threads, handles, round(load.rss_mib - baseline.rss_mib, 1))
        if threads > MOST_MORE or handles > MOST_MORE:
            self.outcome.failures.append(f"a leak: {threads:+} threads, {handles:+} handles")

    # ------------------------------------------------------------ one fault

    def _one(self, index: int, choice: Choice) -> None:
        kind = self._kinds[choice.kind]
        dice = Random(choice.token)
        outcome = Outcome(kind.name, choice.token, kind.row, self.life.number, self.provider.name)
        self.outcome.outcomes.append(outcome)
        self.server.disarm()
        self.back_s = None
        self._fault = index
        try:
            self._calm()
            if kind.live and not self._ensure_live(dice):
                outcome.failures.append("there was no session before it, and none came")
                outcome.hang = True
            if not kind.live and dice.random() < 0.5:
                self.order("sleep")
            self._calm()
            first = len(self.said)
            said = None
            if not kind.speaks_itself:
                said = self.speak(dice)
                at_s = said.start_s + dice.uniform(-0.3, said.end_s - said.start_s + 1.2)
                # Until the word that the fault is to hit is spoken.
                time.sleep(max(0.0, at_s - time.monotonic()))
            before = self.server.live
            began_s = time.monotonic()
            kind.strike(self, dice)
            over_s = time.monotonic()
            # What sounded when it struck, and what was sent meanwhile.
            muted = [one for one in self.heard.answers if kind.mutes and one.ends_s > began_s - SOUNDED_S]
            self._recover(kind, outcome, dice, before, began_s, over_s)
            if kind.again:
                self._calm()
                self.speak(dice)
                self._wait_settled(8.0)
                # What this session suffers from is no other fault's account.
                self.pause(SOUNDED_S + 0.2)
                self.cut()
            for one in self.said[first:]:
                if kind.cuts and one.start_s < over_s + 1.0:
                    self.excuse(one, kind.cuts)
            for answer in muted:
                answer.excused = kind.mutes
        except Unable as why:
            outcome.skipped = str(why)
        if self.heard.trapped:
            outcome.failures.append(f"a redirect was followed: the trap was asked {self.heard.trapped[0]!r}")
            self.heard.trapped.clear()
        if self.heard.leaked:
            outcome.failures.append(f"to a server that had proved nothing: {self.heard.leaked[0]}")
            self.heard.leaked.clear()
        if self.heard.wrongs:
            outcome.failures += [f"against the protocol: {wrong}" for wrong in self.heard.wrongs[:3]]
            self.heard.wrongs.clear()

    def _recover(
        self, kind: Kind, outcome: Outcome, dice: Random, before: Line | None, began_s: float, over_s: float
    ) -> None:
        """Until there is a usable session again, and all that was said is settled."""
        until_s = time.monotonic() + kind.patience_s
        from_s = began_s
        session_before = before.session if before is not None else None
        spoken = 0
        while time.monotonic() < until_s:
            if not self.daemon.alive:
                if not kind.exits:
                    code = self.daemon.process.returncode
                    outcome.failures.append(f"the daemon ended ({code}): {self._last_words()}")
                    outcome.crash = True
                    for said in self.said:
                        if not self._acknowledged(said):
                            self._excused.setdefault(said.number, "the daemon ended, which is told already")
                from_s = began_s if kind.exits else time.monotonic()
                self.restart()
                until_s = time.monotonic() + PATIENCE_S
            usable_s = self._usable_since(session_before, self.back_s or from_s, self.back_s or over_s)
            if usable_s is not None:
                survived = before is not None and self.server.live is before
                outcome.survived = survived
                outcome.recovery_s = 0.0 if survived else max(0.0, usable_s - (self.back_s or from_s))
                break
            quiet_s = time.monotonic() - self._spoken_until_s
            asleep = self.control.state == "asleep"
            if quiet_s > (1.6 if asleep else 5.0) and spoken < 6 and self.server.live is None:
                # Nobody is owed a session unless somebody talks.
                said = self.speak(dice)
                if asleep:
                    from_s = max(from_s, said.start_s)
                spoken += 1
            self.pause(0.03)
        else:
            outcome.hang = True
            outcome.failures.append(
                f"no usable session within {kind.patience_s:.0f} s ({self.control.state}): {self._last_words()}"
            )
        self._wait_settled(8.0)

    def _usable_since(self, before: Session | None, from_s: float, over_s: float) -> float | None:
        """Since when there has been a session through which sound goes up. from_s, over_s: of the fault."""
        line = self.server.live
        if line is None or line.session is None or line.deaf or line.inert.is_set():
            return None
        session = line.session
        if session is before:
            # It has outlived the fault when what is said now comes through.
            since_s = time.monotonic() - over_s
            heard = session.frames and session.frames[-1][0] > over_s
            return from_s if since_s > 4.0 or (heard and since_s > OUTLIVED_S) else None
        return session.first_audio_s

    def _last_words(self) -> str:
        records = self.daemon.log_records()
        return str(records[-1].get("message", ""))[:200] if records else "nothing in the log"

    def _calm(self) -> None:
        """Until nobody has talked for a moment."""
        while (left_s := self._spoken_until_s + QUIET_S - time.monotonic()) > 0:
            time.sleep(left_s)  # The length of the sound that was spoken.
        if not self.daemon.alive:
            self.restart()

    def _ensure_live(self, dice: Random) -> bool:
        for _ in range(4):
            line = self.server.live
            if line is not None and line.session is not None and line.session.first_audio_s is not None:
                return True
            said = self.speak(dice)
            if self._wait(lambda said=said: self._acknowledged(said), 10.0):  # type: ignore[misc]
                return True
            self._calm()
        return False

    def _wait(self, test: Callable[[], bool], timeout_s: float) -> bool:
        until_s = time.monotonic() + timeout_s
        while not test():
            if time.monotonic() > until_s or not self.daemon.alive:
                return False
            # Logs, files and the counts of several processes are asked: nothing tells all of them.
            time.sleep(0.03)
        return True

    def _wait_settled(self, timeout_s: float) -> None:
        """Until the daemon knows that all that was said of late has been heard, and the answers have sounded."""
        recent = [said for said in self.said if said.number not in self._waited_for]
        self._wait(lambda: all(self._acknowledged(said) for said in recent), timeout_s)
        # Nobody waits twice for what does not come.
        self._waited_for.update(said.number for said in recent)
        if self.heard.answers and self.daemon.alive:
            self.pause(min(10.0, max(0.0, self.heard.answers[-1].ends_s + 0.2 - time.monotonic())))

    def _acknowledged(self, said: books.Said) -> bool:
        return said.number in self.control.heard_s or said.number in self._heard_before_s

    # ------------------------------------------------------------ the books

    def _heard_s(self) -> dict[int, float]:
        """By the daemon's own events: when it learned that an utterance was heard."""
        return {**self.control.heard_s, **self._heard_before_s}

    def _close_books_of_daemon(self) -> None:
        """What this process leaves behind is taken in; another may follow."""
        if not self._lives or self._lives[-1] is not self.daemon:
            return
        self.daemon.kill()
        self._heard_before_s = self._heard_s()
        self._events += self.control.events
        self.control.events = []
        self._records += self.daemon.log_records()
        for number, seconds in self.daemon.tones_heard().items():
            self._tones[number] = self._tones.get(number, 0.0) + seconds
        # A MiB and a half a minute, and what was in them is in the books.
        for path in (self.daemon.microphone.path, self.daemon.speaker_path):
            path.unlink(missing_ok=True)

    def _close_books(self) -> None:
        came: dict[int, list[books.Came]] = {}
        for session in self.heard.sessions:
            by_utterance: dict[int, list[int]] = {}
            for _, utterance, index in session.frames:
                by_utterance.setdefault(utterance, []).append(index)
            for utterance, frames in by_utterance.items():
                came.setdefault(utterance, []).append(books.Came(session.number, session.ready_s, tuple(frames)))
        losses = [
            books.Loss(event["at_s"], event["lost_ms"]) for event in self._events if event["event"] == "speech_lost"
        ]
        gaps = [
            books.Gap(event["at_s"], event["missing_ms"]) for event in self._events if event["event"] == "sound_missing"
        ]
        gaps += [
            books.Gap(began_s, (ended_s - began_s + DEAF_S) * 1000, is_announcement=True)
            for began_s, ended_s in self._announced()
        ]
        opened = [event["at_s"] for event in self._events if event["event"] == "utterance_started"]
        entries = books.balance(self.said, came, self._heard_s(), losses, opened, self._excused, gaps)
        for entry in entries:
            # What is said before the first fault is on nobody's account.
            outcome = self.outcome.outcomes[max(0, entry.said.fault)] if self.outcome.outcomes else None
            if outcome is None:
                continue
            outcome.said += 1
            outcome.lost += entry.missing_ms > books.MOST_MISSING * len(entry.said.loud) * books.FRAME_MS
            outcome.heads += entry.shape is books.Shape.HEAD
            outcome.told += entry.fate is books.Fate.TOLD
            outcome.excused += entry.fate is books.Fate.EXCUSED
            outcome.gate += entry.fate is books.Fate.GATE
            outcome.failures += [f"utterance {entry.said.number}: {wrong}" for wrong in entry.faults]
            tells = self._kinds[outcome.kind].tells
            cut = entry.fate is books.Fate.EXCUSED and entry.shape is not books.Shape.WHOLE
            if tells and cut and not any(tells in str(record.get("message")) for record in self._records):
                outcome.failures.append(
                    f"utterance {entry.said.number}: {entry.shape.value}, and the log does not tell"
                )
            if entry.shape is not books.Shape.WHOLE:
                outcome.notes.append(
                    f"utterance {entry.said.number}: {entry.shape.value} ({entry.missing_ms} ms), {entry.fate.value}"
                )
        self._account_answers()
        found = crashes(self._records)
        if found:
            self.outcome.failures += found[:3]
        if self.authority is not None and any(KEY in str(record) for record in self._records):
            self.outcome.failures.append("the key stands in the log")
        self.outcome.failures += [f"the harness itself: {error}" for error in self.heard.errors[:3]]
        self.outcome.said = len(self.said)
        self.outcome.late = self.late
        self.outcome.gaps_ms = sum(gap.missing_ms for gap in gaps if not gap.is_announcement)

    def write_down(self) -> None:
        """For whoever wants to know why: what was said when, which session brought what, and the daemon's events."""
        lines = [f"life {self.life.number}: {self.life}"]
        for said in self.said:
            fault = self.life.faults[said.fault].kind if said.fault >= 0 else "before"
            lines.append(f"{said.start_s:.2f} to {said.end_s:.2f}  utterance {said.number} ({fault})")
            for session in self.heard.sessions:
                frames = [index for _, number, index in session.frames if number == said.number]
                if frames:
                    span = f"frames {min(frames)} to {max(frames)}, {len(frames)} of them"
                    lines.append(f"    session {session.number} from {session.ready_s:.2f}: {span}")
        lines += [
            f"{answer.sent_s:.2f}  answer {answer.number} to {answer.to} in session {answer.session}"
            for answer in self.heard.answers
        ]
        (self.folder / "books.txt").write_text("\n".join(lines) + "\n")
        with (self.folder / "events.jsonl").open("w") as file:
            file.writelines(json.dumps(event) + "\n" for event in self._events)

    def _announced(self) -> list[tuple[float, float]]:
        """From when to when announcements sounded."""
        return [
            (began["at_s"], next((one["at_s"] for one in self._events[index:] if _ends(one, began)), began["at_s"]))
            for index, began in enumerate(self._events)
            if began["event"] == "announcement_started"
        ]

    def _account_answers(self) -> None:
        """Those that were sent while nothing was in their way have to have sounded."""
        by_number = {said.number: said for said in self.said}
        sessions = {session.number: session for session in self.heard.sessions}
        announced = self._announced()
        for answer in self.heard.answers:
            fault = max((by_number[number].fault for number in answer.to if number in by_number), default=-1)
            if not self.outcome.outcomes or answer.excused:
                continue
            if any(began_s < answer.ends_s and ended_s > answer.sent_s for began_s, ended_s in announced):
                # It sounds below the announcement, where its tone cannot be told.
                continue
            outcome = self.outcome.outcomes[max(0, fault)]
            closed_s = sessions[answer.session].closed_s
            if closed_s is not None and closed_s < answer.ends_s + SOUNDED_S and not answer.owed:
                continue
            outcome.answers_due += 1
            sounded_s = self._tones.get(answer.number % voices.TONES, 0.0)
            if sounded_s >= 0.6 * 0.6:
                outcome.answers_heard += 1
            else:
                outcome.failures.append(
                    f"answer {answer.number} was sent in session {answer.session}, and {sounded_s:.2f} s of it sounded"
                )


def _ends(event: dict[str, Any], began: dict[str, Any]) -> bool:
    """Whether the event is the end of an announcement that began."""
    return bool(event["event"] == "announcement_ended" and event["announcement"] == began["announcement"])


def live(
    life: Life,
    machine: Machine,
    kinds: dict[str, Kind],
    spoken: voices.Voices,
    work: Path,
    keep: Path | None,
    until_s: float,
    tell: Callable[[str], None],
    provider: Provider,
) -> LifeOutcome:
    """In this process. work: for files that nobody keeps. keep: where logs and events of a daemon that failed are kept.
    until_s: no fault begins later. tell: what is told of each fault that is over."""
    folder = Path(tempfile.mkdtemp(prefix=f"life-{life.number}-", dir=work))
    lane = Lane(life, machine, folder, kinds, spoken, until_s, tell, provider)
    try:
        outcome = lane.play()
    except Exception as error:  # noqa: BLE001 - a life that the harness itself spoilt is told, and the rest goes on
        where = traceback.extract_tb(error.__traceback__)[-1]
        words = f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})"
        lane.outcome.failures.append(f"the harness itself: {words}")
        outcome = lane.outcome
    if keep is not None and (outcome.failures or any(one.failures for one in outcome.outcomes)):
        lane.write_down()
        target = keep / f"life-{life.number:04}"
        shutil.copytree(folder, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.sock"))
    shutil.rmtree(folder, ignore_errors=True)
    return outcome
