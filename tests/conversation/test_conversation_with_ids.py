"""The conversation with a provider that has ids, positions, commands and failed answers: the opposite of ElevenLabs."""

# What is asserted of a property stands until it is asserted again, mypy thinks.
# mypy: disable-error-code="unreachable"

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from conversing import Scene, sound

from opposite import CAPABILITIES
from parleyd.agents.commands import Command as ToAgent
from parleyd.agents.commands import Cut, HeardOf, Prepared, SpeakNow, ToolDone
from parleyd.agents.events import (
    AgentAudio,
    AgentEvent,
    AgentHangsUp,
    AnswerBegins,
    AnswerEnds,
    AnswerFailed,
    AnswerText,
    AnswerTextEnds,
    Interrupted,
    NotTranscribed,
    Ready,
    Resumable,
    SpeechTaken,
    Spent,
    Token,
    ToolCall,
    ToolsCancelled,
    UserTranscript,
    Why,
    WordsExpected,
)
from parleyd.audio.gate.gate import Passed
from parleyd.audio.pcm import FRAME_BYTES, AudioFormat, Frame
from parleyd.audio.playback.playhead import HeardPart
from parleyd.conversation.dialogue.answers import Answer, Answers, heard_of
from parleyd.conversation.dialogue.commands import Answered, CancelTools, Taken, Transcribed, UseTool
from parleyd.conversation.dialogue.conversation import MOST_RETRIES, RETRY_LOOK_S
from parleyd.conversation.dialogue.history import _REMEMBERED, History
from parleyd.conversation.dialogue.utterances import MOST as MOST_UTTERANCES
from parleyd.conversation.dialogue.utterances import Utterances
from parleyd.conversation.session.uplink import Uplink
from parleyd.core import events
from parleyd.tools.result import Result

FORMAT = AudioFormat("pcm", 16_000)


@dataclass
class Channel:
    """A session of such a provider: it notes the commands that it is given."""

    told: list[ToAgent] = field(default_factory=list)

    def send(self, command: ToAgent) -> None:
        self.told.append(command)


class OppositeScene(Scene):
    """One session is open from the beginning."""

    def __init__(self, *, greets: bool = False, by_text: bool = False) -> None:
        super().__init__(mode="server", by_text=by_text)
        self.channel = Channel()
        self.conversation.wish(self.now_s, greet=greets)
        self.sessions.append(self.channel)  # type: ignore[arg-type]
        self.conversation.begin(
            self.channel,
            CAPABILITIES,
            Ready("c", FORMAT, FORMAT),
            self.now_s,
            greets=greets,
            skip_greeting=False,
            has_kept_speech=False,
        )
        self._do()

    def happens(self, *happened: AgentEvent) -> None:
        for event in happened:
            self.conversation.agent_event(self.channel, event, self.now_s)
            self._do()

    def answers(self, answer: str, text: str, seconds: float = 1.0) -> None:
        self.happens(AnswerBegins(answer), AgentAudio(answer, sound(seconds)), AnswerText(answer, text, final=True))

    def given(self, kind: type[ToAgent]) -> list[ToAgent]:
        return [command for command in self.channel.told if isinstance(command, kind)]


def test_an_agent_that_does_not_speak_first_is_asked_to_greet() -> None:
    assert OppositeScene(greets=True).channel.told == [SpeakNow(is_greeting=True)]
    assert OppositeScene().channel.told == []


def test_only_the_position_in_the_stream_acknowledges_speech() -> None:
    scene = OppositeScene()
    scene.happens(UserTranscript("u1", "what time is it", final=True), NotTranscribed("u2", "too short"))
    scene.answers("r1", "Noon.")
    assert not scene.of(Transcribed)
    assert not scene.of(Answered)
    scene.happens(SpeechTaken(1200))
    assert scene.of(Taken) == [Taken(1200)]


def test_words_that_come_late_have_their_place_and_their_number() -> None:
    scene = OppositeScene()
    scene.happens(WordsExpected("u1"))
    scene.answers("r1", "Noon.")
    scene.wait(2.0)
    scene.happens(WordsExpected("u2"), NotTranscribed("u2", "noise"), NotTranscribed("u9", "never expected"))
    scene.happens(UserTranscript("u1", "what time", final=False), UserTranscript("u1", "what time is it", final=True))
    scene.happens(UserTranscript("u8", "hello", final=True))
    told = [event for event in scene.published() if isinstance(event, events.Heard | events.WordsExpected)]
    assert [(event.said, getattr(event, "text", None)) for event in told] == [
        (1, None),
        (2, None),
        (1, "what time"),
        (1, "what time is it"),
        (0, "hello"),
    ]
    missing = [event.said for event in scene.published() if isinstance(event, events.NotTranscribed)]
    assert missing == [2, 0]
    wish = scene.conversation.wish(scene.now_s, greet=False)
    assert [said.text for said in wish.history] == ["what time is it", "Noon.", "hello"]


def test_what_was_written_for_a_noise_is_no_line_of_the_conversation() -> None:
    scene = OppositeScene()
    scene.happens(WordsExpected("u1"), UserTranscript("u1", "Thank you for watching!", True, is_understood=False))
    assert [event.text for event in scene.published() if isinstance(event, events.Heard)] == ["Thank you for watching!"]
    assert not scene.conversation.continues(scene.now_s), "a new session may greet"
    scene.happens(UserTranscript("u2", "hello", True))
    scene.lose()
    assert [said.text for said in scene.conversation.wish(scene.now_s, greet=False).history] == ["hello"]


def test_ids_of_utterances_are_those_of_one_session_and_bounded() -> None:
    utterances = Utterances()
    for number in range(MOST_UTTERANCES + 1):
        assert utterances.expect(f"u{number}", 1.0).number == number + 1
    assert utterances.known("u0") is None
    assert utterances.known("u1") is not None
    utterances.clear()
    assert utterances.known("u1") is None
    assert utterances.expect("u1", 2.0).number == MOST_UTTERANCES + 2


def test_late_words_do_not_take_back_the_agents_goodbye() -> None:
    """The person says goodbye, the agent ends the conversation, and only then the words come."""
    scene = OppositeScene()
    scene.happens(WordsExpected("u1"))
    scene.wait(1.0)
    scene.conversation.end_soon(scene.now_s)
    scene.happens(AgentHangsUp(), UserTranscript("u1", "goodbye", final=True))
    assert scene.conversation.farewell_s is not None
    assert scene.conversation.agent_hangs_up(scene.now_s)
    scene.wait(1.0)
    scene.happens(WordsExpected("u2"), UserTranscript("u2", "no wait", final=True))
    assert scene.conversation.farewell_s is None
    assert not scene.conversation.agent_hangs_up(scene.now_s)


def test_a_text_that_comes_after_the_cut_is_recorded_as_far_as_it_was_heard() -> None:
    scene = OppositeScene()
    scene.happens(AnswerBegins("r1"), AgentAudio("r1", sound(4.0)))
    scene.wait(2.0)
    scene.happens(Interrupted("r1"))
    (cut,) = scene.given(Cut)
    assert isinstance(cut, Cut)
    ((heard),) = cut.heard
    assert heard.answer == "r1"
    assert 1800 < heard.heard_ms < heard.total_ms == 4000
    for told in scene.speaker.told:
        if isinstance(told, HeardPart):
            scene.conversation.answer_ended(told, scene.now_s)
    scene.happens(AnswerText("r1", "one two three four five six seven eight", final=True))
    texts = [(event.text, event.corrected) for event in scene.published() if isinstance(event, events.AnswerText)]
    assert [corrected for _, corrected in texts] == [False, True]
    assert texts[0][0].startswith("one two three")
    assert "eight" not in texts[0][0]


@pytest.mark.parametrize("texts_before_the_cut", [0, 1])
def test_a_correction_has_the_words_of_all_texts_of_the_answer(texts_before_the_cut: int) -> None:
    scene = OppositeScene()
    texts = [AnswerText("r1", "one two three four", final=True), AnswerText("r1", "five six seven eight", final=True)]
    scene.happens(AnswerBegins("r1"), AgentAudio("r1", sound(4.0)), *texts[:texts_before_the_cut])
    scene.wait(3.1)
    scene.happens(Interrupted("r1"))
    for told in scene.speaker.told:
        if isinstance(told, HeardPart):
            scene.conversation.answer_ended(told, scene.now_s)
    scene.happens(*texts[texts_before_the_cut:])
    told_texts = [event for event in scene.published() if isinstance(event, events.AnswerText)]
    assert [event.text for event in told_texts if event.corrected][-1] == "one two three four five six"


def test_the_text_of_an_answer_that_nobody_heard_is_not_published() -> None:
    scene = OppositeScene()
    scene.answers("r1", "Heard.", 3.0)
    scene.happens(AnswerBegins("r2"))
    scene.wait(0.5)
    scene.happens(Interrupted(), AnswerText("r2", "Never heard.", final=True))
    assert [event.text for event in scene.published() if isinstance(event, events.AnswerText)] == ["Heard."]


def test_a_typed_text_cuts_the_answer_that_is_being_given() -> None:
    scene = OppositeScene()
    scene.answers("r1", "A long story.", 5.0)
    scene.wait(1.0)
    scene.conversation.say("stop", scene.now_s)
    scene._do()
    kinds = [type(command).__name__ for command in scene.channel.told]
    assert kinds == ["Cut", "Say"]
    # Nothing is being said now, so nothing is cut.
    file = Prepared("a.png", "image/png", data=b"x")
    sent = events.FileSent(at_s=scene.now_s, upload=1, name="a.png", media_type="image/png", size_bytes=1)
    assert scene.conversation.send_file(file, None, sent, scene.now_s)
    scene._do()
    assert [type(command).__name__ for command in scene.channel.told][2:] == ["Say"]


def test_a_text_that_was_read_was_read() -> None:
    scene = OppositeScene(by_text=True)
    scene.happens(AnswerBegins("r1"), AnswerText("r1", "It is noon.", final=True), Interrupted("r1"))
    scene.lose()
    assert scene.conversation.wish(scene.now_s, greet=False).history[-1].text == "It is noon."


def test_pieces_of_a_text_end_at_their_end() -> None:
    scene = OppositeScene()
    scene.happens(AnswerBegins("r1"), AnswerText("r1", "It is", final=False), AnswerTextEnds("r0"))
    scene.happens(AnswerTextEnds("r1"), AnswerTextEnds("r1"))
    parts = [(event.kind, event.text) for event in scene.published() if isinstance(event, events.AnswerPart)]
    assert parts == [("start", ""), ("delta", "It is"), ("stop", "")]
    # Nobody waits for the end of a text whose line is gone.
    scene.happens(AnswerBegins("r2"), AnswerText("r2", "Later", final=False))
    scene.lose()
    assert [event.kind for event in scene.published() if isinstance(event, events.AnswerPart)][-1] == "delta"


def test_pieces_of_an_answer_that_was_cut_are_dropped() -> None:
    scene = OppositeScene()
    scene.answers("r1", "Hello.", 3.0)
    scene.wait(0.5)
    scene.happens(Interrupted("r1"), AnswerText("r1", "more", final=False), AgentAudio("r1", sound(1.0)))
    assert not [event for event in scene.published() if isinstance(event, events.AnswerPart)]
    assert len(scene.played) == 1


def test_an_answer_that_the_server_cuts_short_is_heard_and_told() -> None:
    scene = OppositeScene()
    scene.answers("r1", "Once upon a", 3.0)
    scene.happens(AnswerEnds("r1", Why.INCOMPLETE, "it was too long", "raise the limit"))
    told = [event for event in scene.published() if isinstance(event, events.AnswerIncomplete)]
    assert [(event.text, event.hint, event.answer) for event in told] == [
        ("the agent's answer ends in the middle: it was too long", "raise the limit", 1)
    ]
    assert scene.played
    scene.happens(AnswerBegins("r2"), AnswerEnds("r2", Why.CANCELLED), AnswerEnds("r3"))
    assert len([event for event in scene.published() if isinstance(event, events.AnswerIncomplete)]) == 1


def test_a_failed_answer_is_asked_for_again_when_nobody_talks() -> None:
    scene = OppositeScene()
    scene.happens(AnswerBegins("r1"), AnswerFailed("r1", "rate limit", None, retry_after_s=2.0))
    told = [event for event in scene.published() if isinstance(event, events.AnswerFailed)]
    assert [event.hint for event in told] == ["it is asked again by itself"]
    due_s = scene.now_s + 2.0
    assert scene.conversation.next_look_s == due_s
    scene.conversation.look(scene.now_s)
    scene.talk()
    scene.conversation.look(due_s)
    assert scene.conversation.next_look_s == due_s + RETRY_LOOK_S
    scene.hush()
    scene.conversation.look(due_s + RETRY_LOOK_S)
    scene._do()
    assert scene.channel.told == [SpeakNow()]
    assert scene.conversation.next_look_s is None


def test_an_answer_that_fails_again_and_again_is_given_up() -> None:
    scene = OppositeScene()
    for _ in range(MOST_RETRIES + 1):
        scene.happens(AnswerFailed(None, "quota", "add credit", retry_after_s=0.0))
        scene.conversation.look(scene.now_s)
        scene._do()
    assert scene.given(SpeakNow) == [SpeakNow()] * MOST_RETRIES
    scene.happens(AnswerFailed(None, "quota", "add credit"))
    assert scene.conversation.next_look_s is None


def test_a_retry_is_dropped_with_its_session() -> None:
    scene = OppositeScene()
    scene.happens(AnswerFailed(None, "rate limit", None, retry_after_s=1.0))
    scene.lose()
    scene.conversation.look(scene.now_s + 5.0)
    scene._do()
    assert not scene.channel.told


def test_a_retry_is_dropped_when_an_answer_comes_after_all() -> None:
    scene = OppositeScene()
    scene.happens(AnswerFailed(None, "rate limit", None, retry_after_s=1.0), AnswerBegins("r2"))
    assert scene.conversation.next_look_s is None
    scene.conversation.look(scene.now_s + 5.0)
    scene._do()
    assert not scene.channel.told


def test_an_answer_is_cut_once() -> None:
    answers = Answers()
    first = answers.of("r1")
    assert answers.cut() == (first,)
    second = answers.of("r2")
    assert answers.cut() == (second,)
    assert answers.cut() == ()


def test_of_an_answer_that_was_over_nothing_is_told_with_a_cut() -> None:
    """It was heard to its end, or the speaker would have thrown some of it away."""
    over, going_on = Answer("r1", 1, has_ended=True, heard_ms=500, total_ms=500), Answer("r2", 2)
    assert heard_of([over, going_on], [HeardPart(2, 100, 900, finished=False)]) == (HeardOf("r2", 100, 900),)


def test_calls_that_the_server_cancels_are_stopped() -> None:
    scene = OppositeScene()
    call = ToolCall("light", "c1", {})
    scene.happens(call, ToolsCancelled(("c1", "unknown")))
    (used,) = scene.of(UseTool)
    assert isinstance(used, UseTool)
    assert scene.of(CancelTools) == [CancelTools(("c1", "unknown"))]
    assert scene.conversation.tool_worked(scene.channel, "c2", used.key, Result("done"), scene.now_s)
    scene._do()
    assert scene.given(ToolDone) == [ToolDone("c2", "done", None)]
    scene.happens(ToolCall("unknown", "c3", {}), ToolCall("light", "c4", {}, expects_response=False))
    keys = [command.key for command in scene.of(UseTool) if isinstance(command, UseTool)]
    assert keys[1:] == ["", ""]


def test_the_count_of_a_provider_and_its_handle_are_kept() -> None:
    scene = OppositeScene()
    scene.happens(Spent("m", {Token.AUDIO_OUT: 40}), Resumable("handle"))
    (spent,) = [event for event in scene.published() if isinstance(event, events.Spent)]
    assert spent.tokens == {"audio_out": 40}
    scene.happens(UserTranscript("u1", "hello", final=True))
    scene.lose()
    assert scene.conversation.wish(scene.now_s, greet=False).resume == "handle"


def test_an_end_that_was_lost_here_is_truncated() -> None:
    scene = OppositeScene()
    scene.answers("r0", "Before it.")
    scene.answers("r1", "A very long answer.")
    scene.happens(AnswerEnds("r1"))
    number = scene.played[-1]
    heard = HeardPart(number, 600, 1000, finished=True, ended_s=scene.now_s, lost_ms=400)
    scene.conversation.answer_ended(heard, scene.now_s)
    scene._do()
    (cut,) = scene.given(Cut)
    assert isinstance(cut, Cut)
    assert [(one.answer, one.heard_ms, one.total_ms) for one in cut.heard] == [("r1", 600, 1000)]


def test_an_answer_without_an_id_that_is_known_ends_nothing() -> None:
    scene = OppositeScene()
    before = len(scene.commands)
    scene.happens(AnswerEnds("r9"))
    assert len(scene.commands) == before


def test_lines_of_answers_that_were_never_heard_are_emptied() -> None:
    history = History(max_lines=12, max_chars=2000, max_age_s=300)
    history.agent_says("one two", 1, 10.0)
    history.never_heard([1])
    history.cut(1, 0, 0)
    assert history.carried_over(11.0) == ()
    # So many cuts are remembered for texts that come late; the first is forgotten.
    history.never_heard(range(2, 2 + _REMEMBERED))
    history.never_heard([1000])
    assert history.agent_says("late", 2, 11.0) is None
    assert history.agent_says("late", 1000, 11.0) == ""


def test_the_gate_ends_a_turn_behind_its_last_frame() -> None:
    line = Uplink("silence", pre_roll_ms=500, capacity_ms=15_000)
    line.gate_closed()
    line.begin()
    line.gate_closed()
    assert not line.turn_ended, "nobody has spoken"
    voice = Frame(b"\x01\x00" * (FRAME_BYTES // 2), 0.0)
    line.push(Passed(voice, True))
    line.gate_closed()
    assert not line.turn_ended, "its sound has not gone up"
    line.take(1000, 1.0)
    assert line.turn_ended
    line.turn_ended = False
    line.push(Passed(voice, True))
    line.take(1000, 1.0)
    line.gate_closed()
    assert line.turn_ended, "all of its sound has gone up before"
