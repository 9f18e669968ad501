"""One session, without a network: what it asks for, and when."""

from __future__ import annotations

import threading

from parleyd.agents.elevenlabs.agent import ElevenLabsAgent
from parleyd.agents.events import AgentEvent, Ready
from parleyd.agents.provider import Address, SessionWish
from parleyd.config.schema import ElevenLabs
from parleyd.conversation.session.outbox import Outbox
from parleyd.conversation.session.session import Session
from parleyd.conversation.session.uplink import Uplink
from parleyd.core.endings import Ending, EndingKind

WAIT_S = 60.0


class Dialled(ElevenLabsAgent):
    """Its address is known when a test says so."""

    def __init__(self) -> None:
        super().__init__(ElevenLabs(agent_id="a"), None)
        self.is_asked = threading.Event()
        self.is_known = threading.Event()

    def dial(self, timeout_s: float) -> Address:
        self.is_asked.set()
        assert self.is_known.wait(WAIT_S)
        # Port 9 discards, where it answers at all.
        return Address("ws://127.0.0.1:9/")


class Endings:
    """A sink that notes how the session ends."""

    def __init__(self) -> None:
        self.seen: list[Ending] = []
        self.is_over = threading.Event()

    def ready(self, session: Session, ready: Ready) -> None:
        raise AssertionError("there is no server")

    def event(self, session: Session, event: AgentEvent) -> None:
        raise AssertionError("there is no server")

    def ended(self, session: Session, ending: Ending) -> None:
        self.seen.append(ending)
        self.is_over.set()


def test_a_session_that_is_abandoned_while_its_address_is_asked_for_wishes_for_nothing() -> None:
    """Its wish would take away what the next session is to be told."""
    agent, sink, wishes = Dialled(), Endings(), list[SessionWish]()

    def wish() -> SessionWish:
        wishes.append(SessionWish(greet=False))
        return wishes[-1]

    outbox = Outbox(Uplink("silence", pre_roll_ms=0, capacity_ms=1000))
    deaths: list[object] = []
    session = Session(agent, outbox, sink, wish=wish, timeout_s=1.0, on_death=lambda *death: deaths.append(death))
    session.start()
    assert agent.is_asked.wait(WAIT_S)
    session.hang_up("nobody needs it")
    assert session.wait_over(0.0), "there is nobody to be told"
    agent.is_known.set()
    assert sink.is_over.wait(WAIT_S)
    assert [(ending.kind, ending.reason) for ending in sink.seen] == [(EndingKind.USER, "nobody needs it")]
    assert wishes == []
    assert deaths == []
