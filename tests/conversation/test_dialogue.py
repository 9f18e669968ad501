"""The shell around the conversation: nothing is published under a lock, and everything in order; and the sink."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from parleyd.agents.elevenlabs.agent import CAPABILITIES, ElevenLabsAgent
from parleyd.agents.events import AgentAudio, AgentEvent, AnswerText, Interrupted, Ready, ToolCall, UserTranscript
from parleyd.agents.provider import SessionWish
from parleyd.audio.pcm import AudioFormat
from parleyd.audio.playback.playhead import HeardPart
from parleyd.config.schema import Config, ElevenLabs
from parleyd.conversation.dialogue.dialogue import Dialogue, InOrder
from parleyd.conversation.session.outbox import Outbox
from parleyd.conversation.session.session import Session
from parleyd.conversation.session.uplink import Uplink
from parleyd.conversation.supervisor.supervisor import Ended, Message, Opened, SessionSink
from parleyd.core import events
from parleyd.core.endings import Ending, EndingKind
from parleyd.tools.device_tools import DaemonActions, DeviceTools

WAIT_S = 60.0
PCM = AudioFormat("pcm", 16_000)
READY = Ready("c", PCM, PCM)


class Speaker:
    """A voice that does nothing, and is always heard."""

    silent_from_s = 0.0

    def __init__(self) -> None:
        self.played: list[int] = []

    def set_format(self, fmt: AudioFormat) -> None:
        pass

    def enqueue(self, answer: int, data: bytes) -> None:
        self.played.append(answer)

    def end_answer(self, answer: int) -> None:
        pass

    def clear(self) -> tuple[HeardPart, ...]:
        return (HeardPart(1, 100, 200, False),)

    def duck(self, on: bool) -> None:
        pass

    def audible(self, now_s: float) -> bool:
        return True


class Talk:
    """A dialogue, its bus, and a session of it."""

    def __init__(self) -> None:
        config = Config(elevenlabs=ElevenLabs(agent_id="a"))
        self.bus = events.Bus()
        self.seen: list[events.Event] = []
        self.bus.subscribe(self.seen.append)
        self.outbox = Outbox(Uplink("silence", pre_roll_ms=0, capacity_ms=1000))
        host = DaemonActions(
            set_volume=lambda _volume: None,
            mute=lambda _on: None,
            end_conversation=lambda: None,
            status=str,
            tell=lambda _text: None,
        )
        tools = DeviceTools(config.tools, host, self.bus, None)
        self.speaker = Speaker()
        self.dialogue = Dialogue(self.speaker, self.outbox, self.bus, config.barge_in, config.continuity, tools)
        self.messages: list[Message] = []
        self.sink = SessionSink(self.dialogue, CAPABILITIES, self.messages.append, lambda: False, is_fallback=False)
        agent = ElevenLabsAgent(config.elevenlabs, None)
        self.session = Session(
            agent,
            self.outbox,
            self.sink,
            wish=lambda: SessionWish(greet=False),
            timeout_s=1.0,
            on_death=lambda _what, _error: None,
        )

    def begin(self) -> None:
        assert self.dialogue.begin(self.session, CAPABILITIES, READY, lambda: True, greets=False, skip_greeting=False)

    def event(self, event: AgentEvent) -> None:
        self.dialogue.agent_event(self.session, event)

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.seen]


def in_a_thread(call: Callable[[], object]) -> None:
    """And waits for it."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(WAIT_S)
    assert not thread.is_alive(), "it waits for a lock"


@pytest.mark.parametrize(
    "happens",
    [
        lambda it: it.event(AnswerText("1", "Hello.", final=True)),
        lambda it: it.event(UserTranscript("1", "hello", True)),
        lambda it: it.event(Interrupted()),
        lambda it: it.event(ToolCall("unknown", "1", {}, expects_response=True)),
        lambda it: it.dialogue.say("hello"),
        lambda it: it.dialogue.answer_started(1, 1.0),
        lambda it: it.dialogue.answer_ended(HeardPart(1, 100, 200, False)),
        lambda it: (it.dialogue.answer_started(1, 1.0), it.dialogue.talk_started(0.0)),
        lambda it: it.dialogue.publish(events.Muted(at_s=1.0, on=True)),
    ],
)
def test_whoever_is_told_may_have_another_thread_ask_and_tell_the_dialogue(happens: Callable[[Talk], None]) -> None:
    it = Talk()
    it.begin()
    asked: list[events.Event] = []

    def ask(event: events.Event) -> None:
        if not asked:
            asked.append(event)
            in_a_thread(lambda: (it.dialogue.understood, it.outbox.kept_ms, it.dialogue.context("x")))

    it.bus.subscribe(ask)
    happens(it)
    assert asked


def test_things_are_carried_out_one_at_a_time_and_in_order_also_those_of_others() -> None:
    in_order, done = InOrder(), list[str]()
    is_held, may_go_on = threading.Event(), threading.Event()

    def hold() -> None:
        is_held.set()
        assert may_go_on.wait(WAIT_S)
        # In the midst of being carried out: later, and not within.
        in_order.put(lambda: done.append("nested"))
        in_order.run()
        done.append("first")

    in_order.put(hold)
    thread = threading.Thread(target=in_order.run, daemon=True)
    thread.start()
    assert is_held.wait(WAIT_S)
    in_order.put(lambda: done.append("second"), lambda: done.append("third"))
    in_a_thread(in_order.run)
    assert done == [], "it is left to the one who is at it"
    may_go_on.set()
    thread.join(WAIT_S)
    assert done == ["first", "second", "third", "nested"]


def test_what_raises_holds_up_nobody_else() -> None:
    in_order, done = InOrder(), list[str]()
    in_order.put(lambda: 1 / 0, lambda: done.append("next"))
    with pytest.raises(ZeroDivisionError):
        in_order.run()
    in_order.run()
    assert done == ["next"]


def test_what_follows_from_what_is_told_comes_after_it() -> None:
    it = Talk()
    it.begin()
    it.bus.subscribe(lambda event: it.dialogue.say("and?") if isinstance(event, events.Heard) else None)
    it.event(UserTranscript("1", "hello", True))
    assert it.kinds() == ["Heard", "Typed"]


# ---------------------------------------------------------------- the sink


def test_the_first_events_wait_until_the_session_is_told_to_have_opened() -> None:
    it = Talk()

    def receive() -> None:
        it.sink.ready(it.session, READY)
        it.sink.event(it.session, AnswerText("1", "Hello.", final=True))

    receiver = threading.Thread(target=receive, daemon=True)
    waits_s = 0.2
    receiver.start()
    receiver.join(waits_s)
    assert it.seen == []
    opened = events.SessionOpened(at_s=1.0, conversation_id="c", handshake_ms=1, resent_ms=0, tries=1)
    it.dialogue.publish(opened)
    it.dialogue.then(it.sink.let_in)
    receiver.join(WAIT_S)
    assert it.kinds() == ["SessionOpened", "AnswerText"]
    assert it.messages == [Opened(it.session, READY)]


def test_after_it_is_closed_nothing_of_the_session_is_taken_in() -> None:
    it = Talk()
    it.begin()
    it.sink.event(it.session, AgentAudio("1", b"\1\2" * 800))
    it.sink.close()
    it.sink.event(it.session, AgentAudio("1", b"\1\2" * 800))
    it.sink.event(it.session, AnswerText("1", "Hello.", final=True))
    assert it.speaker.played == [1]
    assert it.kinds() == []


def test_a_session_that_begins_after_its_sink_was_closed_is_hung_up_and_never_begun() -> None:
    it = Talk()
    it.sink.close()
    in_a_thread(lambda: it.sink.ready(it.session, READY))
    assert it.messages == []
    assert not it.dialogue.context("is anybody there?")
    assert it.session.wait_over(0.0)


def test_closing_lets_a_receiver_go_that_waits_to_be_let_in() -> None:
    it = Talk()
    receiver = threading.Thread(target=it.sink.ready, args=(it.session, READY), daemon=True)
    receiver.start()
    it.sink.close()
    receiver.join(WAIT_S)
    assert not receiver.is_alive()


def test_the_end_is_told_after_all_that_the_session_has_decided() -> None:
    """A transcript that came just before the end has been taken in by the uplink when the end is judged."""
    it = Talk()
    it.begin()
    is_held, may_go_on = threading.Event(), threading.Event()

    def hold(event: events.Event) -> None:
        if isinstance(event, events.Muted):
            is_held.set()
            assert may_go_on.wait(WAIT_S)

    it.bus.subscribe(hold)
    other = threading.Thread(
        target=it.dialogue.publish, args=(events.Muted(at_s=1.0, on=True),), name="another thread", daemon=True
    )
    other.start()
    assert is_held.wait(WAIT_S)
    ending = Ending(EndingKind.AGENT, "the agent hung up")

    def end_in_mid_sentence() -> None:
        it.event(UserTranscript("1", "hello", True))
        it.sink.ended(it.session, ending)

    in_a_thread(end_in_mid_sentence)
    assert it.messages == []
    may_go_on.set()
    other.join(WAIT_S)
    assert it.messages == [Ended(it.session, ending)]
    assert it.kinds() == ["Muted", "Heard"]
