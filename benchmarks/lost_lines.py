"""What a line that is lost costs: utterances that come up twice, and utterances that nobody hears. Offline; a minute.

    .venv/bin/python benchmarks/lost_lines.py [--hours N] [--every SECONDS] [--seed N]

The uplink as the daemon has it, frame by frame, a person who talks, pauses and waits for answers, and a server that
ends a turn after a pause of its own, gives one final transcript for all of the turn, and answers it, unless somebody
talks again before that. One in ten sounds is a noise of which it makes no words. The line is lost at random moments, on
average every so many seconds, which is far more often than lines are: the shares are those of losses, not of
conversations. Columns:

server     how long it waits for the end of a turn, and how late its transcripts are after that
losses     of the line
utterances without the noises
lost       of these, those that no session understood; per thousand losses
again      came up again after their transcript (without transcripts: an answer to them) had come; per thousand losses
answered   of those, came up again although an answer to them had begun; per thousand losses
"""

from __future__ import annotations

import argparse
import random
import sys
from dataclasses import dataclass, field

from parleyd.audio.gate.gate import Passed
from parleyd.audio.pcm import FRAME_MS, SILENT_FRAME, Frame
from parleyd.conversation.session.uplink import Uplink

FRAMES_PER_S = 1000 // FRAME_MS
HANGOVER, VERDICT = 45, 15
SPEECH = b"\1" + SILENT_FRAME[1:]
# End of a turn, and lateness of the recogniser: seconds, from and to.
SERVERS = {
    "quick, 0.5 s": (0.5, (0.05, 0.4)),
    "patient, 1.2 s": (1.2, (0.05, 0.4)),
    "late, 0.5 s + 1 to 3 s": (0.5, (1.0, 3.0)),
    "without transcripts, 0.7 s": (0.7, (0.05, 0.4)),
}


@dataclass
class Said:
    """An utterance. first, last: its frames. is_understood, is_shown (to the device), is_answered: in any session."""

    first: int
    last: int
    is_noise: bool
    is_understood: bool = False
    is_shown: bool = False
    is_answered: bool = False
    came_again: bool = False
    was_answered_then: bool = False


@dataclass
class Turn:
    """What the server has heard since the last one. due: when its transcript comes, and then its answer."""

    said: list[Said] = field(default_factory=list)
    due: int | None = None
    is_transcribed: bool = False


class Play:
    def __init__(self, server: str, every_s: float, rng: random.Random) -> None:
        self.rng = rng
        self.end_s, self.late_s = SERVERS[server]
        self.has_transcripts = not server.startswith("without")
        self.every_s = every_s
        self.line = Uplink("silence", pre_roll_ms=500, capacity_ms=60_000)
        self.n = 0
        self.said: list[Said] = []
        self.of: dict[int, Said] = {}
        self.turns: list[Turn] = []
        self.hearing = Turn()
        self.quiet = 0
        self.connects = 0
        self.lose_at = self.after(self.every_s)
        self.losses = 0
        self.answered_at = 0
        self.due = 0

    def after(self, mean_s: float) -> int:
        return self.n + 1 + round(self.rng.expovariate(1 / mean_s) * FRAMES_PER_S)

    def live(self, *, talk: Said | None, quiet: int) -> None:
        """One frame of the room. quiet: frames since the last talk."""
        if talk is not None and quiet == 0:
            talk.last = self.n
            self.of[self.n] = talk
        if talk is not None and talk.first == self.n:
            self.line.talk_started(self.n / FRAMES_PER_S)
        is_speech = quiet < HANGOVER
        self.line.push(Passed(Frame(SPEECH if quiet == 0 else SILENT_FRAME, self.n / FRAMES_PER_S), is_speech))
        if quiet == VERDICT and self.said:
            self.line.talk_stopped((self.said[-1].last + 1) / FRAMES_PER_S)
        self.n += 1
        if self.line.live:
            self.take()
            self.serve()
        if self.n >= self.lose_at:
            self.lose()
        elif not self.line.live and self.n >= self.connects:
            self.line.begin()
            self.take()

    def take(self) -> None:
        sending = [one.speech for one in self.line._outgoing]  # as in a transcript of the wire
        self.line.take(len(sending), self.n / FRAMES_PER_S)
        for frame in sending:
            said = None if frame is None else self.of.get(round(frame.start_s * FRAMES_PER_S))
            if said is None:
                self.quiet += 1
                if self.quiet / FRAMES_PER_S >= self.end_s and self.hearing.said:
                    turn, self.hearing = self.hearing, Turn()
                    if any(not one.is_noise for one in turn.said):
                        # In order: it is one recogniser.
                        self.due = max(self.due, self.n + round(self.rng.uniform(*self.late_s) * FRAMES_PER_S))
                        turn.due = self.due
                        self.turns.append(turn)
                continue
            self.quiet = 0
            if said not in self.hearing.said:
                self.hearing.said.append(said)
                if said.is_shown and not said.came_again:
                    said.came_again, said.was_answered_then = True, said.is_answered
                # Who talks again is listened to first.
                self.turns = [turn for turn in self.turns if not turn.is_transcribed]

    def serve(self) -> None:
        now_s = self.n / FRAMES_PER_S
        for turn in list(self.turns):
            if turn.due is None or self.n < turn.due:
                continue
            if not turn.is_transcribed:
                turn.is_transcribed = True
                turn.due = self.n + round(self.rng.uniform(0.4, 1.5) * FRAMES_PER_S)
                for one in turn.said:
                    one.is_understood = True
                    one.is_shown |= self.has_transcripts
                if self.has_transcripts:
                    self.line.transcribed(now_s)
            else:
                self.turns.remove(turn)
                self.answered_at = self.n
                for one in turn.said:
                    one.is_shown = one.is_answered = True
                self.line.answered(now_s, has_transcripts=self.has_transcripts)

    def lose(self) -> None:
        self.losses += self.line.live
        self.line.end()
        self.turns, self.hearing, self.quiet = [], Turn(), 0
        self.connects = self.n + round(self.rng.uniform(0.2, 3.0) * FRAMES_PER_S)
        self.lose_at = self.after(self.every_s)

    def person(self, hours: float) -> None:
        quiet = 10**6
        while self.n < hours * 3600 * FRAMES_PER_S:
            said = Said(self.n, self.n, is_noise=self.rng.random() < 0.1)
            self.said.append(said)
            for _ in range(round(self.rng.uniform(0.4, 4.0) * FRAMES_PER_S)):
                self.live(talk=said, quiet=0)
            pause_s = min(20.0, self.rng.lognormvariate(0.6, 0.8))
            waits = self.rng.random() < 0.6
            quiet, asked_at = 0, self.n
            while quiet < max(0.81, pause_s) * FRAMES_PER_S or (
                waits and self.answered_at < asked_at and quiet < 8 * FRAMES_PER_S
            ):
                quiet += 1
                self.live(talk=None, quiet=quiet)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=8.0)
    parser.add_argument("--every", type=float, default=30.0, help="seconds between losses of the line, on average")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(f"{'server':28} {'losses':>7} {'utterances':>10} {'lost':>6} {'again':>6} {'answered':>8}")
    for server in SERVERS:
        play = Play(server, arguments.every, random.Random(arguments.seed))
        play.person(arguments.hours)
        kept = play.line.kept_from_s
        real = [one for one in play.said if not one.is_noise and (kept is None or one.last < kept * FRAMES_PER_S - 1)]
        per_thousand = 1000 / max(1, play.losses)
        lost = sum(not one.is_understood for one in real) * per_thousand
        again = sum(one.came_again for one in real) * per_thousand
        answered = sum(one.was_answered_then for one in real) * per_thousand
        print(f"{server:28} {play.losses:7} {len(real):10} {lost:6.1f} {again:6.1f} {answered:8.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
