"""Says something while somebody waits: the platform's soft time-outs. Runs on the server's event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


async def while_waiting(
    work: Coroutine[Any, Any, T], fillers: Sequence[str], after_s: float | None, say: Callable[[str], Awaitable[None]]
) -> T:
    """The result of the work. fillers: said one after the other, each when the work has taken after_s more."""
    if not fillers:
        return await work
    working = asyncio.create_task(work)
    try:
        for filler in fillers:
            done, _ = await asyncio.wait([working], timeout=after_s)
            if done:
                break
            await say(filler)
        return await working
    finally:
        if not working.done():
            working.cancel()
            await asyncio.wait([working])
