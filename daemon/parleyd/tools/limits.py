"""How often the agent may call a tool: a limit per minute and one per session. Pure: now_s is monotonic.

Each tool has its own count, so that one that is called without end does not use up the calls of the others.
"""

from __future__ import annotations

from collections import deque

from parleyd.tools.result import Fault, ToolError

MINUTE_S = 60.0


class Limits:
    def __init__(self, per_minute: int, per_session: int) -> None:
        self._per_minute = per_minute
        self._per_session = per_session
        self._lately_s: dict[str, deque[float]] = {}
        self._in_session: dict[str, int] = {}

    def check(self, tool: str, now_s: float) -> None:
        """Counts a call. Raises ToolError if it exceeds a limit; then it is not counted."""
        lately_s = self._lately_s.setdefault(tool, deque(maxlen=self._per_minute))
        if len(lately_s) == self._per_minute and now_s - lately_s[0] < MINUTE_S:
            text = (
                f"{tool} was called {self._per_minute} times within a minute, which is as often as this device allows. "
                "Wait a minute before you call it again."
            )
            raise ToolError(Fault.TOO_MANY, text)
        if self._in_session.get(tool, 0) >= self._per_session:
            text = (
                f"{tool} was called {self._per_session} times in this conversation, which is as often as this device "
                "allows. It can be called again in another conversation."
            )
            raise ToolError(Fault.TOO_MANY, text)
        lately_s.append(now_s)
        self._in_session[tool] = self._in_session.get(tool, 0) + 1

    def session_over(self) -> None:
        """Resets the count per session. The count per minute stays, so that a reconnecting agent gains nothing."""
        self._in_session.clear()
