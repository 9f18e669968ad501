"""The queue in front of the sender: what overtakes what, and what is bounded."""

from __future__ import annotations

from parleyd.audio.gate.gate import Passed, Verdict
from parleyd.audio.pcm import FRAME_MS, Frame
from parleyd.conversation.session.outbox import MOST_CONTROL, Outbox
from parleyd.conversation.session.uplink import TOO_MUCH, Loss, Uplink

FRAME_S = FRAME_MS / 1000


def uplink(capacity_ms: int = 10_000) -> Uplink:
    return Uplink("silence", pre_roll_ms=200, capacity_ms=capacity_ms)


def verdict(number: int, *, talk: bool, started: bool = False, stopped: bool = False) -> Verdict:
    frame = Frame(bytes([1, 0]) * 320, number * FRAME_S)
    return Verdict((Passed(frame, talk),), speech_s=frame.start_s, talk_started=started, talk_stopped=stopped)


def test_answers_overtake_sound() -> None:
    outbox, sender = Outbox(uplink()), object()
    outbox.admit(sender)
    outbox.begin(sender)
    outbox.send(b"pong", sender)
    assert outbox.take(sender) == b"pong"
    assert isinstance(outbox.take(sender), list)


def test_a_server_that_asks_without_end_and_reads_nothing_fills_no_memory() -> None:
    outbox, sender = Outbox(uplink()), object()
    outbox.admit(sender)
    for number in range(MOST_CONTROL + 5):
        outbox.send(str(number).encode(), sender)
    assert outbox.take(sender) == b"5"


def test_what_is_not_wanted_is_not_kept_but_whose_end_it_was_is_known() -> None:
    """Somebody talks already when the agent is wanted; what they say from then on is an utterance as any other."""
    outbox, sender = Outbox(uplink()), object()
    outbox.hear(verdict(0, talk=True, started=True), wanted=False)
    assert outbox.kept_ms == 0
    for number in range(1, 50):
        outbox.hear(verdict(number, talk=True), wanted=True)
    outbox.hear(verdict(50, talk=True, stopped=True), wanted=True)
    outbox.admit(sender)
    outbox.begin(sender)
    for _ in range(12):
        outbox.take(sender)
    outbox.transcribed(100.0)
    outbox.end(sender)
    outbox.begin(sender)
    assert outbox.kept_ms <= 200, "no more than the onset of further talk"


def test_each_loss_is_told_once() -> None:
    told: list[Loss] = []
    outbox = Outbox(uplink(capacity_ms=1000), told.append)
    for first in (0, 200, 400):
        for number in range(first, first + 40):
            outbox.hear(verdict(number, talk=True, started=number == first), wanted=True)
        outbox.hear(verdict(first + 40, talk=False, stopped=True), wanted=True)
        for number in range(first + 41, first + 200):
            outbox.hear(verdict(number, talk=False), wanted=True)
    assert told == [Loss(40 * FRAME_MS, TOO_MUCH), Loss(40 * FRAME_MS, TOO_MUCH)]


def test_what_was_meant_for_one_session_does_not_reach_the_next() -> None:
    outbox, first, second = Outbox(uplink()), object(), object()
    outbox.admit(first)
    outbox.send(b"for the first, unsent", first)
    outbox.end(first)
    outbox.admit(second)
    outbox.send(b"for the first, late", first)
    outbox.send(b"for the second", second)
    assert outbox.take(second) == b"for the second"
    outbox.end(second)
    outbox.send(b"for nobody", second)
    outbox.admit(first)
    outbox.send(b"again", first)
    assert outbox.take(first) == b"again"
