"""When a lack of memory is told, and when it ends a thread; and that OpenBLAS has its memory before it is short."""

from __future__ import annotations

import logging
import subprocess
import sys
import time

import pytest

from parleyd.core import no_memory
from parleyd.core.no_memory import CALM_S, LASTS_S, Lack, NoMemory


def test_a_lack_that_passes_lets_the_thread_go_on_and_is_over_once() -> None:
    lack = Lack()
    assert lack.succeeds(0.0) == 0
    assert lack.fails(1.0)
    assert lack.fails(1.5)
    assert lack.succeeds(2.0) == 0, "it may not be over yet"
    assert lack.fails(3.0)
    assert lack.succeeds(3.0 + CALM_S - 0.1) == 0
    assert lack.succeeds(3.0 + CALM_S) == 3
    assert (lack.failed, lack.succeeds(100.0)) == (0, 0)


def test_a_thread_that_gets_nothing_done_for_long_may_not_go_on() -> None:
    lack = Lack()
    for tenth in range(round(10 * LASTS_S)):
        assert lack.fails(5.0 + tenth / 10)
    assert not lack.fails(5.0 + LASTS_S)


def test_what_succeeds_now_and_then_lets_it_go_on_for_ever() -> None:
    lack = Lack()
    for second in range(100):
        assert lack.fails(second)
        assert lack.succeeds(second + 0.5) == 0
    assert lack.failed == 100


def test_a_thread_that_has_nothing_to_do_in_between_begins_anew() -> None:
    lack = Lack()
    assert lack.fails(0.0)
    assert lack.fails(CALM_S)
    assert lack.failed == 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now_s = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    return now_s


def test_a_lack_is_told_once_and_its_end_once(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    memory = NoMemory("ears", "sound is missing")
    with caplog.at_level(logging.INFO):
        memory.succeeds()
        for _ in range(3):
            memory.fails(MemoryError("Unable to allocate 120. KiB"))
        memory.succeeds()
        clock[0] += CALM_S
        memory.succeeds()
        memory.succeeds()
        first = [record.getMessage() for record in caplog.records]
        memory.fails(MemoryError())
        clock[0] += CALM_S
        memory.fails(MemoryError())
    assert len(first) == 2
    assert first[0].startswith("ears: there is not enough memory (Unable to allocate 120. KiB): sound is missing; ")
    assert first[1] == "ears: there is enough memory again; 3 pieces of work had failed"
    assert [record.getMessage().partition(":")[0] for record in caplog.records[2:]] == ["ears", "ears"], "two lacks"


def test_a_lack_that_lasts_ends_the_thread_with_its_reason(clock: list[float]) -> None:
    memory = NoMemory("ears", "sound is missing")
    memory.fails(MemoryError("first"))
    clock[0] += LASTS_S - 0.1
    memory.fails(MemoryError("second"))
    clock[0] += 0.1
    with pytest.raises(MemoryError, match="third"):
        memory.fails(MemoryError("third"))


def test_a_lack_that_cannot_even_be_told_is_told_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    memory = NoMemory("ears", "sound is missing")

    def full(*_args: object, **_options: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(no_memory.log, "warning", full)
        memory.fails(MemoryError())
    memory.fails(MemoryError())
    assert len(caplog.records) == 1


SHORT = """
import resource
from parleyd.host import openblas
openblas.start_no_threads()
import numpy as np
large, matrix = np.zeros((400, 104), np.float32), np.zeros((104, 24), np.float32)
spare = np.zeros(300_000, np.float32)
openblas.take_memory()
with open("/proc/self/statm") as file:
    pages = int(file.read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize(), resource.RLIM_INFINITY))
del spare
print((large @ matrix).shape)
"""


def test_the_first_product_of_matrices_ends_no_process_that_is_short_of_memory() -> None:
    done = subprocess.run([sys.executable, "-c", SHORT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "(400, 24)"), done.stderr
