"""The conversation: what follows from what, by hand and over generated sequences."""

# What is asserted of a property stands until it is asserted again, mypy thinks.
# mypy: disable-error-code="unreachable"

from __future__ import annotations

import pytest
from conversing import STEP_S, Scene, Told, sound
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from parleyd.agents import commands as to_agent
from parleyd.agents.elevenlabs.answers import GREETING_WITHIN_S, TURN_GAP_S
from parleyd.agents.elevenlabs.meaning import (
    Audio,
    Interruption,
    Response,
    ResponseComplete,
    ResponseCorrection,
    ResponsePart,
    Transcript,
)
from parleyd.agents.events import (
    AgentError,
    AgentHangsUp,
    ApprovalAsked,
    Malformed,
    Notice,
    ToolCall,
    Unknown,
)
from parleyd.audio.playback.playhead import HeardPart
from parleyd.config.retention import Continuity
from parleyd.config.schema import BargeIn
from parleyd.conversation.dialogue.commands import (
    Answered,
    AskApproval,
    Command,
    Cut,
    EndAnswer,
    Log,
    Play,
    Publish,
    Send,
    SessionOver,
    Transcribed,
    UseTool,
)
from parleyd.conversation.dialogue.conversation import (
    FAREWELL_S,
    FAREWELL_UNSAID_S,
    HANGS_UP_WITHIN_S,
    OWED_S,
    PAUSE_S,
)
from parleyd.conversation.dialogue.idle import Patience
from parleyd.core import events
from parleyd.tools.result import Result

SKIPPED_S = GREETING_WITHIN_S + 0.1
PATIENCE = Patience(idle_s=20.0, false_wake_s=8.0, no_person_s=300.0, by_speech=False)


def begun(scene: Scene | None = None) -> Scene:
    """A session in which the time for a greeting is over."""
    scene = scene or Scene()
    scene.begin()
    scene.wait(SKIPPED_S)
    return scene


def carried(scene: Scene) -> list[str]:
    """The lines that a new session is told now."""
    scene.begin()
    told = scene.sessions[-1].of("contextual_update")
    return told[0].splitlines()[1:] if told else []


# ---------------------------------------------------------------- reconnects


def test_what_comes_of_a_session_that_is_not_open_changes_nothing() -> None:
    scene = begun()
    scene.lose()
    seen = len(scene.commands)
    scene.says("Late.")
    scene.begin()
    scene.agent(Response("Later.", 7), session=scene.sessions[0])
    scene.agent(Audio(7, sound(1.0)), session=scene.sessions[0])
    assert not [command for command in scene.commands[seen:] if isinstance(command, Play | Answered)]
    assert not [event for event in scene.published() if isinstance(event, events.AnswerText)]


def test_what_was_typed_is_told_to_each_session_once_until_it_is_answered() -> None:
    scene = Scene()
    scene.types("one")
    scene.begin()
    scene.types("two")
    scene.lose()
    scene.begin()
    assert [told.of("user_message") for told in scene.sessions] == [["one", "two"], ["one", "two"]]
    scene.wait(SKIPPED_S)
    scene.says("Both.")
    scene.lose()
    scene.begin()
    assert scene.sessions[-1].of("user_message") == []
    assert carried(scene)[:3] == ["user: one", "user: two", "agent: Both."]


def test_a_tentative_transcript_answers_nothing_and_a_final_one_is_a_sign() -> None:
    scene = begun()
    scene.hears("hel", final=False)
    scene.hears("...", final=True)
    assert not scene.of(Transcribed)
    scene.hears("hello")
    assert len(scene.of(Transcribed)) == 1


def test_the_greeting_answers_nothing_but_what_follows_it_does() -> None:
    scene = Scene()
    scene.types("What time is it?")
    scene.begin(greets=True)
    scene.says("Hello!", 0.5)
    assert not scene.of(Answered)
    greeting = next(event for event in scene.published() if isinstance(event, events.AnswerText))
    assert greeting.greeting
    scene.wait(1.0)
    scene.says("It is noon.", 0.5)
    assert len(scene.of(Answered)) == 1
    scene.lose()
    scene.begin()
    assert scene.sessions[-1].of("user_message") == []


def test_each_answer_is_a_sign_once_whatever_it_consists_of() -> None:
    scene = begun()
    scene.says("One.", 0.5)
    scene.agent(Audio(1, sound(0.5)))
    scene.agent(Audio(1, sound(0.5)))
    assert len(scene.of(Answered)) == 1
    scene.says("Two.", 0.5)
    assert len(scene.of(Answered)) == 2


def test_without_texts_an_answer_after_a_pause_in_which_somebody_spoke_is_another() -> None:
    scene = begun()
    scene.agent(Audio(1, sound(0.2)))
    scene.wait(TURN_GAP_S + STEP_S)
    scene.agent(Audio(1, sound(0.2)))
    assert len(scene.of(Answered)) == 1, "nobody has spoken"
    scene.talk()
    scene.wait(0.1)
    scene.hush()
    scene.agent(Audio(1, sound(0.2)))
    assert len(scene.of(Answered)) == 1, "no pause"
    scene.wait(TURN_GAP_S + STEP_S)
    scene.agent(Audio(1, sound(0.2)))
    assert len(scene.of(Answered)) == 2


def test_silence_is_no_sign() -> None:
    scene = begun()
    scene.agent(Audio(1, bytes(3200)))
    assert not scene.of(Answered)
    assert scene.played == [1], "it is played all the same: it is part of the answer"


def test_an_answer_before_any_transcript_says_so_and_one_after_it_too() -> None:
    scene = begun()
    scene.says("One.")
    scene.hears()
    scene.says("Two.")
    assert [one.has_transcripts for one in scene.of(Answered) if isinstance(one, Answered)] == [False, True]
    scene.lose()
    begun(scene)
    scene.says("Three.")
    last = scene.of(Answered)[-1]
    assert isinstance(last, Answered)
    assert not last.has_transcripts, "the new session has sent none"


def test_a_new_session_begins_with_a_new_answer() -> None:
    scene = begun()
    scene.says("One.", 0.2)
    scene.lose()
    begun(scene)
    scene.agent(Audio(1, sound(0.2)))
    assert scene.played == [1, 2]


def test_a_text_whose_sound_never_came_takes_no_sign_from_the_next_session() -> None:
    scene = begun()
    scene.says("One.", 0.0)
    scene.lose()
    begun(scene)
    scene.says("Two.", 0.0)
    assert len(scene.of(Answered)) == 2


def test_a_new_session_is_heard_at_once_although_the_one_before_was_cut() -> None:
    scene = begun()
    scene.says("A long answer.", 2.0)
    scene.wait(0.5)
    scene.talk()
    scene.wait(0.5)
    assert scene.of(Cut)
    scene.lose()
    scene.begin()
    scene.agent(Audio(1, sound(0.2)))
    assert scene.played == [1, 2]


def test_an_unwanted_greeting_is_neither_heard_nor_told() -> None:
    scene = Scene()
    scene.begin(greets=True, skips=True)
    scene.says("Hello, I am your assistant.", 2.0)
    scene.wait(0.5)
    assert scene.played == []
    scene.hears("what time is it")
    scene.says("It is noon.", 0.2)
    assert scene.played == [1]
    assert carried(scene) == ["user: what time is it", "agent: It is noon."]


@pytest.mark.parametrize(
    ("mode", "keep", "told"), [("always", True, True), ("always", False, False), ("lost_line", True, False)]
)
def test_what_is_carried_over_when_a_conversation_ends(mode: str, keep: bool, told: bool) -> None:
    scene = begun(Scene(continuity=mode))  # type: ignore[arg-type]
    scene.hears("hello")
    scene.lose()
    scene.conclude(keep_history=keep)
    assert bool(carried(scene)) is told


def test_without_continuity_nothing_is_carried_over() -> None:
    scene = begun(Scene(continuity="off"))
    scene.hears("hello")
    assert not scene.conversation.continues(scene.now_s)
    scene.lose()
    assert carried(scene) == []


def test_what_is_typed_after_the_end_was_decided_is_for_the_next_conversation() -> None:
    scene = Scene()
    scene.types("early")
    decided_s = scene.now_s + 0.5
    scene.wait(1.0)
    scene.types("late")
    scene.conversation.conclude(decided_s, scene.now_s, keep_history=True)
    scene._do()
    lost = [event.text for event in scene.published() if isinstance(event, events.TypedLost)]
    assert lost == ["early"]
    scene.begin()
    assert scene.sessions[-1].of("user_message") == ["late"]


# ---------------------------------------------------------------- cuts


def test_a_cut_by_this_side_leaves_nothing_of_that_turn() -> None:
    scene = begun()
    scene.says("A long answer.", 2.0)
    scene.agent(ResponsePart("delta", "A long", 1))
    scene.wait(0.5)
    scene.talk()
    scene.wait(0.5)
    assert [one.by for one in scene.of(Cut) if isinstance(one, Cut)] == ["local"]
    seen = len(scene.commands)
    scene.agent(Audio(1, sound(1.0)))
    scene.agent(ResponsePart("delta", " answer.", 1))
    scene.wait(0.2)
    scene.agent(Audio(1, sound(1.0)))
    assert not [one for one in scene.commands[seen:] if isinstance(one, Play)]
    parts = [one for one in scene.published() if isinstance(one, events.AnswerPart)]
    assert [(part.kind, part.text) for part in parts] == [("start", ""), ("delta", "A long")]
    scene.hears("stop")
    scene.agent(Audio(2, sound(0.2)))
    assert scene.played[-1] > scene.played[0]


def test_after_a_cut_an_agent_without_texts_begins_another_answer_after_a_gap() -> None:
    scene = begun()
    scene.agent(Audio(1, sound(2.0)))
    scene.wait(0.5)
    scene.talk()
    scene.wait(0.5)
    assert scene.of(Cut)
    scene.hush()
    scene.wait(SKIPPED_S)
    scene.agent(Audio(1, sound(0.2)))
    assert scene.played == [1, 2]


def test_talk_shorter_than_the_confirmation_cuts_nothing_and_the_voice_comes_back() -> None:
    scene = begun()
    scene.says("A long answer.", 2.0)
    scene.wait(0.5)
    scene.talk()
    scene.wait(0.2)
    scene.hush()
    scene.wait(0.2)
    assert not scene.of(Cut)
    assert scene.ducked == [True, False]


def test_talk_from_before_the_answer_counts_for_no_cut() -> None:
    scene = begun()
    scene.talk()
    scene.wait(1.0)
    scene.says("An answer.", 2.0)
    scene.wait(0.2)
    assert not scene.of(Cut), "it has talked over the answer for less than confirm_ms"
    scene.wait(0.2)
    assert scene.of(Cut)


def test_where_nothing_is_heard_any_more_there_is_nothing_to_cut() -> None:
    scene = begun()
    scene.says("A long answer.", 2.0)
    scene.wait(0.5)
    scene.conversation.talk_started(scene.now_s, scene.now_s)
    scene.conversation.talk_goes_on(1000, scene.now_s + 1.0, is_audible=False)
    assert not [command for command in scene.conversation.take_commands() if isinstance(command, Cut)]
    scene.conversation.talk_goes_on(1000, scene.now_s + 1.0, is_audible=True)
    assert [command for command in scene.conversation.take_commands() if isinstance(command, Cut)]


@pytest.mark.parametrize("mode", ["server", "off"])
def test_only_in_mode_local_this_side_cuts(mode: str) -> None:
    scene = begun(Scene(mode=mode))  # type: ignore[arg-type]
    scene.says("A long answer.", 2.0)
    scene.wait(0.5)
    scene.talk()
    scene.wait(1.0)
    scene.hush()
    assert not scene.of(Cut)
    assert scene.ducked == ([True, False] if mode == "server" else [])


def lost_in_its_middle(mode: str, *, again: bool) -> Scene:
    """The line is lost while much of an answer still waits to be heard. again: another session has begun."""
    scene = begun(Scene(mode=mode))  # type: ignore[arg-type]
    scene.says("A long answer.", 40.0)
    scene.wait(0.5)
    scene.lose()
    scene.wait(0.1)
    if again:
        scene.begin()
        scene.wait(0.1)
    return scene


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("mode", ["server", "local"])
def test_a_person_who_speaks_over_the_rest_of_a_lost_line_cuts_it(mode: str, again: bool) -> None:
    scene = lost_in_its_middle(mode, again=again)
    scene.talk()
    scene.wait(0.5)
    assert [one.by for one in scene.of(Cut) if isinstance(one, Cut)] == ["local"]
    assert not scene.speaker.audible(scene.now_s)
    (ended,) = [event for event in scene.published() if isinstance(event, events.AnswerEnded)]
    assert not ended.finished
    assert ended.heard_ms < 2000, "it is carried over as far as it was heard"


def test_where_nobody_can_interrupt_the_rest_of_a_lost_line_is_heard_to_its_end() -> None:
    scene = lost_in_its_middle("off", again=True)
    scene.talk()
    scene.wait(1.0)
    assert not scene.of(Cut)


@pytest.mark.parametrize("again", [True, False])
def test_a_text_cuts_the_rest_of_a_lost_line(again: bool) -> None:
    scene = lost_in_its_middle("server", again=again)
    scene.types("And tomorrow?")
    scene.wait(0.1)
    assert scene.of(Cut)
    assert not scene.speaker.audible(scene.now_s)


@pytest.mark.parametrize("mode", ["server", "local"])
def test_a_session_that_has_said_nothing_loses_no_answer_by_the_cut_of_an_earlier_one(mode: str) -> None:
    scene = lost_in_its_middle(mode, again=True)
    scene.talk()
    scene.wait(0.5)
    assert scene.of(Cut)
    scene.hush()
    scene.wait(0.5)
    # An agent that sends neither transcripts nor texts.
    scene.agent(Audio(1, sound(0.2)))
    assert scene.played == [1, 2]


@pytest.mark.parametrize("is_audible", [True, False])
def test_a_person_who_tells_the_device_to_be_quiet_ends_the_answer(is_audible: bool) -> None:
    scene = begun(Scene(mode="server"))
    scene.conversation.silence(scene.now_s, is_audible=False)
    assert not [command for command in scene.conversation.take_commands() if isinstance(command, Cut)]
    scene.says("A long answer.", 2.0)
    scene.conversation.take_commands()
    scene.conversation.silence(scene.now_s, is_audible=is_audible)
    cuts = [command for command in scene.conversation.take_commands() if isinstance(command, Cut)]
    assert [cut.by for cut in cuts] == ["local"]


def test_an_answer_that_is_cut_is_told_as_far_as_it_was_heard() -> None:
    scene = begun()
    scene.says("one two three four five six seven eight nine ten", 2.0)
    scene.wait(1.0)
    scene.interrupts()
    scene.wait(0.1)
    assert carried(scene) == ["agent: one two three four five … (interrupted)"]


def test_an_answer_that_is_cut_before_its_sound_is_not_told() -> None:
    scene = begun()
    scene.says("one two", 1.0)
    scene.says("three four", 0.0)
    scene.wait(0.5)
    scene.interrupts()
    scene.wait(0.1)
    assert carried(scene) == ["agent: one … (interrupted)"]


def test_the_answer_after_a_cut_is_another_and_takes_nothing_from_it() -> None:
    scene = begun()
    scene.says("one two", 1.0)
    scene.wait(0.5)
    scene.interrupts()
    scene.wait(0.1)
    scene.says("three four", 1.0)
    scene.wait(2.5)
    assert carried(scene) == ["agent: one … (interrupted)", "agent: three four"]


def test_the_servers_word_on_what_was_said_counts_and_names_its_answer() -> None:
    scene = begun()
    scene.says("one two three", 1.0)
    scene.interrupts()
    scene.agent(ResponseCorrection("one two three", "one two", 1))
    scene.wait(0.2)
    corrected = [one for one in scene.published() if isinstance(one, events.AnswerText) and one.corrected]
    assert [(one.text, one.answer) for one in corrected] == [("one two", 1)]
    assert carried(scene) == ["agent: one two … (interrupted)"]


def test_where_answers_are_read_no_correction_takes_anything_back() -> None:
    scene = begun(Scene(by_text=True))
    scene.says("one two three", 0.0)
    scene.agent(ResponseCorrection("one two three", "one", 1))
    assert carried(scene) == ["agent: one two three"]


def test_the_end_that_could_not_be_kept_is_told_to_the_agent() -> None:
    scene = begun()
    person_s = scene.conversation.to_agent.person_s
    scene.conversation.answer_ended(HeardPart(1, 65_000, 90_000, False, lost_ms=25_000), scene.now_s)
    # The device says it, and no person: it does not hold the session open.
    assert scene.conversation.to_agent.person_s == person_s
    scene._do()
    assert "its first 1 minute 5 seconds" in scene.sessions[-1].of("contextual_update")[-1]


def cuts_told(scene: Scene) -> list[str]:
    """What the last session was told of an answer that was cut before it."""
    return [text for text in scene.sessions[-1].of("contextual_update") if "interrupted the last answer" in text]


def test_a_session_that_was_told_a_whole_answer_is_told_what_was_heard_of_it() -> None:
    """The line is lost in the answer, and the person speaks over its rest, in the next session."""
    scene = begun()
    scene.says("one two three four", 4.0)
    scene.wait(0.5)
    scene.lose()
    scene.begin()
    scene.wait(0.5)
    assert not cuts_told(scene)
    scene.talk()
    scene.wait(1.0)
    (told,) = cuts_told(scene)
    assert told.endswith("nothing after that: one)")
    assert carried(scene) == ["agent: one … (interrupted)"], "and the session after it is told these words alone"
    scene.lose()
    scene.begin()
    assert not cuts_told(scene)


def test_a_cut_while_the_next_session_is_being_opened_is_told_to_it() -> None:
    scene = begun()
    scene.says("one two three four", 4.0)
    scene.wait(0.5)
    scene.lose()

    def speaks_over_it() -> None:
        scene.wait(0.5)
        scene.talk()
        scene.wait(1.0)

    scene.begins_after(speaks_over_it)
    (told,) = cuts_told(scene)
    assert told.endswith("nothing after that: one)")


def test_a_cut_before_the_next_session_is_wished_for_is_in_its_history() -> None:
    scene = begun()
    scene.says("one two three four", 4.0)
    scene.wait(0.5)
    scene.lose()
    scene.wait(0.5)
    scene.talk()
    scene.wait(1.0)
    assert carried(scene) == ["agent: one … (interrupted)"]
    scene.begin()
    assert not cuts_told(scene)


@pytest.mark.parametrize("is_open", [True, False])
def test_an_end_that_could_not_be_kept_is_no_interruption_in_the_next_session_either(is_open: bool) -> None:
    scene = begun()
    scene.says("one two three four", 4.0)
    scene.wait(0.5)
    scene.lose()

    def ends() -> None:
        scene.conversation.answer_ended(HeardPart(1, 65_000, 90_000, False, lost_ms=25_000), scene.now_s)
        scene._do()

    if is_open:
        scene.begin()
        ends()
    else:
        scene.begins_after(ends)
    assert not cuts_told(scene)
    told = scene.sessions[-1].of("contextual_update")
    assert sum("its first 1 minute 5 seconds" in text for text in told) == 1


def test_where_nothing_is_carried_over_no_cut_is_told() -> None:
    scene = begun(Scene(continuity="off"))
    scene.says("one two three four", 4.0)
    scene.wait(0.5)
    scene.lose()
    scene.begin()
    scene.talk()
    scene.wait(1.0)
    assert not cuts_told(scene)


# ---------------------------------------------------------------- the end


def test_a_farewell_waits_for_the_goodbye_and_words_take_it_back() -> None:
    scene = begun()
    scene.conversation.end_soon(scene.now_s)
    assert scene.conversation.farewell_s == FAREWELL_UNSAID_S
    scene.agent(Audio(1, sound(0.2)))
    assert scene.conversation.farewell_s == FAREWELL_S
    scene.hears("um", final=False)
    assert scene.conversation.farewell_s == FAREWELL_S
    scene.hears("wait, one more thing")
    assert scene.conversation.farewell_s is None
    scene.conversation.end_soon(scene.now_s)
    scene.lose()
    assert scene.conversation.farewell_s is None
    scene.conversation.end_soon(scene.now_s)
    scene.begin()
    assert scene.conversation.farewell_s is None, "a tool of the session before asked for it"


def test_an_agent_that_says_it_hangs_up_is_believed_for_a_while_and_not_after_words() -> None:
    scene = begun()
    scene.agent(AgentHangsUp())
    assert scene.conversation.agent_hangs_up(scene.now_s + HANGS_UP_WITHIN_S)
    assert not scene.conversation.agent_hangs_up(scene.now_s + HANGS_UP_WITHIN_S + 0.1)
    scene.hears("...")
    assert scene.conversation.agent_hangs_up(scene.now_s)
    scene.hears("hello")
    assert not scene.conversation.agent_hangs_up(scene.now_s)
    scene.agent(AgentHangsUp())
    scene.lose()
    assert not scene.conversation.agent_hangs_up(scene.now_s)


def test_between_turns_is_a_while_after_the_last_sound_and_longer_while_an_answer_is_owed() -> None:
    scene = begun()
    scene.says("Yes.", 1.0)
    scene.wait(1.0 + PAUSE_S - 2 * STEP_S)
    assert not scene.conversation.between_turns(scene.now_s, scene.busy)
    scene.wait(4 * STEP_S)
    assert scene.conversation.between_turns(scene.now_s, scene.busy)
    scene.talk()
    scene.wait(2 * PAUSE_S)
    assert not scene.conversation.between_turns(scene.now_s, scene.busy)
    scene.hush()
    scene.wait(OWED_S - 2 * STEP_S)
    assert not scene.conversation.between_turns(scene.now_s, scene.busy)
    scene.wait(4 * STEP_S)
    assert scene.conversation.between_turns(scene.now_s, scene.busy)


def test_what_was_thrown_away_of_an_answer_holds_the_session_no_longer() -> None:
    scene = begun()
    scene.hears("tell me a story")
    scene.says("Once upon a time.", 15.0)
    scene.wait(0.5)
    scene.interrupts()
    patience = Patience(idle_s=20.0, false_wake_s=8.0, no_person_s=300.0, by_speech=False)
    assert scene.conversation.no_longer_needed(scene.now_s + 19.0, patience) is None
    assert scene.conversation.no_longer_needed(scene.now_s + 20.5, patience) is not None


# ---------------------------------------------------------------- tools


def test_the_result_of_a_tool_goes_into_the_session_that_called_it_and_into_no_other() -> None:
    scene = begun()
    scene.agent(ToolCall("light", "call_1", {}, expects_response=True))
    use = scene.of(UseTool)[0]
    assert isinstance(use, UseTool)
    result = Result("done")
    assert scene.conversation.tool_worked(use.session, "call_1", use.key, result, scene.now_s)
    scene._do()
    assert [kind for kind, _ in scene.sessions[0].messages] == ["client_tool_result"]
    scene.lose()
    scene.begin()
    assert not scene.conversation.tool_worked(use.session, "call_1", use.key, result, scene.now_s)
    scene._do()
    assert scene.sessions[1].messages == []


def test_an_approval_goes_into_the_session_that_asked_and_into_no_other() -> None:
    scene = begun()
    scene.agent(ApprovalAsked("call_1", "s", "n", "d", {}, 30.0))
    ask = scene.of(AskApproval)[0]
    assert isinstance(ask, AskApproval)
    assert scene.conversation.approval_given(ask.session, "call_1", ask.key, scene.now_s, is_approved=True)
    scene._do()
    assert [kind for kind, _ in scene.sessions[0].messages] == ["mcp_tool_approval_result"]
    scene.lose()
    scene.begin()
    assert not scene.conversation.approval_given(ask.session, "call_1", ask.key, scene.now_s, is_approved=True)


def test_when_the_line_ends_nobody_waits_for_tools() -> None:
    scene = begun()
    scene.lose()
    assert len(scene.of(SessionOver)) == 1


# ---------------------------------------------------------------- generated


class Checked(Scene):
    """Holds the invariants of conversation.py against every command."""

    def __init__(self) -> None:
        super().__init__()
        self.may_play_from: int = 1
        self.is_cut_here = False
        self.last_sound_s: float | None = None
        self.cut_s = 0.0
        self.answered_texts: set[str] = set()
        self.typed: list[str] = []

    def look(self, command: Command) -> None:
        match command:
            case Send(session=session, command=told):
                assert self.is_open
                assert session is self.sessions[-1], "it goes into the session that is open"
                text = told.text if isinstance(told, to_agent.Say) else ""
                if text in self.typed:
                    assert text not in self.answered_texts, f"{text} was answered already"
                    assert text not in self.sessions[-1].of("user_message"), f"{text} comes twice"
            case Answered():
                self.answered_texts |= {text for told in self.sessions for text in told.of("user_message")}
            case Play(answer=answer):
                assert answer >= self.may_play_from, "after a cut, words or a reconnect another answer begins"
                assert not self.is_cut_here, "a cut leaves nothing"
                self.may_play_from = answer
            case Cut(by=by, session=session):
                self.may_play_from = max(self.played, default=0) + 1
                # What is cut without a session had begun in an earlier one; this one has said nothing.
                self.is_cut_here = by == "local" and session is not None
                self.cut_s, self.last_sound_s = self.now_s, None
            case Publish(event=events.Ducked(on=on)):
                assert on is (len(self.ducked) % 2 == 1), "ducked and back, by turns"
            case _:
                pass

    def event(self, event: Audio | Response | Transcript | Interruption) -> None:
        match event:
            case Transcript(final=True) | Interruption():
                self.is_cut_here = False
                self.may_play_from = max(self.played, default=0) + 1
            case Response():
                self.is_cut_here = False
            case Audio():
                since_s = self.now_s - (self.cut_s if self.last_sound_s is None else self.last_sound_s)
                if since_s >= (GREETING_WITHIN_S if self.last_sound_s is None else TURN_GAP_S):
                    self.is_cut_here = False
                self.last_sound_s = self.now_s
            case _:
                pass
        if self.is_open:
            self.agent(event)

    def reconnects(self) -> None:
        if self.is_open:
            self.lose()
            return
        self.is_cut_here = False
        self.may_play_from = max(self.played, default=0) + 1
        self.begin()
        self.told_no_more_than_was_heard(self.sessions[-1])

    def told_no_more_than_was_heard(self, told: Told) -> None:
        """Each text is its own number, and as often as there are WORDS_EACH."""
        spoken = {event.text: event.answer for event in self.published() if isinstance(event, events.AnswerText)}
        ended = [event for event in self.published() if isinstance(event, events.AnswerEnded) and not event.finished]
        for line in (line for text in told.of("contextual_update") for line in text.splitlines()[1:]):
            if not line.startswith("agent: ") or not line.endswith(" … (interrupted)"):
                continue
            words = line.removeprefix("agent: ").removesuffix(" … (interrupted)").split()
            answer = spoken[" ".join([words[0]] * WORDS_EACH)]
            heard = [event.heard_ms / event.total_ms for event in ended if event.answer == answer and event.total_ms]
            assert len(words) <= WORDS_EACH * max(heard, default=0.0), line


WORDS_EACH = 10
WORDS = st.sampled_from(["hello", "stop", "", "..."])
OPS = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([0.02, 0.1, 0.3, 1.0, 3.2])),
    st.tuples(st.just("audio"), st.sampled_from([0.02, 0.25, 1.0])),
    st.tuples(st.just("says"), st.booleans()),
    st.tuples(st.just("hears"), WORDS),
    st.tuples(st.just("tentative"), WORDS),
    st.tuples(st.just("interrupts"), st.none()),
    st.tuples(st.just("talk"), st.none()),
    st.tuples(st.just("types"), st.none()),
    st.tuples(st.just("reconnects"), st.none()),
    st.tuples(st.just("concludes"), st.none()),
)


# A text cuts the rest of a lost line, and the session after it, which has said nothing yet, speaks at once.
AFTER_A_LOST_LINE: list[tuple[str, object]] = [
    ("reconnects", None),
    ("audio", 0.02),
    ("wait", 0.02),
    ("reconnects", None),
    ("reconnects", None),
    ("types", None),
    ("audio", 0.02),
]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(OPS, max_size=40))
@example(AFTER_A_LOST_LINE)
def test_the_invariants_hold_whatever_happens(ops: list[tuple[str, object]]) -> None:
    scene = Checked()
    for name, value in ops:
        match name, value:
            case "wait", float(seconds):
                scene.wait(seconds)
            case "audio", float(seconds):
                scene.event(Audio(scene.event_id, sound(seconds)))
            case "says", bool(has_id):
                scene.event_id += 1
                scene.event(Response(" ".join([f"{scene.event_id}."] * WORDS_EACH), scene.event_id if has_id else None))
            case "hears", str(text):
                scene.event(Transcript(text, True))
            case "tentative", str(text):
                scene.event(Transcript(text, False))
            case "interrupts", _:
                scene.event_id += 1
                scene.event(Interruption(scene.event_id))
            case "talk", _:
                scene.hush() if scene.talk_s is not None else scene.talk()
            case "types", _:
                scene.typed.append(f"typed {len(scene.typed)}")
                scene.types(scene.typed[-1])
            case "concludes", _:
                if scene.is_open:
                    scene.lose()
                scene.conclude(keep_history=True)
            case _:
                scene.reconnects()
    # Nothing typed has vanished: it is answered, told as lost, was read by an agent, or waits for the next session.
    lost = {event.text for event in scene.published() if isinstance(event, events.TypedLost)}
    read = {text for told in scene.sessions for text in told.of("user_message")}
    scene.begin()
    waiting = set(scene.sessions[-1].of("user_message"))
    assert set(scene.typed) == lost | read | waiting
    assert not lost & read, "what was read is not told as lost"


# ------------------------------------------------------------ small events


def test_events_that_only_the_log_has() -> None:
    scene = Scene()
    scene.begin()
    scene.agent(Notice("ping", {}))
    before = len(scene.published())
    for event in (
        AgentError("your key k is over its limit", "limit", 1008),
        Malformed("no JSON"),
        Unknown("a_new_one"),
    ):
        scene.agent(event)
    logged = [command for command in scene.commands if isinstance(command, Log)]
    assert [log.text for log in logged[-3:]] == [
        "the agent reports an error (limit)",
        "a message from the agent could not be read: no JSON",
        "the agent sent an event of the unknown type 'a_new_one'",
    ]
    assert len(scene.published()) == before


def test_a_blank_answer_is_published_and_acknowledges_nothing() -> None:
    scene = Scene()
    scene.begin()
    scene.says("", 0.0)
    assert [event.text for event in scene.published() if isinstance(event, events.AnswerText)] == [""]


def test_written_parts_hold_a_session_of_text_open() -> None:
    scene = Scene(by_text=True)
    scene.begin()
    scene.types("Hello?")
    scene.agent(ResponsePart("start", "", 1))
    scene.now_s += 30.0
    assert scene.conversation.no_longer_needed(scene.now_s, PATIENCE) is not None
    scene.agent(ResponsePart("delta", "It is", 1))
    assert scene.conversation.no_longer_needed(scene.now_s, PATIENCE) is None
    assert [event.text for event in scene.published() if isinstance(event, events.AnswerPart)] == ["", "It is"]


def test_an_answer_that_is_complete_ends() -> None:
    scene = Scene()
    scene.begin()
    scene.says("noon", 0.2)
    scene.agent(ResponseComplete())
    assert scene.of(EndAnswer) == [EndAnswer(scene.played[-1])]


def test_a_new_configuration_is_in_force_at_once() -> None:
    scene = Scene(mode="local")
    scene.begin()
    scene.conversation.reconfigure(BargeIn(mode="off"), Continuity(mode="always", max_lines=1))
    assert scene.conversation.barge_in.mode == "off"
    assert not scene.conversation.understood
    scene.hears("one")
    scene.hears("two")
    assert scene.conversation.understood
    scene.lose()
    assert carried(scene) == ["user: two"]


def test_a_person_who_wakes_the_agent_is_waited_for() -> None:
    scene = Scene()
    scene.begin()
    scene.now_s += 30.0
    assert scene.conversation.no_longer_needed(scene.now_s, PATIENCE) is not None
    scene.conversation.person_wakes(scene.now_s)
    assert scene.conversation.no_longer_needed(scene.now_s, PATIENCE) is None
    assert scene.conversation.next_idle_look_s(scene.now_s, PATIENCE) > scene.now_s
