"""The interface of the fallback: the agent that answers while the configured one cannot. failover.py decides when."""

from __future__ import annotations

from typing import Protocol

from parleyd.agents.provider import Agent
from parleyd.config.schema import Config


class Fallback(Protocol):
    """agent: to be used like any other; its dial() starts the process, if it does not run, and waits for it."""

    @property
    def agent(self) -> Agent: ...

    def reconfigure(self, config: Config) -> None:
        """The next session is as this configuration has it. Raises UserError, and then nothing has changed."""

    def start(self) -> None:
        """Returns at once: the process will be needed soon."""

    def stop(self) -> None:
        """Returns at once: the process is not needed any more."""
