"""A task that is cancelled while something arrives ends all the same: in Python 3.11 asyncio.wait_for lets it go on.

The socket is a stand-in, because the moment has to be hit to a step of the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any, cast

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosedOK

from parleyd.embedded.line import Line
from parleyd.embedded.scenario import SpeechScript
from parleyd.embedded.settings import AgentSettings
from parleyd.embedded.speech import SpeechStream
from parleyd.embedded.workers import Workers

STEPS = range(6)


class Socket:
    """One message comes, or the end, when the test says so; after it the client is gone."""

    def __init__(self) -> None:
        self.arrives: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.request = SimpleNamespace(path="/v1/text-to-speech/x/stream-input?output_format=pcm_16000", headers={})
        self.transport = SimpleNamespace(pause_reading=int, resume_reading=int, is_closing=lambda: True)

    async def recv(self) -> str:
        if self.arrives.done():
            raise ConnectionClosedOK(None, None)
        return await self.arrives

    async def wait_closed(self) -> None:
        await self.arrives


def cancelled_after(steps: int, work: Coroutine[Any, Any, None], arrives: asyncio.Future[str]) -> asyncio.Task[bool]:
    """Whether the work has ended by the cancellation that comes so many steps after the arrival."""

    async def watch() -> bool:
        task = asyncio.create_task(work)
        for _ in STEPS:
            await asyncio.sleep(0)
        arrives.set_result('{"text": " "}')
        for _ in range(steps):
            await asyncio.sleep(0)
        was_done = not task.cancel()
        await asyncio.wait([task])
        return was_done or task.cancelled()

    return asyncio.create_task(watch())


@pytest.mark.parametrize("steps", STEPS)
def test_text_to_speech(steps: int) -> None:
    async def run() -> bool:
        socket = cast(Any, Socket())
        stream = SpeechStream(socket, AgentSettings(), SpeechScript(), cast(Workers, None), bool)
        # Not run(), which takes the end of the connection for the end of its work.
        return await cancelled_after(steps, stream._serve(), socket.arrives)

    assert asyncio.run(run())


@pytest.mark.parametrize("steps", STEPS)
def test_a_line_that_stalls(steps: int) -> None:
    async def run() -> bool:
        socket = Socket()
        line = Line(cast(ServerConnection, socket), cast(Any, None))

        async def work() -> None:
            await line.stall(60)
            raise ConnectionClosedOK(None, None)

        return await cancelled_after(steps, work(), socket.arrives)

    assert asyncio.run(run())
