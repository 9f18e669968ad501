"""A spoken conversation of pydantic-ai with the embedded agent: BASE_URL FOLDER.

FOLDER has time.pcm, story.pcm and stop.pcm, 24 kHz. Prints a line for each step; ends with 1 if one is missing.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from pydantic_ai import Agent
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.realtime import RealtimeTurnCompleteEvent
from pydantic_ai.realtime.openai import OpenAIRealtimeModel

CHUNK_BYTES = 4800

agent = Agent(instructions="Be brief.")


@agent.tool_plain
def set_light(light: str, on: bool) -> str:
    """Switches a lamp."""
    return f"The {light} is {'on' if on else 'off'}."


async def main(base_url: str, folder: Path) -> None:
    provider = OpenAIProvider(base_url=base_url, api_key="test")
    model = OpenAIRealtimeModel("gpt-realtime-2.1", provider=provider)
    async with agent.realtime(model).session() as session:
        print("connected")
        events = aiter(session)
        heard = 0

        async def play() -> None:
            nonlocal heard
            async for chunk in session.stream_audio():
                heard += len(chunk)

        player = asyncio.create_task(play())

        async def say(name: str) -> None:
            pcm = (folder / f"{name}.pcm").read_bytes()
            for at in range(0, len(pcm), CHUNK_BYTES):
                await session.send_audio(pcm[at : at + CHUNK_BYTES])

        async def until(kind: type) -> list[str]:
            seen: list[str] = []
            async with asyncio.timeout(60):
                async for event in events:
                    seen.append(type(event).__name__)
                    if isinstance(event, kind):
                        return seen
            raise SystemExit(f"the session has ended before {kind.__name__}")

        await say("time")
        await until(RealtimeTurnCompleteEvent)
        said = str(session.all_messages())
        assert "What time is it?" in said, said
        assert "It is " in said, said
        print(f"spoken turn: What time is it? It is ..., {heard} bytes of sound")
        await session.send("Turn on the lamp.")
        while "The lamp is on." not in str(session.all_messages()[-1]):
            await until(RealtimeTurnCompleteEvent)
        print("tool: The lamp is on.")
        await say("story")
        before = heard
        while heard == before:
            await asyncio.sleep(0.05)
        await session.interrupt(played_ms=200)
        await say("stop")
        await until(RealtimeTurnCompleteEvent)
        print("interrupted after 200 ms of the answer")
        player.cancel()
    print("closed")


asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
