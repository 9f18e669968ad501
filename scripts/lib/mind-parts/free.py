"""How soon llama.cpp is free when an answer is given up, part by part: while it reads the prompt, and while it writes.

python free.py MODEL_URL: asks with the agent's own client, through a relay that sees when the stream is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
import urllib.request
from urllib.parse import urlsplit

from parleyd.embedded.mind.language_model import Ahead, LanguageModel, Request
from parleyd.embedded.settings import MindSettings

TIMES = 4
# Long enough to be noticed while it is read; the words are new each time, or the server would know them already.
PROMPT_WORDS = 60
WRITTEN_TOKENS = 10


class Relay:
    """Between the client and the server. closed: set when the client has closed its stream."""

    def __init__(self, host: str, port: int) -> None:
        self._server_at = host, port
        self.closed = asyncio.Event()

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(*self._server_at)

        async def back() -> None:
            with contextlib.suppress(ConnectionError):
                while data := await from_server.read(65_536):
                    writer.write(data)
                    await writer.drain()

        answer = asyncio.create_task(back())
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                to_server.write(data)
                await to_server.drain()
        self.closed.set()
        to_server.close()
        answer.cancel()
        writer.close()


def tokens(model_url: str) -> int | None:
    """How many tokens of an answer are written; None: llama.cpp is free."""
    with urllib.request.urlopen(f"{model_url}/slots", timeout=60) as answer:
        (slot,) = json.load(answer)
    return slot["next_token"][0]["n_decoded"] if slot["is_processing"] else None


async def give_up(model: LanguageModel, relay: Relay, model_url: str, number: int, least_tokens: int) -> list[float]:
    """Milliseconds until the task has ended, the stream was closed, and the server was free; and between two questions
    for that, at most."""
    words = " ".join(f"{number}-{word}" for word in range(PROMPT_WORDS if not least_tokens else 5))
    asked = [{"role": "system", "content": words}, {"role": "user", "content": "Tell me a long story."}]
    ahead = Ahead(model, Request(asked))
    while (written := await asyncio.to_thread(tokens, model_url)) is None or written < least_tokens:
        pass
    relay.closed.clear()
    began_s = time.monotonic()
    ahead.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        async for _ in ahead.pieces():
            pass
    ended_s = time.monotonic()
    await relay.closed.wait()
    closed_s = last_s = time.monotonic()
    longest_s = 0.0
    while await asyncio.to_thread(tokens, model_url) is not None:
        now_s = time.monotonic()
        longest_s, last_s = max(longest_s, now_s - last_s), now_s
    return [1000 * (one - began_s) for one in (ended_s, closed_s, time.monotonic())] + [1000 * longest_s]


async def main(model_url: str) -> None:
    at = urlsplit(model_url)
    relay = Relay(at.hostname or "", at.port or 80)
    port = await relay.start()
    settings = MindSettings(base_url=f"http://127.0.0.1:{port}/v1", max_tokens=500, first_token_s=120, next_token_s=60)
    model = LanguageModel(settings, lambda: None)
    print("  given up            task ended   stream closed   model free   asked at most every")
    for number in range(2 * TIMES):
        least = WRITTEN_TOKENS if number % 2 else 0
        told = await give_up(model, relay, model_url, number, least)
        name = f"after {least} tokens" if least else "in the prompt"
        print(f"  {name:16} {told[0]:10.1f} ms {told[1]:12.1f} ms {told[2]:9.0f} ms {told[3]:18.0f} ms", flush=True)
    await model.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
