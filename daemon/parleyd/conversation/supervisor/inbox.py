"""What the supervisor is told."""

from __future__ import annotations

from dataclasses import dataclass

from parleyd.agents.agent import Agent, Ready
from parleyd.config.schema import Config
from parleyd.conversation.session.session import Session
from parleyd.core.endings import Ending


@dataclass(frozen=True, slots=True)
class Wake:
    """standing: the mode `always` wants it, nobody asked. anyway: in spite of a budget. by_device: a timer has gone
    off, and the agent is to tell of it."""

    by_speech: bool
    standing: bool = False
    anyway: bool = False
    by_device: bool = False

    @property
    def of_its_own(self) -> bool:
        """Not by a command."""
        return self.by_speech or self.standing or self.by_device


@dataclass(frozen=True, slots=True)
class Sleep:
    pass


@dataclass(frozen=True, slots=True)
class Reconfigure:
    config: Config
    agent: Agent


@dataclass(frozen=True, slots=True)
class Stop:
    pass


@dataclass(frozen=True, slots=True)
class EndSoon:
    """The agent wants the conversation to end."""


@dataclass(frozen=True, slots=True)
class Opened:
    session: Session
    ready: Ready


@dataclass(frozen=True, slots=True)
class Ended:
    session: Session
    ending: Ending


Message = Wake | Sleep | Reconfigure | Stop | EndSoon | Opened | Ended
