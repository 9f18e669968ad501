"""What the embedded agent costs as a server with a mind: processor time, memory, and the order of things.

    python benchmarks/mind_server.py [--sessions 50] [--interruptions 500] [--short-sessions 1000] [--only PART]
                                     [--protocol convai|realtime]

The agent is a process of its own on one core. Model, ears and voice are others, which do nearly nothing: llmock as the
model, and a Wyoming server with fixed words and a tone. So the figures are the agent's share alone. Clients speak with
a voice of flite, in real time where it matters. Processor time is that of the agent's process (/proc/PID/stat).

Parts: turns (processor time of a turn, when recognition starts, first sound and last word of the model), silence (many
sessions in which nobody speaks), interruptions (one session), sessions (one after the other). Turns are measured in
ElevenLabs' protocol alone.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from parleyd.embedded.voice import Voice

RATE_HZ, CHUNK_MS = 16_000, 100
CHUNK_BYTES = RATE_HZ * CHUNK_MS // 1000 * 2
TICKS = os.sysconf("SC_CLK_TCK")
QUESTION, STOP = "What time is it?", "Stop."
TURNS_EACH = 5
PROTOCOLS = ("convai", "realtime")
OPENING = {"type": "conversation_initiation_client_data"}
WRITTEN = {**OPENING, "conversation_config_override": {"conversation": {"text_only": True}}}


# ---------------------------------------------------------------- the parts, in processes of their own


async def serve_parts() -> None:
    """Ears with fixed words, and a voice that is a tone; prints the port, and when each recognition is asked for."""
    from wyoming.asr import Transcribe, Transcript
    from wyoming.audio import AudioChunk, AudioStart, AudioStop
    from wyoming.event import Event
    from wyoming.server import AsyncEventHandler, AsyncTcpServer
    from wyoming.tts import Synthesize

    tone = b"\x00\x10\x00\xf0" * (RATE_HZ // 4)

    class Parts(AsyncEventHandler):
        async def handle_event(self, event: Event) -> bool:
            if Transcribe.is_type(event.type):
                print(json.dumps({"asked_s": time.monotonic()}), flush=True)
            elif AudioStop.is_type(event.type):
                await self.write_event(Transcript(QUESTION).event())
            elif Synthesize.is_type(event.type):
                await self.write_event(AudioStart(RATE_HZ, 2, 1).event())
                await self.write_event(AudioChunk(RATE_HZ, 2, 1, tone).event())
                await self.write_event(AudioStop().event())
            return True

    server = AsyncTcpServer("127.0.0.1", port := free_port())
    await server.start(partial(Parts))
    print(json.dumps({"port": port}), flush=True)
    await asyncio.Event().wait()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class House:
    """The processes. base: of the agent's WebSocket."""

    def __init__(self, stack: ExitStack, token_ms: int) -> None:
        self._log = Path(stack.enter_context(TemporaryDirectory())) / "parts"
        with self._log.open("wb") as log:
            parts = subprocess.Popen([sys.executable, __file__, "--serve-parts"], stdout=log)
        stack.callback(parts.kill)
        parts_port = wait_for(lambda: next((one["port"] for one in self._told() if "port" in one), None), "the parts")
        model_port = free_port()
        llmock = str(Path(sys.executable).with_name("llmock"))
        model = subprocess.Popen(
            [llmock, "serve", "--host", "127.0.0.1", "-p", str(model_port), "--tool-mode", "off", "--response-style",
             "varied", "--stream-chunk-delay-ms", str(token_ms)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        stack.callback(model.kill)
        wait_for(lambda: listens(model_port), "llmock")
        parts_url = f"tcp://127.0.0.1:{parts_port}"
        command = [
            sys.executable, "-m", "parleyd", "agent", "--json", "--port", "0", "--mind",
            f"http://127.0.0.1:{model_port}/v1", "--ears-at", parts_url, "--voice-at", parts_url,
        ]  # fmt: skip
        folder = Path(stack.enter_context(TemporaryDirectory()))
        (folder / "quiet.yaml").write_text("agent: {first_message: '', receive_timeout_s: 600}")
        with (folder / "events").open("wb") as events:
            agent = subprocess.Popen([*command, "--scenario", str(folder / "quiet.yaml")], stdout=events)
        stack.callback(agent.kill)
        os.sched_setaffinity(agent.pid, {min(os.sched_getaffinity(0))})
        self._events = folder / "events"
        wait_for(lambda: b"listening" in self._events.read_bytes(), "the agent")
        self.pid = agent.pid
        self.base = json.loads(self._events.read_text().splitlines()[0])["url"]

    def _told(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines() if line.endswith("}")]

    def asked_s(self) -> list[float]:
        """When the ears were asked."""
        return [one["asked_s"] for one in self._told() if "asked_s" in one]

    def delays(self) -> list[dict[str, Any]]:
        """The parts of the delays, as the agent tells them."""
        lines = self._events.read_text().splitlines()
        return [one for line in lines if line.endswith("}") and (one := json.loads(line))["event"] == "delay"]

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def rss_mb(self) -> float:
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())
        assert found is not None
        return int(found[1]) / 1024


def wait_for(test: Any, what: str) -> Any:
    until_s = time.monotonic() + 90
    while not (found := test()):
        if time.monotonic() > until_s:
            sys.exit(f"mind_server: {what} did not start")
        time.sleep(0.05)
    return found


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def house(token_ms: int) -> Iterator[House]:
    with ExitStack() as stack:
        yield House(stack, token_ms)


# ---------------------------------------------------------------- clients


class Client:
    """One session; sound goes up in real time."""

    rate_hz = RATE_HZ

    def __init__(self, socket_: ClientConnection) -> None:
        self._socket = socket_
        self._pending = b""
        self.spoken_s = 0.0

    async def send(self, message: dict[str, Any]) -> None:
        await self._socket.send(json.dumps(message))

    async def send_sound(self, pcm: bytes) -> None:
        await self.send({"user_audio_chunk": base64.b64encode(pcm).decode()})

    async def ask(self) -> None:
        await self.send({"type": "user_message", "text": QUESTION})

    async def answer(self) -> None:
        """Waits for the words of the answer."""
        await self.until("agent_response")

    async def sound(self) -> None:
        """Waits for sound."""
        await self.until("audio")

    async def cut(self) -> None:
        """Waits until the answer is cut."""
        await self.until("interruption")
        await self.until("agent_response_correction")

    @property
    def _chunk_bytes(self) -> int:
        return self.rate_hz * CHUNK_MS // 1000 * 2

    async def say_at_once(self, pcm: bytes) -> None:
        for start in range(0, len(pcm), self._chunk_bytes):
            await self.send_sound(pcm[start : start + self._chunk_bytes])

    def say(self, pcm: bytes) -> None:
        self._pending = pcm + bytes(-len(pcm) % self._chunk_bytes)

    async def microphone(self) -> None:
        due_s = time.monotonic()
        while True:
            chunk, self._pending = self._pending[: self._chunk_bytes], self._pending[self._chunk_bytes :]
            await self.send_sound(chunk or bytes(self._chunk_bytes))
            if chunk and not self._pending:
                self.spoken_s = time.monotonic()
            due_s += CHUNK_MS / 1000
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))

    async def until(self, *kinds: str) -> dict[str, Any]:
        while True:
            message: dict[str, Any] = json.loads(await asyncio.wait_for(self._socket.recv(), 120))
            if message["type"] == "ping":
                await self.send({"type": "pong", "event_id": message["ping_event"]["event_id"]})
            elif message["type"] in kinds:
                return message


class RealtimeClient(Client):
    """The same in OpenAI's protocol."""

    rate_hz = 24_000

    async def send_sound(self, pcm: bytes) -> None:
        await self.send({"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm).decode()})

    async def ask(self) -> None:
        content = [{"type": "input_text", "text": QUESTION}]
        await self.send(
            {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}}
        )
        await self.send({"type": "response.create"})

    async def answer(self) -> None:
        await self.until("response.done")

    async def sound(self) -> None:
        delta = await self.until("response.output_audio.delta")
        self._item_id = delta["item_id"]

    async def cut(self) -> None:
        done = await self.until("response.done")
        assert done["response"]["status"] == "cancelled"
        place = {"item_id": self._item_id, "content_index": 0, "audio_end_ms": 10}
        await self.send({"type": "conversation.item.truncate", **place})


async def begun_as(protocol: str, stack: AsyncExitStack, base: str, *, in_writing: bool = False) -> Client:
    if protocol == "convai":
        return await begun(stack, base, WRITTEN if in_writing else OPENING)
    headers = {"Authorization": "Bearer any"}
    socket_ = await stack.enter_async_context(
        connect(f"{base}/v1/realtime", compression=None, max_size=2**24, additional_headers=headers)
    )
    client = RealtimeClient(socket_)
    await client.until("session.created")
    if in_writing:
        await client.send({"type": "session.update", "session": {"type": "realtime", "output_modalities": ["text"]}})
        await client.until("session.updated")
    return client


async def begun(stack: AsyncExitStack, base: str, opening: dict[str, Any] = OPENING) -> Client:
    socket_ = await stack.enter_async_context(
        connect(f"{base}/v1/convai/conversation?agent_id=a", compression=None, max_size=2**24)
    )
    client = Client(socket_)
    await client.send(opening)
    await client.until("conversation_initiation_metadata")
    return client


# ---------------------------------------------------------------- what is measured


def trimmed(pcm: bytes) -> bytes:
    """Without the silence at the end."""
    samples = memoryview(pcm).cast("h")
    last = max(index for index, sample in enumerate(samples) if abs(sample) > 300)
    return pcm[: (last + 1) * 2]


async def turns(person: Voice, sessions: int) -> None:
    question = trimmed(person.say(QUESTION, RATE_HZ))
    with house(token_ms=30) as it:
        early: list[bool] = []
        spoken: list[float] = []
        sounds: list[float] = []

        async def talk(client: Client, at_s: float) -> None:
            await asyncio.sleep(at_s)
            feeding = asyncio.create_task(client.microphone())
            for _ in range(TURNS_EACH):
                client.say(question)
                first = await client.until("audio", "agent_response")
                sounds.append(time.monotonic() - client.spoken_s)
                spoken.append(client.spoken_s)
                early.append(first["type"] == "audio")
                if early[-1]:
                    await client.until("agent_response")
                await asyncio.sleep(4.0)
            feeding.cancel()

        async with AsyncExitStack() as stack:
            clients = [await begun(stack, it.base) for _ in range(sessions)]
            before_s, began_s = it.cpu_s(), time.monotonic()
            await asyncio.gather(*(talk(client, 0.2 * number) for number, client in enumerate(clients)))
            used_s, took_s = it.cpu_s() - before_s, time.monotonic() - began_s
        count = len(spoken)
        print(f"turns: {count} spoken turns of {sessions} sessions at once in {took_s:.0f} s, on one core")
        print(f"  processor time, hearing included: {used_s / count * 1000:.1f} ms a turn")
        print(f"  first sound before the model's last word: {sum(early)} of {count}")
        if sessions > 1:
            # Whose recognition is whose cannot be told apart.
            return
        asked = it.asked_s()
        started = [min((at - end for at in asked if at >= end - 0.05), default=0.0) for end in spoken]
        delays = it.delays()
        print(
            "  recognition is asked for after the last voiced sound: "
            f"median {median(started) * 1000:.0f} ms, most {max(started) * 1000:.0f} ms"
        )
        print(f"  first sound after the last voiced sound, at the client: median {median(sounds) * 1000:.0f} ms")
        for part in ("silence", "ears", "mind", "voice"):
            print(f"    {part}: median {median(one[f'{part}_ms'] for one in delays):.0f} ms")


async def silence(protocol: str, sessions: int) -> None:
    with house(token_ms=0) as it:
        async with AsyncExitStack() as stack:
            await begun_as(protocol, stack, it.base)
            empty_mb = it.rss_mb()
            clients = [await begun_as(protocol, stack, it.base) for _ in range(sessions)]
            feeding = [asyncio.create_task(client.microphone()) for client in clients]
            reading = [asyncio.create_task(client.until("never")) for client in clients]
            await asyncio.sleep(5)
            before_s, began_s = it.cpu_s(), time.monotonic()
            await asyncio.sleep(20)
            share = (it.cpu_s() - before_s) / (time.monotonic() - began_s) * 100
            memory_mb = it.rss_mb() - empty_mb
            for task in (*feeding, *reading):
                task.cancel()
        print(
            f"silence, {protocol}: {sessions} sessions on one core: {share:.1f} % of it, {share / sessions:.2f} % and "
            f"{memory_mb / sessions:.2f} MB a session"
        )


async def interruptions(protocol: str, person: Voice, count: int) -> None:
    with house(token_ms=50) as it:
        async with AsyncExitStack() as stack:
            client = await begun_as(protocol, stack, it.base)
            sound = person.say(STOP, client.rate_hz) + bytes(client.rate_hz * 2)
            memory: list[float] = []
            await client.ask()
            for number in range(count):
                await client.sound()
                await client.say_at_once(sound)
                await client.cut()
                if number in (count // 10, count // 2, count - 1):
                    memory.append(it.rss_mb())
        print(f"interruptions, {protocol}: {count} in a row, none lost; {_told(memory)}")


async def short_sessions(protocol: str, count: int) -> None:
    with house(token_ms=0) as it:
        memory: list[float] = []
        for number in range(count):
            async with AsyncExitStack() as stack:
                client = await begun_as(protocol, stack, it.base, in_writing=True)
                await client.ask()
                await client.answer()
            if number + 1 in (count // 10, count // 2, count):
                memory.append(it.rss_mb())
        print(f"sessions, {protocol}: {count} one after the other, a turn in each; {_told(memory)}")


def _told(memory_mb: list[float]) -> str:
    return f"{', '.join(f'{one:.1f}' for one in memory_mb)} MB after a tenth, a half, and all"


async def measure(args: argparse.Namespace) -> None:
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    with Voice("rms") as person:
        if args.only in (None, "turns") and args.protocol != "realtime":
            await turns(person, 1)
            await turns(person, 10)
        for protocol in (args.protocol,) if args.protocol else PROTOCOLS:
            if args.only in (None, "silence"):
                await silence(protocol, args.sessions)
            if args.only in (None, "interruptions"):
                await interruptions(protocol, person, args.interruptions)
            if args.only in (None, "sessions"):
                await short_sessions(protocol, args.short_sessions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--interruptions", type=int, default=500)
    parser.add_argument("--short-sessions", type=int, default=1000)
    parser.add_argument("--only", choices=("turns", "silence", "interruptions", "sessions"))
    parser.add_argument("--protocol", choices=PROTOCOLS, help="of silence, interruptions and sessions; default: both")
    parser.add_argument("--serve-parts", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    asyncio.run(serve_parts() if args.serve_parts else measure(args))


if __name__ == "__main__":
    main()
