"""Over changes between the agent and the fallback, at any moment of a sentence and of its answer: whatever was said
reaches somebody who answers it, and nothing that was answered is put to anybody again. The uplink and the conversation
are the daemon's own; the two agents are played here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from parleyd.agents import commands as to_agent
from parleyd.agents.elevenlabs.agent import CAPABILITIES
from parleyd.agents.events import (
    AgentAudio,
    AgentEvent,
    AnswerBegins,
    AnswerText,
    Ready,
    SpeechTaken,
    ToolCall,
    UserTranscript,
    WordsExpected,
)
from parleyd.audio.gate.gate import Passed
from parleyd.audio.pcm import FRAME_BYTES, FRAME_MS, AudioFormat, Frame
from parleyd.config.retention import Continuity
from parleyd.config.schema import BargeIn
from parleyd.conversation.dialogue.commands import Answered, Send, Taken, Transcribed
from parleyd.conversation.dialogue.conversation import Conversation
from parleyd.conversation.session.uplink import Uplink

PCM = AudioFormat("pcm", 16_000)
FRAMES = 30
# When the line dies: in the middle of the sentence, after it, after its transcript, in the answer; or not at all.
Dies = Literal["in it", "after it", "understood", "answering", "never"]


@dataclass(eq=False)
class Side:
    """A session. asked: the numbers of the sentences that were put to it, whole, as sound or as text."""

    is_fallback: bool
    frames: dict[int, int] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)

    def send(self, command: to_agent.Command) -> None:
        if isinstance(command, to_agent.Say):
            self.asked += [int(word) for word in command.text.split() if word.isdigit()]

    def hear(self, frames: list[Frame]) -> None:
        for frame in frames:
            number = int.from_bytes(frame.pcm[:2], "little")
            if number:
                self.frames[number] = self.frames.get(number, 0) + 1
                if self.frames[number] == FRAMES:
                    self.asked.append(number)


class Story:
    """announces: the agents announce what they have of the sound, as those of OpenAI do."""

    def __init__(self, *, announces: bool = False) -> None:
        self.capabilities = replace(CAPABILITIES, announces_speech=announces)
        self.uplink = Uplink("drop", pre_roll_ms=0, capacity_ms=60_000)
        self.conversation = Conversation(
            by_text=False, barge_in=BargeIn(), continuity=Continuity(), tools=frozenset[str]()
        )
        self.now_s = 100.0
        self.sides: list[Side] = []
        self.events = 0

    @property
    def side(self) -> Side:
        return self.sides[-1]

    def carry_out(self) -> None:
        for command in self.conversation.take_commands():
            match command:
                case Send(session=session, command=told):
                    session.send(told)
                case Transcribed(at_s=at_s):
                    self.uplink.transcribed(at_s)
                case Taken(until_ms=until_ms):
                    self.uplink.taken(until_ms)
                case Answered(at_s=at_s, has_transcripts=has_transcripts):
                    self.uplink.answered(at_s, has_transcripts=has_transcripts)
                case _:
                    pass

    def begin(self, *, is_fallback: bool) -> None:
        self.sides.append(Side(is_fallback))
        self.conversation.begin(
            self.side,
            self.capabilities,
            Ready(f"c{len(self.sides)}", PCM, PCM),
            self.now_s,
            greets=False,
            skip_greeting=False,
            has_kept_speech=self.uplink.kept_ms > 0,
            is_fallback=is_fallback,
        )
        self.carry_out()
        self.uplink.begin()
        self.goes_up()

    def goes_up(self) -> None:
        self.side.hear(self.uplink.take(10_000, self.now_s))

    def fails_over(self, *, to_same: bool = False, is_lost: bool = True) -> None:
        """The line dies, and the other side has its turn, or the same one again."""
        self.uplink.end()
        self.conversation.line_ended(is_lost=is_lost)
        self.carry_out()
        self.now_s += 1.0
        self.begin(is_fallback=self.side.is_fallback is to_same)

    def tells(self, *events: AgentEvent) -> None:
        for event in events:
            self.conversation.agent_event(self.side, event, self.now_s)
        self.carry_out()

    def says(self, number: int, *, dies: Dies, to_same: bool = False) -> None:
        self.now_s += 3.0
        self.uplink.talk_started(self.now_s)
        self.conversation.talk_started(self.now_s, self.now_s)
        for index in range(FRAMES):
            pcm = number.to_bytes(2, "little") * (FRAME_BYTES // 2)
            self.uplink.push(Passed(Frame(pcm, self.now_s), True))
            self.now_s += FRAME_MS / 1000
            self.goes_up()
            if dies == "in it" and index == FRAMES // 2:
                self.fails_over(to_same=to_same)
        self.uplink.talk_stopped(self.now_s)
        self.uplink.gate_closed()
        self.conversation.talk_stopped(self.now_s)
        self.goes_up()
        self.carry_out()
        if dies == "after it":
            self.fails_over(to_same=to_same)

    def understands(self, number: int) -> None:
        self.now_s += 1.0
        self.events += 1
        self.conversation.agent_event(
            self.side, UserTranscript(str(self.events), f"sentence {number}", final=True), self.now_s
        )
        self.carry_out()

    def answers(self) -> None:
        self.now_s += 0.5
        self.events += 1
        answer = f"a{self.events}"
        for event in (
            AnswerBegins(answer, is_greeting=False),
            AnswerText(answer, "It is so.", final=True),
            AgentAudio(answer, b"\1\1" * 1600),
        ):
            self.conversation.agent_event(self.side, event, self.now_s)
        self.carry_out()
        self.now_s += 1.0


DEATHS = st.lists(st.sampled_from(["in it", "after it", "understood", "answering", "never"]), max_size=12)


@settings(max_examples=300, deadline=None)
@given(DEATHS, st.booleans())
@example(["understood"], False)
@example(["understood"], True)
@example(["in it", "understood", "understood", "answering", "never"], False)
def test_each_sentence_is_answered_once_whenever_the_line_dies(deaths: list[Dies], to_same: bool) -> None:
    story = Story()
    story.begin(is_fallback=False)
    for number, dies in enumerate(deaths, 1):
        story.says(number, dies=dies, to_same=to_same)
        assert story.side.asked.count(number) == 1, "it was put to whom is there now, whole, and once"
        if dies == "understood":
            story.understands(number)
            story.fails_over(to_same=to_same)
            assert story.side.asked.count(number) == 1
        elif dies != "answering":
            story.understands(number)
        # Who was asked in text sends no transcript of it.
        story.answers()
        if dies == "answering":
            story.fails_over(to_same=to_same)
        for _ in range(2):
            story.fails_over(to_same=to_same)
            assert story.side.asked == [], "what was answered is asked of nobody again"
    assert story.uplink.counters.lost == 0
    assert story.uplink.kept_ms == 0


def test_a_session_that_is_exchanged_in_a_pause_is_not_asked_what_the_agent_passed_over() -> None:
    story = Story()
    story.begin(is_fallback=False)
    story.says(1, dies="never")
    story.understands(1)
    story.fails_over(to_same=True, is_lost=False)
    assert story.side.asked == []
    story.fails_over(to_same=True)
    assert story.side.asked == []


def test_what_the_agent_acted_upon_is_asked_of_nobody() -> None:
    story = Story()
    story.begin(is_fallback=False)
    story.says(1, dies="never")
    story.understands(1)
    story.tells(ToolCall("set_timer", "call 1", {}))
    story.fails_over()
    assert story.side.asked == []


def test_words_that_come_after_the_answer_has_begun_are_asked_of_nobody() -> None:
    story = Story(announces=True)
    story.begin(is_fallback=False)
    story.says(1, dies="never")
    story.tells(WordsExpected("u1"))
    story.tells(SpeechTaken(10_000))
    story.answers()
    story.tells(UserTranscript("u1", "sentence 1", final=True))
    story.fails_over()
    assert story.side.asked == []


def test_a_sentence_whose_sound_is_sent_again_is_not_asked_in_words_as_well() -> None:
    story = Story(announces=True)
    story.begin(is_fallback=False)
    story.says(1, dies="never")
    story.tells(WordsExpected("u1"), UserTranscript("u1", "sentence 1", final=True))
    story.fails_over()
    assert story.side.asked == [1]
    story.tells(UserTranscript("u1", "sentence 1", final=True), SpeechTaken(10_000))
    story.fails_over()
    assert story.side.asked == [1], "its sound was taken, and nothing was said to it"


def test_a_mute_is_for_what_was_said_before_it_too() -> None:
    story = Story()
    story.begin(is_fallback=False)
    story.says(1, dies="never")
    story.understands(1)
    story.conversation.mute(True, story.now_s)
    story.fails_over()
    assert story.side.asked == []
