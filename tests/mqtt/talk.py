"""A person who asks a daemon the same few questions again and again, and what the daemon makes of them."""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import time
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chaos import voices
from parleyd.control.client import Client
from programs import PATIENCE_S, Program

# Sentences that the ears of the embedded agent know, each with a short answer.
QUESTIONS = ("What time is it?", "What is your name?", "What is the date today?", "How are you today?")
# From the beginning of a question to that of the next one: its answer, on a busy machine, and time to stop a process.
EVERY_S = 12.0
# The first question: the daemon and `parleyd mqtt` are up.
FIRST_S = 20.0
_TICKS = os.sysconf("SC_CLK_TCK")


def recording(path: Path, rounds: int, every_s: float = EVERY_S) -> None:
    """A recording of all questions, so many times over, by one voice in a quiet room. every_s: at most EVERY_S."""
    sentences = [voices.spoken(text, "slt") for text in QUESTIONS]
    sound = voices.room(int((FIRST_S + rounds * len(QUESTIONS) * every_s) * voices.RATE_HZ), 1)
    for number in range(rounds * len(QUESTIONS)):
        sentence = sentences[number % len(QUESTIONS)]
        at = int((FIRST_S + number * every_s) * voices.RATE_HZ)
        sound[at : at + len(sentence)] = sentence
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, voices.RATE_HZ, 0, "NONE", ""))
        file.writeframes(sound.tobytes())


@dataclass(frozen=True)
class Round:
    """What came of one round of questions. cpu_share: of one core, by the daemon's process alone. delays_s: from the
    end of each question to the first sound of its answer."""

    heard: tuple[str, ...]
    answers: int
    cpu_share: float
    underruns: int
    overflows: int
    delays_s: tuple[float, ...]

    def __str__(self) -> str:
        delay_ms = 1000 * statistics.median(self.delays_s or (float("nan"),))
        return (
            f"{100 * self.cpu_share:5.1f} % of a core   {self.underruns:2} underruns   {self.overflows:2} overflows   "
            f"{len(self.heard)} heard   {self.answers} answered   first sound after {delay_ms:4.0f} ms (median)"
        )


class Talk:
    """Follows a daemon whose microphone is such a recording."""

    def __init__(self, daemon: Program) -> None:
        self._pid = daemon.process.pid
        if os.geteuid() == 0:
            # Late answers would meet the next question on a machine that others use, too.
            for pid in (self._pid, *_children(self._pid)):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    os.setpriority(os.PRIO_PROCESS, int(task.name), -10)

    def round(self) -> Round:
        """Waits until the answer to the last question of the next round has ended; no longer than it may take."""
        heard: list[str] = []
        delays_s: list[float] = []
        answers, ended, spoken_s = 0, 0, 0.0
        underruns, overflows = _holes()
        used_s, began_s = cpu_s(self._pid), time.monotonic()
        with Client() as client:
            client.ask("events")
            for one in client.events_until(began_s + len(QUESTIONS) * EVERY_S + PATIENCE_S):
                if one["event"] in ("talk_stopped", "utterance_ended"):
                    spoken_s = one["at_s"]
                elif one["event"] == "heard" and one["final"]:
                    heard.append(one["text"])
                elif one["event"] == "answer_started":
                    delays_s.append(one["at_s"] - spoken_s)
                elif one["event"] == "answer_ended":
                    ended += 1
                    answers += bool(one["finished"])
                if ended == len(QUESTIONS):
                    break
        share = (cpu_s(self._pid) - used_s) / (time.monotonic() - began_s)
        now = _holes()
        return Round(tuple(heard), answers, share, now[0] - underruns, now[1] - overflows, tuple(delays_s))


def _children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _holes() -> tuple[int, int]:
    with Client() as client:
        status = client.ask("status")
    return status["speaker"]["underruns"], status["microphone"]["overflows"]


def cpu_s(pid: int) -> float:
    used = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(used[11]) + int(used[12])) / _TICKS


@contextlib.contextmanager
def stopped(*processes: int) -> Iterator[None]:
    """They stand still (SIGSTOP)."""
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)


def group(leader: int) -> list[int]:
    """The processes of a process group."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[2]) == leader:
                found.append(int(folder.name))
    return sorted(found)


def running(leader: int, word: str) -> int:
    """The newest process of a group with this word in its command line."""
    named = [pid for pid in group(leader) if word in _command(pid)]
    assert named, f"no process of group {leader} is {word}"
    return max(named, key=_started)


def _started(pid: int) -> int:
    """In ticks; numbers of processes begin again at some time."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return ""
