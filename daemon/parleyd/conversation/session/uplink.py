"""The sound that goes up the wire, and the speech that is kept until the agent has shown that it heard it. Pure;
callers lock.

While a session is live, the frames sent follow the room's clock one to one: speech as it was, zeros (mode `silence`)
for the rest. The gate holds back its pre-roll, so in quiet the stream would trail by that much; therefore a session
begins with a credit of zeros as long as the pre-roll. In quiet, what was sent then equals the time that passed; when
somebody speaks, the held-back pre-roll goes up at once, in its place.

**What is kept.** Every frame of speech is kept until its utterance is acknowledged or given up. An utterance is a
stretch of talk; stretches with a pause below SAME_UTTERANCE_S between them are one. A new session begins with all that
is kept.

**What acknowledges.** Servers take their time (a recogniser may be seconds late), make one turn of two utterances or
two of one, pass over noise, and ask into a silence of their own accord. So:

1. A sign covers only what was sent in its own session, whole, before it.
2. A final transcript with words acknowledges the oldest utterance that it can mean, and no more: of two that were sent,
   it may be that of the first. An utterance that was sent more than LATE_S ago, and has a later one behind it, is not
   meant any more: it was passed over, and goes with the next.
3. The answer that follows a transcript acknowledges, besides, all that was over COVERED_S before that transcript came:
   the agent has answered the turn, and the server had had the time to hear its end. Later words are not covered.
   Nor is what was over more shortly before than transcripts take here at the least, as far as is known: those of single
   utterances show it (AS_SOON).
4. From an agent that sends no transcripts, the beginning of an answer counts as both at once.
5. While somebody talks, a sign covers their utterance at most up to the pause before the stretch of talk that goes on.
6. Tentative and empty transcripts, interruptions, sounds without a voice in them and a closed line acknowledge nothing.
7. An agent that announces how far it has taken the stream (Capabilities.announces_speech) acknowledges by that alone:
   all speech up to this position, in the middle of an utterance too. Then no other rule counts.

The rule rather sends something twice than loses it: an utterance comes up a second time when the line goes after the
transcript of two utterances at once and before their answer, or after an answer to a transcript that came less than
COVERED_S after the end of the second. It is lost only if the agent, which has had the second of two for that long,
answers the first one aloud, and the line goes before the second one's transcript. benchmarks/lost_lines.py counts both.

**Invariants.** The kept speech is in order. Acknowledged speech is never sent again. Speech that is kept at the end of
a session is sent, in order and once, in the next one. Speech that is neither acknowledged nor kept is counted in `lost`
and told by take_losses().

**Bounds.** capacity_ms each for what is kept and for what waits on a live line (a frame of 20 ms is 640 bytes; the two
share them). Beyond it the oldest utterance goes, whole; of a single one that is longer than all that, the beginning. A
live line that is too slow loses the oldest sound first.
"""

from __future__ import annotations

from collections import deque
from typing import Literal, NamedTuple

from msgspec import Struct, field

from parleyd.audio.gate.gate import Passed
from parleyd.audio.pcm import FRAME_MS, Frame

Mode = Literal["silence", "open", "drop"]

# Mode `drop`: zeros after each utterance, so that the server's own end-of-speech detection comes to a verdict.
DROP_TAIL_MS = 2000

# Times of frames are sums of floats.
HALF_A_FRAME_S = FRAME_MS / 2000
# A pause that is shorter than this does not end an utterance; servers seldom end a turn in one.
SAME_UTTERANCE_S = 0.8
# A transcript that comes sooner than this after the end of an utterance cannot cover it: no server ends a turn sooner.
COVERED_S = 0.35
# Neither can one that comes sooner than this share of the shortest time that a transcript has taken here.
AS_SOON = 0.8
# Transcripts are not later than this.
LATE_S = 10.0
# An utterance on which so many sessions were closed properly is not sent again.
MOST_CLOSES = 3
# Losses with less than this between them are told as one, and such a one is told at least this often.
SAME_LOSS_S, LONG_LOSS_S = 1.0, 30.0

TOO_MUCH = "more was said than is kept (session.buffer_s)"
TOO_SLOW = "the line was too slow for what was said"


class UplinkCounters(Struct):
    """Frames, since the start. room: came out of the gate. speech: of those, sent as they were.

    sound: sent with what the microphone heard, speech or not. lost: of speech, to the bounds.
    """

    room: int = 0
    speech: int = 0
    sound: int = 0
    silence: int = 0
    resent: int = 0
    lost: int = 0


class Loss(NamedTuple):
    """Speech that no agent will hear. cause: in words."""

    lost_ms: int
    cause: str


class GivenUp(NamedTuple):
    """The speech that forget() took away. unsent: never sent. sent: sent and not acknowledged. passed_over: the part of
    it that the agent had had for LATE_S in the session that was open last."""

    unsent_ms: int
    sent_ms: int
    passed_over_ms: int


class _Outgoing(Struct):
    frame: Frame
    speech: Frame | None = field(default=None)
    # The gate has closed behind this frame, and speech came before it.
    ends_turn: bool = False


class _Utterance(Struct):
    """start_s, end_s: of its talk; end_s is None while that goes on. resumed_s: start of its last stretch of talk, and
    paused_s: end of the one before. sent_s: when the last of it was sent in this session. missing: frames that were
    dropped although they are not acknowledged. closes: sessions that were closed properly on it."""

    start_s: float
    end_s: float | None = None
    resumed_s: float = 0.0
    paused_s: float | None = None
    sent_s: float | None = None
    has_sound: bool = False
    missing: int = 0
    closes: int = 0


class Uplink:
    """capacity_ms bounds what is kept, and what waits. Times are those of the frames, monotonic."""

    def __init__(self, mode: Mode, *, pre_roll_ms: int, capacity_ms: int) -> None:
        self._mode = mode
        self._credit_frames = pre_roll_ms // FRAME_MS
        self._pre_roll_s = pre_roll_ms / 1000
        self._capacity_frames = capacity_ms // FRAME_MS
        self._kept: deque[Frame] = deque()
        self._outgoing: deque[_Outgoing] = deque()
        self._utterances: deque[_Utterance] = deque()
        self._sent_until_s = float("-inf")
        # Frames sent in this session; and of the kept speech among them: (the frame's time, frames sent with it).
        self._sent_frames = 0
        self._positions: deque[tuple[float, int]] = deque()
        # The agent has taken all speech up to this time.
        self._taken_s = float("-inf")
        # The end of the last utterance that the newest transcript may have covered, besides the oldest.
        self._covered_s = float("-inf")
        # How soon transcripts come after what they are of, at best; None: not known yet.
        self._soonest_s: float | None = None
        self._since_speech_ms = 0
        # All that was said has been heard, and nobody has talked since: what still comes is hangover.
        self._settled = False
        self._losing: Loss | None = None
        self._losing_since_s = self._lost_last_s = 0.0
        self._losses: list[Loss] = []
        self._muted = False
        self._heard_from_s = float("-inf")
        self._gate_is_open = False
        # Speech has been queued in this session since the gate last closed.
        self._turn_is_open = False
        # The last frame of a turn has been taken; to be reset by whoever acts on it.
        self.turn_ended = False
        self.live = False
        self.counters = UplinkCounters()

    def __len__(self) -> int:
        return len(self._outgoing)

    @property
    def kept_ms(self) -> int:
        """Speech that no agent has shown to have heard."""
        return len(self._kept) * FRAME_MS

    @property
    def kept_until_s(self) -> float | None:
        """When the newest kept speech was spoken."""
        return self._kept[-1].start_s if self._kept else None

    @property
    def kept_from_s(self) -> float | None:
        """When the oldest utterance that is not acknowledged ended; None where there is none, or it goes on."""
        if self._utterances:
            return self._utterances[0].end_s
        return self._kept[0].start_s if self._kept else None

    # ------------------------------------------------------------ the gate

    def talk_started(self, since_s: float) -> None:
        """Before the frames of it are pushed."""
        self._settled = False
        while self._utterances and not self._utterances[0].has_sound and self._utterances[0].end_s is not None:
            # Talk in the room that nobody wanted to be sent.
            self._utterances.popleft()
        last = self._utterances[-1] if self._utterances else None
        if last is not None and last.end_s is not None and since_s - last.end_s < SAME_UTTERANCE_S:
            last.paused_s, last.end_s, last.resumed_s = last.end_s, None, since_s
            last.sent_s = None
        elif last is None or last.end_s is not None:
            self._utterances.append(_Utterance(since_s, resumed_s=since_s))

    def talk_stopped(self, end_s: float) -> None:
        last = self._utterances[-1] if self._utterances else None
        if last is not None and last.end_s is None:
            last.end_s = end_s
            if self._is_sent(end_s):
                last.sent_s = end_s
            self._acknowledge_taken()

    def gate_closed(self) -> None:
        """After the frame with which the gate closed: the person's turn is over."""
        self._gate_is_open = False
        if self.live:
            self._end_turn()

    def push(self, passed: Passed) -> None:
        """A frame from the gate, in order."""
        self.counters.room += 1
        if self._muted or passed.frame.start_s < self._heard_from_s:
            # Its time goes up, its sound does not.
            passed = Passed(Frame.silence(passed.frame.start_s), speech=False)
        frame = passed.frame
        if self._losing and frame.start_s - self._lost_last_s >= SAME_LOSS_S:
            self._end_loss()
        if passed.speech:
            self._gate_is_open = True
            self._since_speech_ms = 0
            self._keep(frame)
            if self._settled:
                self._drop_heard(frame.start_s - self._pre_roll_s)
            if self.live:
                self._turn_is_open = True
                self._queue(_Outgoing(frame, frame), frame.start_s)
            return
        self._since_speech_ms += FRAME_MS
        if self._settled:
            self._drop_heard(frame.start_s)
            self._settled = False
        if not self.live or (self._mode == "drop" and self._since_speech_ms > DROP_TAIL_MS):
            return
        self._queue(_Outgoing(frame if self._mode == "open" else Frame.silence(frame.start_s)), frame.start_s)

    # ------------------------------------------------------------ the session

    def begin(self) -> None:
        """A session is live: all kept speech goes up first."""
        self.live = True
        self._end_loss()
        self._outgoing.clear()
        if self._mode == "silence":
            self._outgoing.extend(_Outgoing(Frame.silence(0.0)) for _ in range(self._credit_frames))
        again = sum(frame.start_s <= self._sent_until_s for frame in self._kept)
        self.counters.resent += again
        self._outgoing.extend(_Outgoing(frame, frame) for frame in self._kept)
        # Nothing has been sent in this session yet.
        self._sent_until_s = self._covered_s = float("-inf")
        self._sent_frames = 0
        self._positions.clear()
        self._taken_s = float("-inf")
        for utterance in self._utterances:
            utterance.sent_s = None
        self._turn_is_open, self.turn_ended = bool(self._kept), False
        if not self._gate_is_open:
            self._end_turn()

    def end(self) -> None:
        """The session is gone. Kept speech stays for the next one; what was sent, not acknowledged, and is kept no
        longer, is lost."""
        self.live = self._turn_is_open = self.turn_ended = False
        self._outgoing.clear()
        self._end_loss()
        for utterance in self._utterances:
            if utterance.missing:
                self._lose(utterance.missing, TOO_MUCH, utterance.start_s)
                utterance.missing = 0
        self._end_loss()
        self._forget_records()

    def take(self, most: int, now_s: float) -> list[Frame]:
        """Up to `most` frames, in order, now sent; no further than to the end of a turn: see turn_ended."""
        taken: list[_Outgoing] = []
        while self._outgoing and len(taken) < most and not self.turn_ended:
            taken.append(self._outgoing.popleft())
            self.turn_ended = taken[-1].ends_turn
        for outgoing in taken:
            self.counters.sound += not outgoing.frame.is_silent
            self._sent_frames += 1
            if outgoing.speech is None:
                self.counters.silence += 1
            else:
                self.counters.speech += 1
                self._sent_until_s = outgoing.speech.start_s
                self._positions.append((self._sent_until_s, self._sent_frames))
                if len(self._positions) > self._capacity_frames:
                    self._positions.popleft()
        for utterance in self._utterances:
            if utterance.sent_s is None and utterance.end_s is not None and self._is_sent(utterance.end_s):
                utterance.sent_s = max(now_s, utterance.end_s)
        return [outgoing.frame for outgoing in taken]

    # ------------------------------------------------------------ signs of the agent's

    def transcribed(self, now_s: float) -> None:
        """A final transcript with words has come: rule 2."""
        whole = [utterance.sent_s for utterance in self._utterances if utterance.sent_s is not None]
        if len(whole) == 1:
            took_s = now_s - whole[0]
            self._soonest_s = took_s if self._soonest_s is None else min(self._soonest_s, took_s)
        self._acknowledge_oldest(now_s)
        self._covered_s = self._over_before(now_s - max(COVERED_S, AS_SOON * (self._soonest_s or 0.0)))

    def answered(self, now_s: float, *, has_transcripts: bool) -> None:
        """An answer begins: rules 3 and 4."""
        if not has_transcripts:
            self.transcribed(now_s)
        while self._utterances and self._ended_s(0) <= self._covered_s:
            self._acknowledge(1)

    def taken(self, until_ms: int) -> None:
        """The agent has all speech up to this position in the sound sent in this session: rule 7."""
        while self._positions and self._positions[0][1] * FRAME_MS <= until_ms + FRAME_MS // 2:
            self._taken_s = self._positions.popleft()[0]
        self._drop_heard(self._taken_s)
        self._acknowledge_taken()

    def _acknowledge_taken(self) -> None:
        """The utterances of which all talk has been taken. How far that is may be known before the gate knows that the
        talk is over."""
        over = sum(self._ended_s(index) - 3 * HALF_A_FRAME_S <= self._taken_s for index in range(len(self._utterances)))
        if over:
            self._acknowledge(over)
        if self._utterances and self._utterances[0].start_s <= self._taken_s:
            # The agent made a turn of its beginning.
            self._utterances[0].start_s, self._utterances[0].missing = self._taken_s, 0

    def closed(self, now_s: float) -> bool:
        """The agent has closed the session properly. Returns whether something was said just before, so that it
        is to be sent again: not for ever, and not speech that the agent has passed over."""
        asked = [
            utterance
            for utterance in self._utterances
            if utterance.has_sound and (utterance.sent_s is None or now_s - utterance.sent_s <= LATE_S)
        ]
        for utterance in asked:
            utterance.closes += 1
        return any(utterance.closes < MOST_CLOSES for utterance in asked)

    # ------------------------------------------------------------ giving up

    def forget(self, before_s: float = float("inf"), now_s: float = float("inf")) -> GivenUp:
        """Gives up kept speech that was spoken before before_s; what waits of it is not sent any more."""
        unsent = sent = passed_over = 0
        if self._settled and not self._utterances:
            # The hangover of what was heard.
            self._kept.clear()
        while self._kept and self._kept[0].start_s < before_s:
            frame = self._kept.popleft()
            if frame.start_s > self._sent_until_s:
                unsent += 1
                continue
            sent += 1
            sent_s = next((one.sent_s for one in self._utterances if frame.start_s < self._end_of(one)), None)
            passed_over += sent_s is not None and now_s - sent_s > LATE_S
        while self._utterances and self._ended_s(0) < before_s:
            self._utterances.popleft()
        for outgoing in self._outgoing:
            if outgoing.speech is not None and outgoing.speech.start_s < before_s:
                outgoing.frame, outgoing.speech = Frame.silence(outgoing.frame.start_s), None
        return GivenUp(unsent * FRAME_MS, sent * FRAME_MS, passed_over * FRAME_MS)

    def mute(self, on: bool, now_s: float) -> None:
        """While on, and for what was captured until it is switched off, zeros go up. All that waits is forgotten, what
        no transcript of the agent's has shown to be heard as well as what was never sent."""
        self._muted = on
        self._heard_from_s = now_s
        if not on:
            return
        self._kept.clear()
        self._utterances.clear()
        self._settled = False
        for outgoing in self._outgoing:
            outgoing.frame, outgoing.speech = Frame.silence(outgoing.frame.start_s), None

    def forget_ended(self, before_s: float, now_s: float) -> GivenUp:
        """As forget(), of whole utterances that were over before before_s."""
        over = sum(utterance.end_s is not None and utterance.end_s < before_s for utterance in self._utterances)
        if not self._utterances:
            return self.forget(before_s, now_s)
        if not over:
            return GivenUp(0, 0, 0)
        gone = self.forget(self._bound_of(over - 1), now_s)
        # The last of them may end at that very bound, where the pre-roll of the next one reaches back to it.
        while self._utterances and self._ended_s(0) < before_s:
            self._utterances.popleft()
        return gone

    def take_losses(self) -> list[Loss]:
        """The speech that was lost to the bounds since the last call; each stretch once, when it is over."""
        losses, self._losses = self._losses, []
        return losses

    # ------------------------------------------------------------ inside

    def _end_turn(self) -> None:
        if not self._turn_is_open:
            return
        self._turn_is_open = False
        if self._outgoing:
            self._outgoing[-1].ends_turn = True
        else:
            self.turn_ended = True

    def _is_sent(self, end_s: float) -> bool:
        """The frame in which talk ended at end_s has gone up."""
        return self._sent_until_s >= end_s - 3 * HALF_A_FRAME_S

    def _ended_s(self, index: int) -> float:
        end_s = self._utterances[index].end_s
        return float("inf") if end_s is None else end_s

    def _end_of(self, utterance: _Utterance) -> float:
        return float("inf") if utterance is self._utterances[-1] else self._bound_of(self._utterances.index(utterance))

    def _bound_of(self, index: int) -> float:
        """Kept speech from before this belongs to that utterance, or to an earlier one."""
        if index + 1 >= len(self._utterances):
            return float("inf")
        return max(self._ended_s(index), self._utterances[index + 1].start_s - self._pre_roll_s)

    def _over_before(self, before_s: float) -> float:
        """The end of the last utterance that was sent whole before before_s."""
        ends_s = (
            utterance.end_s
            for utterance in self._utterances
            if utterance.end_s is not None and utterance.sent_s is not None and utterance.sent_s <= before_s
        )
        return max(ends_s, default=float("-inf"))

    def _acknowledge_oldest(self, now_s: float) -> None:
        if not self._utterances:
            self._drop_heard(float("inf") if self._since_speech_ms else self._sent_until_s - self._pre_roll_s)
            self._settled = True
            return
        whole = [utterance for utterance in self._utterances if utterance.sent_s is not None]
        if whole:
            meant = 0
            while meant + 1 < len(whole) and now_s - (whole[meant].sent_s or 0.0) > LATE_S:
                meant += 1
            self._acknowledge(meant + 1)
            return
        first = self._utterances[0]
        if first.end_s is None and first.paused_s is not None and self._is_sent(first.paused_s):
            # Up to the pause; what is being said right now is the rest of the utterance.
            self._drop_heard(max(first.paused_s, first.resumed_s - self._pre_roll_s) - HALF_A_FRAME_S)
            first.start_s, first.paused_s, first.missing = first.resumed_s, None, 0

    def _acknowledge(self, count: int) -> None:
        """The first of the utterances."""
        bound_s = self._bound_of(count - 1)
        end_s = self._ended_s(count - 1)
        for _ in range(count):
            self._utterances.popleft()
        if bound_s < float("inf"):
            self._drop_heard(bound_s - HALF_A_FRAME_S)
            return
        # The last one. Its hangover is still to come, or may hold the onset of further talk.
        self._settled = self._since_speech_ms == 0
        newest_s = self._kept[-1].start_s if self._kept else end_s
        self._drop_heard(max(end_s, newest_s - self._pre_roll_s) - HALF_A_FRAME_S if self._settled else float("inf"))

    def _drop_heard(self, until_s: float) -> None:
        until_s = min(until_s, self._sent_until_s)
        while self._kept and self._kept[0].start_s <= until_s:
            self._kept.popleft()

    def _keep(self, frame: Frame) -> None:
        if self._utterances:
            self._utterances[-1].has_sound = True
        if len(self._kept) >= self._capacity_frames:
            self._make_room(frame.start_s)
        self._kept.append(frame)

    def _make_room(self, now_s: float) -> None:
        """The oldest utterance goes, whole; of a single one, its first frame."""
        first_s, bound_s = self._kept[0].start_s, float("-inf")
        for index in range(len(self._utterances) - 1):
            if (bound_s := self._bound_of(index)) > first_s:
                break
        while True:
            self._miss(self._kept.popleft(), now_s)
            if not self._kept or self._kept[0].start_s >= bound_s:
                break
        if not self.live:
            self._forget_records()

    def _forget_records(self) -> None:
        """Without a line: forgets the records of utterances that are lost whole. The next transcript would be taken for
        that of the first of them."""
        while self._utterances and self._utterances[0].has_sound and self._utterances[0].end_s is not None:
            if self._kept and self._kept[0].start_s < self._bound_of(0):
                return
            self._utterances.popleft()

    def _miss(self, frame: Frame, now_s: float) -> None:
        """The frame is kept no longer. On a live line it may still be heard, or have been."""
        if not self.live:
            self._lose(1, TOO_MUCH, now_s)
        elif self._utterances:
            found = next((one for one in self._utterances if frame.start_s < self._end_of(one)), self._utterances[0])
            found.missing += 1

    def _queue(self, outgoing: _Outgoing, now_s: float) -> None:
        if len(self._outgoing) >= self._capacity_frames + self._credit_frames:
            oldest = self._outgoing.popleft()
            if oldest.speech is not None:
                if self._kept and self._kept[0] is oldest.speech:
                    self._kept.popleft()
                elif found := next((one for one in self._utterances if one.missing), None):
                    found.missing -= 1
                self._lose(1, TOO_SLOW, now_s)
        self._outgoing.append(outgoing)

    def _lose(self, frames: int, cause: str, now_s: float) -> None:
        self.counters.lost += frames
        if self._losing is None:
            self._losing_since_s = now_s
        lost_ms = frames * FRAME_MS + (self._losing.lost_ms if self._losing else 0)
        self._losing, self._lost_last_s = Loss(lost_ms, cause), now_s
        if now_s - self._losing_since_s >= LONG_LOSS_S:
            self._end_loss()

    def _end_loss(self) -> None:
        if self._losing is not None:
            self._losses.append(self._losing)
            self._losing = None
