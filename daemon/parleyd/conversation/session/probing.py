"""Whether an agent could be talked with again, found out without a session, which would cost something."""

from __future__ import annotations

import logging

from parleyd.agents.provider import Agent
from parleyd.core.endings import DialError

log = logging.getLogger(__name__)


def answers(agent: Agent, timeout_s: float) -> bool:
    """Blocks for up to about twice timeout_s. An answer alone says little: the page of a guest network answers, and so
    does the proxy of a server that is away."""
    try:
        agent.load()
    except (OSError, ImportError) as error:
        log.debug("it cannot be asked whether the agent is back: %s", error)
        return False
    try:
        agent.reach(timeout_s)
    except DialError as error:
        log.debug("the agent is still away: %s", error.ending.reason)
        return False
    return True
