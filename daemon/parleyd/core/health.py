"""Decides whether each part is healthy, in one place. Only a pulse reads the clock.

`parleyd status`, systemd's STATUS= and its watchdog all read the same verdict. A part that is stuck makes the daemon
sick: the watchdog is no longer fed. A problem that a restart would not solve (an unplugged microphone, an agent that
refuses, a disk that hangs) is a trouble.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from enum import Enum

from msgspec import Struct

from parleyd.core import events


class Grade(Enum):
    """starting: the devices are not open yet, so the health is unknown. sick: the watchdog ends the daemon."""

    WELL = "well"
    STARTING = "starting"
    TROUBLE = "trouble"
    SICK = "sick"


class Norm(Struct, frozen=True):
    """A healthy thread finishes each piece of work within limit_s. grade: of a daemon in which it does not."""

    limit_s: float
    grade: Grade = Grade.SICK


# The limits of all threads except these: `logs`, because a stopped terminal (Ctrl-S) blocks it; the threads of tools,
# hooks, uploads, probes, the fallback's process, look-ups of names, slow requests of the control socket, the reopening
# of devices and the change of the microphone's periods, because other threads enforce their deadlines; the thread that
# stores a learnt gain; and the metrics port.
NORMS = {
    # A lost microphone yields silence, so that ears always run in real time.
    "ears": Norm(5.0),
    "playback": Norm(5.0),
    "supervisor": Norm(10.0),
    "session receiver": Norm(10.0),
    # Its send may block until TCP_USER_TIMEOUT ends the connection.
    "session sender": Norm(30.0),
    # A recognition, and then perhaps a mixer, which may take two seconds.
    "orders": Norm(20.0),
    "announcer": Norm(10.0),
    "devices": Norm(10.0),
    "control": Norm(20.0),
    # These three may read the configuration, and set a mixer, which may take two seconds.
    "profiles": Norm(20.0),
    "settings": Norm(20.0),
    "signals": Norm(20.0),
    # These threads only wait for the disk.
    "timers": Norm(60.0, Grade.TROUBLE),
    "usage": Norm(60.0, Grade.TROUBLE),
    "transcript": Norm(60.0, Grade.TROUBLE),
    "recorder": Norm(60.0, Grade.TROUBLE),
    "tools-audit": Norm(60.0, Grade.TROUBLE),
    "metrics": Norm(60.0, Grade.TROUBLE),
}
# How many checks in a row must find a thread late, so that a process that was stopped gets the time to catch up.
LOOKS = 2
# The share of the unit's limits on memory, file handles and tasks from which there is a trouble.
MOST_SHARE = 0.9


class Pulse:
    """One thread's sign of life: beat() when it starts a piece of work, rest() before it waits for the next."""

    def __init__(self, part: str) -> None:
        self.part = part
        self.norm = NORMS[part]
        self._since_s: float | None = None
        self._looks = 0

    def beat(self) -> None:
        self._since_s = time.monotonic()

    def rest(self) -> None:
        self._since_s = None

    def stuck_s(self, now_s: float) -> float | None:
        """How long the thread has had the same work, if that is too long; call it at intervals."""
        since_s = self._since_s
        late = since_s is not None and now_s - since_s > self.norm.limit_s
        self._looks = self._looks + 1 if late else 0
        return now_s - since_s if since_s is not None and self._looks >= LOOKS else None


class Trouble(Struct, frozen=True):
    """A trouble. part: as in NORMS, or the name of a thing (microphone, agent, memory). hint: what to do about it; None
    if nothing is known, or nothing has to be done."""

    part: str
    grade: Grade
    text: str
    hint: str | None = None


class Load(Struct, frozen=True):
    """The resources that the process uses. None: there is no limit. tasks: the threads of the process and of all its
    child processes, if they share a limit."""

    memory_bytes: int
    memory_limit_bytes: int | None
    handles: int
    handles_limit: int | None
    threads: int
    tasks: int = 0
    tasks_limit: int | None = None


# Files that clients have handed over, and that hang: no part of the daemon, and no doing of its configuration.
FILES = "handed-over files"
# The parts whose troubles the bus reports.
TOLD_PARTS = ("microphone", "speaker", "agent", "fallback", "echo", "mute switch", "timer file")


class Troubles:
    """The present troubles that parts have reported on the bus."""

    def __init__(self) -> None:
        self._now: dict[str, Trouble] = {}
        # The last trouble of the connection: the supervisor's next move does not repeat the hint.
        self._line: events.Trouble | None = None

    def take(self, event: events.Event) -> None:
        match event:
            case events.DeviceLost(which=which, name=name, cause=cause, hint=hint):
                self._now[which] = Trouble(which, Grade.TROUBLE, f"{cause} ({name})", hint)
            case events.DeviceBack(which=which):
                self._now.pop(which, None)
            case events.Trouble(part=str(part), text=text, hint=hint):
                self._now[part] = Trouble(part, Grade.TROUBLE, text, hint)
            case events.Trouble():
                self._line = event
            case events.TroubleOver(part=part):
                self._now.pop(part, None)
            case events.StateChanged(after="backing off", reason=reason):
                about_this = self._line is not None and reason in self._line.text
                hint = self._line.hint if self._line is not None and about_this else None
                before = self._now.get("agent")
                if hint is None and before is not None and before.text == reason:
                    # Another failed try; in the meantime another part may have reported its own trouble.
                    hint = before.hint
                self._now["agent"] = Trouble("agent", Grade.TROUBLE, reason, hint)
            case events.StateChanged(after="live" | "asleep"):
                self._now.pop("agent", None)
            case events.FallbackBegan(reason=reason, hint=hint):
                self._now["fallback"] = Trouble(
                    "fallback", Grade.TROUBLE, f"it answers instead of the agent: {reason}", hint
                )
            case events.FallbackOver():
                self._now.pop("fallback", None)
            case _:
                pass

    @property
    def present(self) -> tuple[Trouble, ...]:
        return tuple(self._now.values())


def look(pulses: Iterable[Pulse], load: Load, reported: Iterable[Trouble], now_s: float) -> tuple[Trouble, ...]:
    """Returns all present troubles, the worst first. reported: by the parts themselves."""
    found = list(reported)
    for pulse in pulses:
        stuck_s = pulse.stuck_s(now_s)
        if stuck_s is not None:
            found.append(Trouble(pulse.part, pulse.norm.grade, f"no progress for {stuck_s:.0f} s"))
    for part, used, most in (
        ("memory", load.memory_bytes, load.memory_limit_bytes),
        ("file handles", load.handles, load.handles_limit),
        ("tasks", load.tasks, load.tasks_limit),
    ):
        if most is not None and used > MOST_SHARE * most:
            found.append(Trouble(part, Grade.TROUBLE, f"{used / most:.0%} of what is allowed is in use"))
    return tuple(sorted(found, key=lambda trouble: trouble.grade is not Grade.SICK))


def grade(troubles: Iterable[Trouble], *, is_ready: bool = True) -> Grade:
    """The grade of the daemon. is_ready: the start is over, and systemd has been told READY."""
    grades = {trouble.grade for trouble in troubles}
    best = Grade.WELL if is_ready else Grade.STARTING
    return next((one for one in (Grade.SICK, Grade.TROUBLE) if one in grades), best)


def in_words(troubles: Iterable[Trouble]) -> str:
    return "; ".join(f"{trouble.part}: {trouble.text}" for trouble in troubles)
