"""The queue in front of the sender: what overtakes what, and what is bounded."""

from __future__ import annotations

import threading

import pytest

from parleyd.audio.gate.gate import Passed, Verdict
from parleyd.audio.pcm import FRAME_MS, Frame
from parleyd.conversation.session.outbox import MOST_CONTROL, MOST_CONTROL_BYTES, Outbox, Pause
from parleyd.conversation.session.uplink import DROP_TAIL_MS, TOO_MUCH, Loss, Uplink

FRAME_S = FRAME_MS / 1000
# The zeros with which a session begins: as long as the pre-roll.
CREDIT = 10


def uplink(capacity_ms: int = 10_000) -> Uplink:
    return Uplink("silence", pre_roll_ms=200, capacity_ms=capacity_ms)


def verdict(number: int, *, talk: bool, started: bool = False, stopped: bool = False, closed: bool = False) -> Verdict:
    frame = Frame(bytes([1, 0]) * 320, number * FRAME_S)
    return Verdict(
        (Passed(frame, talk),), closed=closed, speech_s=frame.start_s, talk_started=started, talk_stopped=stopped
    )


def turn(outbox: Outbox, first: int) -> None:
    """Twenty frames of talk, and the gate's closing five frames later."""
    for number in range(first, first + 20):
        outbox.hear(verdict(number, talk=True, started=number == first, stopped=number == first + 19), wanted=True)
    for number in range(first + 20, first + 26):
        outbox.hear(verdict(number, talk=number < first + 25, closed=number == first + 25), wanted=True)


def taken(outbox: Outbox, sender: object) -> tuple[int, Pause]:
    """The frames up to the next pause, and which that is."""
    frames = 0
    while isinstance(message := outbox.take(sender, 0.01), list):
        frames += len(message)
    assert isinstance(message, Pause)
    return frames, message


def test_answers_overtake_sound() -> None:
    outbox, sender = Outbox(uplink()), object()
    outbox.admit(sender)
    outbox.begin(sender)
    outbox.send(b"pong", sender)
    assert outbox.take(sender) == b"pong"
    assert isinstance(outbox.take(sender), list)


def test_the_end_of_a_turn_is_told_behind_all_of_its_sound_and_once() -> None:
    outbox, sender = Outbox(uplink()), object()
    outbox.admit(sender)
    outbox.begin(sender)
    assert taken(outbox, sender) == (CREDIT, Pause.IDLE)
    turn(outbox, 0)
    outbox.hear(verdict(26, talk=False), wanted=True)
    assert taken(outbox, sender) == (26, Pause.TURN_ENDED)
    assert taken(outbox, sender) == (1, Pause.IDLE)
    turn(outbox, 40)
    assert taken(outbox, sender) == (26, Pause.TURN_ENDED)
    assert taken(outbox, sender) == (0, Pause.IDLE)


def test_frames_that_are_not_sent_keep_no_line_alive() -> None:
    """A room in which nobody speaks, in the mode that sends nothing between utterances."""
    outbox, sender = Outbox(Uplink("drop", pre_roll_ms=200, capacity_ms=1000)), object()
    outbox.admit(sender)
    outbox.begin(sender)
    is_over = threading.Event()
    for number in range(DROP_TAIL_MS // FRAME_MS):
        outbox.hear(verdict(number, talk=False), wanted=True)

    def hear() -> None:
        number = DROP_TAIL_MS // FRAME_MS
        while not is_over.wait(0.002):
            number += 1
            outbox.hear(verdict(number, talk=False), wanted=True)

    room = threading.Thread(target=hear, daemon=True)
    room.start()
    _, pause = taken(outbox, sender)
    is_over.set()
    room.join()
    assert pause is Pause.IDLE


def test_a_turn_that_was_over_before_the_session_began_is_told_in_it() -> None:
    outbox, sender = Outbox(uplink()), object()
    turn(outbox, 0)
    outbox.admit(sender)
    outbox.begin(sender)
    assert taken(outbox, sender) == (CREDIT + 25, Pause.TURN_ENDED)
    assert taken(outbox, sender) == (0, Pause.IDLE)


def test_a_turn_that_goes_on_when_the_session_begins_is_told_at_its_end() -> None:
    outbox, sender = Outbox(uplink()), object()
    outbox.hear(verdict(0, talk=True, started=True), wanted=True)
    outbox.admit(sender)
    outbox.begin(sender)
    assert taken(outbox, sender) == (CREDIT + 1, Pause.IDLE)
    turn(outbox, 1)
    assert taken(outbox, sender) == (26, Pause.TURN_ENDED)


def test_what_is_not_for_the_agent_is_no_turn() -> None:
    outbox, sender = Outbox(uplink()), object()
    outbox.admit(sender)
    outbox.begin(sender)
    outbox.hear(verdict(0, talk=True, started=True), wanted=False)
    outbox.hear(verdict(1, talk=False, stopped=True, closed=True), wanted=False)
    assert taken(outbox, sender) == (CREDIT, Pause.IDLE)


def test_a_server_that_asks_without_end_and_reads_nothing_fills_no_memory(caplog: pytest.LogCaptureFixture) -> None:
    outbox, sender = Outbox(uplink()), object()
    outbox.admit(sender)
    for number in range(MOST_CONTROL):
        outbox.send(str(number).encode(), sender)
    assert caplog.messages == []
    for number in range(MOST_CONTROL, MOST_CONTROL + 5):
        outbox.send(str(number).encode(), sender)
    assert outbox.take(sender) == b"5"
    assert caplog.messages == ["the line takes nothing: messages to the agent are dropped, the oldest first"]


def test_pictures_for_a_server_that_reads_nothing_fill_no_memory() -> None:
    outbox, sender = Outbox(uplink()), object()
    outbox.admit(sender)
    picture = bytes(MOST_CONTROL_BYTES // 3)
    for number in range(1, 6):
        outbox.send(picture + b"." * number, sender)
    held = [outbox.take(sender) for _ in range(2)]
    assert [len(one) - len(picture) for one in held if isinstance(one, bytes)] == [4, 5]
    outbox.send(bytes(2 * MOST_CONTROL_BYTES), sender)
    outbox.send(b"next", sender)
    assert outbox.take(sender) == b"next", "the one that is too large alone has made room"


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


def test_a_session_that_begins_before_the_end_of_the_last_one_was_noticed_ends_it() -> None:
    """The sender of a line that broke ends by itself; when the session is then exchanged, nobody has released it."""
    told: list[Loss] = []
    outbox, first, second = Outbox(uplink(capacity_ms=200), told.append), object(), object()
    outbox.admit(first)
    outbox.begin(first)
    for number in range(20):
        outbox.hear(verdict(number, talk=True, started=number == 0, stopped=number == 19), wanted=True)
        taken(outbox, first)
    outbox.admit(second)
    assert told == [Loss(200, TOO_MUCH)], "half of it is kept, and no agent has shown that it heard the other half"
    outbox.end(first)
    for number in range(20, 25):
        outbox.hear(verdict(number, talk=False), wanted=True)
    outbox.begin(second)
    assert taken(outbox, second) == (CREDIT + 10, Pause.IDLE), "there was no line for the silence before it"
    outbox.end(second)
    assert told == [Loss(200, TOO_MUCH)]


def test_what_was_meant_for_one_session_does_not_reach_the_next() -> None:
    outbox, first, second = Outbox(uplink()), object(), object()
    outbox.admit(first)
    outbox.send(b"for the first, unsent", first)
    outbox.end(first)
    outbox.admit(first)
    outbox.send(b"for the first, which has not ended", first)
    outbox.admit(second)
    outbox.send(b"for the first, late", first)
    outbox.send(b"for the second", second)
    assert outbox.take(second) == b"for the second"
    outbox.end(second)
    outbox.send(b"for nobody", second)
    outbox.admit(first)
    outbox.send(b"again", first)
    assert outbox.take(first) == b"again"
