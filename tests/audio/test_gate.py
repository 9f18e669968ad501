"""The gate, frame by frame, with time and voice as given."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parleyd.audio.gate import FAINT_MOST_MS, PAUSE_MS, Gate, Verdict
from parleyd.audio.pcm import FRAME_MS, SILENT_FRAME, Frame
from parleyd.audio.room import (
    DOUBT_MS,
    DOUBT_REMEMBERED_MS,
    OVER_FOOLED_DB,
    Doubt,
    Hubbub,
    LevelFloor,
)

LOUD, QUIET = -20.0, -75.0


def run(gate: Gate, pattern: str, hold_back: bool = True, start: int = 0) -> list[Verdict]:
    """pattern: one character a frame; # is voiced, anything else is not."""
    return [
        gate.step(
            Frame(SILENT_FRAME, (start + i) * FRAME_MS / 1000),
            voiced=character == "#",
            level_dbfs=LOUD if character == "#" else QUIET,
            hold_back=hold_back,
        )
        for i, character in enumerate(pattern)
    ]


def numbers(verdicts: list[Verdict], speech: bool | None = None) -> list[int]:
    return [
        round(p.frame.start_s * 1000 / FRAME_MS) for v in verdicts for p in v.passed if speech in (None, p.speech)
    ]


def test_opens_within_the_onset_window_and_gives_the_pre_roll() -> None:
    verdicts = run(Gate(500, 900), "." * 50 + "#" * 10)
    opened = [i for i, v in enumerate(verdicts) if v.opened]
    assert opened == [50 + 5]  # 120 ms of speech
    assert verdicts[55].speech_s == 1.0
    # 500 ms from before the frame that opened, all as speech, and nothing before it.
    assert numbers(verdicts, speech=True)[0] == 55 - 25
    assert numbers(verdicts, speech=False) == list(range(30))


def test_a_click_does_not_open() -> None:
    assert not any(v.opened for v in run(Gate(500, 900), "." * 20 + "###" + "." * 60 + "#.#.#" + "." * 40))


def test_a_pause_does_not_count_as_talk() -> None:
    lasted = [v.talk_ms for v in run(Gate(500, 900), "." * 20 + "#" * 7 + "." * 40)]
    # The window keeps two frames of slack.
    assert max(lasted) == (7 + 2) * FRAME_MS
    again = [v.talk_ms for v in run(Gate(500, 900), "." * 20 + "#" * 7 + "." * 10 + "#" * 7 + "." * 40)]
    assert max(again) == (7 + 10 + 7 + 2) * FRAME_MS


def test_speech_with_gaps_opens() -> None:
    assert any(v.opened for v in run(Gate(500, 900), "." * 20 + "##.##.##.##" + "." * 9))


def test_closes_after_the_hangover_and_says_when_the_speech_ended() -> None:
    verdicts = run(Gate(500, 900), "." * 30 + "#" * 20 + "." * 80)
    closed = [i for i, v in enumerate(verdicts) if v.closed]
    # The window keeps two frames of slack: 3 of the last 5 frames are still speech two frames after the last.
    assert closed == [30 + 20 + 2 + 900 // FRAME_MS - 1]
    assert verdicts[closed[0]].speech_s == (50 + 2) * FRAME_MS / 1000
    # The hangover is part of the utterance.
    assert numbers(verdicts, speech=True)[-1] == closed[0]


def test_a_pause_ends_the_talk_but_not_the_utterance() -> None:
    verdicts = run(Gate(500, 900), "." * 30 + "#" * 20 + "." * 30 + "#" * 20 + "." * 80)
    assert sum(v.opened for v in verdicts) == 1
    assert sum(v.talk_started for v in verdicts) == 2
    assert sum(v.talk_stopped for v in verdicts) == 2
    stopped = next(i for i, v in enumerate(verdicts) if v.talk_stopped)
    assert stopped == 50 + 2 + PAUSE_MS // FRAME_MS - 1


def test_talk_is_measured_from_its_beginning() -> None:
    verdicts = run(Gate(500, 900), "." * 30 + "#" * 20)
    assert [v.talk_ms for v in verdicts if v.talk_ms] == list(range(120, 401, FRAME_MS))


def test_with_hold_back_off_everything_leaves_at_once() -> None:
    gate = Gate(500, 900)
    run(gate, "." * 40)
    verdicts = run(gate, "...", hold_back=False, start=40)
    assert [len(v.passed) for v in verdicts] == [26, 1, 1]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.booleans(), st.floats(-90, 0), st.booleans()), max_size=400))
def test_every_frame_leaves_once_and_in_order(steps: list[tuple[bool, float, bool]]) -> None:
    gate = Gate(500, 900)
    out: list[int] = []
    for i, (voiced, level, hold_back) in enumerate(steps):
        verdict = gate.step(Frame(SILENT_FRAME, float(i)), voiced=voiced, level_dbfs=level, hold_back=hold_back)
        out += [int(p.frame.start_s) for p in verdict.passed]
        assert gate.open or not verdict.talk_ms
    assert out == list(range(len(out)))
    assert len(steps) - len(out) <= 25


def opens(gate: Gate, level_dbfs: float) -> bool:
    """Whether a word of that level opens it in a quiet room; it is closed afterwards."""
    opened = any(verdict.opened for verdict in hear(gate, [level_dbfs] * 10))
    rest(gate, 1.2)
    return opened


def rest(gate: Gate, seconds: float) -> None:
    for _ in range(round(seconds * 1000 / FRAME_MS)):
        gate.step(Frame(SILENT_FRAME, 0.0), voiced=False, level_dbfs=-60.0)


def test_after_a_wake_for_nothing_it_has_to_be_louder_for_a_minute() -> None:
    gate = Gate(500, 900)
    rest(gate, 2)
    assert opens(gate, -52.0)
    gate.doubt.fooled()
    assert not opens(gate, -52.0)
    assert opens(gate, -40.0)
    rest(gate, DOUBT_MS / 1000)
    assert opens(gate, -52.0)


def test_wakes_for_nothing_in_a_row_make_it_harder_of_hearing_and_for_longer() -> None:
    gate = Gate(500, 900)
    rest(gate, 2)
    lasted_ms, bars_dbfs = [], []
    for times in range(1, 8):
        assert opens(gate, -30.0)
        gate.doubt.fooled()
        assert gate.doubt.times == times
        lasted_ms.append(gate.doubt.raised_ms)
        bars_dbfs.append(gate.bar_dbfs)
    assert lasted_ms == [DOUBT_MS * minutes for minutes in (1, 2, 4, 8, 16, 16, 16)]
    assert [round(bar - bars_dbfs[0]) for bar in bars_dbfs] == [0, 6, 12, 12, 12, 12, 12]


def test_doubt_asks_for_no_more_than_what_tops_the_false_alarm() -> None:
    doubt = Doubt()
    for _ in range(3):
        doubt.step(-48.0, talk=True)
        doubt.step(-20.0, talk=False)
        doubt.fooled()
    assert doubt.bar_dbfs(-60.0) == -48.0 + OVER_FOOLED_DB
    assert doubt.bar_dbfs(-40.0) == -40.0, "a room that has become louder than that"


def test_who_was_understood_is_trusted_again() -> None:
    gate = Gate(500, 900)
    rest(gate, 2)
    for _ in range(3):
        assert opens(gate, -40.0)
        gate.doubt.fooled()
    assert not opens(gate, -50.0)
    gate.doubt.trust()
    assert opens(gate, -50.0)
    gate.doubt.fooled()
    assert (gate.doubt.times, gate.doubt.raised_ms) == (1, DOUBT_MS)


def test_a_false_alarm_long_ago_is_forgotten() -> None:
    doubt = Doubt()
    doubt.fooled()
    for _ in range((DOUBT_MS + DOUBT_REMEMBERED_MS) // FRAME_MS - 1):
        doubt.step(-60.0, talk=False)
    assert (doubt.times, doubt.raised_ms) == (1, 0)
    doubt.step(-60.0, talk=False)
    assert doubt.times == 0


def test_the_floor_follows_the_room() -> None:
    floor = LevelFloor()
    for _ in range(500):
        floor.step(-40.0, voiced=False)
    assert floor.dbfs > -42
    assert not floor.step(-38.0, voiced=True)
    assert floor.step(-30.0, voiced=True)
    for _ in range(100):
        floor.step(-65.0, voiced=False)
    assert floor.dbfs < -60


def hear(gate: Gate, levels: list[float], pitch: float = 1.0) -> list[Verdict]:
    """Voiced frames throughout, as the detector has them in music."""
    return [
        gate.step(Frame(SILENT_FRAME, i * FRAME_MS / 1000), voiced=True, level_dbfs=level, pitch=pitch)
        for i, level in enumerate(levels)
    ]


def syllables(seconds: float, loud: float, between: float) -> list[float]:
    """Four a second."""
    return ([loud] * 8 + [between] * 5) * round(seconds * 4)


def test_what_has_no_pitch_does_not_open() -> None:
    assert not any(v.opened for v in hear(Gate(500, 900), syllables(10, -25, -60), pitch=0.4))
    assert any(v.opened for v in hear(Gate(500, 900), syllables(10, -25, -60), pitch=0.9))


def test_a_tone_opens_once_and_closes_though_it_goes_on() -> None:
    verdicts = hear(Gate(500, 900), [-70.0] * 50 + [-30.0] * 500)
    assert sum(v.opened for v in verdicts) == 1
    assert sum(v.closed for v in verdicts) == 1


def test_what_never_ends_becomes_the_room_and_a_louder_voice_tops_it() -> None:
    gate = Gate(500, 900)
    verdicts = hear(gate, syllables(90, -45, -62))
    assert any(v.opened for v in verdicts)
    assert not gate.open
    assert not any(v.opened for v in hear(gate, syllables(10, -45, -62)))
    assert any(v.opened for v in hear(gate, syllables(1, -35, -62)))


def test_music_that_is_taken_for_speech_a_sixth_of_the_time_is_learnt() -> None:
    gate = Gate(500, 900)
    opened_s = []
    for number in range(60):
        bar = hear(gate, [-50.0] * 8) + [
            gate.step(Frame(SILENT_FRAME, 0.0), voiced=False, level_dbfs=-60.0) for _ in range(42)
        ]
        opened_s += [number] * sum(verdict.opened for verdict in bar)
    assert opened_s, "it was heard at first"
    assert opened_s[-1] < 20
    assert any(verdict.opened for verdict in hear(gate, [-30.0] * 10))


def test_a_conversation_does_not_become_the_room() -> None:
    gate = Gate(500, 900)
    for _ in range(20):
        verdicts = hear(gate, syllables(5, -30, -60) + [-68.0] * 150)
        assert sum(v.opened for v in verdicts) == 1
        assert sum(v.closed for v in verdicts) == 1


def test_a_long_speech_is_not_cut() -> None:
    gate = Gate(500, 900)
    hear(gate, [-68.0] * 200)
    verdicts = hear(gate, syllables(28, -30, -60))
    assert sum(v.opened for v in verdicts) == 1
    assert not any(v.closed for v in verdicts)


def test_digital_silence_says_nothing_of_the_room() -> None:
    floor = LevelFloor()
    for _ in range(500):
        floor.step(-40.0, voiced=False)
    for _ in range(500):
        floor.step(-120.0, voiced=False)
    assert floor.dbfs > -42


def test_a_faint_beginning_counts_when_the_word_follows_but_opens_nothing() -> None:
    def began(faint: str) -> int:
        gate = Gate(500, 900)
        verdicts = [
            gate.step(
                Frame(SILENT_FRAME, i * FRAME_MS / 1000),
                voiced=i >= len(faint),
                level_dbfs=LOUD if i >= len(faint) else QUIET,
                faint=i >= len(faint) or faint[i] == "f",
            )
            for i in range(len(faint) + 6)
        ]
        assert [v.talk_started for v in verdicts] == [False] * (len(faint) + 5) + [True]
        assert verdicts[-1].talk_ms == round((len(faint) + 6) * FRAME_MS - verdicts[-1].speech_s * 1000)
        return round(verdicts[-1].speech_s * 1000 / FRAME_MS)

    assert began("." * 40 + "ff") == 40
    assert began("." * 40 + "ff.") == 43, "not when it ended before"
    assert began("." * 40 + "f.f") == 42
    assert began("." * 20 + "f" * 60) == 80 - FAINT_MOST_MS // FRAME_MS


def test_music_that_begins_after_a_long_silence_is_learnt_as_soon_as_after_a_start() -> None:
    hubbub = Hubbub()
    for _ in range(60 * 50):
        hubbub.step(-68.0, speech=False, open_ms=0)
    for _ in range(8 * 50):
        hubbub.step(-45.0, speech=True, open_ms=0)
    assert hubbub.bar_dbfs > -45.0
    for _ in range(60 * 50):
        hubbub.step(-68.0, speech=False, open_ms=0)
    for _ in range(5 * 50):
        hubbub.step(-30.0, speech=True, open_ms=1000)
    assert hubbub.bar_dbfs < -60.0, "it is over; whoever speaks now need not be louder"
