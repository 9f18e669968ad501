"""Answers that follow one another: the next one waits for the one before it. Runs on the server's event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def after(previous: asyncio.Task[None] | None, coroutine: Coroutine[Any, Any, None]) -> None:
    """Runs after the previous answer, which is given up together with this one."""
    if previous is not None:
        try:
            await asyncio.wait([previous])
        except asyncio.CancelledError:
            previous.cancel()
            await asyncio.wait([previous])
            raise
        # A task that is cancelled keeps its variables, and so would keep all answers before it.
        previous = None
    await coroutine
