"""What goes up: real time kept, nothing doubled, nothing missing."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from parleyd.audio.gate.gate import Passed
from parleyd.audio.pcm import FRAME_BYTES, FRAME_MS, SILENT_FRAME, Frame
from parleyd.config.schema import Session
from parleyd.conversation.session.session import SILENT_S
from parleyd.conversation.session.uplink import (
    COVERED_S,
    DROP_TAIL_MS,
    LATE_S,
    LONG_LOSS_S,
    MOST_CLOSES,
    SAME_UTTERANCE_S,
    TOO_MUCH,
    TOO_SLOW,
    GivenUp,
    Loss,
    Mode,
    Uplink,
)

FRAME_S = FRAME_MS / 1000


def frame(number: int) -> Frame:
    return Frame((number % 32000 + 1).to_bytes(2, "little") * (FRAME_BYTES // 2), number * FRAME_MS / 1000)


def number(pcm: bytes) -> int | None:
    value = int.from_bytes(pcm[:2], "little")
    return value - 1 if value else None


def numbers(frames: list[Frame]) -> list[int | None]:
    return [number(frame.pcm) for frame in frames]


def uplink(mode: Mode = "silence", capacity_ms: int = 15_000) -> Uplink:
    return Uplink(mode, pre_roll_ms=500, capacity_ms=capacity_ms)


def push(line: Uplink, numbers: range, speech: bool) -> None:
    for n in numbers:
        line.push(Passed(frame(n), speech))


def everything(line: Uplink) -> list[int | None]:
    return numbers(line.take(1_000_000, now_s=line.kept_until_s or 0.0))


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
    line.begin()
    assert line.kept_ms == 100 * FRAME_MS
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


def say(line: Uplink, numbers: range, *, hangover: int = 0, silence: int = 0) -> None:
    """Talk, its hangover, and what follows, sent as it comes."""
    line.talk_started(numbers.start * FRAME_S)
    for n in range(numbers.start, numbers.stop + hangover):
        push(line, range(n, n + 1), speech=True)
        everything(line)
        if n == numbers.stop - 1:
            line.talk_stopped(numbers.stop * FRAME_S)
    push(line, range(numbers.stop + hangover, numbers.stop + hangover + silence), speech=False)
    everything(line)


def resent(line: Uplink) -> list[int | None]:
    """What the next session begins with."""
    line.end()
    line.begin()
    return everything(line)[len(CREDIT) :]


def test_an_unheard_utterance_is_sent_again_and_a_heard_one_is_not() -> None:
    line = uplink()
    line.begin()
    say(line, range(10), silence=100)
    say(line, range(110, 120), silence=100)
    line.transcribed(220 * FRAME_S)
    assert resent(line) == list(range(110, 120))
    assert line.counters.resent == 10


def position_ms(frames: int) -> int:
    """The position in the stream after so many frames of the room, behind the zeros of the beginning."""
    return (len(CREDIT) + frames) * FRAME_MS


def test_speech_up_to_the_position_that_the_agent_has_taken_is_not_sent_again() -> None:
    line = uplink()
    line.begin()
    say(line, range(50), hangover=20, silence=40)
    say(line, range(110, 150), hangover=20, silence=40)
    line.taken(position_ms(110))
    assert resent(line) == list(range(110, 170)), "the second is not acknowledged"


def test_a_position_in_the_middle_of_talk_acknowledges_what_was_before_it() -> None:
    line = uplink()
    line.begin()
    line.talk_started(0.0)
    push(line, range(80), speech=True)
    everything(line)
    line.taken(position_ms(50))
    assert resent(line) == list(range(50, 80))


def test_a_position_that_comes_before_the_gate_knows_the_end_acknowledges_the_utterance() -> None:
    line = uplink()
    line.begin()
    line.talk_started(0.0)
    push(line, range(60), speech=True)
    everything(line)
    line.taken(position_ms(60))
    push(line, range(60, 65), speech=True)
    line.talk_stopped(50 * FRAME_S)
    push(line, range(65, 70), speech=True)
    everything(line)
    push(line, range(70, 71), speech=False)
    assert line.kept_ms == 0, "what is left is hangover"


def test_a_position_before_all_speech_acknowledges_none() -> None:
    line = uplink()
    line.begin()
    say(line, range(50), hangover=20, silence=40)
    line.taken(position_ms(0))
    assert resent(line) == list(range(70))


def test_a_position_means_nothing_in_the_next_session() -> None:
    line = uplink()
    line.begin()
    say(line, range(50), hangover=20, silence=40)
    line.end()
    line.begin()
    line.take(10, now_s=10.0)
    line.taken(position_ms(110))
    assert resent(line) == list(range(70)), "only zeros have been sent in it"


def test_a_late_transcript_of_the_first_of_two_is_none_of_the_second() -> None:
    line = uplink()
    line.begin()
    say(line, range(50), silence=50)
    say(line, range(100, 150), silence=60)
    line.transcribed(210 * FRAME_S)
    assert resent(line) == list(range(100, 150))


def test_the_answer_to_a_transcript_covers_what_had_been_over_by_then() -> None:
    line = uplink()
    line.begin()
    say(line, range(50), silence=50)
    say(line, range(100, 150), silence=60)
    line.transcribed(210 * FRAME_S)
    line.answered(250 * FRAME_S, has_transcripts=True)
    assert resent(line) == []


def test_the_answer_to_a_transcript_covers_nothing_that_was_said_after_it() -> None:
    line = uplink()
    line.begin()
    say(line, range(50), silence=50)
    line.transcribed(100 * FRAME_S)
    say(line, range(100, 150), silence=60)
    line.answered(210 * FRAME_S, has_transcripts=True)
    assert resent(line) == list(range(100, 150))


def test_a_transcript_cannot_cover_what_had_only_just_ended() -> None:
    line = uplink()
    line.begin()
    say(line, range(50), silence=50)
    say(line, range(100, 150), silence=15)
    line.transcribed(165 * FRAME_S)
    line.answered(250 * FRAME_S, has_transcripts=True)
    assert resent(line) == list(range(100, 150))


def test_without_transcripts_the_answer_is_the_sign() -> None:
    line = uplink()
    line.begin()
    say(line, range(50), silence=50)
    line.answered(100 * FRAME_S, has_transcripts=True)
    assert line.kept_ms == 50 * FRAME_MS
    line.answered(100 * FRAME_S, has_transcripts=False)
    assert resent(line) == []


def test_what_was_passed_over_goes_with_the_next_that_is_understood() -> None:
    """A noise that opened the gate has no transcript; the one that comes much later is not its."""
    line = uplink()
    line.begin()
    say(line, range(20), silence=30 * 50)
    first = 20 + 30 * 50
    say(line, range(first, first + 50), silence=20)
    line.transcribed((first + 70) * FRAME_S)
    assert resent(line) == []


def test_a_short_pause_does_not_make_two_utterances() -> None:
    line = uplink()
    line.begin()
    say(line, range(50), hangover=30)
    say(line, range(80, 100), hangover=45, silence=40)
    line.transcribed(190 * FRAME_S)
    assert resent(line) == []


def test_while_somebody_talks_a_transcript_is_of_what_came_before_the_pause() -> None:
    line = uplink()
    line.begin()
    say(line, range(50), hangover=30)
    line.talk_started(80 * FRAME_S)
    push(line, range(80, 100), speech=True)
    everything(line)
    line.transcribed(100 * FRAME_S)
    again = resent(line)
    assert again == list(range(55, 100)), "from its pre-roll on"
    line.talk_stopped(100 * FRAME_S)
    line.transcribed(130 * FRAME_S)
    assert resent(line) == []


def test_nothing_is_heard_of_what_somebody_is_only_saying() -> None:
    line = uplink()
    line.begin()
    line.talk_started(0.0)
    push(line, range(100), speech=True)
    everything(line)
    line.transcribed(100 * FRAME_S)
    line.answered(101 * FRAME_S, has_transcripts=False)
    assert resent(line) == list(range(100))


def test_what_waits_to_be_sent_again_has_not_been_heard() -> None:
    line = uplink()
    line.begin()
    say(line, range(50), silence=50)
    line.end()
    line.begin()
    line.transcribed(100 * FRAME_S)
    line.answered(200 * FRAME_S, has_transcripts=False)
    assert everything(line)[len(CREDIT) :] == list(range(50))
    line.transcribed(200 * FRAME_S)
    assert line.kept_ms == 0


@pytest.mark.parametrize("frames", [0, 10])
def test_what_is_only_half_sent_again_has_not_been_heard(frames: int) -> None:
    line = uplink()
    line.begin()
    say(line, range(50), silence=50)
    line.end()
    line.begin()
    line.take(len(CREDIT) + frames, now_s=100 * FRAME_S)
    line.transcribed(110 * FRAME_S)
    line.answered(200 * FRAME_S, has_transcripts=False)
    assert resent(line) == list(range(50))


def test_what_one_session_heard_is_no_matter_of_the_next() -> None:
    line = uplink()
    line.begin()
    say(line, range(50), silence=50)
    say(line, range(100, 150), silence=50)
    line.end()
    line.begin()
    line.transcribed(200 * FRAME_S)
    everything(line)
    line.transcribed(210 * FRAME_S)
    assert resent(line) == list(range(100, 150))


def test_the_transcript_of_one_session_is_not_answered_in_the_next() -> None:
    line = uplink()
    line.begin()
    say(line, range(50), silence=50)
    say(line, range(100, 150), silence=50)
    line.transcribed(200 * FRAME_S)
    assert resent(line) == list(range(100, 150))
    line.answered(210 * FRAME_S, has_transcripts=True)
    assert resent(line) == list(range(100, 150))


def test_once_heard_the_hangover_is_not_kept() -> None:
    line = uplink()
    line.begin()
    say(line, range(50))
    line.transcribed(50 * FRAME_S)
    for n in range(50, 95):
        push(line, range(n, n + 1), speech=True)
        everything(line)
    assert line.kept_ms <= 500 + FRAME_MS, "what further talk would need"
    push(line, range(95, 96), speech=False)
    assert line.kept_ms == 0


def test_further_talk_in_the_hangover_is_kept_from_its_onset() -> None:
    line = uplink()
    line.begin()
    say(line, range(50))
    line.transcribed(50 * FRAME_S)
    for n in range(50, 120):
        if n == 80:  # the verdict; the talk itself began some frames before
            line.talk_started(73 * FRAME_S)
        push(line, range(n, n + 1), speech=True)
        everything(line)
    assert line.kept_ms == pytest.approx((120 - 80 + 25) * FRAME_MS, abs=FRAME_MS)


def test_a_transcript_that_comes_in_an_onset_leaves_the_onset() -> None:
    """The next word has begun, and the gate has no verdict on it yet."""
    line = uplink()
    line.begin()
    say(line, range(50), hangover=30)
    line.transcribed(80 * FRAME_S)
    line.talk_started(76 * FRAME_S)
    push(line, range(80, 120), speech=True)
    assert resent(line) == list(range(54, 120)), "the length of a pre-roll"


def test_only_what_was_sent_can_have_been_heard() -> None:
    line = uplink()
    line.begin()
    line.talk_started(0.0)
    push(line, range(10), speech=True)
    line.talk_stopped(10 * FRAME_S)
    line.take(25 + 4, now_s=10 * FRAME_S)
    line.transcribed(1e9)
    assert line.kept_ms == 10 * FRAME_MS, "an utterance is heard whole or not"
    everything(line)
    line.transcribed(1e9)
    assert line.kept_ms == 0


def test_a_proper_close_on_a_question_asks_it_again_but_not_for_ever() -> None:
    line = uplink()
    for session in range(MOST_CLOSES):
        line.begin()
        if session == 0:
            say(line, range(50), silence=50)
        else:
            assert everything(line)[len(CREDIT) :] == list(range(50))
        assert line.closed(100 * FRAME_S) is (session < MOST_CLOSES - 1)
        line.end()


def test_a_proper_close_long_after_the_last_word_is_an_end() -> None:
    line = uplink()
    line.begin()
    say(line, range(50), silence=50)
    assert not line.closed(50 * FRAME_S + LATE_S + 1)


def test_what_was_given_up_is_told_by_what_became_of_it() -> None:
    line = uplink()
    line.begin()
    say(line, range(50), silence=50)
    say(line, range(100, 150), silence=50)
    line.end()
    line.talk_started(200 * FRAME_S)
    push(line, range(200, 210), speech=True)
    gone = line.forget(now_s=100 * FRAME_S + LATE_S)
    assert gone == GivenUp(10 * FRAME_MS, 100 * FRAME_MS, 50 * FRAME_MS)


def test_the_hangover_of_what_was_heard_is_no_loss() -> None:
    line = uplink()
    line.begin()
    say(line, range(50), hangover=20)
    line.transcribed(70 * FRAME_S)
    push(line, range(70, 80), speech=True)
    assert line.kept_ms > 0
    assert line.forget() == GivenUp(0, 0, 0)
    assert line.kept_ms == 0


def test_what_is_kept_covers_the_longest_time_in_which_a_hung_server_goes_unnoticed() -> None:
    """It is pinged after SILENT_S, and given up after as long again; then a new line has to come about."""
    section = Session()
    assert section.buffer_s >= 2 * SILENT_S + 3 * section.connect_timeout_s
    assert section.keep_utterance_s > section.buffer_s


def test_what_is_forgotten_is_not_sent_either() -> None:
    line = uplink()
    line.begin()
    push(line, range(50), speech=True)
    line.forget()
    assert everything(line) == CREDIT + [None] * 50


@pytest.mark.parametrize("was_live", [False, True])
def test_a_transcript_is_not_taken_for_that_of_an_utterance_that_was_lost_whole(was_live: bool) -> None:
    line = uplink(capacity_ms=1200)
    if was_live:
        line.begin()
    for numbers in (range(50), range(150, 200)):
        line.talk_started(numbers.start * FRAME_S)
        push(line, numbers, speech=True)
        line.take(1000, now_s=numbers.stop * FRAME_S)
        line.talk_stopped(numbers.stop * FRAME_S)
        push(line, range(numbers.stop, numbers.stop + 20), speech=False)
    line.end()
    assert line.take_losses() == [Loss(50 * FRAME_MS, TOO_MUCH)]
    assert line.kept_from_s == pytest.approx(200 * FRAME_S)
    line.begin()
    line.take(1000, now_s=10.0)
    line.transcribed(11.0)
    assert line.kept_ms == 0, "it was the only one that was sent"


def test_of_three_utterances_that_wait_for_a_sign_the_two_oldest_go() -> None:
    line = uplink(capacity_ms=1200)
    line.begin()
    for numbers in (range(50), range(150, 200), range(300, 350)):
        line.talk_started(numbers.start * FRAME_S)
        push(line, numbers, speech=True)
        line.take(1000, now_s=numbers.stop * FRAME_S)
        line.talk_stopped(numbers.stop * FRAME_S)
        push(line, range(numbers.stop, numbers.stop + 20), speech=False)
    assert line.kept_ms == 50 * FRAME_MS
    line.end()
    assert line.take_losses() == [Loss(100 * FRAME_MS, TOO_MUCH)]
    line.begin()
    line.take(1000, now_s=10.0)
    line.transcribed(11.0)
    assert line.kept_ms == 0


def test_a_transcript_is_not_taken_for_that_of_an_utterance_that_a_slow_line_has_lost() -> None:
    line = uplink(capacity_ms=200)
    line.begin()
    line.talk_started(0.0)
    push(line, range(5), speech=True)
    line.talk_stopped(5 * FRAME_S)
    push(line, range(5, 100), speech=False)
    line.end()
    assert line.take_losses() == [Loss(5 * FRAME_MS, TOO_SLOW)]
    assert line.kept_from_s is None
    assert not line.closed(2.0), "nothing is left that could be asked again"
    line.talk_started(200 * FRAME_S)
    push(line, range(200, 205), speech=True)
    line.talk_stopped(205 * FRAME_S)
    push(line, range(205, 210), speech=False)
    line.begin()
    line.take(1000, now_s=10.0)
    line.transcribed(11.0)
    assert line.kept_ms == 0


def test_an_utterance_that_is_given_up_is_gone_however_soon_the_next_one_followed() -> None:
    """With a long pre-roll the next utterance begins, in the sound that is kept, where the one before has ended."""
    line = Uplink("silence", pre_roll_ms=1000, capacity_ms=15_000)
    for numbers in (range(50), range(95, 145)):
        line.talk_started(numbers.start * FRAME_S)
        push(line, numbers, speech=True)
        line.talk_stopped(numbers.stop * FRAME_S)
        push(line, range(numbers.stop, numbers.stop + 20), speech=False)
    assert line.forget_ended(1.5, now_s=100.0) == GivenUp(50 * FRAME_MS, 0, 0)
    assert line.kept_from_s == pytest.approx(145 * FRAME_S), "the other one is the oldest now"
    line.begin()
    line.take(1000, now_s=100.0)
    line.transcribed(101.0)
    assert line.kept_ms == 0, "the transcript is of the only one that was sent"


def test_old_utterances_go_whole_and_the_one_that_goes_on_stays() -> None:
    line = uplink()
    for numbers in (range(50), range(100, 150)):
        line.talk_started(numbers.start * FRAME_S)
        push(line, numbers, speech=True)
        line.talk_stopped(numbers.stop * FRAME_S)
        push(line, range(numbers.stop, numbers.stop + 50), speech=False)
    assert line.kept_from_s == pytest.approx(50 * FRAME_S)
    assert line.forget_ended(51 * FRAME_S, 60.0).unsent_ms == 1000
    line.begin()
    assert everything(line)[len(CREDIT) :] == list(range(100, 150))


def test_beyond_the_bound_the_oldest_utterance_goes_whole_and_is_told_once() -> None:
    line = uplink(capacity_ms=100 * FRAME_MS)
    for first in range(0, 300, 100):
        line.talk_started(first * FRAME_S)
        push(line, range(first, first + 40), speech=True)
        line.talk_stopped((first + 40) * FRAME_S)
        push(line, range(first + 40, first + 100), speech=False)
    assert line.take_losses() == [Loss(40 * FRAME_MS, TOO_MUCH)]
    assert line.take_losses() == []
    line.begin()
    assert everything(line)[len(CREDIT) :] == [*range(100, 140), *range(200, 240)]


def test_what_a_live_line_carried_is_lost_only_if_the_line_is() -> None:
    for is_heard in (True, False):
        line = uplink(capacity_ms=100 * FRAME_MS)
        line.begin()
        say(line, range(150), silence=50)
        if is_heard:
            line.transcribed(200 * FRAME_S)
        line.end()
        assert line.take_losses() == ([] if is_heard else [Loss(50 * FRAME_MS, TOO_MUCH)])


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
    line.take(25 + 4, now_s=0.0)
    gone = line.forget(8 * FRAME_MS / 1000)
    assert (gone.unsent_ms, gone.sent_ms) == (4 * FRAME_MS, 4 * FRAME_MS)
    assert line.kept_ms == 2 * FRAME_MS
    assert line.kept_until_s == pytest.approx(9 * FRAME_MS / 1000)


class World:
    """A room, the line, and a server that understands what was sent in its session: utterance by utterance, in order,
    and late. Time is counted in frames.

    said: the utterances, as first frame and frame after the last. understood: how many of them.
    """

    def __init__(self, mode: Mode, *, has_transcripts: bool) -> None:
        self.line = Uplink(mode, pre_roll_ms=500, capacity_ms=3_600_000)
        self.has_transcripts = has_transcripts
        self.n = 0
        self.quiet = 1_000
        self.said: list[list[int]] = []
        self.understood = 0
        self.session: list[int] = []  # what came up in this one
        self.came: dict[int, int] = {}  # the last frame of an utterance → when it came up in this one
        self.pace = 1_000_000  # frames that the line takes at a time
        self.covered = 0

    def live(self, frames: int, *, talk: bool) -> None:
        for _ in range(frames):
            if talk:
                if self.quiet >= 15:
                    self.line.talk_started(self.n * FRAME_S)
                    if self.quiet >= SAME_UTTERANCE_S / FRAME_S or self.understood == len(self.said):
                        self.said.append([self.n, self.n])
                    # An utterance that goes on is not covered any more by what the agent said before.
                    self.covered = min(self.covered, len(self.said) - 1)
                self.quiet = 0
                self.said[-1][1] = self.n + 1
            else:
                self.quiet += 1
            self.line.push(Passed(frame(self.n), speech=self.quiet < 45))
            self.n += 1
            if self.quiet == 15:
                self.line.talk_stopped(self.said[-1][1] * FRAME_S)
            self.flow()
            self.be_in_time()

    def flow(self) -> None:
        if self.line.live:
            for k in numbers(self.line.take(self.pace, self.n * FRAME_S)):
                if k is not None:
                    self.session.append(k)
                    self.came[k] = self.n
            assert self.session == sorted(set(self.session)), "in order and once"

    def heard(self) -> list[int]:
        """Of the utterances that are not understood, those that are over and came up in this session: when."""
        over = self.said if self.quiet >= 15 else self.said[:-1]
        times = []
        for _, end in over[self.understood :]:
            if end - 1 not in self.came:
                break
            times.append(max(self.came[end - 1], end))
        return times

    def understand(self) -> None:
        """The next one."""
        heard, before = self.heard(), self.n - COVERED_S / FRAME_S
        if not heard:
            if self.line.live and not self.session:
                # It makes words of the silence.
                self.line.transcribed(self.n * FRAME_S)
                self.line.answered(self.n * FRAME_S, has_transcripts=self.has_transcripts)
            return
        over = sum(at <= before for at in heard)
        if self.has_transcripts:
            self.line.transcribed(self.n * FRAME_S)
            self.covered = self.understood + over
            self.understood += 1
        else:
            self.line.answered(self.n * FRAME_S, has_transcripts=False)
            self.understood += max(1, over)

    def answer(self) -> None:
        """The turn that the last transcript ended."""
        if self.has_transcripts and self.line.live:
            self.line.answered(self.n * FRAME_S, has_transcripts=True)
            self.understood = max(self.understood, self.covered)

    def be_in_time(self) -> None:
        while (heard := self.heard()) and (self.n - heard[0]) * FRAME_S > LATE_S - 1:
            self.understand()

    def lose_the_line(self) -> None:
        self.line.end()
        self.session, self.came, self.covered = [], {}, 0

    def connect(self) -> None:
        if self.line.live:
            return
        self.line.begin()
        self.flow()
        if self.pace < 1_000_000:
            return
        due = [k for start, end in self.said[self.understood :] for k in range(start, end)]
        done = {k for start, end in self.said[: self.understood] for k in range(start, end)}
        assert set(due) <= set(self.session), "an utterance that nobody has understood is sent"
        assert not done & set(self.session), "one that was understood is not sent again"


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["talk", "talk", "pause", "pause", "wait", "lose", "connect", "connect", "understand"])
            | st.sampled_from(["answer", "answer", "stall", "trickle", "go on", "go on"]),
            st.integers(15, 39),
        ),
        max_size=60,
    ),
    st.booleans(),
    st.sampled_from(["silence", "open", "drop"]),
)
@example(
    [
        *(("talk", 15), ("wait", 15), ("talk", 15), ("connect", 15), ("pause", 18)),
        *(("understand", 15), ("talk", 15), ("answer", 15)),
    ],
    True,
    "silence",
)
def test_no_utterance_is_lost_and_none_comes_again_after_its_own_acknowledgement(
    happens: list[tuple[str, int]], has_transcripts: bool, mode: Mode
) -> None:
    world = World(mode, has_transcripts=has_transcripts)
    for what, frames in happens:
        match what:
            case "talk":
                world.live(frames, talk=True)
            case "pause":
                world.live(frames, talk=False)
            case "wait":
                world.live(4 * frames, talk=False)
            case "lose":
                world.lose_the_line()
            case "connect":
                world.connect()
            case "understand":
                world.understand()
            case "answer":
                world.answer()
            case "stall":
                world.pace = 0
            case "trickle":
                world.pace = 2
            case "go on":
                world.pace = 1_000_000
    world.pace = 1_000_000
    world.lose_the_line()
    world.connect()


def test_zeros_are_zeros() -> None:
    line = uplink()
    line.begin()
    push(line, range(3), speech=False)
    taken = line.take(100, now_s=0.0)
    assert {frame.pcm for frame in taken} == {SILENT_FRAME}
    assert all(frame.is_silent for frame in taken)
    assert line.counters.sound == 0


@pytest.mark.parametrize("mode", ["silence", "open", "drop"])
def test_muted_nothing_of_what_waits_or_comes_goes_up_and_none_of_it_is_kept(mode: Mode) -> None:
    up = uplink(mode)
    up.begin()
    up.talk_started(0.0)
    for n in range(100):
        up.push(Passed(frame(n), speech=True))
    up.take(10, 0.2)
    up.mute(True, 2.0)
    assert up.kept_ms == 0
    assert not any(any(frame.pcm) or not frame.is_silent for frame in up.take(1000, 2.0))
    for n in range(100, 150):
        up.push(Passed(frame(n), speech=True))
    up.talk_stopped(3.0)
    up.mute(False, 3.5)
    # Captured before, and late: as when the ears were held up.
    for n in range(150, 175):
        up.push(Passed(frame(n), speech=True))
    assert not any(any(frame.pcm) or not frame.is_silent for frame in up.take(1000, 3.5))
    assert (up.kept_ms, up.kept_from_s) == (0, None)
    up.push(Passed(frame(175), speech=True))
    assert numbers(up.take(1000, 3.6)) == [175]
    up.end()
    up.begin()
    assert [n for n in numbers(up.take(1000, 4.0)) if n is not None] == [175]


def test_talk_without_any_sound_to_send_is_no_utterance() -> None:
    line = uplink()
    line.talk_started(1.0)
    line.talk_stopped(2.0)
    line.talk_started(10.0)
    line.talk_started(10.5)
    push(line, range(500, 550), speech=True)
    line.talk_stopped(11.0)
    assert line.forget_ended(9.0, 12.0) == GivenUp(0, 0, 0)
    assert line.forget_ended(12.0, 12.0).unsent_ms == 1000


def test_what_is_kept_without_an_utterance_is_forgotten_by_its_time() -> None:
    line = uplink()
    push(line, range(50), speech=True)
    line.forget_ended(0.5, 1.0)
    line.begin()
    assert line.kept_ms == 500


def test_a_line_that_takes_nothing_loses_the_oldest_and_says_so() -> None:
    line = uplink(capacity_ms=200)
    line.begin()
    line.talk_started(0.0)
    push(line, range(5), speech=True)
    line.talk_stopped(0.1)
    push(line, range(5, 100), speech=False)
    line.end()
    assert line.take_losses() == [Loss(5 * FRAME_MS, TOO_SLOW)]
    assert line.kept_ms == 0


def test_a_loss_that_goes_on_is_told_every_half_minute() -> None:
    line = uplink(capacity_ms=200)
    line.begin()
    line.talk_started(0.0)
    push(line, range(2 * round(LONG_LOSS_S / FRAME_S)), speech=True)
    losses = line.take_losses()
    assert [loss.cause for loss in losses] == [TOO_SLOW]
    assert losses[0].lost_ms == pytest.approx(LONG_LOSS_S * 1000, abs=FRAME_MS)


def test_one_utterance_after_the_other_makes_room() -> None:
    line = uplink(capacity_ms=300)
    for second in (0, 10, 20):
        line.talk_started(float(second))
        push(line, range(second * 50, second * 50 + 10), speech=True)
        line.talk_stopped(second + 0.2)
    line.begin()
    assert line.kept_ms == 200


# ---------------------------------------------------------------- another session


def test_positions_of_an_old_session_mean_nothing_in_the_next() -> None:
    line = uplink("open")
    line.begin()
    push(line, range(20), speech=False)
    push(line, range(20, 30), speech=True)
    line.take(1000, 0.6)
    line.end()
    line.begin()
    assert line.kept_ms == 200
    line.take(1000, 0.7)
    # The kept speech stands at the beginning of the new session.
    line.taken(100)
    assert line.kept_ms == 100


def test_nothing_waits_for_a_session_that_is_over() -> None:
    line = uplink()
    line.begin()
    push(line, range(10), speech=True)
    line.end()
    assert len(line) == 0
    assert line.kept_ms == 200


def test_a_turn_that_was_over_before_the_session_ends_with_its_last_frame() -> None:
    line = uplink("open")
    push(line, range(10), speech=True)
    line.gate_closed()
    line.begin()
    line.take(9, 1.0)
    assert not line.turn_ended
    line.take(1, 1.0)
    assert line.turn_ended
