"""The promises that every provider keeps (agents/provider.py), whatever its capabilities are."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kits import KITS, SECRET, Kit

from parleyd.agents.commands import (
    Approve,
    Busy,
    Command,
    Cut,
    EndOfTurn,
    HeardOf,
    KeepAlive,
    Know,
    Offer,
    Prepared,
    Rate,
    Say,
    SkipGreeting,
    SpeakNow,
    ToolDone,
)
from parleyd.agents.events import (
    AgentAudio,
    AgentError,
    AgentEvent,
    AnswerBegins,
    AnswerEnds,
    AnswerText,
    AnswerTextEnds,
    Interrupted,
    Malformed,
    Ready,
    SpeechTaken,
    Unknown,
)
from parleyd.agents.provider import Agent, Codec, Interrupts, Said, SessionWish, ToolSpec
from parleyd.config.schema import Config
from parleyd.core.endings import EndingKind
from parleyd.core.faults import Fault

TOOL = ToolSpec("open_the_door", "Opens it.", {"type": "object", "properties": {}}, 10.0)
HISTORY = (Said("person", "Is the kettle on?", 20.0), Said("agent", "It boils", 15.0, is_cut=True))
SOUND = bytes(range(1, 101)) * 480

every_provider = pytest.mark.parametrize("kit", KITS, ids=lambda kit: kit.name)


class Played:
    """A session's codec, and all that it has said."""

    def __init__(self, kit: Kit, wish: SessionWish | None = None) -> None:
        self.kit = kit
        self.agent: Agent = kit.agent()
        self.codec: Codec = self.agent.session(wish or SessionWish())
        self.now_s = 1000.0
        self.sent = list(self.codec.opening())
        self.events: list[AgentEvent] = []

    def hears(self, *messages: str | bytes) -> list[AgentEvent]:
        came: list[AgentEvent] = []
        for message in messages:
            self.now_s += 0.1
            received = self.codec.receive(message, self.now_s)
            came += received.events
            self.sent += received.replies
        self.events += came
        return came

    def begins(self) -> Played:
        self.hears(*self.kit.begin)
        return self

    def told(self, command: Command) -> Sequence[bytes]:
        messages = self.codec.send(command, self.now_s)
        self.sent += messages
        return messages

    @property
    def in_words(self) -> str:
        return b"\n".join(self.sent).decode("utf-8")


# ---------------------------------------------------------------- the session


@every_provider
def test_capabilities_can_be_asked_for_without_a_session(kit: Kit) -> None:
    can = kit.agent().capabilities
    assert can.interrupts <= set(Interrupts)
    assert all(most_bytes > 0 for most_bytes in can.attachments.values())
    assert can.keep_alive_s is None or can.keep_alive_s > 0
    assert can.transcribes or not can.corrects_text or can.history != "none"


@every_provider
@pytest.mark.parametrize("greet", [True, False])
@pytest.mark.parametrize("text_only", [True, False])
@pytest.mark.parametrize("interrupts", list(Interrupts))
def test_every_wish_makes_a_session_that_begins(kit: Kit, greet: bool, text_only: bool, interrupts: Interrupts) -> None:
    wish = SessionWish(
        greet=greet, text_only=text_only, interrupts=interrupts, tools=[TOOL], history=HISTORY, resume="h"
    )
    played = Played(kit, wish).begins()
    (ready,) = [event for event in played.events if isinstance(event, Ready)]
    assert ready.ends_in_s is None or ready.ends_in_s > 0
    assert all(isinstance(message, bytes) and message.decode("utf-8") for message in played.sent)


@every_provider
def test_sessions_share_nothing(kit: Kit) -> None:
    agent = kit.agent()
    first, second = agent.session(SessionWish()), agent.session(SessionWish())
    assert first is not second
    first.opening()
    first.receive("{", 0.0)
    assert (first.malformed, second.malformed) == (1, 0)


@every_provider
def test_a_session_is_ready_once(kit: Kit) -> None:
    played = Played(kit).begins()
    assert not [event for event in played.hears(*kit.begin) if isinstance(event, Ready)]


@every_provider
def test_the_conversation_so_far_is_told_as_the_capability_says(kit: Kit) -> None:
    played = Played(kit, SessionWish(history=HISTORY)).begins()
    is_told = "Is the kettle on?" in played.in_words and "It boils" in played.in_words
    assert is_told is (played.agent.capabilities.history != "none")


@every_provider
def test_tools_are_told_in_the_session_or_not_at_all(kit: Kit) -> None:
    played = Played(kit, SessionWish(tools=[TOOL])).begins()
    assert (TOOL.name in played.in_words) is (played.agent.capabilities.tools == "session")


@every_provider
def test_changed_tools_are_told_in_the_session_or_not_at_all(kit: Kit) -> None:
    played = Played(kit).begins()
    played.told(Offer((TOOL,)))
    assert (TOOL.name in played.in_words) is (played.agent.capabilities.tools == "session")


@every_provider
def test_a_handle_is_passed_on_where_sessions_can_be_resumed(kit: Kit) -> None:
    played = Played(kit, SessionWish(history=HISTORY, resume="handle-7")).begins()
    assert ("handle-7" in played.in_words) is kit.resumes


# ---------------------------------------------------------------- what comes


@every_provider
def test_an_answer_begins_before_all_that_belongs_to_it_and_is_named_throughout(kit: Kit) -> None:
    played = Played(kit).begins()
    came = played.hears(*kit.answer("It is noon.", SOUND))
    named = [
        event
        for event in came
        if isinstance(event, AnswerBegins | AgentAudio | AnswerText | AnswerTextEnds | AnswerEnds)
    ]
    assert isinstance(named[0], AnswerBegins)
    assert {event.answer for event in named} == {named[0].answer}
    assert b"".join(event.data for event in came if isinstance(event, AgentAudio)) == SOUND
    assert [event.text for event in came if isinstance(event, AnswerText) and event.final] == ["It is noon."]
    assert isinstance(named[-1], AnswerEnds)


@every_provider
def test_after_an_interruption_the_next_answer_has_another_name(kit: Kit) -> None:
    played = Played(kit).begins()
    first = played.hears(*kit.answer("One.", SOUND)[:2])
    assert [event for event in played.hears(*kit.interruption) if isinstance(event, Interrupted)]
    names = {event.answer for event in first if isinstance(event, AgentAudio | AnswerText)}
    late = {event.answer for event in played.hears(*kit.answer("One.", SOUND)[1:2]) if isinstance(event, AgentAudio)}
    assert not late & names, "the rest of an interrupted answer is void, or belongs to another one"


@every_provider
def test_what_is_void_after_a_cut_by_this_side_is_not_played(kit: Kit) -> None:
    played = Played(kit).begins()
    messages = kit.answer("A story.", SOUND)
    (name,) = {event.answer for event in played.hears(*messages[:2]) if isinstance(event, AnswerBegins)}
    played.told(Cut((HeardOf(name, 300, 1000),), "local"))
    assert not [event for event in played.hears(messages[1]) if isinstance(event, AgentAudio)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
@every_provider
def test_no_message_breaks_a_session(kit: Kit, data: st.DataObject) -> None:
    played = Played(kit).begins()
    for _ in range(data.draw(st.integers(1, 6))):
        message = bytearray(data.draw(st.sampled_from(kit.samples)).encode())
        match data.draw(st.sampled_from(["as it is", "cut", "changed", "garbage"])):
            case "cut":
                message = message[: data.draw(st.integers(0, len(message)))]
            case "changed" if message:
                message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
            case "garbage":
                message = bytearray(data.draw(st.binary(max_size=100)))
            case _:
                pass
        before = played.codec.malformed + played.codec.refused_calls, played.codec.unknown
        came = played.hears(bytes(message))
        bad = sum(isinstance(event, Malformed) for event in came)
        unknown = sum(isinstance(event, Unknown) for event in came)
        after = played.codec.malformed + played.codec.refused_calls, played.codec.unknown
        assert after == (before[0] + bad, before[1] + unknown)
    assert played.told(Say("Still there?")) is not None


# ---------------------------------------------------------------- what is told


COMMANDS: list[Command] = [
    Say("hello"),
    Say("a\ud800b"),
    Say(""),
    Know("the light is on", "light"),
    SpeakNow("Tell the person."),
    SpeakNow(is_greeting=True),
    SpeakNow(),
    Cut((), "server"),
    Cut((), "local"),
    Cut((HeardOf("nobody knows it", 300, 1000), HeardOf("", 0, 0)), "local"),
    SkipGreeting(),
    ToolDone("k", "done"),
    ToolDone("k", "\udcff", Fault.TIMEOUT),
    *(ToolDone("k", "no", fault) for fault in Fault),
    Approve("k", True),
    Rate("nobody knows it", "like"),
    Rate("nobody knows it", None),
    Busy(),
    Offer((TOOL,)),
    ToolDone("k", "It is shown.", attachments=(Prepared("a.jpg", "image/jpeg", "r", b"x"),)),
    EndOfTurn(),
    KeepAlive(),
]


@every_provider
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_every_command_is_a_sequence_of_messages_at_any_time(kit: Kit, command: Command) -> None:
    played = Played(kit).begins()
    before = [*played.told(command)]
    played.hears(*kit.answer("It is noon.", SOUND))
    after = [*played.told(command), *played.told(command)]
    for message in (*before, *after):
        assert isinstance(message, bytes)
        message.decode("utf-8")


@every_provider
def test_a_typed_text_and_a_request_to_speak_reach_every_agent(kit: Kit) -> None:
    played = Played(kit).begins()
    # It may be deferred until an answer is over.
    played.told(Say("Where is the moon?"))
    played.told(SpeakNow("Name the planets."))
    played.hears(*kit.answer("It is up.", SOUND))
    assert "Where is the moon?" in played.in_words
    assert "Name the planets." in played.in_words


@every_provider
def test_commands_have_a_message_where_the_capability_says_so_and_only_there(kit: Kit) -> None:
    played = Played(kit).begins()
    can = played.agent.capabilities
    came = played.hears(*kit.answer("It is noon.", SOUND))
    (name,) = {event.answer for event in came if isinstance(event, AnswerBegins)}
    assert bool(played.told(Busy())) is can.activity
    assert bool(played.told(Rate(name, "like"))) is can.feedback
    assert bool(played.told(Approve("k", True))) is can.approvals
    assert bool(played.told(Know("the light is on"))) is (can.context != "none")
    assert bool(played.told(Cut((HeardOf(name, 300, 1000),), "server"))) is can.truncates


@every_provider
def test_sound_is_one_message(kit: Kit) -> None:
    played = Played(kit).begins()
    assert played.codec.audio(SOUND) != played.codec.audio(bytes(len(SOUND)))
    assert json.loads(played.codec.audio(b""))


@every_provider
def test_only_those_acknowledge_by_position_that_say_so(kit: Kit) -> None:
    played = Played(kit).begins()
    taken = [event for event in played.hears(*kit.samples) if isinstance(event, SpeechTaken)]
    assert bool(taken) is played.agent.capabilities.announces_speech


# ---------------------------------------------------------------- endings, server, checks


@every_provider
@pytest.mark.parametrize("code", [None, 1000, 1001, 1005, 1006, 1008, 1011, 3000, 4000, 4999])
@pytest.mark.parametrize("error", [None, AgentError(f"no {SECRET}"), AgentError("odd", "novel_kind", 17)])
def test_every_end_is_judged_in_words_with_a_hint_where_somebody_has_to_act(
    kit: Kit, code: int | None, error: AgentError | None
) -> None:
    agent = kit.agent()
    ending = agent.judge_close(code, f"because of {SECRET}", error)
    assert ending.reason
    assert "\n" not in ending.reason
    assert ending.kind is not EndingKind.USER
    assert ending.kind is not EndingKind.FINAL or ending.hint
    assert SECRET not in f"{ending}{agent!r}"


@every_provider
@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 429, 500, 503])
def test_every_refusal_is_judged_likewise(kit: Kit, status: int) -> None:
    ending = kit.agent().judge_refusal(status, f'{{"detail": "no {SECRET}"}}')
    assert ending.reason
    assert ending.kind in (EndingKind.RETRY, EndingKind.FINAL)
    assert ending.kind is not EndingKind.FINAL or ending.hint
    assert SECRET not in repr(ending)
    assert kit.agent().judge_silence(10.0).kind in (EndingKind.RETRY, EndingKind.FINAL)


@every_provider
def test_the_server_and_the_checks_have_names(kit: Kit) -> None:
    agent = kit.agent()
    server = agent.server()
    assert server.host
    assert 0 < server.port < 65536
    assert server.key is None or server.key.startswith(f"{agent.name}.")
    checks = agent.checks(Config())
    assert len({check.name for check in checks}) == len(checks)
    assert "key" in {check.name for check in checks}
    assert all(check.deadline_s > 0 for check in checks)
