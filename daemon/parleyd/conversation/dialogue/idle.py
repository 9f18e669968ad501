"""How long a session is held: for a person, and for answers to a person. Pure.

A session is paid for by the minute, and while it lasts, speech leaves the room. Nothing that the other side does of its
own accord may therefore keep it open. It is held by:

* **a person**: words that the agent understood, whatever was typed or pressed, and for `idle_s` after each of them;
* **talk** that the gate hears, while it lasts and for `idle_s` after it. Sounds that stayed without words are not
  believed twice: once the agent has made nothing of one for NO_WORDS_S, further ones hold the session for
  `false_wake_s` only, until words come;
* **an asked answer**, while it sounds and for `idle_s` after it. The first answer after a person's words is asked for,
  as is the greeting, and what the agent says after a tool that worked for the person. It ends when the agent has been
  silent for PIECES_GAP_S (within one answer: SAME_ANSWER_GAP_S). Further speech of the agent that nobody asked for
  ("are you still there?") holds nothing. Silence is no answer, whatever it is sent as;
* **a tool at work** for a person, while it works. A call that is refused, or that nobody asked for, holds nothing;
* **something that the device has to tell** (a timer went off), for `idle_s`, and the answer to it: MOST_TOLD times
  after the last proof of a person, for it is the agent that sets timers.

In a session that speech has opened and in which nothing has been understood yet, `false_wake_s` stands for `idle_s`.

Behind all of it stands `no_person_s`: a session without a person's words, or keys, ends after that time, whoever talks.
Words are the agent's report, so it also ends when the gate has heard no talk, and nobody has typed, for that time.
An agent that sends no transcripts proves by an answer within ANSWER_WITHIN_S that it understood somebody.

The clock goes on when a session is exchanged for a new one or when the line is lost, unless something waits to be sent
again.
"""

from __future__ import annotations

from msgspec import Struct

# A sound of which the agent has made no words for this long was probably nobody; further ones hold the session less.
NO_WORDS_S = 10.0
# An answer to talk of which there is no transcript has to begin within this. Agents ask into a silence after 7 s.
ANSWER_WITHIN_S = 6.0
# The agent's speech after a longer pause is something new: of another answer, and within the same one.
PIECES_GAP_S = 2.0
SAME_ANSWER_GAP_S = 3.0
# A tool that has worked for this long gives the agent the whole patience again; quicker ones leave the clock alone.
TOOL_WORKED_S = 1.0
# How often a live session is looked at.
LOOK_S = 0.25
# Timers that go off hold the session so often, and no longer than that without a person.
MOST_TOLD = 3

_NEVER_S = float("-inf")


class Patience(Struct, frozen=True):
    """See the configuration's section `session`. by_speech: that is what opened the session."""

    idle_s: float
    false_wake_s: float
    no_person_s: float
    by_speech: bool


class IdleEnd(Struct, frozen=True):
    """The session has no more business. reason: in words. is_false_wake: nothing was understood in it."""

    reason: str
    is_false_wake: bool


class Idle:
    """Events in, each with its time (monotonic, in order); due() is the verdict.

    understood: in this conversation the agent has shown that it made words of something.
    """

    def __init__(self) -> None:
        self.understood = False
        self._transcripts_seen = False
        self._begun = False
        self._is_live = False
        self._opened_s = _NEVER_S
        self._person_s = _NEVER_S  # the last proof of a person; no_person_s counts from it
        self._acted_s = _NEVER_S
        self._told_s = _NEVER_S
        self._device_s = _NEVER_S  # the last of what the device had to tell, held for it or not
        self._told_times = 0
        self._is_talking = False
        self._talk_end_s = _NEVER_S  # of the last talk
        self._unproven_end_s: float | None = None  # of the last talk that has no words yet
        self._is_doubtful = False
        self._owed = False
        self._is_asked = False
        self._answer = 0
        self._queue_end_s = _NEVER_S  # of all that came
        self._voice_end_s = _NEVER_S  # of what is audible of it
        self._asked_end_s = _NEVER_S
        self._unasked_end_s = _NEVER_S
        self._tools: dict[str, float] = {}  # at work: key → since

    # ------------------------------------------------------------ the session

    def begin(self, now_s: float, *, again: bool) -> None:
        """A session is live. again: what an earlier session heard is sent once more, so the agent gets its time for it;
        otherwise only the first session of a conversation starts the clock."""
        if not self._begun:
            self._person_s = max(self._person_s, now_s)
        if again or not self._begun:
            self._opened_s = now_s
        self._begun = self._is_live = True
        self._is_asked = False

    def line_ended(self) -> None:
        self._is_live = False
        self._tools.clear()

    def conclude(self, decided_s: float) -> None:
        """The conversation is over; what comes next is another one. decided_s: what was typed or told up to then
        belongs to this one, and is not owed an answer in the next."""
        is_talking, acted_s, told_s, device_s = self._is_talking, self._acted_s, self._told_s, self._device_s
        Idle.__init__(self)
        self._is_talking = is_talking
        self._acted_s, self._told_s = min(acted_s, decided_s), min(told_s, decided_s)
        self._device_s = min(device_s, decided_s)

    # ------------------------------------------------------------ the person

    def talk_started(self, now_s: float) -> None:
        # Without a session nobody could have made words of it.
        if self._is_live and self._unproven_end_s is not None:
            self._is_doubtful |= now_s - max(self._unproven_end_s, self._opened_s) >= NO_WORDS_S
        self._is_talking = True

    def talk_stopped(self, now_s: float) -> None:
        self._is_talking = False
        self._talk_end_s = self._unproven_end_s = now_s

    def transcript(self, now_s: float, *, has_words: bool, final: bool) -> None:
        """Only final words prove a person."""
        self._transcripts_seen = True
        if final and has_words:
            self._proven(now_s)

    def acted(self, at_s: float) -> None:
        """The person typed or pressed something at at_s; harmless when told again."""
        if at_s > self._acted_s:
            self._acted_s = at_s
            self._person_s = max(self._person_s, at_s)
            self._told_times = 0
            self._owed = True

    def typed_answered(self) -> None:
        """The agent answers what was typed."""
        self.understood = True

    def told(self, at_s: float) -> None:
        """The device made the agent know something at at_s; harmless when told again."""
        if at_s <= self._device_s:
            return
        self._device_s = at_s
        if self._told_times < MOST_TOLD:
            self._told_times += 1
            self._told_s = at_s
            self._owed = True

    # ------------------------------------------------------------ the agent

    def answer_begins(self, now_s: float) -> bool:
        """An answer begins that is no greeting. Returns whether that proves that the agent understood somebody: it
        sends no transcripts, and there was talk just before."""
        if self._transcripts_seen or not self._has_unproven_talk(now_s, ANSWER_WITHIN_S):
            return False
        self._proven(now_s)
        return True

    def voice(
        self, now_s: float, duration_s: float, answer: int, *, is_audible: bool, is_greeting: bool = False
    ) -> None:
        """Sound of the agent's, to be played behind its sound so far. answer: its number; a text has no duration.
        is_greeting: the answer is the greeting, which is to be heard."""
        starts_s = max(now_s, self._queue_end_s)
        self._queue_end_s = starts_s + duration_s
        if not is_audible:
            return
        gap_s = starts_s - self._voice_end_s
        most_s = SAME_ANSWER_GAP_S if answer == self._answer else PIECES_GAP_S
        if self._owed or is_greeting:
            self._is_asked = True
        elif gap_s > most_s:
            self._is_asked = False
        self._owed = False
        self._answer = answer
        self._voice_end_s = self._queue_end_s
        if self._is_asked:
            self._asked_end_s = self._voice_end_s
        else:
            self._unasked_end_s = self._voice_end_s

    def cut(self, now_s: float) -> None:
        """The sound that was still to be heard was thrown away."""
        self._queue_end_s = min(self._queue_end_s, now_s)
        self._voice_end_s = min(self._voice_end_s, now_s)
        self._asked_end_s = min(self._asked_end_s, now_s)
        self._unasked_end_s = min(self._unasked_end_s, now_s)

    def tool_began(self, now_s: float, key: str) -> None:
        """A tool that exists here runs, or a question waits for the person. It works for the person when they are owed
        an answer, or have just been given one. If the agent sends no transcripts, its call after talk shows that the
        talk was understood."""
        if not self._transcripts_seen and self._has_unproven_talk(now_s, NO_WORDS_S):
            self._proven(now_s)
        if self._owed or (self._is_asked and now_s - self._voice_end_s <= PIECES_GAP_S):
            self._tools[key] = now_s

    def tool_ended(self, now_s: float, key: str) -> None:
        since_s = self._tools.pop(key, None)
        if since_s is None:
            return
        self._owed = True
        if now_s - since_s >= TOOL_WORKED_S:
            self._asked_end_s = max(self._asked_end_s, now_s)

    # ------------------------------------------------------------ verdicts

    def is_false_wake(self, *, by_speech: bool) -> bool:
        """The agent has made nothing of what opened the session."""
        return by_speech and not self.understood

    def next_look_s(self, now_s: float, patience: Patience) -> float:
        """When due() may have another answer. Never long from now: talk and tools end, answers are cut and sounds are
        doubted without a message to whoever waits for that moment."""
        ends_s = min(self._held_until_s(patience), self._person_s + patience.no_person_s)
        soon_s = now_s + LOOK_S
        return min(ends_s, soon_s) if ends_s > now_s else soon_s

    def due(self, now_s: float, patience: Patience) -> IdleEnd | None:
        """Whether the session is to be ended."""
        is_false_wake = self.is_false_wake(by_speech=patience.by_speech)
        without_s = now_s - self._person_s
        if without_s >= patience.no_person_s:
            text = f"no person was understood for {without_s:.0f} s (session.no_person_s)"
            return IdleEnd(text, is_false_wake)
        unheard_s = now_s - max(self._talk_end_s, self._acted_s, self._opened_s)
        if unheard_s >= patience.no_person_s and not self._is_talking:
            # The words are the agent's report. One that invents them must not hold the line.
            text = f"the agent reports words, but nobody has spoken here for {unheard_s:.0f} s (session.no_person_s)"
            return IdleEnd(text, is_false_wake)
        if self._is_held() or now_s < self._held_until_s(patience):
            return None
        spoke_on = self._unasked_end_s > max(self._asked_end_s, self._last_sign_s)
        if is_false_wake:
            return IdleEnd("the agent understood nothing" + (", although it spoke" if spoke_on else ""), True)
        quiet_s = now_s - max(self._last_sign_s, self._asked_end_s)
        more = "; the agent spoke meanwhile, without being asked" if spoke_on else ""
        return IdleEnd(f"nobody has spoken for {quiet_s:.0f} s{more}", False)

    # ------------------------------------------------------------ inside

    def _has_unproven_talk(self, now_s: float, within_s: float) -> bool:
        """Talk that has no words yet goes on, or ended within that time (of the session that heard it)."""
        if self._is_talking or self._unproven_end_s is None:
            return self._is_talking
        return now_s - max(self._unproven_end_s, self._opened_s) <= within_s

    @property
    def _last_sign_s(self) -> float:
        """The last sign of a person, or of a message that the device had to tell."""
        return max(self._opened_s, self._person_s, self._told_s, self._unproven_end_s or _NEVER_S)

    def _proven(self, now_s: float) -> None:
        self.understood = True
        self._person_s = now_s
        self._told_times = 0
        self._owed = True
        self._is_doubtful = False
        self._unproven_end_s = None

    def _is_held(self) -> bool:
        return self._is_talking or bool(self._tools)

    def _held_until_s(self, patience: Patience) -> float:
        short_s = min(patience.idle_s, patience.false_wake_s)
        idle_s = short_s if self.is_false_wake(by_speech=patience.by_speech) else patience.idle_s
        held_s = max(self._opened_s, self._person_s, self._told_s, self._asked_end_s) + idle_s
        if self._unproven_end_s is not None:
            held_s = max(held_s, self._unproven_end_s + (short_s if self._is_doubtful else idle_s))
        return held_s
