"""Where one answer ends and the next begins, or is cut: nothing of the one is taken for the other's."""

from __future__ import annotations

import threading

import pytest
from playback_room import Room, SteppingOutput, tone

from parleyd.audio.pcm import AudioFormat
from parleyd.audio.playback import answer_queue
from parleyd.audio.playback.answer_queue import ChunkQueue
from parleyd.audio.playback.mix import Mix
from parleyd.audio.playback.playhead import HeardPart, Playhead, Started

WAIT_S = 60.0


def test_an_answer_of_which_more_may_come_is_not_whole_when_it_is_cut_at_its_last_sound() -> None:
    head = Playhead(rate_hz=1000, latency_s=0.1)
    head.handed(head.queued(1, 0.1), 100, 0.0, at_s=1.0)
    head.due(1.15, dry=True)
    assert head.clear(1.25, sharp=False) == [HeardPart(1, 100, 100, finished=False)]


def test_half_a_sample_of_one_answer_is_not_glued_to_the_next() -> None:
    queue = ChunkQueue()
    assert queue.accept(1, b"\1\2\3") == (b"\1\2", 0.0)
    assert queue.accept(2, b"\4\5\6\7") == (b"\4\5\6\7", 0.0)
    assert queue.accept(2, b"\1") == (b"", 0.0)
    assert queue.accept(2, b"\2\3") == (b"\1\2", 0.0), "within one answer the halves belong together"


def test_a_thread_that_is_late_before_an_answer_has_begun_makes_no_hole_in_it() -> None:
    is_held, may_go_on = threading.Event(), threading.Event()

    class Held(Room):
        def tell(self, what: str, it: object) -> None:
            """On the playback thread, which makes no sound meanwhile."""
            super().tell(what, it)
            if what == "started" and not is_held.is_set():
                is_held.set()
                assert may_go_on.wait(WAIT_S)

    speaker = SteppingOutput()
    room = Held(speaker)
    room.playback.start()
    try:
        room.playback.enqueue(1, tone(0.01, rate_hz=16_000))
        room.playback.end_answer(1)
        room.pull(1)
        assert is_held.wait(WAIT_S)
        room.playback.enqueue(2, tone(0.05, rate_hz=16_000))
        assert speaker.fill is not None
        speaker.fill(480)
        speaker.fill(480)
        may_go_on.set()
        room.pull(12)
        assert room.wait_told(lambda told: ("started", 2) in told)
        assert room.playback.underruns == 0
    finally:
        may_go_on.set()
        room.playback.stop()


def test_what_is_told_of_a_cut_names_each_answer_once() -> None:
    head = Playhead(rate_hz=1000, latency_s=0.0)
    head.handed(head.queued(1, 0.1), 100, 0.0, at_s=1.0)
    head.queued(2, 0.1)
    told = head.clear(1.05, sharp=True)
    assert told == [Started(1, 1.0), HeardPart(1, 50, 100, finished=False), HeardPart(2, 0, 100, finished=False)]
    assert head.clear(1.05, sharp=True) == []


def test_half_a_sample_is_forgotten_with_its_format_and_with_a_clear() -> None:
    queue = ChunkQueue()
    assert queue.accept(1, b"\1\2\3") == (b"\1\2", 0.0)
    queue.set_format(AudioFormat("pcm", 24_000))
    assert queue.accept(1, b"\4\5\6") == (b"\4\5", 0.0)
    queue.clear()
    assert queue.accept(1, b"\7\10") == (b"\7\10", 0.0)


def test_an_answer_that_was_too_long_may_go_on_after_a_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_queue, "QUEUE_LIMIT_S", 0.001)
    queue = ChunkQueue()
    assert queue.accept(1, bytes(100)) == (bytes(32), 34 / 16_000)
    assert queue.accept(1, bytes(10)) == (b"", 5 / 16_000), "its end is missing, and more would make no sense"
    queue.clear()
    assert queue.accept(1, bytes(10)) == (bytes(10), 0.0)


def test_an_answer_is_told_again_in_the_next_time_in_which_nobody_can_hear() -> None:
    mix, told = Mix(volume=1.0, duck_db=12.0), []
    for _ in range(2):
        mix.discard(True, 1.0)
        mix.enqueue(1, bytes(320), 1.0)
        mix.enqueue(1, bytes(320), 1.0)
        told.append([it for it in mix.told(1.0) if isinstance(it, HeardPart)])
        mix.discard(False, 1.0)
    assert [[it.heard_ms for it in each] for each in told] == [[0], [0]]
