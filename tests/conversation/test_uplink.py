"""What goes up: real time kept, nothing doubled, nothing missing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parleyd.audio.gate import Passed
from parleyd.audio.pcm import FRAME_BYTES, FRAME_MS, SILENT_FRAME, Frame
from parleyd.conversation.uplink import DROP_TAIL_MS, Mode, Uplink


def frame(number: int) -> Frame:
    return Frame((number % 32000 + 1).to_bytes(2, "little") * (FRAME_BYTES // 2), number * FRAME_MS / 1000)


def number(pcm: bytes) -> int | None:
    value = int.from_bytes(pcm[:2], "little")
    return value - 1 if value else None


def uplink(mode: Mode = "silence", capacity_ms: int = 15_000) -> Uplink:
    return Uplink(mode, pre_roll_ms=500, capacity_ms=capacity_ms)


def push(line: Uplink, numbers: range, speech: bool) -> None:
    for n in numbers:
        line.push(Passed(frame(n), speech))


def everything(line: Uplink) -> list[int | None]:
    return [number(pcm) for pcm in line.take(1_000_000)]


CREDIT = [None] * 25


def test_asleep_nothing_is_there_to_send() -> None:
    line = uplink()
    push(line, range(100), speech=False)
    push(line, range(100, 150), speech=True)
    assert len(line) == 0


def test_the_waking_utterance_goes_up_whole_and_in_order() -> None:
    line = uplink()
    push(line, range(40), speech=False)
    push(line, range(40, 140), speech=True)
    assert line.begin() == 100 * FRAME_MS
    push(line, range(140, 150), speech=True)
    assert everything(line) == CREDIT + list(range(40, 150))


def test_silence_mode_keeps_the_rooms_time() -> None:
    line = uplink()
    line.begin()
    push(line, range(30), speech=False)
    push(line, range(30, 60), speech=True)
    push(line, range(60, 90), speech=False)
    assert everything(line) == CREDIT + [None] * 30 + list(range(30, 60)) + [None] * 30


def test_open_mode_sends_the_room() -> None:
    line = uplink("open")
    line.begin()
    push(line, range(5), speech=False)
    push(line, range(5, 8), speech=True)
    assert everything(line) == list(range(8))


def test_drop_mode_sends_a_tail_and_then_nothing() -> None:
    line = uplink("drop")
    line.begin()
    push(line, range(10), speech=True)
    push(line, range(10, 510), speech=False)
    assert everything(line) == list(range(10)) + [None] * (DROP_TAIL_MS // FRAME_MS)


def test_an_unheard_utterance_is_sent_again_and_a_heard_one_is_not() -> None:
    line = uplink()
    line.begin()
    push(line, range(10), speech=True)
    everything(line)
    line.heard(5 * FRAME_MS / 1000, settled=False)
    line.end()
    push(line, range(10, 12), speech=True)
    line.begin()
    assert everything(line) == [*CREDIT, *range(6, 12)]
    assert line.counters.resent == 4


def test_once_heard_the_hangover_is_not_kept() -> None:
    line = uplink()
    line.begin()
    push(line, range(50), speech=True)
    everything(line)
    line.heard(1e9, settled=True)
    for n in range(50, 95):
        push(line, range(n, n + 1), speech=True)
        everything(line)
    assert line.kept_ms <= 500 + FRAME_MS, "what further talk would need"
    push(line, range(95, 96), speech=False)
    assert line.kept_ms == 0


def test_further_talk_in_the_hangover_is_kept_from_its_onset() -> None:
    line = uplink()
    line.begin()
    push(line, range(50), speech=True)
    everything(line)
    line.heard(1e9, settled=True)
    for n in range(50, 120):
        push(line, range(n, n + 1), speech=True)
        everything(line)
        if n == 80:  # the verdict; the talk itself began some frames before
            line.talk_goes_on()
    assert line.kept_ms == pytest.approx((120 - 80 + 25) * FRAME_MS, abs=FRAME_MS)


def test_only_what_was_sent_can_have_been_heard() -> None:
    line = uplink()
    line.begin()
    push(line, range(10), speech=True)
    line.take(25 + 4)
    line.heard(1e9, settled=False)
    assert line.kept_ms == 6 * FRAME_MS


def test_beyond_the_bound_the_oldest_goes_and_is_counted() -> None:
    line = uplink(capacity_ms=10 * FRAME_MS)
    push(line, range(25), speech=True)
    assert line.counters.lost == 15
    line.begin()
    assert everything(line) == CREDIT + list(range(15, 25))


def test_long_speech_on_a_live_line_loses_nothing() -> None:
    line = uplink(capacity_ms=10 * FRAME_MS)
    line.begin()
    sent: list[int | None] = []
    for n in range(100):
        push(line, range(n, n + 1), speech=True)
        sent += everything(line)
    assert sent == CREDIT + list(range(100))
    assert line.counters.lost == 0


def test_a_stuck_line_is_bounded_too() -> None:
    line = uplink(capacity_ms=10 * FRAME_MS)
    line.begin()
    push(line, range(1000), speech=True)
    assert len(line) == 10 + 25
    assert line.counters.lost == 1000 - 35


def test_forgetting_tells_what_was_never_sent() -> None:
    line = uplink()
    line.begin()
    push(line, range(10), speech=True)
    line.take(25 + 4)
    assert line.forget(8 * FRAME_MS / 1000) == 4 * FRAME_MS
    assert line.kept_ms == 2 * FRAME_MS
    assert line.kept_until_s == pytest.approx(9 * FRAME_MS / 1000)


@given(st.lists(st.sampled_from(["speech", "silence", "drop", "connect", "heard"]), max_size=300))
def test_within_a_session_speech_is_in_order_and_single(steps: list[str]) -> None:
    line = uplink()
    session: list[int] = []
    n = 0
    for step in steps:
        match step:
            case "speech" | "silence":
                line.push(Passed(frame(n), step == "speech"))
                n += 1
            case "drop":
                line.end()
                session = []
            case "connect" if not line.live:
                line.begin()
            case "heard":
                line.heard(n * FRAME_MS / 1000, settled=False)
        if line.live:
            session += [k for k in everything(line) if k is not None]
        assert session == sorted(set(session))


def test_zeros_are_zeros() -> None:
    line = uplink()
    line.begin()
    push(line, range(3), speech=False)
    assert set(line.take(100)) == {SILENT_FRAME}
