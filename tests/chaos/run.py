"""Plays lives, several at a time, each lane in a process of its own."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from chaos import convai, realtime, voices
from chaos import kinds as all_kinds
from chaos.choosing import Life
from chaos.lane import live
from chaos.machine import Machine
from chaos.outcome import LifeOutcome

_PR_SET_PDEATHSIG = 1
PROVIDERS = {one.name: one for one in (convai.PROVIDER, realtime.PROVIDER)}


def _lane(
    orders: Connection,
    sounds: dict[str, voices.Samples],
    work: Path,
    keep: Path | None,
    until_s: float,
    provider: str,
) -> None:
    """The process of one lane: takes lives, gives outcomes, until None comes."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    kinds = all_kinds.every(provider)
    spoken = voices.Voices(sounds)
    machine = Machine()
    machine.enter(Path(tempfile.mkdtemp(prefix="lane-", dir=work)))
    with contextlib.suppress(EOFError):
        while (life := orders.recv()) is not None:
            orders.send(live(life, machine, kinds, spoken, work, keep, until_s, orders.send, PROVIDERS[provider]))


class Lanes:
    """A context manager: what it started ends with it."""

    def __init__(self, many: int, keep: Path | None, until_s: float, provider: str) -> None:
        sounds = voices.synthesise()
        context = multiprocessing.get_context("spawn")
        # A socket's path is short.
        self._work = Path(tempfile.mkdtemp(prefix="chaos-"))
        self._until_s = until_s
        self._processes: dict[Connection, BaseProcess] = {}
        for _ in range(many):
            mine, its = context.Pipe()
            # Not a daemon in multiprocessing's sense: it has children.
            args = (its, sounds, self._work, keep, until_s, provider)
            process = context.Process(target=_lane, args=args, name="lane")
            process.start()
            its.close()
            self._processes[mine] = process

    def __enter__(self) -> Lanes:
        return self

    def __exit__(self, *_: object) -> None:
        for connection, process in self._processes.items():
            with contextlib.suppress(OSError):
                connection.send(None)
            process.join(3.0)
            if process.is_alive():
                process.kill()
                process.join()
        shutil.rmtree(self._work, ignore_errors=True)

    def play(
        self,
        lives: Sequence[Life],
        done: Callable[[LifeOutcome], None],
        fault_done: Callable[[str], None] = lambda _kind: None,
    ) -> None:
        """done is told of each life as it ends; of those that time ended early, too. fault_done: of each fault."""
        waiting = list(lives)
        busy: dict[Connection, Life] = {}
        idle = list(self._processes)
        while waiting or busy:
            if time.monotonic() > self._until_s:
                waiting.clear()
            while waiting and idle:
                connection, life = idle.pop(), waiting.pop(0)
                connection.send(life)
                busy[connection] = life
            if not busy:
                return
            for ready in wait(list(busy), timeout=1.0):
                assert isinstance(ready, Connection)
                life = busy[ready]
                try:
                    told: LifeOutcome | str = ready.recv()
                    if isinstance(told, str):
                        fault_done(told)
                        continue
                    outcome = told
                    idle.append(ready)
                except (EOFError, OSError):
                    code = self._processes[ready].exitcode
                    outcome = LifeOutcome(life.number, life.world, [])
                    outcome.failures.append(f"the harness itself: the process of a lane ended ({code})")
                del busy[ready]
                done(outcome)
            if not idle and not busy and waiting:
                raise RuntimeError("the processes of all lanes have ended")
