"""Tells the answers of the agent apart, and makes the common events of their sounds and texts. Pure.

The protocol does not name its answers: whether the pieces of sound of one turn share an id is not certain, an agent may
be set to send no texts or no transcripts, and a greeting looks like any other answer. So this is guesswork, by order
and by time; the ids of answers and utterances are invented here.
"""

from __future__ import annotations

from msgspec import Struct

from parleyd.agents import events as common
from parleyd.agents.elevenlabs.meaning import (
    Audio,
    Interruption,
    Meaning,
    Response,
    ResponseComplete,
    ResponseCorrection,
    ResponsePart,
    Transcript,
)
from parleyd.audio.pcm import AudioFormat, is_audible

# Audio of one turn is streamed without pauses of this length; a new turn takes longer to come.
TURN_GAP_S = 1.0
# An agent that greets does so at once. One that has said nothing for this long does not greet.
GREETING_WITHIN_S = 3.0


class AnswerNumbers:
    """Numbers the agent's answers, so that audio can be told apart by turn.

    A new answer begins with the first audio after a final transcript, an interruption, or a response text with a new
    id. by_text: nobody hears them; the response text begins an answer, too.
    """

    def __init__(self, *, by_text: bool = False) -> None:
        self._by_text = by_text
        self.current = 0
        self._next_is_new = True
        self._has_text = False
        self._response_id: int | None = None

    @property
    def of_text(self) -> int:
        """The number of the answer that the last response text belongs to: it comes just before or after its audio."""
        return self.current + 1 if self._next_is_new else self.current

    def step(self, meaning: Meaning) -> int:
        """Takes every meaning in order; returns the number of the answer that audio now belongs to."""
        match meaning:
            case Transcript(final=True) | Interruption():
                self.cut()
            case Response(event_id=event_id):
                if self._has_text and (event_id is None or event_id != self._response_id):
                    self._next_is_new = True
                self._has_text = True
                self._response_id = event_id
                if self._by_text:
                    self._begin()
            case Audio():
                self._begin()
            case _:
                pass
        return self.current

    def _begin(self) -> None:
        self.current += self._next_is_new
        self._next_is_new = False

    def cut(self) -> None:
        """The next sound belongs to another answer."""
        self._next_is_new = True
        self._has_text = False

    def void(self, number: int) -> None:
        """This number, of a text whose sound had not come, is not used for any sound."""
        self.current = max(self.current, number)


class TurnFilter(Struct):
    """Drops the agent's audio until the meanings show that a new turn has begun.

    Used for a turn that was cut on this side (the rest of it is stale), and for a greeting that nobody wants to hear.
    skip_responses: how many response texts belong to the unwanted turn and are still to come. Evidence of a new turn,
    best first: a final transcript, an interruption by the server, a further response text. An agent may be set to send
    none of these; then a gap in its audio has to do.
    """

    since_s: float
    skip_responses: int = 0
    open: bool = False
    _last_audio_s: float | None = None

    def admits(self, meaning: Meaning, now_s: float) -> bool:
        """Takes every meaning in order; False for those that are to be dropped."""
        if self.open:
            return True
        match meaning:
            case Transcript(final=True) | Interruption():
                self.open = True
            case Response():
                self.skip_responses -= 1
                self.open = self.skip_responses < 0
                return self.open
            case ResponsePart():
                return False
            case Audio():
                if self._last_audio_s is None:
                    self.open = now_s - self.since_s >= GREETING_WITHIN_S
                else:
                    self.open = now_s - self._last_audio_s >= TURN_GAP_S
                self._last_audio_s = now_s
                return self.open
            case _:
                pass
        return True


class Answers:
    """One session's answers: step() turns each meaning into common events.

    greets: the agent may begin with a greeting. by_text: the session is in writing alone.
    """

    def __init__(self, *, greets: bool, by_text: bool) -> None:
        self._greets = greets
        self._numbers = AnswerNumbers(by_text=by_text)
        self._filter: TurnFilter | None = None
        self._format = AudioFormat("pcm", 16_000)
        self._ready_s = 0.0
        self._voice_s = 0.0  # when the last audible sound came
        self._responses = 0
        # The answers that were told to have begun, and whether the last of them was told as a greeting.
        self._told = 0
        self._told_greeting = False
        # The answer whose text came last, and the ids by which the texts can be rated.
        self._of_last_text: int | None = None
        self._ratings: dict[str, int] = {}
        self._streams: tuple[int, int | str | None] | None = None  # the answer and the id of the pieces that come
        self._utterances = 1

    def cut(self, now_s: float) -> None:
        """This side has fallen silent in the middle of an answer, whose rest may still come."""
        self._numbers.cut()
        self._numbers.void(self._told)
        self._filter = TurnFilter(now_s)

    def skip_greeting(self, now_s: float) -> None:
        """Nobody is to hear the greeting that will come, or is coming."""
        self._filter = TurnFilter(now_s, skip_responses=1)
        # A turn that the filter admits is no greeting.
        self._greets = False

    def rating_id(self, answer: str) -> int | None:
        """The server's id of the answer's text; None if it has given none."""
        return self._ratings.get(answer)

    def step(self, meaning: Meaning, now_s: float) -> list[common.AgentEvent]:
        """Takes every meaning in order. now_s: when it came."""
        if self._filter is not None and not self._filter.admits(meaning, now_s):
            return []
        before = self._numbers.current
        number = self._numbers.step(meaning)
        match meaning:
            case Audio(data=data):
                return [*self._of_sound(number, data, now_s), common.AgentAudio(str(number), data)]
            case Interruption():
                self._numbers.void(self._told)
                return [common.Interrupted(str(before) if before else None)]
            case Transcript(text=text, final=final):
                utterance = str(self._utterances)
                self._utterances += final
                is_understood = any(sign.isalnum() for sign in text)
                return [common.UserTranscript(utterance, text, final, is_understood)]
            case Response():
                return self._response(meaning, now_s)
            case ResponsePart():
                return self._part(meaning, now_s)
            case ResponseComplete():
                return [common.AnswerEnds(str(number))] if 0 < number <= self._told else []
            case ResponseCorrection(corrected=text):
                of = self._of_last_text
                return [] if of is None else [common.Corrected(str(of), text)]
            case common.Ready(output_format=output_format):
                self._ready_s, self._format = now_s, output_format
                return [meaning]
            case _:
                return [meaning]

    def _of_sound(self, number: int, data: bytes, now_s: float) -> list[common.AgentEvent]:
        is_after_pause = False
        if is_audible(self._format, data):
            is_after_pause = now_s - self._voice_s >= TURN_GAP_S
            self._voice_s = now_s
        return self._begins(number, now_s, again=is_after_pause)

    def _response(self, response: Response, now_s: float) -> list[common.AgentEvent]:
        number = self._numbers.of_text
        self._responses += 1
        self._of_last_text = number
        answer, event_id = str(number), response.event_id
        self._ratings.pop(answer, None)
        if event_id is not None:
            # Only the last answer is ever rated.
            self._ratings = {answer: event_id}
        text = common.AnswerText(answer, response.text, final=True, can_be_rated=event_id is not None)
        return [*self._begins(number, now_s), text]

    def _part(self, part: ResponsePart, now_s: float) -> list[common.AgentEvent]:
        number = self._numbers.of_text
        of = number, part.event_id
        events: list[common.AgentEvent] = []
        if self._streams is not None and (part.kind == "start" or self._streams != of):
            events += self._stream_ends()
        if self._streams is None and part.kind == "stop" and not part.text:
            return events
        if self._streams is None:
            self._streams = of
            events += [*self._begins(number, now_s), common.AnswerText(str(number), "", final=False)]
        if part.text:
            events.append(common.AnswerText(str(number), part.text, final=False))
        if part.kind == "stop":
            events += self._stream_ends()
        return events

    def _stream_ends(self) -> list[common.AgentEvent]:
        ended, self._streams = self._streams, None
        return [] if ended is None else [common.AnswerTextEnds(str(ended[0]))]

    def _begins(self, number: int, now_s: float, *, again: bool = False) -> list[common.AgentEvent]:
        """The event for an answer that is new, or known better by now, or that may be another after a pause (again)."""
        greeting = self._may_be_greeting(number, now_s)
        is_new = number > self._told
        if not is_new and not again and (number != self._told or greeting == self._told_greeting):
            return []
        self._told = max(self._told, number)
        self._told_greeting = greeting
        return [common.AnswerBegins(str(number), greeting)]

    def _may_be_greeting(self, number: int, now_s: float) -> bool:
        is_first = number == 1 and self._responses <= 1
        return self._greets and is_first and now_s - self._ready_s < GREETING_WITHIN_S
