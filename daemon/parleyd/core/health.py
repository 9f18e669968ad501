"""What healthy means, for every part, in one place. Only a pulse looks at the clock.

`parleyd status`, systemd's STATUS= and its watchdog all read the same verdict. A part that is stuck makes the daemon
sick: the watchdog is no longer fed. What a restart would not fix (a microphone that is unplugged, an agent that
refuses, a disk that hangs) is trouble.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from parleyd.core import events


class Grade(Enum):
    """starting: the devices have not opened yet, so nothing can be promised. sick: the watchdog ends the daemon."""

    WELL = "well"
    STARTING = "starting"
    TROUBLE = "trouble"
    SICK = "sick"


@dataclass(frozen=True, slots=True)
class Norm:
    """A healthy thread is done within limit_s with whatever it took up. grade: of a daemon in which it is not."""

    limit_s: float
    grade: Grade = Grade.SICK


# Every thread of the daemon but those that must not count: `logs`, since a terminal that is held (Ctrl-S) holds it up,
# those of tools, hooks, uploads, look-ups of names, of the control socket's slow requests and of a device's reopening,
# whose work has deadlines kept by others, the one that writes a learnt gain, and the metrics port, which is for others.
NORMS = {
    # A microphone that is gone is heard as silence, so that ears go on in real time whatever happens.
    "ears": Norm(5.0),
    "playback": Norm(5.0),
    "supervisor": Norm(10.0),
    "session receiver": Norm(10.0),
    # Its send may block until TCP_USER_TIMEOUT gives the line up.
    "session sender": Norm(30.0),
    "announcer": Norm(10.0),
    "devices": Norm(10.0),
    "control": Norm(20.0),
    # These two may read the configuration, and move a mixer that takes two seconds.
    "profiles": Norm(20.0),
    "signals": Norm(20.0),
    # They wait for nothing but the disk.
    "timers": Norm(60.0, Grade.TROUBLE),
    "usage": Norm(60.0, Grade.TROUBLE),
    "transcript": Norm(60.0, Grade.TROUBLE),
    "recorder": Norm(60.0, Grade.TROUBLE),
    "tools-audit": Norm(60.0, Grade.TROUBLE),
    "metrics": Norm(60.0, Grade.TROUBLE),
}
# Seen late so often in a row: a process that was stopped and goes on gets the time to catch up.
LOOKS = 2
# Of the memory, the file handles and the tasks that the unit allows.
MOST_SHARE = 0.9


class Pulse:
    """One thread's sign of life: beat() when it takes something up, rest() before it waits for more to do."""

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
        """How long it has been at the same thing, when that is too long; to be asked at intervals."""
        since_s = self._since_s
        late = since_s is not None and now_s - since_s > self.norm.limit_s
        self._looks = self._looks + 1 if late else 0
        return now_s - since_s if since_s is not None and self._looks >= LOOKS else None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be. part: as in NORMS, or the name of a thing (microphone, agent, memory).
    hint: what to do about it; None where nothing is known, or nothing is to be done."""

    part: str
    grade: Grade
    text: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """What the process takes. None: there is no limit. tasks: threads of the process and of all that it has started,
    where they have a limit in common."""

    memory_bytes: int
    memory_limit_bytes: int | None
    handles: int
    handles_limit: int | None
    threads: int
    tasks: int = 0
    tasks_limit: int | None = None


# Those of whose troubles the bus tells.
TOLD_PARTS = ("microphone", "speaker", "agent", "echo", "mute switch", "timer file")


class Troubles:
    """What parts say of themselves on the bus, as it stands now."""

    def __init__(self) -> None:
        self._now: dict[str, Finding] = {}
        # The last trouble with the line: the supervisor's move that follows from it does not repeat the hint.
        self._line: events.Trouble | None = None

    def take(self, event: events.Event) -> None:
        match event:
            case events.DeviceLost(which=which, name=name, cause=cause, hint=hint):
                self._now[which] = Finding(which, Grade.TROUBLE, f"{cause} ({name})", hint)
            case events.DeviceBack(which=which):
                self._now.pop(which, None)
            case events.Trouble(part=str(part), text=text, hint=hint):
                self._now[part] = Finding(part, Grade.TROUBLE, text, hint)
            case events.Trouble():
                self._line = event
            case events.TroubleOver(part=part):
                self._now.pop(part, None)
            case events.StateChanged(after="backing off", reason=reason):
                about_this = self._line is not None and reason in self._line.text
                hint = self._line.hint if self._line is not None and about_this else None
                before = self._now.get("agent")
                if hint is None and before is not None and before.text == reason:
                    # Another try in vain; meanwhile something else may have told of a trouble of its own.
                    hint = before.hint
                self._now["agent"] = Finding("agent", Grade.TROUBLE, reason, hint)
            case events.StateChanged(after="live" | "asleep"):
                self._now.pop("agent", None)
            case _:
                pass

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(self._now.values())


def look(pulses: Iterable[Pulse], load: Load, troubles: Iterable[Finding], now_s: float) -> tuple[Finding, ...]:
    """All that is wrong now, the worst first. troubles: what parts say of themselves."""
    found = list(troubles)
    for pulse in pulses:
        stuck_s = pulse.stuck_s(now_s)
        if stuck_s is not None:
            found.append(Finding(pulse.part, pulse.norm.grade, f"no progress for {stuck_s:.0f} s"))
    for part, used, most in (
        ("memory", load.memory_bytes, load.memory_limit_bytes),
        ("file handles", load.handles, load.handles_limit),
        ("tasks", load.tasks, load.tasks_limit),
    ):
        if most is not None and used > MOST_SHARE * most:
            found.append(Finding(part, Grade.TROUBLE, f"{used / most:.0%} of what is allowed is in use"))
    return tuple(sorted(found, key=lambda finding: finding.grade is not Grade.SICK))


def grade(findings: Iterable[Finding], *, is_ready: bool = True) -> Grade:
    """is_ready: the start is over, and systemd has been told READY."""
    grades = {finding.grade for finding in findings}
    best = Grade.WELL if is_ready else Grade.STARTING
    return next((one for one in (Grade.SICK, Grade.TROUBLE) if one in grades), best)


def in_words(findings: Iterable[Finding]) -> str:
    return "; ".join(f"{finding.part}: {finding.text}" for finding in findings)
