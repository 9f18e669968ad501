"""The states that the daemon's supervisor can be in, and what moves it from one to another. Pure."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    ASLEEP = "asleep"
    CONNECTING = "connecting"
    LIVE = "live"
    BACKING_OFF = "backing off"


class Trigger(Enum):
    WAKE = "wake"  # speech, a command, or the mode `always`
    SLEEP = "sleep"  # a command
    READY = "ready"  # the session's formats are known
    GREETING_REFUSED = "greeting refused"  # the agent does not let us ask for silence
    LOST = "lost"  # the session or the attempt failed; another try may do
    REFUSED = "refused"  # it failed in a way that will not pass by itself
    AGENT_HUNG_UP = "agent hung up"
    IDLE = "idle"  # nobody has spoken for session.idle_timeout_s
    FALSE_WAKE = "false wake"  # what woke us was nothing that the agent understood
    OLD = "old"  # it nears the provider's longest duration; the conversation goes on in another
    AGENT_IS_BACK = "agent is back"  # the session with the fallback is exchanged for one with the agent
    SPENT = "spent"  # a budget has come to its end
    RETRY_DUE = "retry due"
    GIVEN_UP = "given up"  # what was said is too old to be answered
