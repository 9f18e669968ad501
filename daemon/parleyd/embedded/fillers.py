"""Says something while somebody waits: soft time-outs. For both protocols; runs on the event loop of the server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from parleyd.embedded.settings import AgentSettings

T = TypeVar("T")


def texts(settings: AgentSettings, first: str | None = None) -> tuple[str, ...]:
    """The fillers of one answer, in their order; none if the agent has no soft time-out. first: a client's own words in
    place of the first one."""
    if settings.soft_timeout_s is None:
        return ()
    return settings.soft_timeout_messages if first is None else (first, *settings.soft_timeout_messages[1:])


async def while_waiting(
    work: Coroutine[Any, Any, T],
    fillers: Sequence[str],
    after_s: float | None,
    until_heard: Callable[[], Coroutine[Any, Any, None]],
    say: Callable[[str], Awaitable[None]],
) -> T:
    """The result of the work. fillers: said one after the other, each when the work has taken after_s more, and all
    that was said before has been heard. No filler is said when the result is there."""
    if not fillers:
        return await work
    working = asyncio.create_task(work)
    try:
        for filler in fillers:
            await asyncio.wait([working], timeout=after_s)
            await _either(working, until_heard())
            if working.done():
                break
            await say(filler)
        return await working
    finally:
        if not working.done():
            working.cancel()
            await asyncio.wait([working])


async def _either(working: asyncio.Task[T], other: Coroutine[Any, Any, None]) -> None:
    """Waits until one of both is over; the other coroutine is, then, in any case."""
    waiting = asyncio.create_task(other)
    try:
        await asyncio.wait([working, waiting], return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        await asyncio.wait([waiting])
