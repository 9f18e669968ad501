"""A thread that cannot begin is told to whoever starts it, and nobody waits for it for ever."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from parleyd.host import thread_starts


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # Remembered by monkeypatch, which undoes what bound_starts() does.
    monkeypatch.setattr(threading.Thread, "start", threading.Thread.start)
    monkeypatch.setattr(thread_starts, "BEGINS_S", 0.2)
    thread_starts.bound_starts()
    return iter(())


@pytest.mark.usefixtures("bounded")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.timeout(20)
def test_a_thread_without_memory_for_its_first_call_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def short(_: threading.Thread) -> None:
        raise MemoryError

    thread = threading.Thread(target=print)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "_bootstrap", short)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            thread.start()
    assert not thread.is_alive()


def test_a_thread_for_which_there_is_no_memory_is_refused_likewise(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(_: threading.Thread) -> None:
        raise MemoryError

    monkeypatch.setattr(threading.Thread, "start", threading.Thread.start)
    monkeypatch.setattr(thread_starts, "_start", short)
    thread_starts.bound_starts()
    with pytest.raises(RuntimeError, match="can't start new thread"):
        threading.Thread(target=print).start()


@pytest.mark.usefixtures("bounded")
def test_a_thread_that_begins_too_late_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    bootstrap, may_begin = threading.Thread._bootstrap, threading.Event()  # type: ignore[attr-defined]
    done: list[int] = []

    def late(thread: threading.Thread) -> None:
        may_begin.wait(60)
        bootstrap(thread)

    thread = threading.Thread(target=done.append, args=(1,))
    monkeypatch.setattr(threading.Thread, "_bootstrap", late)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        thread.start()
    may_begin.set()
    assert thread._started.wait(60)  # type: ignore[attr-defined]
    thread.join(60)
    assert done == []


@pytest.mark.usefixtures("bounded")
def test_other_threads_and_timers_run_as_ever() -> None:
    done = threading.Semaphore(0)
    threads = [threading.Thread(target=done.release), threading.Timer(0.01, done.release)]
    for thread in threads:
        thread.start()
        assert done.acquire(timeout=60)
        thread.join(60)
        assert not thread.is_alive()
        with pytest.raises(RuntimeError, match="once"):
            thread.start()
